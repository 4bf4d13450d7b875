"""Operators that create and update contacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.nouns import ADDRESS
from airflow_provider_meisa.api.outcomes import Outcome
from airflow_provider_meisa.api.redaction import mask_address
from airflow_provider_meisa.bulk.input_shapes import AddressReader
from airflow_provider_meisa.jobs.addresses import check
from airflow_provider_meisa.operators.base import RecordOperator, TaskResult
from airflow_provider_meisa.operators.redacted import RedactedField, follow_references, unwrap

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.api.endpoints.contacts import Contact
    from airflow_provider_meisa.hooks.metrics import Meter


class MeisaUpsertContactOperator(RecordOperator):
    """Create one contact, or update it.

    Meisa looks for the contact by ``external_id`` first, then by the address. A parameter that is ``None`` is
    not sent, and the field keeps its value. A second upsert is harmless, so a retry sends it again.

    Pushes ``{"id", "created", "address" (masked), "meisa_conn_id"}`` to XCom.

    :param contact_email: the address (templated, never shown in the UI); with an ``external_id`` that Meisa knows, it
        may be a new one. It is not called ``email``, because every operator has an ``email``, which Airflow notifies
        when the task fails.
    :param external_id: your id of the contact, a text (templated, never shown in the UI).
    :param first_name: the first name; may be empty (templated, never shown in the UI).
    :param last_name: the last name; may be empty (templated, never shown in the UI).
    :param display_name: the name that mails show; may be empty (templated, never shown in the UI).
    :param source: where the contact comes from: ``api``, ``import``, ``manual``, ``signup`` or ``initial_sync``
        (templated). Meisa keeps the first one.
    :param custom_fields: plain JSON: a dict, or a template that gives the text of an object (templated,
        never shown in the UI). Meisa merges it: other keys are kept.
    :param tag_names: tags to add: a list, or a template that gives the text of one (templated, never shown in the UI).
        Meisa creates unknown ones, and removes none.
    :param meisa_conn_id: the Airflow Connection.
    """

    template_fields: Sequence[str] = (
        "contact_email",
        "external_id",
        "first_name",
        "last_name",
        "display_name",
        "source",
        "custom_fields",
        "tag_names",
        "meisa_conn_id",
    )
    operator_extra_links = ()  # the URL of a contact's page is not documented
    contact_email = RedactedField(ADDRESS)
    external_id = RedactedField()
    first_name = RedactedField()
    last_name = RedactedField()
    display_name = RedactedField()
    custom_fields = RedactedField()
    tag_names = RedactedField()

    def __init__(
        self,
        *,
        contact_email: str,
        external_id: str | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
        display_name: str | None = None,
        source: str | None = None,
        custom_fields: Mapping[str, Any] | None = None,
        tag_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contact_email = contact_email
        self.external_id = external_id
        self.first_name = first_name
        self.last_name = last_name
        self.display_name = display_name
        self.source = source
        self.custom_fields = custom_fields
        self.tag_names = tag_names
        private = ("contact_email", "external_id", "first_name", "last_name", "display_name")
        follow_references(self, *(getattr(self, name) for name in (*private, "custom_fields", "tag_names")))

    def send(self, context: Context, meter: Meter) -> TaskResult:
        """Create or update the contact."""
        address = self._address()
        contact = self._upsert(address)
        masked = mask_address(address)
        self.log.info("%s: contact %s", masked, "created" if contact.created else "updated")
        return TaskResult(
            {
                "id": contact.id,
                "created": contact.created,
                "address": masked,
                "meisa_conn_id": self.meisa_conn_id,
            }
        )

    def _address(self) -> str:
        """Return the only address in ``contact_email``, which may also be in a row or a record."""
        found = list(AddressReader(name="contact_email").read([unwrap(self.contact_email)]))
        if len(found) != 1:
            raise MeisaInputError(
                f"contact_email holds {len(found):,} addresses; pass one, or map the task with .expand()."
            )
        address = check(found[0])
        if isinstance(address, Outcome):
            raise MeisaInputError(f"contact_email is not an address: {address.reason}. Nothing was sent.")
        return address

    def _upsert(self, address: str) -> Contact:
        return self.hook.upsert_contact(
            address,
            external_id=unwrap(self.external_id),
            first_name=unwrap(self.first_name),
            last_name=unwrap(self.last_name),
            display_name=unwrap(self.display_name),
            source=self.source,
            custom_fields=unwrap(self.custom_fields),
            tag_names=unwrap(self.tag_names),
        )
