"""One table of texts, read in the refusal of one contact and in the response to a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.endpoints.sequences import bulk_enroll, enroll
from airflow_provider_meisa.api.errors import MeisaInvalidRequestError
from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.api.redaction import redact
from airflow_provider_meisa.api.status_words import StatusFlag, read_text

ADA = "ada@example.org"

ALREADY = """
already_enrolled
already-enrolled
alreadyEnrolled
ALREADY_ENROLLED
Already enrolled
currently enrolled
has an active enrollment
Contact has a paused enrolment
Contact already has an active or paused enrollment in this sequence.
Contact is already active or paused in this sequence
Contact is already paused in this sequence.
Contact is paused in onboarding.
This e-mail is already enrolled.
ada@example.org is already enrolled in 'onboarding'.
The contact is already a member of this sequence
Contact is already in the onboarding sequence
Contact has been enrolled already
Contact's enrollment is already active
The fields contact, sequence must make a unique set.
The fields email, sequence_slug must make a unique set.
Sequence enrollment with this Contact and Sequence already exists.
UNIQUE constraint failed: enrollment.contact_id, enrollment.sequence_id
duplicate key value violates unique constraint "x": Key (contact_id, sequence_id)=(7, 9) already exists.
An enrollment for this contact already exists
Duplicate enrollment
enrollment_exists
Not enrolled (already enrolled)
Cannot enroll contact already in sequence
Contact can't be enrolled twice: already enrolled
Contact could not be enrolled because it is already in the sequence.
contact is already in this sequence and cannot be added again
Contact already exists in this sequence
""".strip().splitlines()

SUPPRESSED = """
unsubscribed
Email already unsubscribed
Contact has unsubscribed
Recipient has opted-out
opted_out
hard_bounced
contact previously complained
Contact is suppressed (bounced).
recipient_unsubscribed
on the suppression list
Contact is on the do-not-contact list
Unsubscribed contacts cannot be enrolled
""".strip().splitlines()

NOTHING = """
Conflict.
conflict
duplicate
Duplicate request
not enrolled
not_enrolled
Not already enrolled
notAlreadyEnrolled
Contact was never enrolled
Contact is no longer enrolled
Contact could not be enrolled
Contact isn't already enrolled
Contact isn\u2019t currently enrolled
Contact has no active enrollment
Neither active nor paused in this sequence
enrollment does not exist
could not check whether already enrolled
Only contacts already enrolled can be resumed
Contact must already be enrolled in onboarding
Contact needs to be already active in this sequence
Contact is already enrolled in another sequence
Contact is already enrolled in 5 other sequences
Maximum number of contacts already enrolled
Contact is already in 3 sequences
Contact is already enrolled in a sequence
Contact already exists and the sequence is paused
already_enrolled=false
Already enrolled: no
Sequence is already paused.
Sequence is already active
Sequence is already archived
Already paused
already_paused
The sequence is already active in this workspace
Sequence "already enrolled" is a draft
Sequence already-enrolled-vips is not active
Sequence has no steps
sequence with this slug already exists
request is already being processed
A request for this contact is already running
An enrollment request already exists
Enrollment already in progress
Contact is already being enrolled
Rate limit already reached
Rate limit already exceeded for enrolled contacts
Contact has already completed this sequence
already completed
Contact was already deleted
Contact already exists
contact with this email already exists.
This field must be unique.
Contact has not unsubscribed
could not check whether unsubscribed
Sequence is suppressed
Sending domain is blacklisted
override_unsubscribe must be a boolean
""".strip().splitlines()

TABLE = [
    *((text, "already_enrolled") for text in ALREADY),
    *((text, "suppressed") for text in SUPPRESSED),
    *((text, "failed") for text in NOTHING),
]


def enroll_one(client) -> str:
    try:
        return enroll(client, ADA, "onboarding").status.value
    except MeisaInvalidRequestError:
        return "failed"


@pytest.mark.parametrize(("text", "status"), TABLE)
def test_single_and_bulk_read_the_same_words(meisa_sandbox, client, text, status):
    meisa_sandbox.fault("status", status=409, body={"detail": text}, path="/sequences/enroll/")
    row = {"email": ADA, "status": "failed", "reason": text}
    meisa_sandbox.fault("status", status=200, body={"results": [row]}, path="bulk-enroll")
    [outcome] = bulk_enroll(client, [ADA], "onboarding").outcomes
    assert (enroll_one(client), outcome.status.value) == (status, status)


@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize(
    "body",
    [
        {"code": "already_enrolled"},
        {"error": "already_enrolled"},
        {"errors": [{"code": "already_enrolled", "message": "No."}]},
        {"error": {"code": "ALREADY-ENROLLED", "message": "No."}},
        {"error": {"errors": [{"detail": {"code": "already_enrolled"}}]}},
        {"already_enrolled": True},
        {"non_field_errors": ["The fields sequence, contact must make a unique set."]},
        {"email": ["Contact is already active in this sequence."]},
        {"detail": "No. " * 90 + "The contact is already enrolled."},
        ["already enrolled"],
        '"currently enrolled"',
    ],
)
def test_already_enrolled_is_found_wherever_it_stands(meisa_sandbox, client, status, body):
    meisa_sandbox.fault("status", status=status, body=body, path="/sequences/enroll/")
    assert enroll_one(client) == "already_enrolled"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (409, None),
        (409, {}),
        (409, {"detail": "Conflict."}),
        (409, {"already_enrolled": False}),
        (409, {"sequence_slug": "already-enrolled", "detail": "No."}),
        (409, {"sequence": {"name": "Already enrolled"}, "error": "Draft."}),
        (409, {"detail": "Draft.", "contact": {"status": "unsubscribed"}}),
        (409, {"detail": "Draft.", "contact_status": "unsubscribed"}),
        (400, {"metadata": ["Already enrolled."]}),
        (400, {"request": {"metadata": {"note": "already enrolled"}}}),
        (400, {"allowed": ["enrolled", "paused"]}),
        (400, {"email": ["This field must be unique."]}),
        (422, {"email": ["This contact was deleted."]}),
        (400, {"detail": "The contact is already enrolled " + "far away " * 60 + "in another sequence."}),
    ],
)
def test_refusal_without_proof_is_an_error(meisa_sandbox, client, status, body):
    meisa_sandbox.fault("status", status=status, body=body, path="/sequences/enroll/")
    assert enroll_one(client) == "failed"
    assert meisa_sandbox.enrollments("onboarding") == []


def test_error_holds_what_meisa_said_without_addresses(meisa_sandbox, client):
    meisa_sandbox.fault(
        "status", status=409, body={"detail": f"{ADA} was deleted."}, path="/sequences/enroll/"
    )
    with pytest.raises(
        MeisaInvalidRequestError, match=r"\(409\)\. Meisa responded: <address> was deleted\."
    ) as caught:
        enroll(client, ADA, "onboarding")
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "outcome_status"),
    [
        (200, {}, "enrolled"),
        (201, {"id": 1, "sequence_slug": "onboarding", "status": "active"}, "enrolled"),
        (200, {"job_id": "7", "status": "enrolled"}, "enrolled"),
        (200, {"message": "Contact enrolled, first email scheduled"}, "enrolled"),
        (201, {"contact": {"status": "unsubscribed"}, "sequence": {"status": "pending"}}, "enrolled"),
        (202, {"status": "enrolled"}, "unreported"),
        (202, {}, "unreported"),
        (200, {"status": "accepted"}, "unreported"),
        (200, {"status": {"state": "Queued"}}, "unreported"),
        (201, {"data": {"status": "pending"}}, "unreported"),
        (200, {"enrollment": {"status": "in-progress"}}, "unreported"),
        (200, {"queued": True}, "unreported"),
        (200, {"message": "Enrollment has been queued."}, "unreported"),
        (200, {"task_id": "7"}, "unreported"),
        (200, {"job": {"id": 7}}, "unreported"),
        (200, '"queued"', "unreported"),
        (200, {"message": "Contact is already enrolled"}, "already_enrolled"),
        (200, {"already_enrolled": True, "status": "active"}, "already_enrolled"),
        (200, {"enrolled": False, "reason": "unsubscribed"}, "suppressed"),
        (200, {"success": False, "error": "Sequence is paused"}, "failed"),
        (200, {"message": "Contact could not be enrolled."}, "failed"),
        (200, {"success": True, "detail": "The contact was not enrolled."}, "failed"),
        (200, {"detail": "Sequence is paused."}, "failed"),
        (201, {"status": "not_started"}, "unreported"),
    ],
)
def test_single_success_is_enrolled_unless_the_body_says_otherwise(
    meisa_sandbox, client, status, body, outcome_status
):
    meisa_sandbox.fault("status", status=status, body=body, path="/sequences/enroll/")
    outcome = enroll(client, ADA, "onboarding")
    assert outcome.status.value == outcome_status
    assert outcome.reason or outcome_status in (OutcomeStatus.ENROLLED, OutcomeStatus.ALREADY_ENROLLED)


@given(
    subject=st.sampled_from(["Contact", "The contact", ADA, "It", "Email address"]),
    denial=st.sampled_from(
        [
            "is not",
            "isn't",
            "was never",
            "could not be",
            "may not be",
            "has not been",
            "not",
            "never",
            "cannot be",
        ]
    )
    | st.sampled_from(
        ["is no longer", "is not yet", "must be", "should be", "can't be", "needs to be", "would be"]
    ),
    state=st.sampled_from(
        ["already enrolled", "enrolled", "already in this sequence", "active in this sequence"]
    )
    | st.sampled_from(
        ["currently enrolled", "paused in this sequence", "unsubscribed", "suppressed", "bounced"]
    ),
    write=st.sampled_from([str, str.upper, str.title, "Cannot enroll: {}.".format]),
)
def test_denied_states_prove_nothing(subject, denial, state, write):
    assert not read_text(write(f"{subject} {denial} {state}"))


@given(
    subject=st.sampled_from(
        ["Sequence", "This request", "Job", "Import", "Rate limit", "API key", "Campaign", "Batch"]
    ),
    state=st.sampled_from(
        ["already paused", "already active", "already archived", "already running", "suppressed"]
    )
    | st.sampled_from(
        ["already being processed", "already in use", "already enrolled", "active in production"]
    )
    | st.sampled_from(["already completed", "already exists", "currently paused", "already queued"]),
    write=st.sampled_from(
        [str, str.upper, lambda text: text.replace(" ", "_"), lambda text: text.replace(" ", "-")]
    ),
)
def test_states_of_something_else_prove_nothing(subject, state, write):
    assert not read_text(write(f"{subject} is {state}"))
    assert not read_text(write(f"{subject} {state}"))


@given(
    subject=st.sampled_from(
        ["Contact", "The contact", ADA, "User", "Recipient", "This person", "Email address"]
    ),
    state=st.sampled_from(["is already enrolled", "is currently enrolled", "is already in this sequence"])
    | st.sampled_from(
        ["has an active enrollment", "is still active in this sequence", "has already been enrolled"]
    )
    | st.sampled_from(["already exists in this sequence", "is already paused in the sequence"]),
    write=st.sampled_from(
        ["{}", "{}.", "Cannot enroll: {}", "Enrollment failed because {}", "{} (id 7).", "{}; skipping."]
    )
    | st.sampled_from(["Enrollment failed - {}", "{} and cannot be enrolled again.", "Skipped: {}"]),
    case=st.sampled_from([str, str.upper]),
)
def test_states_of_the_contact_are_proof(subject, state, write, case):
    assert read_text(case(redact(write.format(f"{subject} {state}")))) is StatusFlag.ALREADY


@pytest.mark.timeout(10)
@pytest.mark.parametrize("piece", ["contact ", "not already ", "enrollment ", "sequence. ", "is-", "<"])
def test_long_texts_are_read_in_time(piece):
    assert not read_text(piece * 100_000)
