"""The engine after something went wrong, with batches still on their way."""

from __future__ import annotations

from airflow_provider_meisa.api.errors import (
    MeisaKeyError,
    MeisaRateLimitError,
    MeisaServerError,
    MeisaUnreachableError,
)
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.api.rate_limit.limiter import Reservation
from airflow_provider_meisa.bulk.batching import batches
from airflow_provider_meisa.bulk.engine import BulkEngine
from airflow_provider_meisa.bulk.steps import AwaitResponse, Finished
from airflow_provider_meisa.jobs.sync_contacts import SyncContactsJob
from tests.support.clock import Clock
from tests.support.jobs import ENROLL, enroll_batches
from tests.support.people import people

PEOPLE = people(6)


def engine(**more):
    """A run of six batches of one."""
    return BulkEngine(ENROLL, enroll_batches(PEOPLE, 1), lambda: Reservation("any"), **more)


def take(run, send):
    run.on_response(send, [Outcome(address, OutcomeStatus.ENROLLED) for address in send.batch.items])


def two_under_way():
    run = engine(max_in_flight=2)
    take(run, run.step())
    return run, run.step(), run.step()


def test_responses_that_are_under_way_are_waited_for_and_count():
    run, one, other = two_under_way()
    run.refused(one, error := MeisaKeyError("no", status=401))
    assert run.step() == AwaitResponse()
    take(run, other)
    assert run.step() == Finished(error)
    assert run.counter.counts == {OutcomeStatus.ENROLLED: 2}
    assert run.unresolved.counts == {OutcomeStatus.UNTRIED: 4}


def test_the_first_failure_is_the_one_that_stopped_the_run():
    run, one, other = two_under_way()
    run.refused(one, error := MeisaKeyError("no", status=401))
    run.refused(other, MeisaUnreachableError("no"))
    assert run.step() == Finished(error)
    assert run.checkpoint().unsent == (1, 2)


def test_a_429_after_a_lost_response_leaves_the_doubt_until_the_batch_is_taken():
    run = engine()
    error = MeisaRateLimitError("no")
    error.possibly_done = True
    run.refused(run.step(), error)
    assert run.checkpoint().in_flight == (0,)
    take(run, run.step())
    assert run.checkpoint().in_flight == run.checkpoint().unsent == ()


def test_what_was_surely_not_sent_is_sent_also_where_nothing_may_be_sent_again():
    first = engine()
    first.refused(first.step(), MeisaUnreachableError("no"))
    second = engine(checkpoint=first.checkpoint(), resend=False)
    second.catch_up()
    assert second.step().batch.number == 0


def test_record_given_up_is_left_to_next_run_if_time_is_over():
    job, clock = SyncContactsJob(), Clock()
    rows = [{"email": address} for address in PEOPLE]
    run = BulkEngine(job, batches(job, rows), lambda: Reservation("any"), stop_at=clock() + 60, clock=clock)
    error = MeisaServerError("no", status=500)
    run.refused(run.step(), error)
    for _ in PEOPLE[1:]:
        send = run.step()
        run.on_response(send, [Outcome(send.batch.items[0]["email"], OutcomeStatus.CREATED)])
    last = run.step()
    assert last.batch.number == 0
    clock.now += 60
    run.refused(last, error)
    assert run.step() == Finished()
    assert run.counter.counts == {OutcomeStatus.CREATED: 5, OutcomeStatus.UNTRIED: 1}
    assert run.is_out_of_time
    assert run.checkpoint().unsent == (0,)


def test_a_step_shows_no_address():
    assert "@" not in repr(engine().step())
