"""A task that Meisa refuses fails with the words of its response, in its exception and its log."""

from __future__ import annotations

import json

import pytest

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator

ADA = "ada@private.example"
REASON = "Your plan ended on 1 May"


@pytest.mark.parametrize("status", [400, 402, 413, 422])
@pytest.mark.parametrize(
    ("operator", "field"),
    [(MeisaBulkEnrollOperator, {"emails": [ADA]}), (MeisaEnrollOperator, {"contact_email": ADA})],
)
def test_task_fails_with_the_reason(run_task, meisa_sandbox, everything_written, status, operator, field):
    meisa_sandbox.fault("status", status=status, path="enroll", body={"detail": f"{REASON} for {ADA}."})
    assert run_task(operator, sequence_slug="onboarding", **field).state == "failed"
    assert meisa_sandbox.enrollments("onboarding") == []
    written = everything_written()
    assert f"Meisa responded: {REASON} for <address>" in written
    assert "ada@" not in written


@pytest.mark.parametrize("status", [400, 402, 413, 422, 500])
def test_summary_has_what_stopped_the_run(run_task, meisa_sandbox, status):
    meisa_sandbox.fault("status", status=status, path="enroll", body={"detail": f"{REASON} for {ADA}."})
    emails = [f"ada.{number}@private.example" for number in range(600)]
    ran = run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug="onboarding", max_in_flight=1)
    assert ran.state == "failed"
    summary = ran.xcom("task")
    assert summary["complete"] is False
    assert f"({status})" in summary["stopped_by"]
    assert summary["stopped_by"].endswith(f"Meisa responded: {REASON} for <address>")
    assert len(json.dumps(summary)) < 4096


def test_wrong_key_that_meets_403_stops_before_sending(run_task, meisa_sandbox, everything_written):
    meisa_sandbox.fault("status", status=403, body={"detail": "Invalid API key."})
    ran = run_task(MeisaBulkEnrollOperator, emails=[ADA], sequence_slug="onboarding", retries=1)
    assert ran.state == "failed"
    assert (
        "does not accept the API key (403). Check the API key (password field) of the connection "
        in everything_written()
    )
    assert not [one for one in meisa_sandbox.requests() if one["method"] == "POST"]
