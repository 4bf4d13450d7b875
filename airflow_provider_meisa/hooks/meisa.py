"""A Meisa client made of an Airflow Connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseHook, mask_secret

from airflow_provider_meisa.api import errors
from airflow_provider_meisa.provider_info import get_provider_info

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_meisa.api.account import KeyInfo
    from airflow_provider_meisa.api.bulk_reply import BulkReply
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.contacts import Suppressions
    from airflow_provider_meisa.api.outcomes import Outcome
    from airflow_provider_meisa.api.sequences import ContactEnrollments, SequenceInfo
    from airflow_provider_meisa.api.settings import Settings

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
}


def is_final(error: BaseException) -> bool:
    """Say whether a retry cannot mend this error."""
    return isinstance(error, _FINAL)


@contextmanager
def airflow_failures(
    final: tuple[type[errors.MeisaError], ...] = (), *, doubt_is_final: bool = False
) -> Iterator[None]:
    """Turn Meisa's errors into Airflow's: final ones fail the task at once, others may be retried.

    :param final: errors that are final here, though they are not elsewhere.
    :param doubt_is_final: whether errors are final after which a call may have been carried out.
    :raises AirflowFailException: for what a retry cannot mend: input, key, scope, slug, inactive sequence.
    :raises AirflowException: for the rest: network, rate limit, 5xx, unreadable answers.
    """
    try:
        yield
    except errors.MeisaError as error:
        if is_final(error) or isinstance(error, final) or (doubt_is_final and error.possibly_done):
            raise AirflowFailException(str(error)) from error
        raise AirflowException(str(error)) from error


class MeisaHook(BaseHook):
    """Talks to Meisa with the key and habits of an Airflow Connection.

    Each call of the API is one plain method, for use in a ``@task``. Calls keep to the key's rate limits,
    shared with every other process on the host, and are repeated where that is harmless.

    :param meisa_conn_id: the Airflow Connection, of type ``meisa``.
    :param max_wait: the longest wait for the rate limits, in seconds, that a call sits out; by default 120.
        A longer one is raised at once, for Airflow to try again later.
    :raises AirflowNotFoundException: on first use, if there is no such connection.
    """

    conn_name_attr = "meisa_conn_id"
    default_conn_name = "meisa_default"
    conn_type = "meisa"
    hook_name = "Meisa"

    def __init__(self, meisa_conn_id: str = default_conn_name, *, max_wait: float = 120.0) -> None:
        super().__init__()
        self.meisa_conn_id = meisa_conn_id
        self.max_wait = max_wait
        self._client: MeisaClient | None = None

    def get_conn(self) -> MeisaClient:
        """Return the client; made once a hook.

        :raises AirflowFailException: if the connection's fields cannot be used; the message names the field.
        """
        if self._client is None:
            connection = self.get_connection(self.meisa_conn_id)
            self._client = self._make_client(connection, connection.extra_dejson)
        return self._client

    async def get_async_conn(self) -> MeisaClient:
        """Return the client, for use on an event loop; its calls block and belong into a thread.

        :raises AirflowFailException: if the connection's fields cannot be used; the message names the field.
        """
        if self._client is None:
            from asgiref.sync import sync_to_async

            connection = await get_async_connection(self.meisa_conn_id, hook=self)
            extra = await get_async_extra_dejson(connection)
            # It masks the key, which the triggerer of Airflow 3.0 refuses on the event loop.
            self._client = await sync_to_async(self._make_client)(connection, extra)
        return self._client

    def _make_client(self, connection: Connection, extra: Mapping[str, object]) -> MeisaClient:
        from airflow_provider_meisa.api.client import MeisaClient

        settings = _settings(connection, extra)
        with airflow_failures():
            return MeisaClient(settings, max_wait=self.max_wait)

    def test_connection(self) -> tuple[bool, str]:
        """Ask ``/ping/`` what the key is and may do, for the *Test* button and ``airflow connections test``.

        :return: whether the connection works, and a sentence for people; never the key.
        """
        from airflow_provider_meisa.api import account

        try:
            client = self.get_conn()
            key = account.ping(client)
        except (errors.MeisaError, AirflowException) as error:
            return False, str(error)
        wanted = client.settings.environment
        if wanted and wanted != key.environment:
            return False, (
                f"The connection says environment {wanted}, but the API key is of "
                f"{key.environment or 'an unknown one'}. Change the key or the extra environment."
            )
        return True, _introduce(key)

    def enroll(
        self,
        email: str,
        sequence_slug: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        trigger_source: str = "airflow",
        override_unsubscribe: bool = False,
    ) -> Outcome:
        """Enroll one contact: ``POST /sequences/enroll/``.

        :param email: the contact; created if Meisa does not know it.
        :param sequence_slug: an active sequence.
        :param metadata: data attached to the enrollment, plain JSON.
        :param trigger_source: label for where the enrollment came from.
        :param override_unsubscribe: enroll even if suppressed; needs the connection's opt-in.
        :return: the verdict ``enrolled``, ``already_enrolled``, ``suppressed`` or ``invalid``, and its reason.
        :raises AirflowFailException: for what a retry cannot mend.
        :raises AirflowException: for the rest.
        """
        from airflow_provider_meisa.api import sequences

        with airflow_failures():
            return sequences.enroll(
                self.get_conn(),
                email,
                sequence_slug,
                metadata=metadata,
                trigger_source=trigger_source,
                override_unsubscribe=override_unsubscribe,
            )

    def bulk_enroll(
        self, emails: Sequence[str], sequence_slug: str, *, override_unsubscribe: bool = False
    ) -> BulkReply:
        """Enroll up to 500 contacts in one call: ``POST /sequences/api/bulk-enroll/``.

        :param emails: 1–500 addresses, none twice.
        :param sequence_slug: an active sequence.
        :param override_unsubscribe: enroll even the suppressed; needs the connection's opt-in.
        :return: one outcome for each address, in order, in ``outcomes``.
        :raises AirflowFailException: for what a retry cannot mend.
        :raises AirflowException: for the rest.
        """
        from airflow_provider_meisa.api import sequences

        with airflow_failures():
            return sequences.bulk_enroll(
                self.get_conn(), emails, sequence_slug, override_unsubscribe=override_unsubscribe
            )

    def list_sequences(self, *, status: str = "", search: str = "") -> list[SequenceInfo]:
        """List sequences: ``GET /sequences/api/list/``.

        :param status: ``all`` for every status; empty for the active ones.
        :param search: part of a name.
        :raises AirflowException: if Meisa cannot be asked.
        """
        from airflow_provider_meisa.api import sequences

        with airflow_failures():
            return sequences.list_sequences(self.get_conn(), status=status, search=search)

    def contact_enrollments(self, email: str) -> ContactEnrollments:
        """Read which sequences a contact is in: ``GET /sequences/api/contact-enrollments/``.

        :param email: the contact.
        :raises AirflowException: if Meisa cannot be asked.
        """
        from airflow_provider_meisa.api import sequences

        with airflow_failures():
            return sequences.contact_enrollments(self.get_conn(), email)

    def unsubscribed_emails(self) -> Suppressions:
        """Read who must not be mailed: ``GET /contacts/api/unsubscribed-emails/``.

        :raises AirflowException: if Meisa cannot be asked.
        """
        from airflow_provider_meisa.api import contacts

        with airflow_failures():
            return contacts.unsubscribed_emails(self.get_conn())

    def ping(self) -> KeyInfo:
        """Ask what the key is and may do: ``GET /ping/``.

        :raises AirflowException: if Meisa cannot be asked.
        """
        from airflow_provider_meisa.api import account

        with airflow_failures():
            return account.ping(self.get_conn())

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return which standard fields the connection form shows (Airflow before 3.2)."""
        behaviour = _connection_type()["ui-field-behaviour"]
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields (Airflow before 3.2)."""
        return {name: _form_field(spec) for name, spec in _connection_type()["conn-fields"].items()}


def _connection_type() -> dict[str, Any]:
    types: list[dict[str, Any]] = get_provider_info()["connection-types"]
    return types[0]


def _form_field(spec: dict[str, Any]) -> Any:
    """Make a field of the old form; Airflow 3.0 and 3.1 know only these kinds and the validator ``any_of``."""
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


def _settings(connection: Connection, extra: Mapping[str, object]) -> Settings:
    from airflow_provider_meisa.api.quota_stores import passwords_in
    from airflow_provider_meisa.api.settings import Settings

    password = (connection.password or "").strip()
    for secret in {password, *passwords_in(str(extra.get("quota_store") or ""))} - {""}:
        mask_secret(secret)
    with airflow_failures():
        return Settings.from_connection(
            host=connection.host or "",
            port=connection.port,
            schema=connection.schema or "",
            password=password,
            extra=extra,
        )


def _introduce(key: KeyInfo) -> str:
    product = f" of {key.product}" if key.product else ""
    scopes = ", ".join(sorted(key.scopes)) or "none named"
    missing = "; ".join(f"{scope} ({by})" for scope, by in NEEDED_BY.items() if scope not in key.scopes)
    lacks = f" Missing for: {missing}." if missing else ""
    return f"Connected with a {key.environment or 'Meisa'} key{product}. Scopes: {scopes}.{lacks}"
