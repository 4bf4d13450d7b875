"""Contact syncs that leave rows to the next night: because their time is over, or because Meisa refuses them."""

from __future__ import annotations

import itertools
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.bulk.ledger import State
from tests.support.summary import counts
from tests.support.sync_task import SyncTask, contact_ledger, row

ROWS = [row(number) for number in range(100)]
NOT_VALID = {"detail": "Not valid."}
TAKEN = {"email": ["Another contact has this email."]}

pytestmark = [pytest.mark.meisa_sandbox(rate_limits="none"), pytest.mark.usefixtures("ledgers", "no_backoff")]


@pytest.fixture
def nights(meisa_connection, meisa_sandbox):
    """Return a task; each of its nights has a key of its own, so that no night uses up the limit of the next."""
    numbers = itertools.count()

    class Nights(SyncTask):
        def run(self, **changes):
            key = f"meisa_live_night{next(numbers)}"
            meisa_sandbox.add_key(key)
            meisa_connection(password=key, extra={"rate_limits": self.limits})
            return super().run(**changes)

        def night(self, contacts, **changes):
            self.limits = changes.pop("limits", self.limits)
            return super().night(contacts, **changes)

    def made(contacts=ROWS, limits="none", **arguments):
        task = Nights(contacts, **arguments)
        task.limits = limits
        return task

    return made


@pytest.fixture
def states(ledgers, meisa_sandbox):
    """Return the number of records per state."""

    return lambda: dict(contact_ledger(ledgers, meisa_sandbox).count_by_state())


def sent(sandbox):
    """Return the ids of the contacts in the order of their requests."""
    found = [each for each in sandbox.requests() if each["path"].endswith("/contacts/upsert/")]
    return [each["addresses"][0].removeprefix("p").partition("@")[0] for each in found]


# Time.


def test_run_that_stops_after_its_time_succeeds_and_the_next_one_sends_the_rest_first(
    nights, meisa_sandbox, states
):
    task = nights(limits="31/hour", stop_after=timedelta(minutes=5))
    first = task.run()
    done = counts(first)["created"]
    assert 25 <= done <= 30
    assert (first["complete"], first["stopped_by"]) == (False, None)
    assert (first["counts"]["untried"], first["backlog"]) == (100 - done, 100 - done)
    assert first["backlog_since"][:10] == f"{datetime.now(UTC):%Y-%m-%d}"
    assert states()[State.ACCEPTED] == done
    # Rows that are new today come before the others in the source, and after them in the plan.
    second = task.night([row(number) for number in range(200, 210)] + ROWS, stop_after=None, limits="none")
    assert counts(second) == {"created": 110 - done, "unchanged": done}
    assert (second["complete"], second["backlog"], second["backlog_since"]) == (True, 0, None)
    rest = sent(meisa_sandbox)[done:]
    assert set(rest[-10:]) >= {str(number) for number in range(206, 210)}
    assert states() == {State.ACCEPTED: 110}


