"""The most that one contact may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.jobs.sync_contacts.values import encode

if TYPE_CHECKING:
    from airflow_provider_meisa.jobs.sync_contacts.mapping import Binding

MOST_BYTES = 2 * 1024 * 1024
"""A limit of this package, as JSON: Meisa responds with the contact, which may be three times as long if it escapes
letters, and a response may have 8 MiB. Without its id, a contact would be sent by each run.
"""


def too_large(contact: dict[str, Any], binding: Binding) -> Outcome | None:
    """Return the outcome of a contact that is too large to send; else ``None``."""
    if len(encode(contact)) <= MOST_BYTES:
        return None
    custom_fields = contact.get("custom_fields") or {}
    sizes = {
        **{place: len(encode(contact.get(name))) for name, place in binding.fields.items()},
        **{place: len(encode(custom_fields.get(name))) for name, place in binding.custom_fields.items()},
    }
    if isinstance(binding.tags, int):
        sizes[binding.tags] = len(encode(contact.get("tag_names")))
    column = shown_name(binding.columns[max(sizes, key=sizes.__getitem__)])
    why = f"{column}: the row has more than {MOST_BYTES // 1024**2} MiB as JSON"
    return Outcome(contact["email"], OutcomeStatus.INVALID, why)
