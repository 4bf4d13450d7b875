"""Tasks, the sensor and the command line while Meisa responds with 503."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred

from airflow_provider_meisa.api.errors import MeisaUnavailableError
from airflow_provider_meisa.operators.retry_policy import MeisaRetryPolicy
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from airflow_provider_meisa.triggers.sequences import MeisaSequenceTrigger
from tests.support.people import people
from tests.support.requests_sent import bulk_requests
from tests.support.task import Task

PEOPLE = people(1100)
MAINTENANCE = {"kind": "html", "status": 503, "headers": {"Retry-After": "1"}}


def enrolled(sandbox):
    return {row["email"]: row["times_enrolled"] for row in sandbox.enrollments("onboarding")}


@pytest.fixture
def quick(meisa_connection):
    """A key with windows so short that a back-off is over soon."""
    meisa_connection(extra={"rate_limits": "50/1s"})


@pytest.mark.parametrize("on_ambiguous", ["resend", "fail"])
@pytest.mark.parametrize("path", ["bulk-enroll", "list", ""])
def test_bulk_task_waits_out_a_503(run_task, meisa_sandbox, quick, on_ambiguous, path):
    meisa_sandbox.fault(**MAINTENANCE, path=path, times=2)
    ran = run_task(
        MeisaBulkEnrollOperator,
        emails=PEOPLE,
        sequence_slug="onboarding",
        on_ambiguous=on_ambiguous,
        retries=0,
    )
    summary = ran.xcom("task")
    assert (ran.state, summary["counts"]["enrolled"], summary["attention"]) == ("success", 1100, [])
    assert summary["rate_limited"] == 0
    assert enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


@pytest.mark.parametrize("on_ambiguous", ["resend", "fail"])
def test_single_task_waits_out_a_503(run_task, meisa_sandbox, quick, on_ambiguous):
    meisa_sandbox.fault(**MAINTENANCE, path="/enroll/", times=2)
    ran = run_task(
        MeisaEnrollOperator,
        contact_email="ada@example.com",
        sequence_slug="onboarding",
        on_ambiguous=on_ambiguous,
        retries=0,
    )
    assert (ran.state, ran.xcom("task")["reason"]) == ("success", "")
    assert enrolled(meisa_sandbox) == {"ada@example.com": 1}


def test_long_503_frees_the_worker_slot(meisa_sandbox, meisa_connection, capfd):
    meisa_sandbox.fault("status", status=503, headers={"Retry-After": "100"}, path="bulk-enroll", times=1)
    task = Task(PEOPLE, deferrable=True, defer_after=30)
    with pytest.raises(TaskDeferred):
        task.make().execute(task.context())
    written = "".join(capfd.readouterr())
    assert "Meisa is unavailable (503) and takes no request: deferring for 101 s, resuming at " in written
    assert "Rate limit reached" not in written
    kept = task.state.get("meisa")
    assert (kept["in_flight"], kept["counts"]) == ([], {})
    assert len(bulk_requests(meisa_sandbox)) == 1


def test_endless_503_fails_a_task_that_may_be_retried(meisa_sandbox, quick, monkeypatch):
    monkeypatch.setattr("airflow_provider_meisa.bulk.refusals._MOST_RATE_LIMITED", 2)
    meisa_sandbox.fault("status", status=503, headers={"Retry-After": "0.02"}, path="bulk-enroll")
    task = Task(PEOPLE[:10])
    with pytest.raises(AirflowException, match=r"unavailable \(503\)") as caught:
        task.run()
    assert isinstance(caught.value.__cause__, MeisaUnavailableError)
    assert task.ti.xcoms["return_value"]["counts"]["untried"] == 10
    meisa_sandbox.clear_faults()
    assert task.run()["attention"] == []
    assert enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE[:10], 1)


def test_airflow_retries_when_meisa_is_back():
    error = AirflowException("later")
    error.__cause__ = MeisaUnavailableError("later", retry_after=300)
    decision = MeisaRetryPolicy().evaluate(error, 1, 3)
    assert (decision.action.value, decision.retry_delay) == ("retry", timedelta(seconds=301))


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("skip", [0, 1])
def test_sensor_looks_again_after_a_503(run_task, meisa_sandbox, quick, monkeypatch, deferrable, skip):
    for module in ("sensors", "triggers"):
        monkeypatch.setattr(f"airflow_provider_meisa.{module}.sequences._LONGEST_WAIT", 0.5)
    meisa_sandbox.put_sequence("winback", status="active")
    meisa_sandbox.fault("status", status=503, headers={"Retry-After": "1"}, path="/list/", times=1, skip=skip)
    meisa_sandbox.fault("status", status=200, body={"results": []}, path="/list/", times=1)
    meisa_sandbox.fault("status", status=503, headers={"Retry-After": "1"}, path="/list/", times=2)
    ran = run_task(
        MeisaSequenceSensor,
        sequence_slug="winback",
        on_missing="wait",
        poke_interval=0.1,
        timeout=60,
        deferrable=deferrable,
        retries=0,
    )
    assert ran.state == "success"


def test_trigger_waits_as_long_as_a_503_asks(meisa_sandbox, meisa_connection, mocker):
    meisa_sandbox.fault("status", status=503, headers={"Retry-After": "100"}, path="/list/")
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)
        raise asyncio.CancelledError

    mocker.patch("airflow_provider_meisa.triggers.sequences.asyncio", wraps=asyncio).sleep = sleep
    mocker.patch.dict("airflow_provider_meisa.triggers.sequences._listings", clear=True)
    trigger = MeisaSequenceTrigger(
        meisa_conn_id="meisa_default",
        slugs=["winback"],
        status="active",
        on_missing="wait",
        poll_interval=5,
    )

    async def wait():
        await anext(trigger.run())

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(wait())
    assert pauses == [100]
    assert len(meisa_sandbox.requests()) == 1
