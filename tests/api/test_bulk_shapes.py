"""Shapes of the bulk response beyond results by address: named lists, counts as text, and promises."""

from __future__ import annotations

import pytest

from airflow_provider_meisa.api.bulk_enroll_response.reader import read_bulk_response
from airflow_provider_meisa.api.endpoints.sequences import bulk_enroll

A, B, C, D = SENT = ["ann@a.example", "bob@b.example", "cat@c.example", "dan@d.example"]
ENROLLED, ALREADY, SUPPRESSED = "enrolled", "already_enrolled", "suppressed"
INVALID, FAILED, UNREPORTED = "invalid", "failed", "unreported"


def statuses(body: object, status: int = 200) -> list[str]:
    return [outcome.status.value for outcome in read_bulk_response(SENT, body, status=status).outcomes]


def test_likeliest_shape_has_no_reasons_and_nothing_unread(meisa_sandbox, client):
    meisa_sandbox.fault("bulk_shape", shape="emails")
    meisa_sandbox.seed_enrollments("onboarding", [B])
    response = bulk_enroll(client, [A, B, "bounced@example.com"], "onboarding")
    assert [(one.status.value, one.reason) for one in response.outcomes] == [
        (ENROLLED, ""),
        (ALREADY, ""),
        (SUPPRESSED, ""),
    ]
    assert response.unread == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("enrolled_emails", ENROLLED),
        ("enrolledContacts", ENROLLED),
        ("emails_enrolled", ENROLLED),
        ("contacts-enrolled", ENROLLED),
        ("new_enrollments", ENROLLED),
        ("successfully_enrolled_emails", ENROLLED),
        ("skipped_already_enrolled", ALREADY),
        ("skippedAlreadyEnrolledEmails", ALREADY),
        ("already_in_sequence_contacts", ALREADY),
        ("already_enrolled_skipped", ALREADY),
        ("existing_enrollments", ALREADY),
        ("skipped_suppressed", SUPPRESSED),
        ("emails_unsubscribed", SUPPRESSED),
        ("skipped_emails", SUPPRESSED),
        ("rejected_invalid_email", INVALID),
        ("not_found_emails", FAILED),
        ("contactsNotFound", FAILED),
        ("unknown_contacts", FAILED),
        ("email_failures", FAILED),
        ("created_emails", UNREPORTED),
        ("existing_contacts", UNREPORTED),
        ("queued_emails", UNREPORTED),
        ("acceptedContacts", UNREPORTED),
        ("not_already_enrolled", UNREPORTED),
    ],
)
def test_name_of_a_list_tells_the_outcome(name, expected):
    read = read_bulk_response([A], {name: [A], "not_found": []})
    assert read.outcomes[0].status.value == expected
    assert "not known" not in read.outcomes[0].reason
    assert expected != UNREPORTED or read.outcomes[0].reason


def test_not_found_created_and_queued_say_why():
    body = {"not_found_emails": [A], "created_emails": [B], "queued_emails": [C], "enrolled_emails": [D]}
    assert [outcome.reason for outcome in read_bulk_response(SENT, body).outcomes] == [
        "not found",
        "created, not reported as enrolled",
        "queued, not reported as enrolled",
        "",
    ]


def test_created_contacts_are_enrolled_where_they_are_listed_so():
    body = {"created_emails": [A, B], "enrolled_emails": [A, C, D]}
    assert statuses(body) == [ENROLLED, UNREPORTED, ENROLLED, ENROLLED]


@pytest.mark.parametrize("empty", [[], {}, None, "", 0])
def test_empty_fields_are_not_noted_as_unread(empty):
    assert (
        read_bulk_response([A], {"enrolled_emails": [A], "warnings": empty, "levitating": empty}).unread == ()
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"enrolled": "4"}, ENROLLED),
        ({"enrolled_count": " 4 ", "suppressed": "0"}, ENROLLED),
        ({"summary": {"enrolled": "0", "skipped_already_enrolled": "4"}}, ALREADY),
        ({"enrolled": {"count": "4"}}, ENROLLED),
        ({"enrolled": "4", "created": "2", "total": "4"}, ENROLLED),
    ],
)
def test_counts_as_text_are_counts(body, expected):
    assert statuses(body) == [expected] * 4


