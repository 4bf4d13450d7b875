"""The most that one contact may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.jobs.sync_contacts.changed_columns import column_of, values_by_name
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
    mapping = binding.describe()
    values = values_by_name(contact, mapping)
    column = shown_name(column_of(max(values, key=lambda name: len(values[name])), mapping))
    why = f"{column}: the row has more than {MOST_BYTES // 1024**2} MiB as JSON"
    return Outcome(contact["email"], OutcomeStatus.INVALID, why)
