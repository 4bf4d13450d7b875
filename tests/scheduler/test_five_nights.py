"""Under a real scheduler: a nightly task with a ledger, and something happens every night."""

import pytest

from airflow_provider_meisa.bulk.ledger import State
from tests.scheduler.nights import LAPSED_FOR_60_DAYS
from tests.support.summary import counts

pytestmark = pytest.mark.timeout(300)


def test_five_nights_enroll_each_contact_once(nightly):
    """The users of each night finish the sequence before the next, so that Meisa would enroll them again."""
    # Night 1: the first run.
    expected = nightly.lapse(1_100)
    first = nightly.play()
    assert counts(first) == {"enrolled": 1_100}

    # Night 2: more users have lapsed. One of them has unsubscribed.
    expected += (new := nightly.lapse(600))
    unsubscribed = new[0]
    nightly.sandbox.put_contacts({unsubscribed: "unsubscribed"})
    second = nightly.play()
    assert counts(second) == {"enrolled": 599, "suppressed": 1, "enrolled_before": 1_100}

    # Night 3: the worker and its disk are lost amid 8 batches. Three users log in before the retry.
    new = nightly.lapse(4_000)
    run = nightly.begin()
    assert 3 <= nightly.lose_worker(after=3) < 8
    nightly.log_in(new[0], new[1], new[-1])
    expected += new[:-1]  # the batch of the last one was not sent
    third = nightly.play(run)
    assert nightly.tries(run) == 2
    assert (enrolled(third), third["total"]) == (3_999, 5_699)
    assert (third["counts"]["suppressed"], third["counts"]["enrolled_before"]) == (1, 1_699)

    # Night 4: another query gives more users, in another order.
    expected += nightly.lapse(250, days_away=60)
    nightly.use_query(LAPSED_FOR_60_DAYS)
    fourth = nightly.play()
    assert counts(fourth) == {"enrolled": 250, "suppressed": 1, "enrolled_before": 5_696}

    # Night 5: the contact who unsubscribed has subscribed again.
    expected += nightly.lapse(50)
    nightly.sandbox.put_contacts({unsubscribed: "subscribed"})
    fifth = nightly.play()
    assert counts(fifth) == {"enrolled": 51, "enrolled_before": 5_946}

    # The summaries add up: each one, all of them with the ledger, and with what Meisa has.
    summaries = [first, second, third, fourth, fifth]
    assert [sum(each["counts"].values()) for each in summaries] == [each["total"] for each in summaries]
    ledger = nightly.ledger()
    assert sum(map(enrolled, summaries)) == ledger.count == fifth["ledger"]["entries"] == len(expected)
    assert set(ledger.count_by_state()) <= {State.ACCEPTED, State.PRESENT}
    assert nightly.times_enrolled() == dict.fromkeys(expected, 1)

    # One night more: the ledger is lost. The task says so, and sends nothing.
    nightly.lapse(10)
    nightly.lose_ledger()
    sent = len(nightly.requests())
    run = nightly.begin()
    assert (nightly.state(run), nightly.tries(run)) == ("failed", 1)
    assert "The ledger reactivation has 0 entries" in nightly.log(run)
    assert f"left {len(expected):,} in reactivation" in nightly.log(run)
    assert len(nightly.requests()) == sent
    assert nightly.times_enrolled() == dict.fromkeys(expected, 1)


def enrolled(summary):
    """Return how many contacts a run has enrolled, those included that a lost response had enrolled."""
    return summary["counts"]["enrolled"] + summary["counts"]["already_enrolled"]
