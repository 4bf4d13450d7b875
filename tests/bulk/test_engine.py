"""The engine, performed by a model of Meisa: no socket, no thread, no clock."""

import json
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_meisa.api.errors import (
    MeisaAudienceChangedError,
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaKeyError,
    MeisaRateLimitError,
    MeisaResponseLostError,
    MeisaServerError,
    MeisaStoppedError,
    MeisaUnreachableError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.outcomes import BY_US, TWICE, Outcome, OutcomeStatus
from airflow_provider_meisa.api.rate_limit.limiter import Reservation, Wait
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.engine import BulkEngine
from airflow_provider_meisa.bulk.job import BadItems
from airflow_provider_meisa.bulk.steps import AwaitResponse, Finished, SendBatch
from airflow_provider_meisa.jobs.enroll import EnrollJob
from tests.support.jobs import ENROLL, enroll_batches

SIZE = 3
RESERVATION = Reservation("any")


def people(number):
    return [f"person{each}@example.com" for each in range(number)]


def engine(emails, checkpoint=None, *, reserve=lambda: RESERVATION, size=SIZE, **arguments):
    made = BulkEngine(ENROLL, enroll_batches(emails, size), reserve, checkpoint=checkpoint, **arguments)
    made.catch_up()
    return made


def bulk_response(addresses, status=OutcomeStatus.ENROLLED, reason=""):
    return [Outcome(address, status, reason) for address in addresses]


def suppress(addresses):
    """Make what leaves these addresses out."""

    def outcome_of(address):
        return Outcome(address, OutcomeStatus.SUPPRESSED, "unsubscribed") if address in addresses else None

    return outcome_of


def rate_limited(*, possibly_done=False):
    error = MeisaRateLimitError("slow down", retry_after=1)
    error.possibly_done = possibly_done
    return error


def run_to_the_end(enrollment, response=lambda send: bulk_response(send.batch.items)):
    """Send one batch at a time; give the batches sent, and the last step."""
    sent = []
    while isinstance(step := enrollment.step(), SendBatch):
        sent.append(step.batch.number)
        outcome = response(step)
        if isinstance(outcome, list):
            enrollment.on_response(step, outcome)
        else:
            enrollment.refused(step, outcome)
    return sent, step


# One step at a time.


def test_the_first_batch_goes_alone_and_then_as_many_as_are_allowed():
    enrollment = engine(people(12), max_in_flight=3)
    first = enrollment.step()
    assert isinstance(enrollment.step(), AwaitResponse)
    enrollment.on_response(first, bulk_response(first.batch.items))
    assert [type(enrollment.step()) for _ in range(4)] == [SendBatch, SendBatch, SendBatch, AwaitResponse]


def test_a_wait_is_passed_on_and_the_batch_is_sent_after_it():
    decisions = iter([Wait(7.0), RESERVATION])
    enrollment = engine(people(2), reserve=lambda: next(decisions))
    assert enrollment.step() == Wait(7.0)
    assert enrollment.checkpoint().unsent == (0,)
    assert enrollment.step().batch.number == 0
    assert enrollment.checkpoint().in_flight == (0,)


def test_an_audience_of_no_contact_is_done_at_once():
    enrollment = engine([])
    assert enrollment.step() == Finished(None)
    assert enrollment.counter.total == 0


def test_an_audience_without_an_address_to_send_is_accounted_for_without_a_request():
    enrollment = engine(["broken", "also broken"])
    assert enrollment.step() == Finished(None)
    assert enrollment.counter.counts == {OutcomeStatus.INVALID: 2}


def refusing(*bad, named=False, emails_only=True):
    """Make a Meisa that refuses each request with one of these addresses, and names them or not."""

    def response(send):
        places = {place: "odd" for place, item in enumerate(send.batch.items) if item in bad}
        if not places:
            return bulk_response(send.batch.items)
        fields = ("emails",) if emails_only else ("sequence_slug",)
        return MeisaInvalidRequestError("no", status=400, fields=fields, places=places if named else None)

    return response


def sent_items(enrollment, response):
    """Send to the end; give the items of each request, and the last step."""
    requests = []

    def noted(send):
        requests.append(list(send.batch.items))
        return response(send)

    _, step = run_to_the_end(enrollment, noted)
    return requests, step


def test_named_bad_address_is_invalid_and_the_rest_sent_again():
    bad, *good = people(3)
    enrollment = engine([bad, *good])
    assert sent_items(enrollment, refusing(bad, named=True)) == ([[bad, *good], good], Finished(None))
    assert enrollment.counter.counts == {OutcomeStatus.ENROLLED: 2, OutcomeStatus.INVALID: 1}
    assert enrollment.counter.attention[0]["reason"] == "odd"


def test_all_named_leave_nothing_to_send():
    recorded = {}
    enrollment = engine(people(4), record=lambda batch, outcomes: recorded.update({batch.key: outcomes}))
    error = MeisaInvalidRequestError(
        "no", status=400, fields=("emails",), places=dict.fromkeys(range(3), "odd")
    )
    responses = iter([error])
    sent, step = run_to_the_end(
        enrollment, lambda send: next(responses, None) or bulk_response(send.batch.items)
    )
    assert (sent, step) == ([0, 1], Finished(None))
    assert [outcome.status for outcome in recorded[0, 0]] == [OutcomeStatus.INVALID] * 3


def test_unnamed_bad_address_is_found_by_halves():
    everyone = people(8)
    enrollment = engine(everyone, size=8)
    requests, step = sent_items(enrollment, refusing(everyone[5]))
    assert step == Finished(None)
    assert requests[:3] == [everyone, everyone[:4], everyone[4:]]
    assert len(requests) <= 1 + 2 * 3
    assert enrollment.counter.counts == {OutcomeStatus.ENROLLED: 7, OutcomeStatus.INVALID: 1}


@pytest.mark.parametrize("bad", [{0}, {499}, {0, 499}, {17, 18, 19}])
def test_each_bad_address_costs_few_requests(bad):
    everyone = people(500)
    enrollment = engine(everyone, size=500)
    requests, step = sent_items(enrollment, refusing(*(everyone[place] for place in bad)))
    assert step == Finished(None)
    assert enrollment.counter.counts[OutcomeStatus.INVALID] == len(bad)
    assert len(requests) <= 1 + len(bad) * 2 * math.ceil(math.log2(500))


def test_after_three_bad_addresses_what_is_refused_of_the_batch_fails():
    everyone = people(64)
    enrollment = engine(everyone, size=64)
    requests, step = sent_items(enrollment, refusing(*everyone[:8], everyone[40]))
    assert step == Finished(None)
    assert enrollment.counter.counts[OutcomeStatus.INVALID] >= 3
    assert enrollment.counter.counts[OutcomeStatus.FAILED] >= 1
    assert enrollment.counter.total == 64
    assert len(requests) < 2 * 4 * 6


def test_refusal_that_names_the_same_addresses_again_ends():
    enrollment = engine(people(3))
    error = MeisaInvalidRequestError("no", status=400, fields=("emails",), places={0: "odd"})
    sent, _ = run_to_the_end(enrollment, lambda _: error)
    assert len(sent) <= 4
    assert enrollment.counter.total == 3


def test_refusal_of_another_field_concerns_every_contact():
    enrollment = engine(people(7))
    requests, step = sent_items(enrollment, refusing(people(1)[0], emails_only=False))
    assert isinstance(step.stopped_by, MeisaInvalidRequestError)
    assert len(requests) == 1
    assert enrollment.unresolved.counts == {OutcomeStatus.UNTRIED: 7}


def test_twenty_refusals_in_a_row_stop_the_run():
    error = MeisaInvalidRequestError("no", status=400)
    enrollment = engine(people(300), size=1)
    sent, step = run_to_the_end(enrollment, lambda _: error)
    assert (len(sent), step) == (20, Finished(error))
    assert enrollment.counter.counts == {OutcomeStatus.FAILED: 19}
    assert enrollment.unresolved.counts == {OutcomeStatus.UNTRIED: 281}


def test_refusals_between_acceptances_never_stop_the_run():
    everyone = people(100)
    enrollment = engine(everyone, size=1)
    requests, step = sent_items(enrollment, refusing(*everyone[::2]))
    assert (len(requests), step) == (100, Finished(None))
    assert enrollment.counter.counts == {OutcomeStatus.ENROLLED: 50, OutcomeStatus.INVALID: 50}


def test_split_batch_continues_where_a_crash_left_it():
    everyone = people(8)
    first = engine(everyone, size=8)
    bad, done = refusing(everyone[5]), []
    for _ in range(3):
        send = first.step()
        outcome = bad(send)
        if isinstance(outcome, list):
            first.on_response(send, outcome)
            done += send.batch.items
        else:
            first.refused(send, outcome)
    kept = Checkpoint.from_json(first.checkpoint().as_json())
    assert [tuple(piece) for piece in kept.pieces] == [(0, 4, 6, "unsent"), (0, 6, 8, "unsent")]
    second = engine(everyone, kept, size=8)
    requests, _ = sent_items(second, bad)
    assert done == everyone[:4]
    assert not {*done} & {item for request in requests for item in request}
    assert second.counter.counts == {OutcomeStatus.ENROLLED: 7, OutcomeStatus.INVALID: 1}


def test_refusal_of_an_only_item_that_no_job_explains_fails_it():
    class Silent(EnrollJob):
        def on_error(self, _error, _items):
            return BadItems({})

    made = BulkEngine(Silent("onboarding"), enroll_batches(people(2), 2), lambda: RESERVATION)
    made.catch_up()
    error = MeisaInvalidRequestError("no", status=400)
    sent, step = run_to_the_end(made, lambda _: error)
    assert (len(sent), step) == (3, Finished(None))
    assert made.counter.counts == {OutcomeStatus.FAILED: 2}


def test_piece_in_flight_at_a_crash_is_in_doubt():
    everyone = people(8)
    first = engine(everyone, size=8)
    first.refused(send := first.step(), refusing(everyone[5])(send))
    first.step()
    kept = Checkpoint.from_json(first.checkpoint().as_json())
    assert [tuple(piece) for piece in kept.pieces] == [(0, 0, 4, "in_flight"), (0, 4, 8, "unsent")]
    second = engine(everyone, kept, size=8)
    run_to_the_end(second)
    assert second.counter.counts == {OutcomeStatus.ENROLLED: 8}
    assert second.counter.doubts[TWICE] == 4


def test_those_who_unsubscribed_are_counted_once_when_a_batch_is_split():
    everyone = people(8)
    leave_out = suppress({everyone[1], everyone[6]})
    first = engine(everyone, size=8, exclusion=leave_out)
    first.refused(send := first.step(), refusing(everyone[5])(send))
    first.on_response(send := first.step(), bulk_response(send.batch.items))
    second = engine(everyone, first.checkpoint(), size=8, exclusion=leave_out)
    sent_items(second, refusing(everyone[5]))
    assert second.counter.counts == {
        OutcomeStatus.ENROLLED: 5,
        OutcomeStatus.INVALID: 1,
        OutcomeStatus.SUPPRESSED: 2,
    }


@pytest.mark.parametrize(
    "error",
    [
        MeisaResponseLostError("lost"),
        MeisaServerError("500", status=500),
        MeisaUnreadableResponseError("HTML", status=200, possibly_done=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_batch_that_may_have_been_carried_out_is_unreported_and_the_rest_untried(error):
    enrollment = engine(people(7))
    assert run_to_the_end(enrollment, lambda _: error)[1] == Finished(error)
    assert enrollment.unresolved.counts == {OutcomeStatus.UNREPORTED: 3, OutcomeStatus.UNTRIED: 4}
    assert enrollment.checkpoint().in_flight == (0,)


@pytest.mark.parametrize(
    "error", [MeisaUnreachableError("no way"), MeisaStoppedError("stop"), MeisaKeyError("401", status=401)]
)
def test_a_batch_that_was_surely_not_carried_out_is_untried(error):
    enrollment = engine(people(7))
    assert run_to_the_end(enrollment, lambda _: error)[1] == Finished(error)
    assert enrollment.unresolved.counts == {OutcomeStatus.UNTRIED: 7}
    assert enrollment.checkpoint().unsent == (0,)


@pytest.mark.parametrize(
    "error",
    [MeisaKeyError("401", status=401), MeisaInvalidRequestError("400", status=400)],
    ids=["key", "fields"],
)
def test_a_refusal_of_a_repeat_leaves_it_open_what_became_of_the_first_try(error):
    error.possibly_done = True
    enrollment = engine(people(3))
    run_to_the_end(enrollment, lambda _: error)
    assert enrollment.unresolved.counts == {OutcomeStatus.UNREPORTED: 3}
    assert enrollment.checkpoint().in_flight == (0,)


def test_a_429_puts_the_batch_back_and_only_twenty_in_a_row_stop_the_run():
    enrollment = engine(people(3))
    sent, step = run_to_the_end(enrollment, lambda _: rate_limited())
    assert len(sent) == 21
    assert isinstance(step.stopped_by, MeisaRateLimitError)


def test_responses_between_429s_keep_the_run_going():
    seen = Counter()

    def response(send):
        seen[send.batch.number] += 1
        return rate_limited() if seen[send.batch.number] <= 15 else bulk_response(send.batch.items)

    enrollment = engine(people(9))
    assert run_to_the_end(enrollment, response)[1] == Finished(None)
    assert enrollment.counter.counts == {OutcomeStatus.ENROLLED: 9}


def test_who_is_already_enrolled_in_a_batch_that_was_in_flight_was_possibly_enrolled_by_this_run():
    first = engine(people(3))
    first.step()
    reported = []
    second = engine(people(3), first.checkpoint(), record=lambda number, outcomes: reported.extend(outcomes))
    run_to_the_end(
        second, lambda send: bulk_response(send.batch.items, OutcomeStatus.ALREADY_ENROLLED, "is in it")
    )
    assert {outcome.reason for outcome in reported} == {BY_US}


def test_what_was_in_flight_is_not_sent_again_where_that_is_not_wanted():
    first = engine(people(3))
    first.step()
    with pytest.raises(MeisaInputError, match="on_ambiguous='resend'"):
        engine(people(3), first.checkpoint(), resend=False)


@pytest.mark.parametrize(
    "other",
    [people(9)[::-1], people(2), [], ["broken", *people(9)], [*people(4), "new@example.com", *people(9)[4:]]],
    ids=["another order", "fewer", "none", "one set aside more", "one more"],
)
def test_another_audience_is_refused(other):
    first = engine(people(9))
    for _ in range(2):
        send = first.step()
        first.on_response(send, bulk_response(send.batch.items))
    with pytest.raises(MeisaAudienceChangedError):
        engine(other, first.checkpoint())


def test_an_audience_that_has_grown_at_its_end_is_gone_on_with():
    first = engine(people(6))
    send = first.step()
    first.on_response(send, bulk_response(send.batch.items))
    second = engine(people(20), first.checkpoint())
    assert run_to_the_end(second) == (list(range(1, 7)), Finished(None))
    assert second.counter.counts == {OutcomeStatus.ENROLLED: 20}


def test_a_batch_of_which_all_were_suppressed_meanwhile_is_not_sent_again():
    first = engine(people(6))
    first.step()
    reported = {}
    second = engine(
        people(6),
        first.checkpoint(),
        exclusion=suppress(set(people(3))),
        record=lambda batch, outcomes: reported.update({batch.number: outcomes}),
    )
    assert run_to_the_end(second) == ([1], Finished(None))
    assert second.counter.counts == {OutcomeStatus.SUPPRESSED: 3, OutcomeStatus.ENROLLED: 3}
    assert [outcome.address for outcome in reported[0]] == people(3)


def test_who_was_suppressed_meanwhile_does_not_change_the_fingerprint():
    first = engine(people(9), exclusion=suppress({"person1@example.com"}))
    send = first.step()
    first.on_response(send, bulk_response(send.batch.items))
    second = engine(
        people(9), first.checkpoint(), exclusion=suppress({"person2@example.com", "person8@example.com"})
    )
    run_to_the_end(second)
    assert second.counter.counts == {OutcomeStatus.SUPPRESSED: 2, OutcomeStatus.ENROLLED: 7}


def failing_after(number, error):
    """A source of addresses that fails when so many were read."""
    yield from people(number)
    raise error


def test_a_source_that_fails_stops_the_run_after_the_responses_that_were_under_way():
    error = MeisaUnreachableError("the warehouse is down")
    first = engine(failing_after(501, error), size=250, max_in_flight=4)
    assert run_to_the_end(first) == ([0, 1], Finished(error))
    assert first.counter.counts == {OutcomeStatus.ENROLLED: 500}
    second = engine(people(502), first.checkpoint(), size=250)
    assert run_to_the_end(second) == ([2], Finished(None))
    assert second.counter.counts == {OutcomeStatus.ENROLLED: 502}


def test_a_source_that_fails_while_a_retry_catches_up_is_no_changed_audience():
    first = engine(people(9))
    send = first.step()
    first.on_response(send, bulk_response(send.batch.items))
    error = MeisaUnreachableError("the warehouse is down")
    with pytest.raises(MeisaUnreachableError):
        engine(failing_after(2, error), first.checkpoint())


def test_a_source_that_fails_after_the_run_has_stopped_is_mentioned_in_what_stopped_it():
    error = MeisaKeyError("401", status=401)
    enrollment = engine(failing_after(501, MeisaUnreachableError("the warehouse is down")), size=250)
    assert run_to_the_end(enrollment, lambda _: error) == ([0], Finished(error))
    assert enrollment.unresolved.counts == {OutcomeStatus.UNTRIED: 500}
    assert "the warehouse is down" in error.__notes__[0]


def test_a_second_failure_does_not_replace_the_first():
    enrollment = engine(people(9), max_in_flight=2)
    send = enrollment.step()
    enrollment.on_response(send, bulk_response(send.batch.items))
    sends, error = [enrollment.step(), enrollment.step()], MeisaKeyError("401", status=401)
    enrollment.refused(sends[0], error)
    enrollment.refused(sends[1], MeisaServerError("500", status=500))
    assert enrollment.step() == Finished(error)
    assert enrollment.unresolved.counts == {OutcomeStatus.UNTRIED: 3, OutcomeStatus.UNREPORTED: 3}


def failing_to_record(*numbers):
    """Record nothing, and fail at these batches."""

    def record(batch, _outcomes):
        if batch.number in numbers:
            raise MeisaUnreachableError("the disk is full")

    return record


def test_a_batch_whose_outcomes_cannot_be_recorded_stays_one_that_may_have_been_carried_out():
    first = engine(people(9), max_in_flight=2, record=failing_to_record(1))
    send = first.step()
    first.on_response(send, bulk_response(send.batch.items))
    lost, other = first.step(), first.step()
    with pytest.raises(MeisaUnreachableError):
        first.on_response(lost, bulk_response(lost.batch.items))
    first.on_response(other, bulk_response(other.batch.items))
    assert (first.checkpoint().in_flight, first.checkpoint().unsent) == ((1,), ())
    second = engine(people(9), first.checkpoint())
    assert run_to_the_end(second) == ([1], Finished(None))
    assert second.counter.counts == {OutcomeStatus.ENROLLED: 9}


def test_a_refused_batch_whose_outcomes_cannot_be_recorded_was_surely_not_carried_out():
    first = engine(people(6), record=failing_to_record(1))
    send = first.step()
    first.on_response(send, bulk_response(send.batch.items))
    send = first.step()
    error = MeisaInvalidRequestError("no", status=400, places={0: "odd", 1: "odd", 2: "odd"})
    with pytest.raises(MeisaUnreachableError):
        first.refused(send, error)
    assert (first.checkpoint().in_flight, first.checkpoint().unsent) == ((), (1,))


def test_a_batch_without_addresses_whose_outcomes_cannot_be_recorded_is_left_for_a_later_try():
    first = engine(["broken", "also broken"], record=failing_to_record(0))
    with pytest.raises(MeisaUnreachableError):
        first.step()
    second = engine(["broken", "also broken"], first.checkpoint())
    assert run_to_the_end(second) == ([], Finished(None))
    assert second.counter.counts == {OutcomeStatus.INVALID: 2}


def after_a_first_batch_of(status):
    """A checkpoint that counts one batch, all with this status."""
    first = engine(people(9))
    send = first.step()
    first.on_response(send, bulk_response(send.batch.items, status))
    return first.checkpoint()


def test_the_first_batch_of_a_later_try_goes_alone_whatever_was_accepted_before():
    second = engine(people(9), after_a_first_batch_of(OutcomeStatus.ENROLLED), max_in_flight=3)
    assert isinstance(second.step(), SendBatch)
    assert isinstance(second.step(), AwaitResponse)


def test_a_rate_limit_that_fails_on_the_way_stops_the_run_once_every_response_has_come():
    error = MeisaUnreachableError("Redis is down")
    decisions = iter([RESERVATION, RESERVATION, error])

    def reserve():
        decision = next(decisions)
        if decision is error:
            raise error
        return decision

    enrollment = engine(people(9), reserve=reserve, max_in_flight=2)
    send = enrollment.step()
    enrollment.on_response(send, bulk_response(send.batch.items))
    send = enrollment.step()
    assert enrollment.step() == AwaitResponse()
    enrollment.on_response(send, bulk_response(send.batch.items))
    assert enrollment.step() == Finished(error)
    assert enrollment.counter.counts == {OutcomeStatus.ENROLLED: 6}
    assert enrollment.unresolved.counts == {OutcomeStatus.UNTRIED: 3}
    assert enrollment.checkpoint().unsent == (2,)


def test_what_fails_before_the_first_batch_is_raised():
    def reserve():
        raise MeisaUnreachableError("Redis is down")

    with pytest.raises(MeisaUnreachableError):
        engine(people(9), reserve=reserve).step()


# Anything at any time.

ROW = st.one_of(
    st.integers(0, 40).map(lambda n: f"person{n}@example.com"),
    st.integers(0, 40).map(lambda n: f" Person{n}@EXAMPLE.com "),
    st.sampled_from(["broken", "", None, "a@b"]),
)
STATUS = st.sampled_from(
    [
        OutcomeStatus.ENROLLED,
        OutcomeStatus.ALREADY_ENROLLED,
        OutcomeStatus.SUPPRESSED,
        OutcomeStatus.UNREPORTED,
        OutcomeStatus.FAILED,
    ]
)


class AnyRun(RuleBasedStateMachine):
    """A task that is performed, killed, retried and deferred at random, as `Leg` performs it."""

    @initialize(
        rows=st.lists(ROW, max_size=60),
        in_flight=st.integers(1, 4),
        suppressed=st.sets(st.integers(0, 40).map(lambda n: f"person{n}@example.com"), max_size=5),
        size=st.integers(1, 8),
    )
    def begin(self, rows, in_flight, suppressed, size):
        self.size = size
        self.rows = rows
        self.in_flight = in_flight
        self.suppressed = suppressed
        self.cut = {batch.number: batch for batch in enroll_batches(rows, size)}
        self.kept = Checkpoint().as_json()
        self.recorded = {}
        self.sent = Counter()
        self.excused = set()
        self.waits = False
        self.disk_is_full = False
        self.done = None
        self.start()

    def start(self):
        """Start a process, from what was kept."""
        self.sends = {}
        self.done = None
        kept = Checkpoint.from_json(json.loads(json.dumps(self.kept)))
        self.drop_records_of_pending(kept)
        self.engine = engine(
            self.rows,
            kept,
            size=self.size,
            reserve=self.reserve,
            record=self.record,
            max_in_flight=self.in_flight,
            exclusion=suppress(self.suppressed),
        )

    def reserve(self):
        self.waits = not self.waits
        return Wait(1.0) if self.waits else RESERVATION

    def record(self, batch, outcomes):
        if self.disk_is_full:
            raise MeisaUnreachableError("the disk is full")
        self.recorded[batch.key] = list(outcomes)

    def drop_records_of_pending(self, kept):
        """Drop what is written again, as `OutcomeWriter.begin` does."""
        whole = {*kept.in_flight, *kept.unsent}
        for number, start in list(self.recorded):
            pieces = [piece for piece in kept.pieces if piece.number == number]
            is_pending = any(piece.start <= start < piece.stop for piece in pieces)
            if number >= kept.next_batch or number in whole or is_pending:
                del self.recorded[number, start]

    def keep(self):
        self.kept = self.engine.checkpoint().as_json()

    def running(self):
        return self.done is None

    def awaiting(self):
        return self.done is None and bool(self.sends)

    @precondition(running)
    @rule()
    def go_on(self):
        step = self.engine.step()
        if isinstance(step, SendBatch):
            self.keep()
            key = step.batch.key
            assert key not in self.sends
            assert not self.sent[key] or key in self.excused, "a batch was sent twice without a reason"
            assert 0 < len(step.batch.items) <= self.size
            self.sent[key] += 1
            self.excused.discard(key)
            self.sends[key] = step
            assert len(self.sends) <= self.in_flight
        elif isinstance(step, AwaitResponse):
            assert self.sends
        elif isinstance(step, Finished):
            assert not self.sends
            self.done = step
            self.check_summary()

    @precondition(awaiting)
    @rule(which=st.randoms(use_true_random=False), status=STATUS)
    def a_response_comes(self, which, status):
        send = self.any_send(which)
        self.engine.on_response(send, bulk_response(send.batch.items, status, "a reason"))
        self.keep()

    @precondition(awaiting)
    @rule(
        which=st.randoms(use_true_random=False),
        error=st.one_of(
            st.booleans().map(lambda done: rate_limited(possibly_done=done)),
            st.builds(MeisaResponseLostError, st.just("lost")),
            st.builds(MeisaServerError, st.just("502"), status=st.just(502)),
            st.builds(
                MeisaUnreadableResponseError,
                st.just("HTML"),
                status=st.just(200),
                possibly_done=st.booleans(),
            ),
            st.builds(MeisaUnreachableError, st.just("no way")),
            st.builds(MeisaStoppedError, st.just("stop")),
            st.builds(MeisaInvalidRequestError, st.just("no"), status=st.just(400)),
            st.builds(
                MeisaInvalidRequestError,
                st.just("no"),
                status=st.just(400),
                places=st.dictionaries(st.just(0), st.just("odd")),
            ),
        ),
    )
    def a_failure_comes(self, which, error):
        send = self.any_send(which)
        self.engine.refused(send, error)
        self.excused.add(send.batch.key)
        self.keep()

    @rule()
    def the_process_is_killed_and_the_task_retried(self):
        self.excused |= set(self.sends)
        self.start()

    @precondition(running)
    @rule(which=st.randoms(use_true_random=False), status=STATUS)
    def the_process_is_killed_between_a_response_and_its_note(self, which, status):
        if self.sends:
            send = self.any_send(which)
            self.engine.on_response(send, bulk_response(send.batch.items, status))
            self.excused.add(send.batch.key)
        self.the_process_is_killed_and_the_task_retried()

    @precondition(awaiting)
    @rule(which=st.randoms(use_true_random=False), status=STATUS)
    def a_response_cannot_be_recorded_and_the_task_is_retried(self, which, status):
        send = self.any_send(which)
        self.disk_is_full = True
        with pytest.raises(MeisaUnreachableError):
            self.engine.on_response(send, bulk_response(send.batch.items, status))
        self.disk_is_full = False
        self.excused.add(send.batch.key)
        for other in self.sends.values():
            self.engine.on_response(other, bulk_response(other.batch.items, status))
        self.keep()
        self.start()

    @rule(which=st.integers(0, 40))
    def a_contact_unsubscribes_and_the_task_is_retried(self, which):
        self.suppressed = {*self.suppressed, f"person{which}@example.com"}
        self.the_process_is_killed_and_the_task_retried()

    def any_send(self, which):
        return self.sends.pop(which.choice(sorted(self.sends)))

    def check_summary(self):
        """At the end of each attempt every address has exactly one status, and the counts say the same."""
        summary = self.engine.counter + self.engine.unresolved
        assert summary.total == len(self.rows)
        by_batch = {}
        for (number, _), outcomes in self.recorded.items():
            by_batch.setdefault(number, []).extend(outcomes)
        assert set(by_batch) == set(self.cut)
        spoken = Counter()
        for number, outcomes in by_batch.items():
            batch = self.cut[number]
            meant = Counter([*batch.items, *(outcome.address for outcome in batch.set_aside)])
            assert Counter(outcome.address for outcome in outcomes) == meant
            spoken.update(outcome.status for outcome in outcomes)
        assert +summary.counts == +spoken
        if self.done.stopped_by is None:
            assert not self.engine.unresolved.total
            assert not summary.counts[OutcomeStatus.UNTRIED]

    @invariant()
    def what_is_kept_is_small_and_names_no_contact(self):
        if hasattr(self, "kept"):
            text = json.dumps(self.kept)
            assert len(text) - len(json.dumps(self.kept["pieces"])) < 1024
            assert "example.com" not in text.lower()
            assert "person" not in text.lower()

    def teardown(self):
        """Whatever has happened: a last attempt without trouble gives every address a status."""
        if not hasattr(self, "kept"):
            return
        self.the_process_is_killed_and_the_task_retried()
        while self.running():
            self.go_on()
            for number in list(self.sends):
                send = self.sends.pop(number)
                self.engine.on_response(send, bulk_response(send.batch.items))
                self.keep()
        assert self.done == Finished(None)


TestAnyRun = AnyRun.TestCase
TestAnyRun.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@given(
    number=st.integers(0, 30),
    in_flight=st.integers(1, 4),
    crash_after=st.lists(st.integers(0, 8), max_size=4),
)
def test_crashes_alone_send_nothing_twice_but_what_was_in_flight(number, in_flight, crash_after):
    kept, sent, in_doubt = Checkpoint(), Counter(), 0
    for steps in [*crash_after, 1000]:
        enrollment = engine(people(number), kept, max_in_flight=in_flight)
        on_their_way = []
        for _ in range(steps):
            step = enrollment.step()
            if isinstance(step, Finished):
                break
            if isinstance(step, SendBatch):
                kept = enrollment.checkpoint()
                sent[step.batch.number] += 1
                on_their_way.append(step)
            elif on_their_way:
                send = on_their_way.pop(0)
                enrollment.on_response(send, bulk_response(send.batch.items))
                kept = enrollment.checkpoint()
        in_doubt += len(on_their_way)
    assert enrollment.counter.counts == ({OutcomeStatus.ENROLLED: number} if number else {})
    assert sum(sent.values()) - len(sent) <= in_doubt <= in_flight * len(crash_after)
