"""Under a real scheduler: a nightly task with a ledger, in a world where something happens every night."""

import os
import signal

import pytest

from airflow_provider_meisa.bulk.ledger import State
from tests.scheduler.nights import LAPSED_FOR_60_DAYS
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def test_five_nights_enroll_each_contact_once(nights):
    airflow, sandbox = nights.airflow, nights.sandbox

    # Night 1: the first run.
    expected = nights.lapse(1_100)
    first = nights.summary(nights.begin())
    assert counts(first) == {"enrolled": 1_100}
    nights.finish_sequence()

    # Night 2: more users have lapsed. One of them has unsubscribed.
    new = nights.lapse(600)
    expected += new
    sandbox.put_contacts({new[0]: "unsubscribed"})
    second = nights.summary(nights.begin())
    assert counts(second) == {"enrolled": 599, "suppressed": 1, "enrolled_before": 1_100}
    nights.finish_sequence()

    # Night 3: the worker and its disk are lost amid the batches. Three users log in before the retry.
    new = nights.lapse(4_000)
    before = len(nights.requests())
    run = nights.begin()
    wait_until(lambda: len(nights.requests()) >= before + 3, "3 batches have come in", every=0.02)
    (pid,) = airflow.task_processes()
    os.kill(pid, signal.SIGKILL)
    assert len(nights.requests()) < before + 8
    nights.lose_disk()
    nights.log_in(new[0], new[1], new[-1])
    expected += new[:-1]  # the batch of the last one was not sent
    third = nights.summary(run)
    assert airflow.task("nightly", run)["try_number"] == 2
    sent = third["counts"]["enrolled"] + third["counts"]["already_enrolled"]
    assert (sent, counts(third)["enrolled_before"], counts(third)["suppressed"]) == (3_999, 1_699, 1)
    assert third["total"] == 1_700 + 3_999
    nights.finish_sequence()

    # Night 4: the query is another one, and gives more users, in another order.
    expected += nights.lapse(250, days_away=60)
    nights.use_query(LAPSED_FOR_60_DAYS)
    fourth = nights.summary(nights.begin())
    assert counts(fourth) == {"enrolled": 250, "suppressed": 1, "enrolled_before": 5_696}
    nights.finish_sequence()

    # Night 5: the contact who had unsubscribed is back.
    expected += nights.lapse(50)
    sandbox.put_contacts({expected[1_100]: "subscribed"})
    fifth = nights.summary(nights.begin())
    assert counts(fifth) == {"enrolled": 51, "enrolled_before": 5_946}
    nights.finish_sequence()

    # All nights add up: in each summary, with the ledger, and with what Meisa has.
    summaries = [first, second, third, fourth, fifth]
    for summary in summaries:
        assert sum(summary["counts"].values()) == summary["total"]
    enrolled = sum(
        summary["counts"]["enrolled"] + summary["counts"]["already_enrolled"] for summary in summaries
    )
    ledger = nights.ledger()
    assert enrolled == ledger.count == fifth["ledger"]["entries"] == len(expected)
    assert set(ledger.count_by_state()) <= {State.ACCEPTED, State.PRESENT}
    assert nights.times_enrolled() == dict.fromkeys(expected, 1)

    # One more night: the ledger is lost. The task names it, and sends nothing.
    nights.lapse(10)
    nights.lose_ledger()
    before = len(nights.requests())
    run = nights.begin()
    assert nights.state(run) == "failed"
    assert airflow.task("nightly", run)["try_number"] == 1
    assert "The ledger reactivation has 0 entries" in airflow.log("nightly", run)
    assert f"left {len(expected):,} in reactivation" in airflow.log("nightly", run)
    assert len(nights.requests()) == before
    assert nights.times_enrolled() == dict.fromkeys(expected, 1)


def counts(summary):
    return {status: number for status, number in summary["counts"].items() if number}
