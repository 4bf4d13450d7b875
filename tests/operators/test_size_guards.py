"""Bounds of the source: too few contacts, or far more rows than in the last run, and nothing is sent."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
from tests.support.people import people
from tests.support.requests_sent import bulk_requests
from tests.support.task import Task

PEOPLE = people(600)
LAST_YEAR = {"ledger": "reactivation", "again_after": "never"}


def plans():
    return list(Path(tempfile.gettempdir()).glob("airflow-provider-meisa-staged-*/*"))


@pytest.mark.parametrize("emails", [[], PEOPLE[:9], [*PEOPLE[:9], PEOPLE[0], "broken", None]])
def test_too_few_valid_contacts_send_nothing(task, meisa_sandbox, emails):
    with pytest.raises(
        AirflowFailException, match=f"{min(len(emails), 9)} valid contacts, fewer than min_con"
    ):
        task(emails, min_contacts=10).run()
    assert not bulk_requests(meisa_sandbox)
    assert not plans()


def test_enough_valid_contacts_are_sent(task):
    assert task([*PEOPLE[:10], None], min_contacts=10).run()["counts"]["enrolled"] == 10


@pytest.mark.usefixtures("ledgers")
def test_contacts_enrolled_before_count_as_valid(task):
    ours = task(PEOPLE[:10], min_contacts=10, **LAST_YEAR)
    ours.run()
    assert ours.next_night().run()["counts"]["enrolled_before"] == 10


@pytest.mark.usefixtures("ledgers")
def test_too_few_contacts_are_not_recorded_either(task):
    ours = task(PEOPLE[:9], min_contacts=10, first_run="record", **LAST_YEAR)
    with pytest.raises(AirflowFailException, match="min_contacts=10"):
        ours.run()
    assert ours.run(min_contacts=9, first_run="send")["counts"]["enrolled"] == 9


def test_far_more_rows_than_last_time_send_nothing(task, meisa_sandbox):
    ours = task(PEOPLE[:100], max_share_of_last=1.5)
    ours.run()
    with pytest.raises(AirflowFailException, match=r"1\.5 times the 100 rows of the last run"):
        ours.next_night(emails=PEOPLE[:151]).run()
    assert len(bulk_requests(meisa_sandbox)) == 1
    assert not plans()


@pytest.mark.parametrize("rows", [1, 100, 150])
def test_up_to_the_share_is_sent(task, rows):
    ours = task(PEOPLE[:100], max_share_of_last=1.5)
    ours.run()
    assert ours.next_night(emails=PEOPLE[:rows]).run()["total"] == rows


def test_a_run_that_was_refused_is_not_the_last(task):
    ours = task(PEOPLE[:100], max_share_of_last=1.5)
    ours.run()
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="max_share_of_last"):
            ours.next_night(emails=PEOPLE).run()


def test_without_an_earlier_summary_there_is_no_share(task):
    assert task(PEOPLE, max_share_of_last=1.0).run()["total"] == 600


def test_a_preview_has_no_bounds_but_its_plan_has(task, meisa_sandbox):
    plan = task(PEOPLE[:9], preview=True, min_contacts=10).run()["plan"]
    with pytest.raises(AirflowFailException, match="min_contacts=10"):
        task([], plan=plan, min_contacts=10).run()
    assert not bulk_requests(meisa_sandbox)
    assert task([], plan=plan, min_contacts=9).run()["counts"]["enrolled"] == 9


def test_a_retry_is_not_stopped_by_what_remains(task, meisa_sandbox):
    ours = task(PEOPLE, min_contacts=600)
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowException):
        ours.run()
    ours.lose_plan()
    assert ours.run(emails=PEOPLE)["counts"]["enrolled"] == 600


@pytest.mark.meisa_sandbox(rate_limits="none")
@pytest.mark.usefixtures("ledgers")
def test_a_contact_sync_has_the_same_bounds(meisa_connection, no_backoff, meisa_sandbox):
    class Sync(Task):
        def make(self):
            return MeisaSyncContactsOperator(task_id="task", **self.arguments)

    ours = Sync()
    ours.arguments = {
        "contacts": [{"id": number, "email": f"p{number}@example.com"} for number in range(10)],
        "fields": {"email": "email", "external_id": "id"},
        "ledger": "users",
        "first_run": "send",
        "min_contacts": 10,
    }
    assert ours.run()["counts"]["created"] == 10
    assert ours.next_night().run()["counts"]["unchanged"] == 10
    with pytest.raises(AirflowFailException, match="min_contacts=10"):
        ours.next_night(contacts=[]).run()
    assert "example.com" not in json.dumps(ours.ti.xcoms)
