"""A write whose response was lost is sent again once, after a while, and what that may have done twice is marked."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from airflow_provider_meisa.api.endpoints.sequences import bulk_enroll, enroll
from airflow_provider_meisa.api.errors import (
    MeisaRateLimitError,
    MeisaResponseLostError,
    MeisaServerError,
    MeisaUnavailableError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.models import Request
from airflow_provider_meisa.api.outcomes import (
    BY_US,
    ENROLL_STATUSES,
    TWICE,
    Outcome,
    OutcomeCounter,
    OutcomeStatus,
    build_summary,
)
from airflow_provider_meisa.api.rate_limit.limiter import Reservation
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.engine import BulkEngine
from airflow_provider_meisa.bulk.steps import AwaitResend, AwaitResponse, Finished, SendBatch
from tests.support.jobs import ENROLL, enroll_batches
from tests.support.people import people
from tests.support.raw_server import respond_with

WRITE = Request("POST", "/sequences/enroll/", body={"email": "ada@example.org"}, safe=False)
READ = Request("GET", "/ping/")
ADA = "ada@example.org"
PEOPLE = people(500, domain="example.org")
AFTER = 30.0


def hang_up(line):
    """Take a request and close the connection."""


def times(sandbox):
    return {row["email"]: row["times_enrolled"] for row in sandbox.enrollments("onboarding")}


@pytest.fixture
def patient(client, clock, meisa_sandbox):
    """A client in whose waits the sandbox gets its late work done, if they are long enough."""

    def sleep(seconds):
        clock.sleep(seconds)
        while seconds >= 10 and meisa_sandbox.at_work:
            time.sleep(0.005)

    client._sleep = sleep
    return client


# How long, and how often.


@pytest.mark.parametrize(
    ("timeout", "wait"), [(0.5, 10), (5, 10), (10, 10), (30, 30), (90, 90), (3600, 3600)]
)
def test_resend_waits_for_timeout_and_ten_seconds_at_least(clock, timeout, wait):
    assert Settings(api_key="k", timeout=timeout).resend_after == wait


@pytest.mark.parametrize(
    "lost", [hang_up, respond_with(502), respond_with(504, "<html>"), respond_with(408), respond_with(425)]
)
@pytest.mark.parametrize(("timeout", "wait"), [(5, 10), (45, 45)])
def test_lost_write_is_sent_again_once_after_its_wait(raw, client_of, clock, lost, timeout, wait):
    raw.will(lost, respond_with(201, {}))
    client = client_of(raw.url, timeout=timeout)
    assert client.send(WRITE, resend=True).possibly_twice
    assert clock.sleeps == [wait]
    assert (len(raw.received), client.stats.retries, client.stats.waited) == (2, 1, wait)


@pytest.mark.parametrize("lost", [hang_up, respond_with(502), respond_with(504)])
def test_write_lost_twice_is_left_to_airflow(raw, raw_client, clock, lost):
    raw.will(lost)
    with pytest.raises((MeisaResponseLostError, MeisaServerError)) as caught:
        raw_client.send(WRITE, resend=True)
    assert caught.value.possibly_done
    assert (clock.sleeps, len(raw.received)) == ([10], 2)


def test_write_is_resent_once_whatever_comes_in_between(raw, raw_client, clock):
    raw.will(
        hang_up,
        respond_with(503, Retry_After="2"),
        respond_with(429, Retry_After="2"),
        respond_with(504),
        respond_with(201, {}),
    )
    with pytest.raises(MeisaServerError):
        raw_client.send(WRITE, resend=True)
    assert len(raw.received) == 4


def test_wait_longer_than_a_call_waits_is_not_begun(raw, client_of, clock):
    raw.will(hang_up)
    with pytest.raises(MeisaResponseLostError):
        client_of(raw.url, timeout=300).send(WRITE, resend=True)
    assert (clock.sleeps, len(raw.received)) == ([], 1)


@pytest.mark.parametrize("status", [500, 501, 507, 520, 599])
def test_any_other_5xx_leaves_the_write_in_doubt(raw, raw_client, clock, status):
    raw.will(respond_with(status))
    with pytest.raises(MeisaServerError) as caught:
        raw_client.send(WRITE, resend=True)
    assert caught.value.possibly_done
    assert (clock.sleeps, len(raw.received)) == ([], 1)


def test_lost_read_is_not_in_doubt(raw, raw_client, clock):
    raw.will(respond_with(504))
    with pytest.raises(MeisaServerError) as caught:
        raw_client.send(READ)
    assert not caught.value.possibly_done
    assert len(raw.received) == 5
    assert max(clock.sleeps) < 10


def test_stop_ends_the_wait_for_a_resend(raw, raw_client, clock):
    raw.will(hang_up)
    raw_client._sleep = lambda _seconds: raw_client.stop()
    with pytest.raises(MeisaResponseLostError, match="could not be sent again"):
        raw_client.send(WRITE, resend=True)
    assert len(raw.received) == 1


# A server that is still at work.


@pytest.mark.parametrize("status", [504, 502, 408])
def test_slow_server_enrolls_one_contact_once(meisa_sandbox, patient, status):
    meisa_sandbox.fault("late", seconds=0.2, status=status, path="/enroll/", times=1)
    assert enroll(patient, ADA, "onboarding") == Outcome(ADA, OutcomeStatus.ALREADY_ENROLLED, BY_US)
    assert times(meisa_sandbox) == {ADA: 1}


@pytest.mark.parametrize("status", [504, 502, 408])
def test_slow_server_enrolls_a_batch_once(meisa_sandbox, patient, status):
    meisa_sandbox.fault("late", seconds=0.2, status=status, path="bulk", times=1)
    response = bulk_enroll(patient, PEOPLE, "onboarding")
    assert Counter(response.outcomes) == Counter(
        Outcome(email, OutcomeStatus.ALREADY_ENROLLED, BY_US) for email in PEOPLE
    )
    assert times(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


def test_slow_server_after_a_timeout(meisa_sandbox, client_of, clock):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.key, timeout=0.2)

    def sleep(seconds):
        clock.sleep(seconds)
        while meisa_sandbox.at_work:
            time.sleep(0.005)

    client._sleep = sleep
    meisa_sandbox.fault("late", seconds=0.6, status=0, times=1)
    assert enroll(client, ADA, "onboarding").reason == BY_US
    assert times(meisa_sandbox) == {ADA: 1}


def test_server_slower_than_the_wait_is_reported(meisa_sandbox, client, clock):
    meisa_sandbox.fault("late", seconds=0.5, times=1)
    response = bulk_enroll(client, [ADA, "bounced@example.com"], "onboarding")
    assert response.outcomes[0].reason == TWICE
    assert response.outcomes[1].status is OutcomeStatus.SUPPRESSED
    while meisa_sandbox.at_work:
        time.sleep(0.005)
    assert times(meisa_sandbox) == {ADA: 2}


# The engine.


class Now:
    def __init__(self):
        self.seconds = 1_800_000_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def now():
    return Now()


def engine(now, checkpoint=None, *, many=6, **more):
    run = BulkEngine(
        ENROLL,
        enroll_batches(people(many, domain="example.org"), 1),
        lambda: Reservation("any"),
        checkpoint=checkpoint,
        clock=now,
        **{"resend_after": AFTER, "max_in_flight": 3, **more},
    )
    run.catch_up()
    return run


def take(run, send, status=OutcomeStatus.ENROLLED):
    run.on_response(send, [Outcome(address, status) for address in send.batch.items])


def test_engine_waits_before_it_sends_a_lost_batch_again(now):
    run = engine(now)
    run.refused(run.step(), MeisaResponseLostError("lost"))
    assert run.step() == AwaitResend(AFTER)
    now.seconds += AFTER - 1
    assert run.step() == AwaitResend(1.0)
    now.seconds += 1
    again = run.step()
    assert (again.batch.number, again.is_resend) == (0, True)
    take(run, again)
    assert +run.counter.doubts == {TWICE: 1}


@pytest.mark.parametrize("error", [MeisaResponseLostError("lost"), MeisaServerError("504", status=504)])
def test_engine_stops_when_a_batch_is_lost_twice(now, error):
    run = engine(now)
    run.refused(run.step(), error)
    now.seconds += AFTER
    run.refused(run.step(), error)
    assert run.step() == Finished(error)
    kept = run.checkpoint()
    assert (kept.in_flight, kept.resend_at) == ((0,), now() + AFTER)


@pytest.mark.parametrize(
    "error",
    [
        MeisaServerError("500", status=500),
        MeisaUnreadableResponseError("HTML", status=200, possibly_done=True),
    ],
)
def test_engine_leaves_other_doubts_to_a_later_try(now, error):
    run = engine(now)
    run.refused(run.step(), error)
    assert run.step() == Finished(error)
    assert run.checkpoint().resend_at == now() + AFTER


def test_engine_does_not_resend_where_that_is_not_wanted(now):
    run = engine(now, resend=False)
    run.refused(run.step(), error := MeisaResponseLostError("lost"))
    assert run.step() == Finished(error)


def test_batches_in_doubt_take_up_room(now):
    run = engine(now)
    take(run, run.step())
    one, two, three = run.step(), run.step(), run.step()
    assert run.step() == AwaitResponse()
    run.refused(one, MeisaResponseLostError("lost"))
    run.refused(two, MeisaResponseLostError("lost"))
    assert run.step() == AwaitResend(AFTER)
    take(run, three)
    other = run.step()
    assert other.batch.number == 4
    assert run.step() == AwaitResend(AFTER)
    run.refused(other, MeisaResponseLostError("lost"))
    assert len(run.checkpoint().in_flight) == 3
    now.seconds += AFTER
    assert [run.step().batch.number for _ in range(3)] == [1, 2, 4]


@pytest.mark.parametrize("error", [MeisaRateLimitError("429"), MeisaUnavailableError("503")])
def test_resend_that_is_put_back_may_follow_at_once(now, error):
    run = engine(now)
    run.refused(run.step(), MeisaResponseLostError("lost"))
    now.seconds += AFTER
    run.refused(run.step(), error)
    again = run.step()
    assert again.is_resend
    take(run, again, OutcomeStatus.ALREADY_ENROLLED)
    assert +run.counter.doubts == {BY_US: 1}


def test_later_try_waits_out_the_rest(now):
    first = engine(now)
    first.refused(first.step(), MeisaServerError("500", status=500))
    now.seconds += 12
    second = engine(now, Checkpoint.from_json(first.checkpoint().as_json()))
    assert second.step() == AwaitResend(AFTER - 12)
    now.seconds += AFTER - 12
    assert isinstance(second.step(), SendBatch)


@pytest.mark.parametrize("elapsed", [0, 5, 100_000])
def test_try_after_a_killed_one_waits_from_its_own_beginning(now, elapsed):
    first = engine(now)
    first.step()
    kept = first.checkpoint()
    assert (kept.in_flight, kept.resend_at) == ((0,), 0)
    now.seconds += elapsed
    assert engine(now, kept).step() == AwaitResend(AFTER)


@pytest.mark.parametrize("shift", [-100_000, -50, 20])
def test_clock_that_was_set_never_makes_a_wait_too_long(now, shift):
    first = engine(now)
    first.refused(first.step(), MeisaServerError("500", status=500))
    now.seconds += shift
    assert engine(now, first.checkpoint()).step().seconds == min(AFTER, AFTER - shift)


def test_resend_counts_over_a_deferral_and_again_in_a_later_try(now):
    error = MeisaResponseLostError("lost")
    first = engine(now)
    first.refused(first.step(), error)
    now.seconds += AFTER
    first.refused(first.step(), MeisaRateLimitError("429"))
    kept = Checkpoint.from_json(first.checkpoint().as_json())
    assert kept.resent == (0,)
    deferred = engine(now, kept)
    deferred.refused(deferred.step(), error)
    assert deferred.step() == Finished(error)


def test_doubts_stay_in_the_account_of_a_later_try(now):
    first = engine(now)
    first.refused(first.step(), MeisaResponseLostError("lost"))
    now.seconds += AFTER
    take(first, first.step())
    kept = Checkpoint.from_json(first.checkpoint().as_json())
    assert +engine(now, kept).counter.doubts == {TWICE: 1}


# The account.


def test_summary_counts_what_may_be_twice_and_leaves_room_for_failures():
    counter = OutcomeCounter()
    counter.add([Outcome(email, OutcomeStatus.ENROLLED, TWICE) for email in PEOPLE])
    counter.add([Outcome(email, OutcomeStatus.ALREADY_ENROLLED, BY_US) for email in PEOPLE[:7]])
    counter.add([Outcome("grace@example.org", OutcomeStatus.FAILED, "no")])
    numbers = {"requests": 1, "retries": 0, "rate_limited": 0, "waited_s": 0.0, "elapsed_s": 0.0}
    summary = build_summary(
        counter, job="enroll", identity={}, statuses=ENROLL_STATUSES, complete=True, **numbers
    )
    assert (summary["possibly_twice"], summary["possibly_by_this_run"]) == (500, 7)
    assert Counter(entry["reason"] for entry in summary["attention"]) == {TWICE: 5, "no": 1}
    assert summary["attention_truncated"]


def test_both_doubts_add_up():
    one, other = OutcomeCounter(doubts={TWICE: 2}), OutcomeCounter(doubts={TWICE: 1, BY_US: 4})
    assert (one + other).doubts == {TWICE: 3, BY_US: 4}