@pytest.mark.parametrize(
    "body",
    [
        {"enrolled": "4.0"},
        {"enrolled": "100%"},
        {"enrolled": "all"},
        {"enrolled": "5"},
        {"enrolled": "-4"},
        {"enrolled": True},
        {"enrolled": 4, "failed": -1},
        {"enrolled": 4, "failed": "25%"},
        {"enrolled": 4, "failed": 0.5},
        {"enrolled": 4, "failed": True},
        {"enrolled": 4, "total": 5},
        {"enrolled": "4", "requested": "3"},
        {"enrolled": 4, "queued": 4},
        {"enrolled": 4, "success": False},
        {"enrolled": 4, "status": "error"},
        {"enrolled": 4, "error": "Sequence is paused."},
        {"enrolled": 4, "job_id": "7"},
        {"enrolled": 4, "errors": ["Sequence is paused."]},
        {"enrolled": 4, "errors": [{"code": "paused"}]},
        {"enrolled": 4, "message": "No contacts were enrolled."},
        {"enrolled": 4, "not_found": "1"},
        {"counts": {"enrolled": 4}, "summary": {"enrolled": "3"}},
        {"enrolled": 4, "message": "Bulk enrollment started"},
        {"enrolled": 4, "status": "accepted"},
        {"created": 4},
        {"queued": 4},
        {"accepted": "4"},
        {"status": "accepted"},
        {"task_id": "7"},
        {"job": {"id": 7, "status": "queued"}},
        {"message": "Bulk enrollment started"},
        {"enrolled": SENT, "enrolled_count": 3},
        {"enrolled_emails": SENT, "status": "queued"},
        {"enrolled_emails": SENT, "success": False},
        {"status": "processing", "results": [{"email": one, "status": "enrolled"} for one in SENT]},
        {"results": [{"email": one, "status": "accepted"} for one in SENT]},
        {"results": [{"email": one, "status": "enrolled", "queued": True} for one in SENT]},
        dict.fromkeys(SENT, "queued"),
    ],
)
def test_promises_and_contradictions_enroll_no_one(body):
    read = read_bulk_response(SENT, body)
    assert {outcome.status.value for outcome in read.outcomes} == {UNREPORTED}
    assert all(outcome.reason for outcome in read.outcomes)


@pytest.mark.parametrize(
    "body",
    [{"enrolled": 4}, {"enrolled_emails": SENT}, [{"email": one, "status": "enrolled"} for one in SENT]],
)
def test_accepted_status_settles_no_address(meisa_sandbox, client, body):
    meisa_sandbox.fault("status", status=202, body=body, path="bulk-enroll")
    response = bulk_enroll(client, SENT, "onboarding")
    assert {outcome.status.value for outcome in response.outcomes} == {UNREPORTED}
    assert "accepted (202)" in response.outcomes[0].reason


def test_accepted_status_keeps_what_is_refused():
    body = {"enrolled_emails": [A], "suppressed_emails": [B], "already_enrolled_emails": [C], "failed": [D]}
    assert statuses(body, 202) == [UNREPORTED, SUPPRESSED, ALREADY, FAILED]


@pytest.mark.parametrize("reason", ["Sequence is already paused.", "policy", "Contact was deleted", "draft"])
@pytest.mark.parametrize(
    "shape",
    [
        lambda reason: {"results": [{"email": one, "status": "skipped", "reason": reason} for one in SENT]},
        lambda reason: {"skipped": [{"email": one, "reason": reason} for one in SENT]},
        lambda reason: {"skipped": {"reason": reason, "emails": SENT}},
        lambda reason: {"skipped": {reason: SENT}},
        lambda reason: {"skipped": dict.fromkeys(SENT, reason)},
    ],
)
def test_skipped_for_another_reason_has_failed(shape, reason):
    read = read_bulk_response(SENT, shape(reason))
    assert {outcome.status.value for outcome in read.outcomes} == {FAILED}
    assert all(reason in outcome.reason for outcome in read.outcomes)
