"""A run that is interrupted resumes exactly where it was: each row of the table in the docs.

`run_task` runs a DAG in a real Airflow. `Task` is cheaper: it plays Airflow's part around the operator.
"""

import itertools
import json
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.sdk import DAG

from airflow_provider_meisa.api.endpoints import contacts
from airflow_provider_meisa.api.errors import MeisaRateLimitError, MeisaUnreachableError
from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter
from airflow_provider_meisa.bulk import refusals, runner
from airflow_provider_meisa.bulk.plan import PlanStore
from airflow_provider_meisa.operators import bulk as bulk_operator
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.triggers.rate_limit import MeisaRateLimitTrigger
from tests.support.known_sequences import forget_sequences
from tests.support.people import people
from tests.support.requests_sent import bulk_requests, times_enrolled, times_sent
from tests.support.stores import ForgetfulStore
from tests.support.summary import counts
from tests.support.task import Task
from tests.support.waiting import wait_until

PEOPLE = people(2600)
AGAIN = {"retries": 1, "retry_delay": timedelta(0)}


@pytest.fixture
def bulk(run_task):
    def run(emails=PEOPLE, **arguments):
        return run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug="onboarding", **arguments)

    return run


def fail_at_batch(sandbox, number, **fault):
    sandbox.fault("status", **{"status": 500, "path": "bulk-enroll", "skip": number, "times": 1, **fault})


# In a real Airflow.


@pytest.mark.parametrize("max_in_flight", [1, 4])
def test_a_retry_goes_on_after_the_last_response_and_sends_nothing_twice(bulk, meisa_sandbox, max_in_flight):
    fail_at_batch(meisa_sandbox, 2)
    ran = bulk(max_in_flight=max_in_flight, **AGAIN)
    assert ran.state == "success"
    summary = ran.xcom("task")
    assert sum(summary["counts"].values()) == 2600
    assert summary["resumed"] is True
    assert summary["requests"] == len(meisa_sandbox.requests())
    assert set(times_enrolled(meisa_sandbox).values()) == {1}
    answered = Counter(
        a
        for request in bulk_requests(meisa_sandbox)
        if request["status"] == 200
        for a in request["addresses"]
    )
    assert answered == dict.fromkeys(PEOPLE, 1)


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_long_waits_are_deferred_and_every_address_is_sent_once(
    bulk, meisa_sandbox, meisa_connection, mocker, short_deferrals
):
    waiting = mocker.spy(MeisaRateLimitTrigger, "run")
    meisa_connection(extra={"rate_limits": "2/2s"})
    ran = bulk(**short_deferrals)
    assert ran.state == "success"
    assert counts(ran.xcom("task")) == {"enrolled": 2600}
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)
    assert [request["status"] for request in bulk_requests(meisa_sandbox)] == [200] * 6
    assert ran.xcom("task")["rate_limited"] == 0
    assert ran.xcom("task")["resumed"] is False
    cursors = [call.args[0].cursor for call in waiting.call_args_list]
    assert len(cursors) >= 2
    assert [cursor["next_batch"] for cursor in cursors] == sorted({c["next_batch"] for c in cursors})


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_where_no_state_is_kept_the_cursor_of_the_trigger_suffices(
    bulk, meisa_sandbox, meisa_connection, mocker, short_deferrals
):
    mocker.patch.object(bulk_operator, "store_of", return_value=ForgetfulStore())
    meisa_connection(extra={"rate_limits": "2/2s"})
    ran = bulk(PEOPLE[:1600], **short_deferrals)
    assert ran.state == "success"
    assert counts(ran.xcom("task")) == {"enrolled": 1600}
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE[:1600], 1)


def test_a_rerun_and_each_run_of_a_backfill_are_runs_of_their_own_and_send_everything(run, meisa_sandbox):
    with DAG("run_twice", schedule=None) as dag:
        MeisaBulkEnrollOperator(task_id="task", emails=PEOPLE[:600], sequence_slug="onboarding")
    assert counts(run(dag).xcom("task")) == {"enrolled": 600}
    rerun = run(dag)
    assert counts(rerun.xcom("task")) == {"already_enrolled": 600}
    assert rerun.xcom("task")["resumed"] is False
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE[:600], 2)


