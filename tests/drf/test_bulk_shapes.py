"""The shapes of a bulk response: every address gets the status that the database supports."""

from __future__ import annotations

import pytest

NEW = [f"new{number}@example.com" for number in range(3)]
ACTIVE = ["active1@example.com", "active2@example.com"]
PAUSED = ["paused@example.com"]
SUPPRESSED = ["left@example.com", "bounced@example.com"]
UNKNOWN = ["unknown@example.com"]
SHAPES = ["lists", "lists_created", "lists_skipped", "results", "details"]


@pytest.fixture
def audience(drf):
    """Contacts of every kind in the database."""
    drf.add_contacts([*NEW, *ACTIVE, *PAUSED])
    drf.add_contacts(SUPPRESSED, status="unsubscribed")
    drf.add_enrollments(ACTIVE)
    drf.add_enrollments(PAUSED, status="paused")
    return [*NEW, *ACTIVE, *PAUSED, *SUPPRESSED]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_address_has_its_status(
    drf, audience, bulk_enroll, assert_agreement, everything_written, shape
):
    drf.set(bulk_shape=shape)
    report = bulk_enroll(audience)
    assert report.state == "success"
    assert report.of("enrolled") == set(NEW)
    assert report.of("already_enrolled") == {*ACTIVE, *PAUSED}
    assert report.of("suppressed") == set(SUPPRESSED)
    assert_agreement(report)
    assert {line["reason"] for line in report.outcomes if line["status"] == "enrolled"} == {""}
    assert "Not understood" not in everything_written()


@pytest.mark.parametrize("shape", SHAPES)
def test_unknown_contact_is_not_enrolled(drf, audience, bulk_enroll, assert_agreement, shape):
    drf.set(bulk_shape=shape, bulk_creates_contacts=False)
    report = bulk_enroll([*audience, *UNKNOWN], max_failed=1)
    assert report.state == "success"
    assert report.of("failed") == set(UNKNOWN)
    assert report.of("enrolled") == set(NEW)
    assert_agreement(report)


@pytest.mark.parametrize("shape", ["lists", "lists_created", "results"])
def test_created_contacts_are_enrolled(drf, bulk_enroll, assert_agreement, shape):
    drf.set(bulk_shape=shape)
    report = bulk_enroll(UNKNOWN)
    assert report.state == "success"
    assert report.of("enrolled") == set(UNKNOWN)
    assert_agreement(report)


def test_addresses_come_back_in_lower_case(bulk_enroll, assert_agreement):
    report = bulk_enroll(["Ann@example.com", "BOB@example.com"])
    assert report.state == "success"
    assert report.of("enrolled") == {"Ann@example.com", "BOB@example.com"}
    assert_agreement(report)


@pytest.mark.parametrize("shape", ["counts", "count_strings"])
def test_counts_that_leave_no_choice_are_read(drf, bulk_enroll, assert_agreement, shape):
    drf.set(bulk_shape=shape)
    report = bulk_enroll(NEW)
    assert report.state == "success"
    assert report.of("enrolled") == set(NEW)
    assert_agreement(report)


@pytest.mark.parametrize("shape", ["counts", "count_strings"])
def test_counts_of_a_mixed_batch_prove_no_address(drf, audience, bulk_enroll, assert_agreement, shape):
    drf.set(bulk_shape=shape)
    report = bulk_enroll(audience)
    assert report.state == "failed"
    assert not report.of("enrolled")
    assert_agreement(report)


@pytest.mark.parametrize("shape", ["accepted", "accepted_lists", "queued_results", "queued_counts"])
def test_accepted_batch_is_not_enrolled(drf, bulk_enroll, assert_agreement, shape):
    """The job waits for a background worker that never comes."""
    drf.set(bulk_shape=shape)
    report = bulk_enroll(NEW)
    assert report.state == "failed"
    assert not report.of("enrolled")
    assert not drf.enrollments()
    assert drf.rows("SELECT count(*) FROM bulk_job") == [(1,)]
    assert_agreement(report)
