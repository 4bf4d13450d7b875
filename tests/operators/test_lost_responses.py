"""Tasks whose server is still at work when they have given up on its response."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred

from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.api.transport import Transport
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from tests.support.people import people
from tests.support.requests_sent import bulk_requests
from tests.support.task import FakeTaskInstance, FakeTaskState, Task

PEOPLE = people(1100)
ADA = "ada@example.com"
BY_US, TWICE = "possibly by this run", "possibly twice"
AGAIN = {"retries": 1, "retry_delay": timedelta(0)}


def until_done(sandbox):
    while sandbox.at_work:
        time.sleep(0.005)


def times(sandbox):
    until_done(sandbox)
    return {row["email"]: row["times_enrolled"] for row in sandbox.enrollments("onboarding")}


@pytest.fixture(autouse=True)
def _connected(meisa_connection):
    """Point the connection at the sandbox."""


@pytest.fixture
def wait_for_late(meisa_sandbox, monkeypatch):
    """Let the wait for a resend last as long as the sandbox is at work, however fast this machine is."""
    waits = []
    wait = MeisaClientWait(meisa_sandbox, waits)
    monkeypatch.setattr("airflow_provider_meisa.api.client.MeisaClient.wait", wait)
    monkeypatch.setattr(Settings, "resend_after", 0.3)
    return waits


class MeisaClientWait:
    def __init__(self, sandbox, waits):
        self._sandbox, self._waits = sandbox, waits

    def __get__(self, client, _kind=None):
        return lambda seconds: self._wait(client, seconds)

    def _wait(self, client, seconds):
        self._waits.append(seconds)
        client._sleep(seconds)
        if seconds > 0.2:
            until_done(self._sandbox)


class Single:
    """One task instance that enrolls one contact, and what outlives its processes."""

    def __init__(self, **arguments):
        self.arguments = {"contact_email": ADA, "sequence_slug": "onboarding", **arguments}
        self.state, self.ti = FakeTaskState(), FakeTaskInstance()

    def run(self, **changes):
        self.arguments |= changes
        self.operator = MeisaEnrollOperator(task_id="task", **self.arguments)
        return self.operator.execute({"ti": self.ti, "task_state_store": self.state})


# Within one attempt.


@pytest.mark.parametrize("status", [504, 502, 408])
@pytest.mark.parametrize("in_flight", [1, 4])
def test_slow_server_enrolls_everyone_once(meisa_sandbox, wait_for_late, status, in_flight):
    meisa_sandbox.fault("late", seconds=0.1, status=status, path="bulk", times=1, skip=1)
    summary = Task(PEOPLE, max_in_flight=in_flight).run()
    assert times(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)
    assert summary["counts"]["already_enrolled"] == summary["possibly_by_this_run"] > 0
    assert {entry["reason"] for entry in summary["attention"]} == {BY_US}
    assert summary["retries"] == 1


def test_slow_server_after_timeouts_of_the_client(meisa_sandbox, meisa_connection, wait_for_late):
    meisa_connection(extra={"timeout": 0.3})
    meisa_sandbox.fault("late", seconds=0.5, status=0, path="bulk", times=1)
    summary = Task(PEOPLE).run()
    assert times(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)
    assert summary["possibly_by_this_run"] == 500


@pytest.mark.parametrize("operator", ["bulk", "single"])
def test_server_slower_than_the_wait_is_reported(meisa_sandbox, resend_after, operator):
    meisa_sandbox.fault("late", seconds=1.5, path="enroll/", times=1)
    if operator == "single":
        assert Single().run()["reason"] == TWICE
        assert times(meisa_sandbox) == {ADA: 2}
    else:
        summary = Task(PEOPLE[:3]).run()
        assert (summary["possibly_twice"], len(summary["attention"])) == (3, 3)
        assert {entry["reason"] for entry in summary["attention"]} == {TWICE}
        assert times(meisa_sandbox) == dict.fromkeys(PEOPLE[:3], 2)


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_outcomes_file_has_the_doubt_of_every_address(meisa_sandbox, tmp_path, fault):
    meisa_sandbox.fault(fault, path="bulk", times=1)
    file = tmp_path / "outcomes.csv"
    summary = Task(PEOPLE[:600], outcomes_path=str(file)).run()
    reason, count = (TWICE, "possibly_twice") if fault == "reset_before" else (BY_US, "possibly_by_this_run")
    assert summary[count] == 500
    assert file.read_text().count(reason) == 500
    assert summary["attention_truncated"]


@pytest.mark.parametrize("operator", ["bulk", "single"])
def test_on_ambiguous_fail_sends_once(run_task, meisa_sandbox, operator):
    meisa_sandbox.fault("late", seconds=0.1, path="enroll/", times=1)
    kind, more = (
        (MeisaBulkEnrollOperator, {"emails": [ADA]})
        if operator == "bulk"
        else (MeisaEnrollOperator, {"contact_email": ADA})
    )
    ran = run_task(kind, sequence_slug="onboarding", on_ambiguous="fail", **more, **AGAIN)
    assert ran.state == "failed"
    assert times(meisa_sandbox) == {ADA: 1}


# Over the attempts of Airflow.


@pytest.mark.parametrize("status", [504, 500, 520])
def test_retry_without_delay_waits_for_the_slow_server(meisa_sandbox, wait_for_late, status):
    meisa_sandbox.fault("late", seconds=0.1, status=status, path="bulk", times=1, skip=1)
    if status == 504:  # which is sent again within the attempt
        meisa_sandbox.fault("status", status=500, path="bulk", times=1, skip=1)
    task = Task(PEOPLE, max_in_flight=1)
    with pytest.raises(AirflowException):
        task.run()
    summary = task.run()
    assert times(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)
    assert summary["counts"]["already_enrolled"] == 500
    assert any(seconds > 0.2 for seconds in wait_for_late)


@pytest.mark.parametrize("status", [504, 500, 502])
def test_retry_of_a_single_contact_waits(meisa_sandbox, wait_for_late, status):
    meisa_sandbox.fault("late", seconds=0.1, status=status, path="/enroll/", times=1)
    meisa_sandbox.fault("status", status=500, path="/enroll/", times=1)
    single = Single()
    with pytest.raises(AirflowException):
        single.run()
    if status != 500:  # which is not sent again within an attempt
        assert len(meisa_sandbox.requests()) == 2
    else:
        meisa_sandbox.clear_faults()
    assert single.run()["reason"] == BY_US
    assert times(meisa_sandbox) == {ADA: 1}
    assert single.state.get("meisa")["in_flight"] == []


def test_retry_in_a_real_airflow_waits(run_task, meisa_sandbox, wait_for_late):
    meisa_sandbox.fault("late", seconds=0.1, status=500, path="/enroll/", times=1)
    ran = run_task(MeisaEnrollOperator, contact_email=ADA, sequence_slug="onboarding", **AGAIN)
    assert ran.state == "success"
    assert ran.xcom("task")["reason"] == BY_US
    assert times(meisa_sandbox) == {ADA: 1}


def test_each_attempt_resends_once(meisa_sandbox):
    meisa_sandbox.fault("status", status=504, path="enroll/")
    task, single = Task(PEOPLE[:3]), Single()
    for run in (task.run, single.run):
        for _ in range(2):
            with pytest.raises(AirflowException, match="504"):
                run()
    assert len(bulk_requests(meisa_sandbox)) == 3
    assert sum(request["path"].endswith("sequences/enroll/") for request in meisa_sandbox.requests()) == 3


class Died(BaseException):
    """A process that ends in the middle of a request."""


@pytest.mark.parametrize("on_ambiguous", ["resend", "fail"])
def test_single_contact_of_a_dead_process(meisa_sandbox, monkeypatch, wait_for_late, on_ambiguous):
    send = Transport.send

    def die(transport, call):
        send(transport, call)
        raise Died

    single = Single(on_ambiguous=on_ambiguous)
    with monkeypatch.context() as patched:
        patched.setattr(Transport, "send", die)
        with pytest.raises(Died):
            single.run()
    if on_ambiguous == "fail":
        with pytest.raises(AirflowFailException, match="on_ambiguous='resend'"):
            single.run()
    assert single.run(on_ambiguous="resend")["reason"] == BY_US
    assert times(meisa_sandbox) == {ADA: 1}
    assert [seconds for seconds in wait_for_late if seconds > 0.2] == [pytest.approx(0.3, abs=0.1)]


def test_request_that_never_left_leaves_no_doubt(meisa_sandbox, meisa_connection, closed_url):
    single = Single()
    meisa_connection(host=closed_url)
    with pytest.raises(AirflowException, match="Nothing was sent"):
        single.run()
    meisa_connection()
    assert single.run()["reason"] == ""


@pytest.fixture
def closed_url(no_backoff):
    return "http://127.0.0.1:9/api/v1"


@pytest.mark.parametrize(
    "change", [{"contact_email": "grace@example.com"}, {"sequence_slug": "reactivation"}]
)
def test_doubt_belongs_to_one_contact_and_sequence(meisa_sandbox, wait_for_late, change):
    meisa_sandbox.fault("status", status=500, path="/enroll/", times=1)
    single = Single()
    with pytest.raises(AirflowException):
        single.run()
    assert single.run(**change)["reason"] == ""


def test_lost_ping_is_no_doubt_about_the_batch(meisa_sandbox, meisa_connection, no_backoff):
    meisa_connection(extra={"environment": "live"})
    meisa_sandbox.fault("reset_before", path="ping", times=5)
    task = Task(PEOPLE[:3])
    with pytest.raises(AirflowException):
        task.run()
    assert task.state.get("meisa") is None  # nothing was sent
    assert task.run()["possibly_twice"] == 0


# Waits that are long.


@pytest.mark.parametrize("kind", ["late", "status"])
def test_long_wait_for_a_resend_is_deferred(meisa_sandbox, monkeypatch, capfd, kind):
    monkeypatch.setattr(Settings, "resend_after", 60.0)
    meisa_sandbox.fault(kind, status=504, path="bulk", times=1)
    task = Task(PEOPLE, deferrable=True, defer_after=30)
    with pytest.raises(TaskDeferred) as deferred:
        task.make().execute(task.context())
    kept = task.state.get("meisa")
    assert (kept["in_flight"], kept["stalled"]) == ([0], 0)
    assert deferred.value.trigger.moment == pytest.approx(kept["resend_at"] - 3, abs=3)
    assert "Response lost: Meisa may still be processing the request" in "".join(capfd.readouterr())
    until_done(meisa_sandbox)
    monkeypatch.setattr(Settings, "resend_after", 0.1)
    operator = task.make()
    event = {"status": "go", "cursor": deferred.value.trigger.cursor, "moment": time.time()}
    summary = operator.resume(task.context(), event)
    assert summary["possibly_by_this_run" if kind == "late" else "possibly_twice"] == 500
    assert times(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("operator", ["bulk", "single"])
def test_kill_ends_the_wait_for_a_resend(meisa_sandbox, monkeypatch, operator):
    monkeypatch.setattr(Settings, "resend_after", 100.0)
    meisa_sandbox.fault("status", status=504, path="enroll/", times=1)
    task = Task(PEOPLE[:3]) if operator == "bulk" else Single()
    waiting, failures = threading.Event(), []
    wait = "airflow_provider_meisa.api.cancellation.CancellationEvent.wait"
    from airflow_provider_meisa.api.cancellation import CancellationEvent

    original = CancellationEvent.wait

    def tell(stop, seconds):
        waiting.set()
        return original(stop, seconds)

    monkeypatch.setattr(wait, tell)

    def run():
        try:
            task.run()
        except AirflowException as failure:
            failures.append(str(failure))

    thread = threading.Thread(target=run)
    thread.start()
    assert waiting.wait(20)
    task.operator.on_kill()
    thread.join(20)
    assert not thread.is_alive()
    assert len(failures) == 1
    assert task.state.get("meisa")["in_flight"] == [0]
    monkeypatch.setattr(Settings, "resend_after", 0.1)
    task.run()
    assert set(times(meisa_sandbox).values()) == {1}


def test_restart_with_other_addresses_waits_for_the_slow_server(meisa_sandbox, wait_for_late):
    meisa_sandbox.fault("late", seconds=0.1, status=500, path="bulk", times=1)
    task = Task(PEOPLE[:3], on_changed_audience="restart")
    with pytest.raises(AirflowException):
        task.run()
    summary = task.lose_plan().run(emails=PEOPLE[1:4])
    assert times(meisa_sandbox) == dict.fromkeys(PEOPLE[:4], 1)
    assert summary["counts"]["already_enrolled"] == 2
