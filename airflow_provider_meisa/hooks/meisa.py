"""The hook, which makes a Meisa client from an Airflow Connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseHook

from airflow_provider_meisa.api import errors
from airflow_provider_meisa.get_provider_info import get_provider_info
from airflow_provider_meisa.hooks.connections import read_connection, unused_extras, warn_of_unknown_extras

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_meisa.api.bulk_enroll_response.reader import BulkEnrollResponse
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.endpoints.account import KeyInfo
    from airflow_provider_meisa.api.endpoints.contacts import Contact, Suppressions
    from airflow_provider_meisa.api.endpoints.sequences import ContactEnrollments, SequenceInfo
    from airflow_provider_meisa.api.models import Response
    from airflow_provider_meisa.api.outcomes import Outcome

log = logging.getLogger("airflow.task.meisa")

_FINAL = (
    errors.MeisaInputError,
    errors.MeisaKeyError,
    errors.MeisaScopeError,
    errors.MeisaNotFoundError,
    errors.MeisaSequenceInactiveError,
    errors.MeisaInvalidRequestError,
    errors.MeisaRedirectError,
)
NEEDED_BY = {
    "sequences:enroll": "every operator that enrolls",
    "sequences:read": "MeisaSequenceSensor, preview, the check that a sequence is active",
    "contacts:read": "skip_suppressed, unsubscribed_emails",
    "contacts:write": "MeisaUpsertContactOperator, upsert_contact, add_tag, remove_tag",
}


def is_final(error: BaseException) -> bool:
    """Return whether a retry cannot fix this error."""
    return isinstance(error, _FINAL)


def meisa_error(raised: BaseException | None) -> errors.MeisaError | None:
    """Return the `MeisaError` that was raised, or that caused Airflow's exception; ``None`` if there is none."""
    error = raised.__cause__ if isinstance(raised, AirflowException) else raised
    return error if isinstance(error, errors.MeisaError) else None


@contextmanager
def raise_airflow_errors(
    final: tuple[type[errors.MeisaError], ...] = (), *, ambiguous_is_final: bool = False
) -> Iterator[None]:
    """Convert Meisa's errors to Airflow's: final ones fail the task at once, others may be retried.

    It also converts an exception of a method of the hook again, unless that is final already.

    :param final: errors that are final here only.
    :param ambiguous_is_final: whether an error is final if the request may have been carried out.
    :raises AirflowFailException: for what a retry cannot fix: input, key, scope, slug, inactive sequence.
    :raises AirflowException: for the rest: network, rate limit, 5xx, unreadable responses.
    """
    try:
        yield
    except AirflowFailException:
        raise  # it is final already
    except (errors.MeisaError, AirflowException) as raised:
        error = meisa_error(raised)
        if error is None:
            raise
        if is_final(error) or isinstance(error, final) or (ambiguous_is_final and error.possibly_done):
            raise AirflowFailException(str(error)) from error
        raise AirflowException(str(error)) from error