def test_the_tasks_of_a_mapped_operator_each_go_on_from_their_own_checkpoint(run, meisa_sandbox):
    with DAG("mapped", schedule=None) as dag:
        MeisaBulkEnrollOperator.partial(task_id="task", sequence_slug="onboarding", **AGAIN).expand(
            emails=[PEOPLE[:1200], PEOPLE[1200:2400]]
        )
    fail_at_batch(meisa_sandbox, 1)
    ran = run(dag)
    assert set(ran.states.values()) == {"success"}
    # Which of the two runs first, and so meets the failure, Airflow leaves open.
    assert sorted(ran.xcom("task", map_index=index)["resumed"] for index in (0, 1)) == [False, True]
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE[:2400], 1)


# Killed, lost, cleared.


def test_a_process_that_dies_between_two_batches_leaves_nothing_to_send_twice(task, meisa_sandbox):
    ours = task(PEOPLE, max_in_flight=1)
    ours.state.fail_at = 4  # two intents and two results were kept
    with pytest.raises(RuntimeError):
        ours.run()
    assert len(bulk_requests(meisa_sandbox)) == 2
    ours.state.fail_at = None
    summary = ours.run()
    assert counts(summary) == {"enrolled": 2600}
    assert summary["resumed"] is True
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


def test_a_process_that_dies_before_it_has_noted_a_response_sends_only_that_batch_twice(task, meisa_sandbox):
    ours = task(PEOPLE, max_in_flight=1)
    ours.state.fail_at = 3  # two intents and one result were kept
    with pytest.raises(RuntimeError):
        ours.run()
    assert ours.state.get("meisa")["in_flight"] == [1]
    ours.state.fail_at = None
    summary = ours.run()
    assert counts(summary) == {"enrolled": 2100, "already_enrolled": 500}
    assert times_sent(meisa_sandbox) == {a: 2 if 500 <= n < 1000 else 1 for n, a in enumerate(PEOPLE)}


def test_an_orphaned_process_dies_on_its_next_intent_before_it_sends(task, meisa_sandbox):
    ours = task(PEOPLE)
    ours.state.fail_at = 0
    with pytest.raises(RuntimeError):
        ours.run()
    assert bulk_requests(meisa_sandbox) == []


def test_a_task_cleared_after_a_failure_goes_on_where_it_was(task, meisa_sandbox):
    ours = task(PEOPLE, max_in_flight=1)
    fail_at_batch(meisa_sandbox, 3, status=401)
    with pytest.raises(AirflowFailException):
        ours.run()
    before = ours.ti.xcoms["return_value"]
    assert before["complete"] is False
    assert counts(before) == {"enrolled": 1500, "untried": 1100}
    assert counts(ours.run()) == {"enrolled": 2600}
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)
    assert len(bulk_requests(meisa_sandbox)) == 7


@pytest.mark.parametrize("emails", [PEOPLE[:600], PEOPLE[600:1200]], ids=["the same", "others"])
def test_a_task_cleared_after_success_begins_again(task, meisa_sandbox, emails):
    ours = task(PEOPLE[:600])
    ours.run()
    summary = ours.clear().run(emails=emails)
    assert summary["total"] == 600
    assert summary["resumed"] is False
    assert sum(len(request["addresses"]) for request in bulk_requests(meisa_sandbox)) == 1200


@pytest.mark.meisa_sandbox(rate_limits="4/1s")
def test_a_task_cleared_after_success_begins_again_although_it_must_wait_before_its_first_batch(
    task, meisa_sandbox, meisa_connection, short_deferrals
):
    meisa_connection(
        extra={"rate_limits": "4/1s", "rate_limit_storage": f"file://{meisa_sandbox.database.parent}/q"}
    )
    ours = task(PEOPLE[:600], **short_deferrals)
    ours.run()
    ours.deferrals.clear()
    forget_sequences(meisa_sandbox.database.parent / "q")
    assert counts(ours.clear().run()) == {"already_enrolled": 600}
    assert ours.deferrals[0].cursor["next_batch"] == 0
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE[:600], 2)


class Stream:
    """Addresses without a count."""

    def __iter__(self):
        return iter(PEOPLE)


