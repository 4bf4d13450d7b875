"""Under a real scheduler: runs at the same time that share a ledger enroll each contact once."""

import pytest

from tests.scheduler.backfills import RUNS, SIGNUPS

pytestmark = pytest.mark.timeout(400)


def assert_each_sent_once(backfill):
    """Check that all six have succeeded, and that their summaries, Meisa and the ledger agree."""
    summaries = backfill.summaries()
    assert [task["state"] for task in backfill.tasks()] == ["success"] * RUNS
    assert backfill.times_accepted() == dict.fromkeys(SIGNUPS, 1)
    assert [sum(each["counts"].values()) for each in summaries] == [600] * RUNS
    assert sum(each["counts"]["enrolled"] for each in summaries) == len(SIGNUPS)
    assert sum(each["counts"]["enrolled_before"] for each in summaries) == RUNS * 600 - len(SIGNUPS)
    assert max(each["ledger"]["entries"] for each in summaries) == len(SIGNUPS)


def tries(backfill):
    return {task["try_number"] for task in backfill.tasks()}


def test_six_backfill_runs_wait_for_the_ledger(backfilled):
    ours = backfilled["backfilled"]
    assert_each_sent_once(ours)
    assert tries(ours) == {1}


def test_deferred_backfill_run_keeps_the_others_waiting(backfilled):
    ours = backfilled["backfilled_and_deferred"]
    assert_each_sent_once(ours)
    assert tries(ours) == {1}
    assert any("worker slot released" in log for log in ours.logs())


def test_six_backfill_runs_at_once_are_retried(backfilled):
    """The DAG allows six at a time: those that meet another run in the ledger are retried."""
    ours = backfilled["backfilled_at_once"]
    assert_each_sent_once(ours)
    assert max(tries(ours)) > 1


def test_killed_backfill_run_keeps_the_others_away(backfilled):
    """Until its retry they find a run that has not ended, and are retried as well."""
    ours = backfilled["backfilled_and_killed"]
    ours.kill_worker()
    ours.wait()
    times, summaries = ours.times_accepted(), ours.summaries()
    assert [task["state"] for task in ours.tasks()] == ["success"] * RUNS
    assert times.keys() == SIGNUPS
    assert times.total() - len(SIGNUPS) in {0, 100}  # the batch in flight
    assert [sum(each["counts"].values()) for each in summaries] == [600] * RUNS
    assert max(each["ledger"]["entries"] for each in summaries) == len(SIGNUPS)
