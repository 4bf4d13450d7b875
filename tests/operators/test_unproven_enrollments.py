"""A task never succeeds on a response that does not prove the status of its contacts."""

from __future__ import annotations

import pytest

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator

PEOPLE = ["ada@example.org", "grace@example.org"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (409, {}),
        (409, {"detail": "Conflict."}),
        (400, {"error": "Sequence is already paused."}),
        (409, {"error": "A request for this contact is already running."}),
        (202, {"status": "accepted"}),
        (200, {"status": "queued"}),
    ],
)
def test_unproven_single_enrollment_fails_the_task(meisa_sandbox, run_task, status, body):
    meisa_sandbox.fault("status", status=status, body=body, path="/sequences/enroll/")
    ran = run_task(MeisaEnrollOperator, contact_email=PEOPLE[0], sequence_slug="onboarding")
    assert ran.state == "failed"
    assert meisa_sandbox.enrollments("onboarding") == []


def test_bare_conflict_of_a_draft_sequence_names_the_sequence(meisa_sandbox, run_task):
    meisa_sandbox.fault("status", status=409, body={"detail": "Conflict."}, path="/sequences/enroll/")
    ran = run_task(MeisaEnrollOperator, contact_email=PEOPLE[0], sequence_slug="winback")
    assert ran.state == "failed"
    assert meisa_sandbox.enrollments("winback") == []


def test_proven_conflict_succeeds_as_already_enrolled(meisa_sandbox, run_task):
    body = {"non_field_errors": ["The fields contact, sequence must make a unique set."]}
    meisa_sandbox.seed_enrollments("onboarding", PEOPLE[:1])
    meisa_sandbox.fault("status", status=400, body=body, path="/sequences/enroll/")
    ran = run_task(MeisaEnrollOperator, contact_email=PEOPLE[0], sequence_slug="onboarding")
    assert ran.state == "success"
    assert ran.xcom("task")["status"] == "already_enrolled"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (202, {"enrolled": 2}),
        (200, {"status": "accepted"}),
        (200, {"job": {"id": 7}, "enrolled": 2}),
        (200, {"queued_emails": PEOPLE}),
        (200, {"created_emails": PEOPLE}),
        (200, {"skipped": {"reason": "Sequence is already paused.", "emails": PEOPLE}}),
    ],
)
def test_unproven_bulk_enrollment_fails_the_task(meisa_sandbox, run_task, status, body):
    meisa_sandbox.fault("status", status=status, body=body, path="bulk-enroll")
    ran = run_task(MeisaBulkEnrollOperator, emails=PEOPLE, sequence_slug="onboarding")
    counts = ran.xcom("task")["counts"]
    assert ran.state == "failed"
    assert counts["enrolled"] == counts["already_enrolled"] == counts["suppressed"] == 0
    assert counts["unreported"] + counts["failed"] == 2
    assert meisa_sandbox.enrollments("onboarding") == []


def test_likeliest_bulk_response_succeeds(meisa_sandbox, run_task):
    meisa_sandbox.fault("bulk_shape", shape="emails")
    ran = run_task(MeisaBulkEnrollOperator, emails=PEOPLE, sequence_slug="onboarding")
    assert ran.state == "success"
    assert ran.xcom("task")["counts"]["enrolled"] == 2
    assert {row["email"] for row in meisa_sandbox.enrollments("onboarding")} == set(PEOPLE)