def test_a_stream_is_gone_on_with_as_a_list_is(task, meisa_sandbox, caplog):
    ours = task(Stream(), max_in_flight=1)
    fail_at_batch(meisa_sandbox, 3)
    with pytest.raises(AirflowException):
        ours.run()
    with caplog.at_level("INFO", logger="airflow.task.meisa"):
        assert counts(ours.run()) == {"enrolled": 2600}
    assert "(2,600 of 2,600" in caplog.text
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


def test_what_was_not_understood_in_a_response_is_said_without_an_address(task, meisa_sandbox, caplog):
    meisa_sandbox.fault("bulk_shape", shape="results", extra=2)
    with caplog.at_level("INFO", logger="airflow.task.meisa"):
        assert counts(task(PEOPLE[:3]).run()) == {"enrolled": 3}
    assert "Not understood in the response: " in caplog.text
    assert "@" not in caplog.text


# What could not be stored.


@pytest.fixture
def before_batch(monkeypatch):
    """Disturb the place where something is kept, once, as a batch is read from the plan."""

    def at(number, disturb):
        read, pending = PlanStore.batches, [disturb]

        def disturbed(store, plan, *places):
            for batch in read(store, plan, *places):
                if batch.number == number and pending:
                    pending.pop()()
                yield batch

        monkeypatch.setattr(PlanStore, "batches", disturbed)

    return at


@pytest.mark.meisa_sandbox(rate_limits="none", latency_ms=150)
def test_a_batch_whose_outcomes_could_not_be_written_is_in_the_account_of_the_next_try(
    task, meisa_sandbox, tmp_path, before_batch
):
    path = tmp_path / "outcomes.jsonl"
    in_the_way = tmp_path / "outcomes.jsonl.parts" / "part-v2-000001.jsonl"
    ours = task(PEOPLE, outcomes_path=str(path))
    before_batch(2, in_the_way.mkdir)
    with pytest.raises(AirflowException, match="cannot be written"):
        ours.run()
    in_the_way.rmdir()
    summary = ours.run(emails=PEOPLE)
    assert (summary["total"], summary["complete"]) == (2600, True)
    assert set(counts(summary)) == {"enrolled", "already_enrolled"}
    assert len(path.read_text().splitlines()) == 2600
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


def test_a_rate_limit_that_cannot_be_kept_any_more_stops_the_run_with_a_summary(
    task, meisa_sandbox, meisa_connection, tmp_path, before_batch
):
    meisa_connection(extra={"rate_limits": "100/1s", "rate_limit_storage": f"file://{tmp_path}/rate_limits"})
    in_the_way = []

    def lock_it_for_good():
        (lock,) = (tmp_path / "rate_limits").glob("*.lock")
        lock.unlink()
        lock.mkdir()
        in_the_way.append(lock)

    ours = task(PEOPLE, outcomes_path=str(tmp_path / "outcomes.csv"), max_in_flight=1)
    before_batch(2, lock_it_for_good)
    with pytest.raises(AirflowException, match="The rate limits' folder"):
        ours.run()
    summary = ours.ti.xcoms["return_value"]
    assert summary["complete"] is False
    assert counts(summary) == {"enrolled": 1000, "untried": 1600}
    assert len((tmp_path / "outcomes.csv").read_text().splitlines()) == 2601
    in_the_way[0].rmdir()
    assert counts(ours.run(emails=PEOPLE)) == {"enrolled": 2600}
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


class Impatient(Task):
    """A task that is not deferred for ever."""

    def after(self, deferred):
        assert len(self.deferrals) < 6
        return super().after(deferred)


@pytest.mark.parametrize(
    ("answered", "counted"),
    [(0, {"untried": 600}), (1, {"enrolled": 500, "untried": 100})],
    ids=["from the beginning", "after an answer"],
)
def test_a_task_that_only_meets_429s_ends_with_a_summary_and_is_not_deferred_for_ever(
    meisa_sandbox, meisa_connection, mocker, short_deferrals, answered, counted
):
    mocker.patch("airflow_provider_meisa.api.client.TRIES", 1)
    mocker.patch.object(refusals, "_MOST_RATE_LIMITED", 3)
    meisa_connection(extra={"rate_limits": "100/1s"})
    meisa_sandbox.fault(
        "status", status=429, path="bulk-enroll", skip=answered, headers={"Retry-After": "0.5"}
    )
    ours = Impatient(PEOPLE[:600], **short_deferrals)
    with pytest.raises(AirflowException, match="rate limit is used up"):
        ours.run()
    summary = ours.ti.xcoms["return_value"]
    assert summary["complete"] is False
    assert counts(summary) == counted
    assert len(ours.deferrals) == runner._MOST_STALLED + answered


