"""A task that syncs contacts night after night, its rows and its ledger."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from airflow_provider_meisa.bulk.ledger import Ledger, Subject
from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
from tests.support.task import Task

COLUMNS = {
    "fields": {"email": "email", "external_id": "id", "first_name": "name"},
    "custom_fields": ["plan", "mrr"],
}


def row(number, **changes):
    plain = {"id": number, "email": f"p{number}@example.com", "name": "Ada", "plan": "free", "mrr": 1.5}
    return {**plain, **changes}


class SyncTask(Task):
    """A task that syncs contacts, and the date of its run."""

    def __init__(self, contacts, **arguments):
        super().__init__()
        self.arguments = {
            "contacts": contacts,
            "ledger": "users",
            "first_run": "send",
            **COLUMNS,
            **arguments,
        }
        self.date = datetime(2026, 11, 1, tzinfo=UTC)

    def make(self):
        self.operator = MeisaSyncContactsOperator(task_id="task", **self.arguments)
        return self.operator

    def context(self):
        return {**super().context(), "data_interval_end": self.date}

    def next_night(self, **changes):
        self.date += timedelta(days=1)
        return super().next_night(**changes)

    def night(self, contacts, **changes):
        return self.next_night(contacts=contacts, **changes).run()


def contact_ledger(folder, sandbox, days_ago=0.0):
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


def upserts(sandbox):
    return [request for request in sandbox.requests() if request["path"].endswith("/contacts/upsert/")]


def held(sandbox):
    """Return what the sandbox has of each contact, by external id."""
    return {
        contact["external_id"]: (contact["email"], contact["first_name"], contact["custom_fields"])
        for contact in sandbox.contacts()
    }
