"""A task that syncs contacts night after night, its rows and its ledger."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from airflow_provider_meisa.bulk.ledger import Ledger, Subject
from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
from airflow_provider_meisa.sandbox.server import Sandbox
from tests.support.task import Task

COLUMNS: dict[str, Any] = {
    "fields": {"email": "email", "external_id": "id", "first_name": "name"},
    "custom_fields": ["plan", "mrr"],
}


def row(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row, with some values changed."""
    plain = {"id": number, "email": f"p{number}@example.com", "name": "Ada", "plan": "free", "mrr": 1.5}
    return {**plain, **changes}


class SyncTask(Task):
    """A task that syncs contacts, and the date of its run."""

    def __init__(self, contacts: Any, **arguments: Any) -> None:
        super().__init__()
        self.arguments = {
            "contacts": contacts,
            "ledger": "users",
            "first_run": "send",
            **COLUMNS,
            **arguments,
        }
        self.date = datetime(2026, 11, 1, tzinfo=UTC)

    def make(self) -> Any:
        """Make the operator, as each process does."""
        operator: Any = MeisaSyncContactsOperator(task_id="task", **self.arguments)
        self.operator = operator
        return operator

    def context(self) -> Any:
        """Return the context of each process, with the date of the run."""
        return {**super().context(), "data_interval_end": self.date}

    def next_night(self, **changes: Any) -> Self:
        """Begin the run of the next day."""
        self.date += timedelta(days=1)
        return super().next_night(**changes)

    def night(self, contacts: Any, **changes: Any) -> Any:
        """Sync these rows on the next day, and return the summary."""
        return self.next_night(contacts=contacts, **changes).run()


def contact_ledger(folder: Path, sandbox: Sandbox, days_ago: float = 0.0) -> Ledger:
    """Open the ledger of the task, as of a number of days ago."""
    subject = Subject(
        base_url=sandbox.api_url,
        environment="live",
        product="Sandbox",
        job="sync_contacts",
        target="contacts",
        record_id="external_id",
    )
    return Ledger.open(folder, "users", subject, clock=lambda: time.time() - days_ago * 86400)


def upserts(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the upserts that the sandbox has received."""
    return [request for request in sandbox.requests() if request["path"].endswith("/contacts/upsert/")]


def held(sandbox: Sandbox) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return what the sandbox has of each contact, by external id."""
    return {
        contact["external_id"]: (contact["email"], contact["first_name"], contact["custom_fields"])
        for contact in sandbox.contacts()
    }