# What is asked before the first batch.


@pytest.mark.meisa_sandbox(rate_limits="4/1s")
def test_what_is_checked_before_the_first_batch_is_checked_after_a_wait_too(
    task, meisa_sandbox, meisa_connection, short_deferrals
):
    meisa_connection(
        extra={"rate_limits": "4/1s", "rate_limit_storage": f"file://{meisa_sandbox.database.parent}/q"}
    )
    task(PEOPLE[:600]).run()
    ours = task(PEOPLE[600:1200], sequence_slug="winback", **short_deferrals)
    with pytest.raises(AirflowFailException, match="'draft'"):
        ours.run()
    assert ours.deferrals[0].cursor["next_batch"] == 0
    assert len(bulk_requests(meisa_sandbox)) == 2


def test_a_limit_of_one_request_leaves_room_for_the_checks_before_the_first_batch(
    task, meisa_sandbox, meisa_connection
):
    meisa_connection(extra={"rate_limits": "1/1s"})
    assert counts(task(PEOPLE[:3]).run()) == {"enrolled": 3}


@pytest.mark.parametrize("arguments", [{}, {"skip_suppressed": True}], ids=["checks", "the suppressed"])
def test_a_limit_met_before_the_first_batch_is_waited_for_in_the_triggerer(
    task, meisa_sandbox, meisa_connection, short_deferrals, arguments
):
    meisa_connection(extra={"rate_limits": "100/1s"})
    meisa_sandbox.fault("status", status=429, method="GET", times=1, headers={"Retry-After": "1"})
    ours = task(PEOPLE[:3], **arguments, **short_deferrals)
    assert counts(ours.run()) == {"enrolled": 3}
    assert ours.deferrals[0].cursor["next_batch"] == 0


def test_no_deferral_is_shorter_than_airflow_can_stand(task, meisa_sandbox, mocker):
    began = time.time()
    mocker.patch("airflow_provider_meisa.api.client.TRIES", 1)
    mocker.patch.object(MeisaRateLimitTrigger, "run", at_once)
    meisa_sandbox.fault("status", status=429, path="list", times=1, headers={"Retry-After": "1"})
    ours = task(PEOPLE[:3], deferrable=True)
    assert counts(ours.run()) == {"enrolled": 3}
    (waited,) = ours.deferrals
    assert waited.moment >= began + bulk_operator.SHORTEST_DEFERRAL


def test_a_wait_ends_as_much_earlier_as_the_last_one_took_to_come_back(task, meisa_sandbox):
    ours = task(PEOPLE, deferrable=True)
    pauses = {}
    for took in (0.0, 4.0, 600.0):
        operator = ours.make()
        operator._wake_early = bulk_operator._WAKE_EARLY
        with pytest.raises(AirflowFailException, match="another version"):
            operator.resume(
                ours.context(), {"status": "go", "cursor": {"version": 0}, "moment": time.time() - took}
            )
        pauses[took] = round(operator._wake_early, 1)
    assert pauses == {0.0: 0.0, 4.0: 4.0, 600.0: 5.0}


async def at_once(trigger):
    from airflow.triggers.base import TriggerEvent

    yield TriggerEvent({"status": "go", "cursor": trigger.cursor, "moment": trigger.moment})


def test_a_limit_met_before_the_first_batch_fails_a_task_that_does_not_defer(task, meisa_sandbox, mocker):
    mocker.patch.object(contacts, "unsubscribed_emails", side_effect=MeisaRateLimitError("no"))
    with pytest.raises(AirflowException, match="no"):
        task(PEOPLE[:3], skip_suppressed=True).run()


