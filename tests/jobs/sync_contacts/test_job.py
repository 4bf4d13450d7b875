"""Contacts go through the same plan, runner and checkpoint as enrollments: the runner knows neither."""

import json

import pytest

from airflow_provider_meisa.api.client import TRIES
from airflow_provider_meisa.api.errors import MeisaInputError, MeisaResponseLostError, MeisaServerError
from airflow_provider_meisa.bulk.batching import batches
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.options import RunOptions
from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter
from airflow_provider_meisa.bulk.plan import PlanStore
from airflow_provider_meisa.bulk.preview import preview
from airflow_provider_meisa.bulk.reporting import RunReporter
from airflow_provider_meisa.bulk.runner import BulkRunner
from airflow_provider_meisa.jobs.sync_contacts import SyncContactsJob

JOB = SyncContactsJob()
ROWS = [{"email": f"person{n}@example.com", "external_id": str(n), "first_name": "Ada"} for n in range(20)]


class Task:
    """What of a task a run needs: its folder, its checkpoint, and one attempt after the other."""

    def __init__(self, client_of, folder, rows):
        self.client_of = client_of
        self.rows = rows
        self.plans = PlanStore(folder, "contacts")
        self.path = folder / "outcomes.jsonl"
        self.saved = []

    def attempt(self):
        with self.client_of() as client:
            start = (
                Checkpoint.from_json(json.loads(self.saved[-1])) if self.saved else Checkpoint(started_at=1.0)
            )
            runner = BulkRunner(
                client,
                JOB,
                RunOptions(outcomes_path=str(self.path), max_in_flight=3),
                lambda: self.rows,
                plans=self.plans,
                start=start,
                save=lambda kept: self.saved.append(json.dumps(kept)),
                outcomes=OutcomeWriter(self.path),
                reporter=RunReporter(client, JOB),
            )
            with runner:
                runner.prepare()
                stopped_by = runner.run().stopped_by
                summary = runner.summary(complete=stopped_by is None)
                runner.finish(summary)
            if stopped_by:
                self.saved.append(json.dumps(runner.checkpoint().as_json()))
                raise stopped_by
            return summary


@pytest.fixture
def contacts(client_of, tmp_path):
    return lambda rows: Task(client_of, tmp_path, rows)


def counts(summary):
    return {name: count for name, count in summary["counts"].items() if count}


def upserts(sandbox):
    return [request for request in sandbox.requests() if request["path"].endswith("/contacts/upsert/")]


def test_each_record_is_one_request_and_one_outcome(contacts, sandbox):
    task = contacts([*ROWS, ROWS[3], {"email": "broken"}])
    summary = task.attempt()
    assert (summary["job"], counts(summary)) == (
        "sync_contacts",
        {"created": 20, "duplicate": 1, "invalid": 1},
    )
    assert list(summary["counts"]) == [status.value for status in JOB.statuses]
    assert len(upserts(sandbox)) == 20
    assert {contact["external_id"] for contact in sandbox.contacts()} >= {row["external_id"] for row in ROWS}
    assert len(task.path.read_text().splitlines()) == 22
    assert counts(contacts(ROWS).attempt()) == {"updated": 20}


def test_refusal_of_one_contact_fails_it_alone(contacts, sandbox):
    sandbox.fault("status", status=400, path="contacts/upsert", skip=4, times=1)
    assert counts(contacts(ROWS).attempt()) == {"created": 19, "failed": 1}


def test_attempt_after_a_failure_sends_only_what_is_left(contacts, sandbox):
    task = contacts(ROWS)
    sandbox.fault("status", status=500, path="contacts/upsert", skip=8)
    with pytest.raises(MeisaServerError):
        task.attempt()
    sandbox.clear_faults()
    accepted = sum(request["status"] == 201 for request in upserts(sandbox))
    before = len(upserts(sandbox))
    summary = task.attempt()
    assert sum(counts(summary).values()) == 20
    assert len(upserts(sandbox)) - before == 20 - accepted
    assert len(sandbox.contacts()) >= 20


def test_lost_response_is_sent_again_without_a_doubt(contacts, sandbox):
    sandbox.fault("reset_after", path="contacts/upsert", skip=2, times=1)
    summary = contacts(ROWS).attempt()
    assert counts(summary) == {"created": 19, "updated": 1}
    assert summary["possibly_twice"] == 0


def test_responses_that_are_always_lost_stop_the_run(contacts, sandbox):
    sandbox.fault("reset_after", path="contacts/upsert")
    with pytest.raises(MeisaResponseLostError):
        contacts(ROWS[:2]).attempt()
    assert len(upserts(sandbox)) <= 2 * TRIES


def test_contact_that_is_too_large_fails_alone(contacts, sandbox):
    sandbox.fault("status", status=413, path="contacts/upsert", skip=1, times=1)
    assert counts(contacts(ROWS[:3]).attempt()) == {"created": 2, "failed": 1}


def test_twenty_refusals_in_a_row_stop_the_run(contacts, sandbox):
    sandbox.fault("status", status=400, path="contacts/upsert")
    rows = [{"email": f"p{n}@example.com"} for n in range(60)]
    with pytest.raises(Exception, match="does not accept the request"):
        contacts(rows).attempt()
    assert 20 <= len(upserts(sandbox)) <= 22


def test_checkpoints_are_written_every_few_seconds_only(contacts):
    task = contacts(ROWS)
    task.attempt()
    assert len(task.saved) <= 3


def test_preview_counts_contacts_and_sends_none(client_of, sandbox):
    with client_of() as client:
        report = preview(client, JOB, batches(JOB, [*ROWS, {"email": "broken"}]))
    assert (report["job"], report["to_send"], report["requests"]) == ("sync_contacts", 20, 20)
    assert not upserts(sandbox)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("ada@example.com", "a value of type str, not a record"),
        (("ada@example.com",), "a value of type tuple, not a record"),
    ],
)
def test_wrong_shape_stops_before_anything_is_sent(contacts, sandbox, row, message):
    with pytest.raises(MeisaInputError, match=message):
        contacts([*ROWS, row]).attempt()
    assert upserts(sandbox) == []
