"""Contact syncs that meet a 5xx: one row stops no other, and a Meisa that is down stops the run."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.api.client import TRIES
from airflow_provider_meisa.bulk.ledger import State
from airflow_provider_meisa.bulk.refusals import MOST_SERVER_ERRORS
from tests.support.summary import counts
from tests.support.sync_task import SyncTask, contact_ledger, row

ROWS = [row(number) for number in range(40)]

pytestmark = [pytest.mark.meisa_sandbox(rate_limits="none"), pytest.mark.usefixtures("ledgers", "no_backoff")]


@pytest.fixture
def task(meisa_connection):
    """Return a task that sends one row at a time."""
    meisa_connection(extra={"rate_limits": "none"})
    return lambda rows=ROWS, **arguments: SyncTask(rows, max_in_flight=1, **arguments)


@pytest.fixture
def fail_on_row(meisa_sandbox):
    """Let Meisa fail on one row of the first run: where it is in the source, and when it comes at the end."""

    def fail(number):
        meisa_sandbox.fault("status", status=500, path="upsert", skip=number, times=TRIES)
        meisa_sandbox.fault("status", status=500, path="upsert", skip=len(ROWS) - 1)

    return fail


def sent(sandbox):
    """Return the ids of the contacts in the order of their requests."""
    found = [each for each in sandbox.requests() if each["path"].endswith("/contacts/upsert/")]
    return [int(each["addresses"][0].removeprefix("p").partition("@")[0]) for each in found]


def test_row_that_always_meets_500_stops_no_other(task, fail_on_row, meisa_sandbox, caplog, tmp_path):
    fail_on_row(7)
    ours = task(outcomes_path=str(tmp_path / "outcomes.jsonl"))
    with pytest.raises(AirflowException, match="500") as failure:
        ours.run()
    assert not isinstance(failure.value, AirflowFailException), "Airflow retries"
    summary = ours.ti.xcoms["return_value"]
    assert counts(summary) == {"created": 39, "unreported": 1}
    assert not summary["complete"]
    assert len(meisa_sandbox.contacts()) == 39
    assert sent(meisa_sandbox)[-TRIES:] == [7] * TRIES
    assert "Meisa fails on 1 contact each time, and has responded to the others" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "outcomes.jsonl").read_text().splitlines()]
    assert [(line["address"], line["row"]) for line in lines if line["status"] == "unreported"] == [
        ("p7@example.com", 8)
    ]


def test_retry_sends_only_that_row(task, fail_on_row, meisa_sandbox):
    fail_on_row(7)
    ours = task()
    for _ in range(2):
        with pytest.raises(AirflowException, match="500"):
            ours.run()
    assert sent(meisa_sandbox)[-TRIES:] == [7] * TRIES
    meisa_sandbox.clear_faults()
    before = len(sent(meisa_sandbox))
    summary = ours.run()
    assert counts(summary) == {"created": 1, "updated": 39}
    assert summary["complete"]
    assert sent(meisa_sandbox)[before:] == [7]


def test_next_night_sends_that_row_last_until_it_is_accepted(task, fail_on_row, meisa_sandbox, ledgers):
    fail_on_row(7)
    ours = task(max_changes=None)
    with pytest.raises(AirflowException):
        ours.run()
    changed = [row(number, plan="team") for number in range(40)]
    meisa_sandbox.clear_faults()
    before = len(sent(meisa_sandbox))
    assert counts(ours.night(changed)) == {"created": 1, "updated": 39}
    assert sent(meisa_sandbox)[before:] == [*range(7), *range(8, 40), 7]
    assert contact_ledger(ledgers, meisa_sandbox).count_by_state() == {State.ACCEPTED: 40}
    before = len(sent(meisa_sandbox))
    assert counts(ours.night(ROWS)) == {"updated": 40}
    assert sent(meisa_sandbox)[before:] == [*range(40)]


def test_row_that_meets_500_once_is_sent_at_the_end(task, meisa_sandbox):
    meisa_sandbox.fault("status", status=500, path="upsert", skip=7, times=TRIES)
    assert counts(task().run()) == {"created": 40}
    assert sent(meisa_sandbox)[-1] == 7


def test_meisa_that_is_down_stops_the_run(task, meisa_sandbox):
    meisa_sandbox.fault("status", status=500, path="upsert", skip=10)
    ours = task()
    with pytest.raises(AirflowException, match="500"):
        ours.run()
    assert counts(ours.ti.xcoms["return_value"]) == {"created": 10, "untried": 30}
    assert len(sent(meisa_sandbox)) == 10 + MOST_SERVER_ERRORS * TRIES
    meisa_sandbox.clear_faults()
    assert ours.run()["complete"]
    assert len(meisa_sandbox.contacts()) == 40


def test_bad_rows_next_to_each_other_stop_one_night_only(task, meisa_sandbox):
    """So many 5xx in a row look as if Meisa was down; the next night sends these rows last."""
    meisa_sandbox.fault("status", status=500, path="upsert", times=MOST_SERVER_ERRORS * TRIES)
    ours = task(max_changes=None)
    with pytest.raises(AirflowException):
        ours.run()
    assert not meisa_sandbox.contacts()
    meisa_sandbox.fault("status", status=500, path="upsert", skip=len(ROWS) - MOST_SERVER_ERRORS)
    with pytest.raises(AirflowException):
        ours.night(ROWS)
    assert len(meisa_sandbox.contacts()) == len(ROWS) - MOST_SERVER_ERRORS


@pytest.mark.parametrize("in_flight", [1, 4])
def test_rows_that_fail_apart_do_not_stop_the_run(task, meisa_sandbox, in_flight):
    for number in range(MOST_SERVER_ERRORS + 3):
        meisa_sandbox.fault("status", status=500, path="upsert", skip=3 * number + 1, times=TRIES)
    assert counts(task().run(max_in_flight=in_flight)) == {"created": 40}


@pytest.mark.meisa_sandbox(rate_limits="12/2s")
def test_row_that_waits_for_the_end_survives_a_deferral(
    meisa_sandbox, meisa_connection, short_deferrals, ledgers
):
    meisa_connection(extra={"rate_limits": "12/2s"})
    meisa_sandbox.fault("status", status=500, path="upsert", skip=3, times=TRIES)
    ours = SyncTask(ROWS, max_in_flight=1, **short_deferrals)
    summary = ours.run()
    assert ours.deferrals
    assert sum(counts(summary).values()) == len(meisa_sandbox.contacts()) == 40
    assert summary["complete"]
    assert contact_ledger(ledgers, meisa_sandbox).count_by_state() == {State.ACCEPTED: 40}