def test_a_task_that_does_not_defer_sleeps_and_says_until_when(task, meisa_connection, caplog, mocker):
    mocker.patch.object(runner, "_SHORT", 0.5)
    meisa_connection(extra={"rate_limits": "2/1s"})
    with caplog.at_level("INFO", logger="airflow.task.meisa"):
        summary = task(PEOPLE[:1100]).run()
    assert counts(summary) == {"enrolled": 1100}
    assert summary["waited_s"] > 0.5
    assert "resuming at " in caplog.text


# Something changed meanwhile.


@pytest.mark.parametrize(
    "changed", [PEOPLE[1:], PEOPLE[:400], ["new@example.com", *PEOPLE]], ids=["one less", "few", "one more"]
)
def test_a_retry_that_finds_other_addresses_stops_and_says_what_to_do(task, meisa_sandbox, changed):
    ours = task(PEOPLE, max_in_flight=1)
    fail_at_batch(meisa_sandbox, 2)
    with pytest.raises(AirflowException):
        ours.run()
    with pytest.raises(AirflowFailException, match="on_changed_audience='restart'"):
        ours.lose_plan().run(emails=changed)
    assert len(bulk_requests(meisa_sandbox)) == 3


def test_a_retry_that_finds_other_addresses_sends_all_of_them_where_that_is_wanted(task, meisa_sandbox):
    ours = task(PEOPLE, max_in_flight=1, on_changed_audience="restart")
    fail_at_batch(meisa_sandbox, 2)
    with pytest.raises(AirflowException):
        ours.run()
    summary = ours.lose_plan().run(emails=PEOPLE[::-1])
    assert counts(summary) == {"enrolled": 1600, "already_enrolled": 1000}
    assert summary["resumed"] is True
    assert summary["total"] == 2600


def test_a_restart_that_must_wait_before_its_first_batch_carries_nothing_of_the_other_addresses(
    task, meisa_sandbox, short_deferrals
):
    ours = task(PEOPLE, max_in_flight=1, on_changed_audience="restart")
    fail_at_batch(meisa_sandbox, 2)
    with pytest.raises(AirflowException):
        ours.run()
    before = len(meisa_sandbox.requests())
    forget_sequences()
    meisa_sandbox.fault("status", status=429, method="GET", times=1, headers={"Retry-After": "1"})
    summary = ours.lose_plan().run(emails=PEOPLE[::-1], **short_deferrals)
    cursor = ours.deferrals[0].cursor
    assert (cursor["next_batch"], cursor["counts"], cursor["requests"]) == (0, {}, before + 1)
    assert summary["total"] == 2600
    assert summary["requests"] == len(meisa_sandbox.requests())


def test_a_response_lost_for_good_is_not_asked_for_again_where_that_is_not_wanted(task, meisa_sandbox):
    ours = task(PEOPLE[:1100], max_in_flight=1, on_ambiguous="fail")
    meisa_sandbox.fault("reset_after", path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowException):
        ours.run()
    assert counts(ours.ti.xcoms["return_value"]) == {"enrolled": 500, "unreported": 500, "untried": 100}
    with pytest.raises(AirflowFailException, match="on_ambiguous='resend'"):
        ours.run()
    assert len(bulk_requests(meisa_sandbox)) == 2
    summary = ours.run(on_ambiguous="resend")
    assert counts(summary) == {"enrolled": 600, "already_enrolled": 500}


@pytest.mark.parametrize("kept", [{"version": 99}, {"cursor": 7}], ids=["another version", "something else"])
def test_a_checkpoint_that_is_not_ours_stops_the_task_before_anything_is_sent(task, meisa_sandbox, kept):
    ours = task(PEOPLE[:3])
    ours.state.values["meisa"] = json.dumps(kept)
    with pytest.raises(AirflowFailException, match="delete it: the task's state 'meisa'"):
        ours.run()
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"status": "go"},
        {"status": "go", "cursor": None, "moment": 1.0},
        {"status": "go", "cursor": {}},
        {"status": "come", "cursor": {}, "moment": 1.0},
        "go",
    ],
)
def test_an_event_this_version_does_not_know_fails_loudly(task, meisa_sandbox, event):
    ours = task(PEOPLE[:3])
    with pytest.raises(AirflowFailException, match="does not know"):
        ours.make().resume(ours.context(), event)
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_in_flight": 0},
        {"max_in_flight": 17},
        {"defer_after": 9.9},
        {"on_changed_audience": "guess"},
    ],
    ids=str,
)
def test_a_parameter_out_of_range_is_named_before_anything_is_sent(task, meisa_sandbox, wrong):
    with pytest.raises(AirflowFailException, match=next(iter(wrong))):
        task(PEOPLE[:3], **wrong).run()
    assert meisa_sandbox.requests() == []