def test_no_row_waits_for_ever_in_five_nights(nights, meisa_sandbox, mocker):
    """Each night brings more new rows, at the front of the source, than a night can send."""
    task = nights(contacts=ROWS[:50], limits="31/hour", stop_after=300.0, max_in_flight=1)
    summaries = [task.run()]
    for night in range(1, 6):
        new = [row(1_000 * each + number) for each in range(night, 0, -1) for number in range(40)]
        summaries.append(task.night(new + ROWS[:50]))
    assert [each["complete"] for each in summaries] == [False] * 6
    order = [int(each) // 1_000 for each in sent(meisa_sandbox)]
    assert len(order) == len(set(sent(meisa_sandbox)))
    assert order == sorted(order)


def test_row_that_leaves_the_source_leaves_the_backlog(nights):
    task = nights(limits="31/hour", stop_after=300.0)
    done = counts(task.run())["created"]
    summary = task.night(ROWS[:60], stop_after=None, limits="none")
    assert counts(summary) == {"unchanged": done, "created": 60 - done}
    assert summary["backlog"] == 0


def test_backlog_is_in_the_preview_and_counts_as_no_change(nights):
    task = nights(limits="31/hour", stop_after=300.0, max_changes=100)
    left = task.run()["backlog"]
    report = task.night(ROWS, preview=True)
    assert (report["backlog"], report["new"], report["changed"]) == (left, 0, 0)
    summary = task.night(ROWS, preview=False, max_changes=0, stop_after=None, limits="none")
    assert counts(summary)["created"] == left


def test_rows_left_to_the_next_run_are_in_the_outcomes_file(nights, tmp_path):
    path = tmp_path / "outcomes.jsonl"
    summary = nights(limits="31/hour", stop_after=300.0, outcomes_path=path).run()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 100
    assert sum(line["status"] == "untried" for line in lines) == summary["backlog"]


# Refusals.


def test_refusals_that_stop_a_run_go_last_and_then_count_as_refused(nights, meisa_sandbox, states):
    """Twenty bad rows at the front stop one night, not each one."""
    meisa_sandbox.fault("status", status=400, body=NOT_VALID, path="upsert", times=20)
    task = nights(contacts=ROWS[:60], max_in_flight=1, max_failed=None)
    with pytest.raises(AirflowException):
        task.run()
    assert states()[State.PENDING] == 20
    before = len(sent(meisa_sandbox))
    meisa_sandbox.fault("status", status=400, body=NOT_VALID, path="upsert", times=20, skip=40)
    second = task.night(ROWS[:60])
    assert counts(second) == {"created": 40, "failed": 20}
    assert second["complete"]
    bad = {str(number) for number in range(20)}
    assert set(sent(meisa_sandbox)[before:][40:]) == bad
    assert states() == {State.ACCEPTED: 40, State.REFUSED: 20}
    assert counts(task.night(ROWS[:60])) == {"unchanged": 40, "refused_before": 20}


def test_refusals_that_were_the_fault_of_the_night_are_sent(nights, meisa_sandbox, states):
    meisa_sandbox.fault("status", status=400, body=NOT_VALID, path="upsert", times=20)
    task = nights(contacts=ROWS[:60], max_in_flight=1)
    with pytest.raises(AirflowException):
        task.run()
    assert counts(task.night(ROWS[:60])) == {"created": 60}
    assert states() == {State.ACCEPTED: 60}


# Conflicts.


def test_chain_of_addresses_is_resolved_at_the_end_of_the_run(nights, meisa_sandbox, states):
    """Each contact gets the address of the next one, which is free only once that has moved."""
    task = nights(contacts=ROWS[:30])
    task.run()
    moved = [row(number, email=f"p{number + 1}@example.com") for number in range(30)]
    assert counts(task.night(moved)) == {"updated": 30}
    addresses = {each["external_id"]: each["email"] for each in meisa_sandbox.contacts()}
    assert addresses == {str(number): f"p{number + 1}@example.com" for number in range(30)}
    assert states() == {State.ACCEPTED: 30}


@pytest.mark.parametrize(("days", "expected"), [(1, "failed"), (3, "failed"), (4, "refused_before")])
def test_swapped_addresses_are_tried_for_three_days_and_then_refused(nights, mocker, days, expected):
    task = nights(contacts=ROWS[:2], max_failed=None)
    task.run()
    swapped = [row(0, email="p1@example.com"), row(1, email="p0@example.com")]
    for day in range(days + 1):
        later = time.time() + day * 86_400
        mocker.patch("airflow_provider_meisa.bulk.run_ledger.time.time", return_value=later)
        mocker.patch("airflow_provider_meisa.bulk.ledger.ledger.time.time", return_value=later)
        summary = task.night(swapped)
        mocker.stopall()
    assert counts(summary) == {expected: 2}


def test_conflict_today_that_is_free_tomorrow_is_sent(nights, meisa_sandbox, states):
    meisa_sandbox.fault("status", status=409, body=TAKEN, path="upsert", times=2)
    task = nights(contacts=ROWS[:1], max_failed=None)
    assert counts(task.run()) == {"failed": 1}
    assert states() == {State.PRESENT: 1}
    assert counts(task.night(ROWS[:1])) == {"created": 1}
    assert states() == {State.ACCEPTED: 1}


# Another mapping.


def test_resync_of_columns_sends_all_rows_if_no_other_column_has_changed(nights, meisa_sandbox):
    task = nights(contacts=ROWS[:40])
    task.run()
    rows = [{**each, "seats": 1, "team": "a"} for each in ROWS[:40]]
    with pytest.raises(AirflowFailException, match="also changed for team, which resync does not name"):
        task.night(rows, custom_fields=["plan", "mrr", "Seats", "team"], resync=["seats"])
    assert len(sent(meisa_sandbox)) == 40
    assert counts(task.night(rows, custom_fields=["plan", "mrr", "Seats"])) == {"updated": 40}
    assert counts(task.night(rows)) == {"unchanged": 40}


def test_resync_of_columns_takes_only_these_into_all_custom_fields(nights, meisa_sandbox):
    task = nights(contacts=ROWS[:3], custom_fields="*")
    task.run()
    rows = [{**each, "seats": 1, "team": "a"} for each in ROWS[:3]]
    assert counts(task.night(rows, resync=["Seats"])) == {"updated": 3}
    assert meisa_sandbox.contacts()[0]["custom_fields"] == {"mrr": 1.5, "plan": "free", "seats": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resync": []}, "resync is an empty list"),
        ({"resync": [3]}, "resync"),
        ({"resync": "some"}, "resync must be one of"),
        ({"stop_after": "5h"}, "stop_after must be a number of seconds"),
    ],
)
def test_wrong_parameter_is_named_before_anything_is_sent(nights, meisa_sandbox, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        nights(**arguments).run()
    assert sent(meisa_sandbox) == []
