"""A server that looks up first, and inserts after the client has given up."""

from __future__ import annotations

import time

import pytest
import requests

from airflow_provider_meisa.sandbox.faults import fault_from


def until_done(sandbox):
    while sandbox.at_work:
        time.sleep(0.005)


def times(sandbox, slug="onboarding"):
    return {row["email"]: row["times_enrolled"] for row in sandbox.enrollments(slug)}


def test_late_work_follows_its_response(live, sandbox):
    sandbox.fault("late", seconds=0.2, times=1)
    response = live.enroll("late1@example.org")
    assert (response.status_code, "Gateway" in response.text) == (504, True)
    assert "late1@example.org" not in times(sandbox)
    until_done(sandbox)
    assert times(sandbox)["late1@example.org"] == 1


def test_late_work_outlives_its_caller(live, sandbox):
    sandbox.fault("late", seconds=0.3, status=0, times=1)
    with pytest.raises(requests.Timeout):
        live.session.post(
            f"{sandbox.api_url}/sequences/api/bulk-enroll/",
            json={"emails": ["late2@example.org", "late3@example.org"], "sequence_slug": "onboarding"},
            timeout=0.05,
        )
    until_done(sandbox)
    assert {times(sandbox)[f"late{number}@example.org"] for number in (2, 3)} == {1}


def test_late_response_comes_to_who_waits(live, sandbox):
    sandbox.fault("late", seconds=0.05, status=0, times=1)
    assert live.enroll("late4@example.org").status_code == 201


@pytest.mark.parametrize("kind", ["enroll", "bulk"])
def test_resend_during_late_work_enrolls_twice(live, sandbox, kind):
    email = f"late-{kind}@example.org"
    send = live.enroll if kind == "enroll" else lambda address: live.bulk([address])
    sandbox.fault("late", seconds=0.3, times=1)
    send(email)
    assert send(email).ok
    until_done(sandbox)
    assert times(sandbox)[email] == 2


@pytest.mark.parametrize("kind", ["enroll", "bulk"])
def test_resend_after_late_work_enrolls_once(live, sandbox, kind):
    email = f"later-{kind}@example.org"
    send = live.enroll if kind == "enroll" else lambda address: live.bulk([address])
    sandbox.fault("late", seconds=0.05, times=1)
    send(email)
    until_done(sandbox)
    send(email)
    assert times(sandbox)[email] == 1


def test_late_takes_a_status_or_none():
    assert fault_from("late", {"status": 0}).params == {"seconds": 1.0, "status": 0}
    with pytest.raises(ValueError, match="between 0 and 599"):
        fault_from("late", {"status": 600})