# Stopped tasks.


def in_a_thread(ours):
    """Run an attempt in a thread; the list it returns has the result, once the thread has ended."""
    became = []

    def attempt():
        try:
            became.append(ours.run())
        except AirflowException as error:
            became.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    return thread, became


@pytest.mark.meisa_sandbox(rate_limits="none", latency_ms=150)
def test_a_task_that_is_killed_sends_nothing_more_and_notes_what_was_on_its_way(task, meisa_sandbox):
    ours = task(PEOPLE, max_in_flight=2)
    thread, became = in_a_thread(ours)
    wait_until(lambda: len(bulk_requests(meisa_sandbox)) == 3)  # one alone, then two at a time
    ours.operator.on_kill()
    thread.join(20)
    assert len(bulk_requests(meisa_sandbox)) == 3
    assert "stopped before the request" in str(became[0])
    assert ours.state.get("meisa")["counts"] == {"enrolled": 1500}
    assert ours.state.get("meisa")["in_flight"] == []
    assert counts(ours.run()) == {"enrolled": 2600}
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


def test_a_task_that_is_killed_in_a_wait_ends_at_once(task, meisa_sandbox, meisa_connection):
    meisa_connection(extra={"rate_limits": "3/minute"})
    ours = task(PEOPLE)
    thread, became = in_a_thread(ours)
    wait_until(lambda: ours.state.writes and not ours.state.writes[-1]["in_flight"])
    ours.operator.on_kill()
    thread.join(5)
    assert not thread.is_alive()
    assert "stopped before the request" in str(became[0])
    assert ours.state.get("meisa")["in_flight"] == []


def test_a_task_that_is_killed_while_it_retries_a_batch_leaves_it_for_the_next_try(task, meisa_sandbox):
    meisa_sandbox.fault("status", status=429, path="bulk-enroll", skip=1, headers={"Retry-After": "3"})
    ours = task(PEOPLE[:1100], max_in_flight=1)
    thread, became = in_a_thread(ours)
    wait_until(lambda: len(bulk_requests(meisa_sandbox)) == 2)
    ours.operator.on_kill()
    thread.join(1)
    assert not thread.is_alive()
    assert "stopped before the request" in str(became[0])
    meisa_sandbox.clear_faults()
    assert counts(ours.run()) == {"enrolled": 1100}


def test_a_task_that_is_killed_before_it_has_begun_takes_it(task):
    task(PEOPLE).make().on_kill()


def test_responses_on_their_way_are_noted_when_the_store_of_the_rate_limit_breaks(
    bulk, meisa_sandbox, mocker
):
    reserve, asked = RateLimiter.reserve, itertools.count(1)

    def break_once(rate_limiter):
        # The list, the first batch that goes alone, two batches that are slow, then the store is gone.
        if next(asked) == 5:
            raise MeisaUnreachableError("The store of the quota does not answer.")
        return reserve(rate_limiter)

    mocker.patch.object(RateLimiter, "reserve", break_once)
    meisa_sandbox.fault("slow", path="bulk-enroll", seconds=0.3, skip=1, times=2)
    ran = bulk(max_in_flight=3, **AGAIN)
    assert ran.state == "success"
    assert ran.xcom("task")["resumed"] is True
    assert set(times_sent(meisa_sandbox).values()) == {1}


@pytest.mark.meisa_sandbox(rate_limits="1/1s")
def test_a_limit_of_one_request_leaves_room_for_asking_who_unsubscribed(
    bulk, meisa_sandbox, meisa_connection, short_deferrals
):
    meisa_connection(extra={"rate_limits": "1/1s"})
    ran = bulk(PEOPLE[:1100], skip_suppressed=True, **short_deferrals)
    assert ran.state == "success"
    assert counts(ran.xcom("task")) == {"enrolled": 1100}
    assert len(bulk_requests(meisa_sandbox)) == 3
    assert ran.xcom("task")["waited_s"] > 2