class MeisaHook(BaseHook):
    """Calls Meisa with the API key and the settings of an Airflow Connection.

    Each endpoint is one method, for use in a ``@task``. Requests keep to the rate limits of the key, which all
    processes on the host share, and are retried where that is harmless.

    :param meisa_conn_id: the Airflow Connection, of type ``meisa``.
    :param max_wait: the longest wait of a call for the rate limits, in seconds or as a ``timedelta``; by default 120
        seconds. A longer wait raises an error at once, so that Airflow can retry later.
    :raises AirflowNotFoundException: on first use, if the connection does not exist.
    """

    conn_name_attr = "meisa_conn_id"
    default_conn_name = "meisa_default"
    conn_type = "meisa"
    hook_name = "Meisa"

    def __init__(
        self, meisa_conn_id: str = default_conn_name, *, max_wait: float | timedelta = 120.0
    ) -> None:
        super().__init__()
        self.meisa_conn_id = meisa_conn_id
        self.max_wait = max_wait
        self._client: MeisaClient | None = None

    def get_conn(self) -> MeisaClient:
        """Return the client; each hook creates one.

        :raises AirflowFailException: if the connection's fields cannot be used; the message names the field.
        """
        if self._client is None:
            conn_id = self._checked_conn_id()
            with _readable(conn_id):
                connection = self.get_connection(conn_id)
            self._client = self._make_client(connection)
        return self._client

    async def get_async_conn(self) -> MeisaClient:
        """Return the client, from an event loop. Its methods block: call them in a thread.

        :raises AirflowFailException: if the connection's fields cannot be used; the message names the field.
        """
        if self._client is None:
            from asgiref.sync import sync_to_async

            conn_id = self._checked_conn_id()
            with _readable(conn_id):
                connection = await get_async_connection(conn_id, hook=self)
            # It masks the key; the triggerer of Airflow 3.0 refuses that on the event loop.
            self._client = await sync_to_async(self._make_client)(connection)
        return self._client

    def _checked_conn_id(self) -> str:
        from airflow_provider_meisa.api.checks import check_text

        with raise_airflow_errors():
            return check_text("meisa_conn_id", self.meisa_conn_id)

    def _make_client(self, connection: Connection) -> MeisaClient:
        from airflow_provider_meisa.api.client import MeisaClient

        with raise_airflow_errors(), _named(self.meisa_conn_id):
            client = MeisaClient(read_connection(connection), max_wait=self.max_wait)
        warn_of_unknown_extras(self.meisa_conn_id, client.settings)
        return client

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection with ``/ping/``, for the *Test* button and ``airflow connections test``.

        :return: whether the connection works, and a sentence about it, without the key.
        """
        from airflow_provider_meisa.api.endpoints import account

        try:
            client = self.get_conn()
            key = account.ping(client)
        except (errors.MeisaError, AirflowException) as error:
            return False, str(error)
        wanted = client.settings.environment
        if wanted and wanted != key.environment:
            return False, (
                f"{client.settings.environment_set_by} requires the environment {wanted}, but the API key is of "
                f"{key.environment or 'an unknown one'}. Change the API key or that setting."
            )
        return True, _introduce(key) + unused_extras(client.settings)

    def enroll(
        self,
        email: str,
        sequence_slug: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        trigger_source: str = "airflow",
        override_unsubscribe: bool = False,
        resend: bool = True,
    ) -> Outcome:
        """Enroll one contact: ``POST /sequences/enroll/``.

        :param email: the address of the contact; Meisa creates an unknown contact.
        :param sequence_slug: an active sequence.
        :param metadata: data attached to the enrollment, plain JSON.
        :param trigger_source: the origin of the enrollment.
        :param override_unsubscribe: enroll even a suppressed contact; needs the extra ``allow_override_unsubscribe``.
        :param resend: whether to send again, once and after a wait, if the response was lost. A contact that is then
            enrolled has the reason ``possibly twice``, one that is already enrolled ``possibly by this run``.
        :return: the status and its reason: ``enrolled``, ``already_enrolled``, ``suppressed``, ``invalid``, ``failed``,
            or ``unreported`` if the request was only accepted.
        :raises AirflowFailException: for what a retry cannot fix.
        :raises AirflowException: for the rest.
        """
        from airflow_provider_meisa.api.endpoints import sequences

        with raise_airflow_errors():
            return sequences.enroll(
                self.get_conn(),
                email,
                sequence_slug,
                metadata=metadata,
                trigger_source=trigger_source,
                override_unsubscribe=override_unsubscribe,
                resend=resend,
            )

    def bulk_enroll(
        self,
        emails: Sequence[str],
        sequence_slug: str,
        *,
        override_unsubscribe: bool = False,
        resend: bool = True,
    ) -> BulkEnrollResponse:
        """Enroll up to 500 contacts in one call: ``POST /sequences/api/bulk-enroll/``.

        :param emails: 1–500 addresses without duplicates.
        :param sequence_slug: an active sequence.
        :param override_unsubscribe: enroll even suppressed contacts; needs the extra ``allow_override_unsubscribe``.
        :param resend: whether to send again, once and after a wait, if the response was lost. Addresses that are then
            enrolled have the reason ``possibly twice``, already enrolled ones ``possibly by this run``.
        :return: one outcome for each address, in order, in ``outcomes``.
        :raises AirflowFailException: for what a retry cannot fix.
        :raises AirflowException: for the rest.
        """
        from airflow_provider_meisa.api.endpoints import sequences

        with raise_airflow_errors():
            return sequences.bulk_enroll(
                self.get_conn(),
                emails,
                sequence_slug,
                override_unsubscribe=override_unsubscribe,
                resend=resend,
            )

    def list_sequences(self, *, status: str = "", search: str = "") -> list[SequenceInfo]:
        """List sequences: ``GET /sequences/api/list/``.

        :param status: ``all`` for every status; empty for the active ones.
        :param search: part of a name.
        :raises AirflowException: if the request fails.
        """
        from airflow_provider_meisa.api.endpoints import sequences

        with raise_airflow_errors():
            return sequences.list_sequences(self.get_conn(), status=status, search=search)

    def contact_enrollments(self, email: str) -> ContactEnrollments:
        """List the sequences of a contact: ``GET /sequences/api/contact-enrollments/``.

        :param email: the address of the contact.
        :raises AirflowException: if the request fails.
        """
        from airflow_provider_meisa.api.endpoints import sequences

        with raise_airflow_errors():
            return sequences.contact_enrollments(self.get_conn(), email)

    def upsert_contact(
        self,
        email: str,
        *,
        external_id: str | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
        display_name: str | None = None,
        source: str | None = None,
        custom_fields: Mapping[str, Any] | None = None,
        tag_names: Sequence[str] | None = None,
    ) -> Contact:
        """Create or update one contact: ``POST /contacts/upsert/``.

        Meisa looks for the contact by ``external_id`` first, then by ``email``. A parameter that is ``None``
        is not sent, and the field keeps its value. A second upsert is harmless, so the request is retried if the
        response is lost.

        :param email: the address; with an ``external_id`` that Meisa knows, it may be a new one.
        :param external_id: your id of the contact.
        :param first_name: the first name; may be empty.
        :param last_name: the last name; may be empty.
        :param display_name: the name that mails show; may be empty.
        :param source: where the contact comes from: ``api``, ``import``, ``manual``, ``signup`` or ``initial_sync``.
            Meisa keeps the first one.
        :param custom_fields: plain JSON. Meisa merges it: other keys are kept.
        :param tag_names: tags to add; Meisa creates unknown ones, and removes none.
        :return: the contact as it is now, with its ``id``, and whether it was ``created``.
        :raises AirflowFailException: for what a retry cannot fix.
        :raises AirflowException: for the rest.
        """
        from airflow_provider_meisa.api.endpoints import contacts

        with raise_airflow_errors():
            return contacts.upsert(
                self.get_conn(),
                email,
                external_id=external_id,
                first_name=first_name,
                last_name=last_name,
                display_name=display_name,
                source=source,
                custom_fields=custom_fields,
                tag_names=tag_names,
            )

    def add_tag(
        self,
        contact_id: str,
        *,
        tag_name: str | None = None,
        tag_id: str | None = None,
        resend: bool = True,
    ) -> Response:
        """Add a tag to a contact: ``POST /contacts/{id}/add_tag/``.

        :param contact_id: Meisa's id of the contact, which `upsert_contact` returns; it is part of the path, and
            logged.
        :param tag_name: the name of the tag. Give this or ``tag_id``.
        :param tag_id: Meisa's id of the tag.
        :param resend: whether to send again, once and after a while, when the response was lost.
        :return: the ``status``, and the parsed JSON in ``body``, of which nothing is documented.
        :raises AirflowFailException: for what a retry cannot fix.
        :raises AirflowException: for the rest.
        """
        from airflow_provider_meisa.api.endpoints import contacts

        with raise_airflow_errors():
            return contacts.add_tag(
                self.get_conn(), contact_id, tag_name=tag_name, tag_id=tag_id, resend=resend
            )

    def remove_tag(
        self,
        contact_id: str,
        *,
        tag_name: str | None = None,
        tag_id: str | None = None,
        resend: bool = True,
    ) -> Response:
        """Remove a tag from a contact: ``POST /contacts/{id}/remove_tag/``.

        :param contact_id: Meisa's id of the contact, which `upsert_contact` returns; it is part of the path, and
            logged.
        :param tag_name: the name of the tag. Give this or ``tag_id``.
        :param tag_id: Meisa's id of the tag.
        :param resend: whether to send again, once and after a while, when the response was lost.
        :return: the ``status``, and the parsed JSON in ``body``, of which nothing is documented.
        :raises AirflowFailException: for what a retry cannot fix.
        :raises AirflowException: for the rest.
        """
        from airflow_provider_meisa.api.endpoints import contacts

        with raise_airflow_errors():
            return contacts.remove_tag(
                self.get_conn(), contact_id, tag_name=tag_name, tag_id=tag_id, resend=resend
            )

    def unsubscribed_emails(self) -> Suppressions:
        """List the suppressed addresses: ``GET /contacts/api/unsubscribed-emails/``.

        :raises AirflowException: if the request fails.
        """
        from airflow_provider_meisa.api.endpoints import contacts

        with raise_airflow_errors():
            return contacts.unsubscribed_emails(self.get_conn())

    def ping(self) -> KeyInfo:
        """Read what the key is and may do: ``GET /ping/``.

        :raises AirflowException: if the request fails.
        """
        from airflow_provider_meisa.api.endpoints import account

        with raise_airflow_errors():
            return account.ping(self.get_conn())

    def request(
        self,
        method: str,
        path: str,
        json: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
        *,
        resend: bool = False,
    ) -> Response:
        """Send a request to an endpoint that has no method here, within the rate limits.

        A ``GET`` is retried after a lost response or a 5xx, any request after a 429 or 503 or if it never left.

        :param method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
        :param path: path below the base URL, such as ``/tags/``, with a slash at both ends. It is logged: put no
            address into it.
        :param json: the body, an object of plain JSON; not for ``GET``.
        :param query: the part after the ``?``: texts and whole numbers.
        :param resend: whether to send a write again if its response was lost: once, after a wait. Set it only if a
            second request is harmless.
        :return: the ``status``, and the parsed JSON in ``body``; ``None`` for an empty one.
        :raises AirflowFailException: for what a retry cannot fix.
        :raises AirflowException: for the rest. Airflow's retry sends a write again.
        """
        from airflow_provider_meisa.api import raw_request

        with raise_airflow_errors():
            return raw_request.request(self.get_conn(), method, path, json, query, resend=resend)

    def stop(self) -> None:
        """Send nothing from now on, and end every wait. Call it in the ``on_kill`` of an operator."""
        if self._client is not None:
            self._client.stop()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the standard fields of the connection form (Airflow before 3.2)."""
        behaviour = _connection_type()["ui-field-behaviour"]
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the other fields of the connection form (Airflow before 3.2)."""
        return {name: _form_field(spec) for name, spec in _connection_type()["conn-fields"].items()}


def _connection_type() -> dict[str, Any]:
    types: list[dict[str, Any]] = get_provider_info()["connection-types"]
    return types[0]


def _form_field(spec: dict[str, Any]) -> Any:
    """Make a field of the old form; Airflow 3.0 and 3.1 support only these types and the validator ``any_of``."""
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import NumberRange, Optional, any_of

    schema, about = spec["schema"], {"label": spec["label"], "description": spec["description"]}
    if "boolean" in schema["type"]:
        return BooleanField(**about, default=schema["default"])
    if schema.get("format") == "password":
        return PasswordField(**about, widget=BS3PasswordFieldWidget())
    about |= {"default": schema["default"], "widget": BS3TextFieldWidget()}
    if "number" in schema["type"]:
        within = NumberRange(schema["minimum"], schema["maximum"])
        return IntegerField(**about, validators=[Optional(), within])
    return StringField(**about, validators=[any_of(schema["enum"])] if "enum" in schema else [])


@contextmanager
def _readable(conn_id: str) -> Iterator[None]:
    """Raise an error for a connection that Airflow cannot read: before 3.3, one with an extra that is not an object."""
    try:
        yield
    except ValueError as error:
        # Not "from error": it may quote the connection.
        raise AirflowFailException(
            f"Airflow cannot read the connection {conn_id} ({type(error).__name__}). Check that its extra is a JSON "
            "object, and its port a number."
        ) from None


@contextmanager
def _named(conn_id: str) -> Iterator[None]:
    """Put the connection's id before an error about one of its fields."""
    try:
        yield
    except errors.MeisaInputError as error:
        raise errors.MeisaInputError(f"Connection {conn_id}: {error}") from error


def _introduce(key: KeyInfo) -> str:
    product = f" of {key.product}" if key.product else ""
    scopes = ", ".join(sorted(key.scopes)) or "none named"
    missing = "; ".join(f"{scope} ({by})" for scope, by in NEEDED_BY.items() if scope not in key.scopes)
    lacks = f" Missing for: {missing}." if missing else ""
    return f"Connected with a {key.environment or 'Meisa'} key{product}. Scopes: {scopes}.{lacks}"
