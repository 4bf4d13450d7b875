"""A run that is interrupted goes on exactly where it was."""

import json
from collections import Counter
from datetime import timedelta

import pytest

from airflow_provider_meisa.operators import audience
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator

PEOPLE = [f"person{number}@example.com" for number in range(2600)]
AGAIN = {"retries": 1, "retry_delay": timedelta(0)}


@pytest.fixture
def bulk(run_task):
    def run(emails=PEOPLE, **arguments):
        return run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug="onboarding", **arguments)

    return run


def counts(ran):
    return {verdict: count for verdict, count in ran.xcom("task")["counts"].items() if count}


def sent(sandbox):
    return [request for request in sandbox.requests() if request["path"].endswith("bulk-enroll/")]


def times_enrolled(sandbox):
    return Counter(row["email"] for row in sandbox.enrollments("onboarding"))


@pytest.mark.parametrize("max_in_flight", [1, 4])
def test_a_retry_goes_on_after_the_last_answer_and_sends_nothing_twice(bulk, meisa_sandbox, max_in_flight):
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=2, times=1)
    ran = bulk(max_in_flight=max_in_flight, **AGAIN)
    assert ran.state == "success"
    assert sum(ran.xcom("task")["counts"].values()) == 2600
    assert ran.xcom("task")["resumed"] is True
    assert set(times_enrolled(meisa_sandbox).values()) == {1}
    answered = Counter(
        a for request in sent(meisa_sandbox) if request["status"] == 200 for a in request["addresses"]
    )
    assert set(answered.values()) == {1}
    assert len(answered) == 2600


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_long_waits_are_deferred_and_every_address_is_sent_once(
    bulk, meisa_sandbox, meisa_connection, mocker
):
    mocker.patch.object(audience, "SHORTEST_DEFERRAL", 0.1)
    mocker.patch.object(audience, "_WAKE_EARLY", 0.2)
    meisa_connection(extra={"rate_limits": "2/2s"})
    ran = bulk(deferrable=True, defer_after=0.5)
    assert ran.state == "success"
    assert counts(ran) == {"enrolled": 2600}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}
    assert [request["status"] for request in sent(meisa_sandbox)] == [200] * 6
    assert ran.xcom("task")["rate_limited"] == 0
    assert ran.xcom("task")["resumed"] is False
