"""How the service says no to an enrollment, and what the task makes of it."""

from __future__ import annotations

import json
import threading
import urllib.request

import pytest

from tests.support.drf_server import DrfServer
from tests.support.people import people

ANN = "ann@example.com"
PEOPLE = people(3)
IN_WORDS = [
    "detail_409",
    "in_sequence",
    "unique_set",
    "full_clean",
    "code",
    "error_400",
    "currently_422",
    "active_422",
]
OTHER_CONFLICTS = [
    "This sequence is already archived.",
    "A request with this idempotency key was already received.",
    "The enrollment limit of this sequence is already reached.",
    "Sequence is currently being edited.",
    "Contact already has the largest number of active enrollments.",
    "Another sequence with this slug already exists.",
]
BARE = ["bare_409", "empty_409"]
UNUSABLE = {"draft": {"status": "draft"}, "paused": {"status": "paused"}, "stepless": {"steps": 0}}


@pytest.fixture
def write_only(drf: DrfServer) -> None:
    """Give the key no scope but the one to enroll: what Meisa says is all that the task can know."""
    drf.set_scopes("sequences:enroll")


def assert_nothing_enrolled(drf, report):
    assert report.state == "failed"
    assert not drf.enrollments()
    assert not report.of("enrolled")
    assert not report.of("already_enrolled")


@pytest.mark.parametrize("form", IN_WORDS)
def test_already_enrolled_in_words(drf, write_only, enroll, assert_agreement, form):
    drf.add_contacts([ANN])
    drf.add_enrollments([ANN])
    drf.set(already=form)
    report = enroll(ANN)
    assert report.state == "success"
    assert report.of("already_enrolled") == {ANN}
    assert_agreement(report)


def test_paused_contact_is_already_enrolled(drf, enroll, assert_agreement):
    drf.add_contacts([ANN])
    drf.add_enrollments([ANN], status="paused")
    report = enroll(ANN)
    assert report.state == "success"
    assert report.of("already_enrolled") == {ANN}
    assert_agreement(report)


def test_contact_that_has_finished_is_enrolled_again(drf, enroll):
    drf.add_contacts([ANN])
    drf.add_enrollments([ANN], status="completed")
    report = enroll(ANN)
    assert report.state == "success"
    assert report.of("enrolled") == {ANN}
    assert drf.enrollments()[ANN] == 2


@pytest.mark.parametrize("form", BARE)
def test_bare_conflict_without_proof_fails(drf, write_only, enroll, assert_agreement, form):
    drf.add_contacts([ANN])
    drf.add_enrollments([ANN])
    drf.set(already=form)
    report = enroll(ANN)
    assert report.state == "failed"
    assert not report.of("already_enrolled")
    assert_agreement(report)


@pytest.mark.parametrize("status", [400, 409])
@pytest.mark.parametrize("kind", UNUSABLE)
def test_contact_is_not_enrolled_in_unusable_sequence(drf, write_only, enroll, kind, status):
    drf.change_sequence(**UNUSABLE[kind])
    drf.set(inactive_status=status)
    assert_nothing_enrolled(drf, enroll(ANN))


@pytest.mark.parametrize(("kind", "status"), [("draft", 409), ("paused", 400), ("stepless", 409)])
def test_batch_is_not_enrolled_in_unusable_sequence(drf, write_only, bulk_enroll, kind, status):
    drf.change_sequence(**UNUSABLE[kind])
    drf.set(inactive_status=status)
    assert_nothing_enrolled(drf, bulk_enroll(PEOPLE))


@pytest.mark.parametrize("kind", UNUSABLE)
def test_key_that_reads_enrolls_in_no_unusable_sequence(drf, enroll, kind):
    drf.change_sequence(**UNUSABLE[kind])
    assert_nothing_enrolled(drf, enroll(ANN))


@pytest.mark.parametrize("refusal", OTHER_CONFLICTS)
def test_other_conflict_is_not_already_enrolled(drf, write_only, enroll, refusal):
    drf.set(refusal=refusal)
    assert_nothing_enrolled(drf, enroll(ANN))


@pytest.mark.parametrize("refusal", OTHER_CONFLICTS[:3])
def test_conflict_of_a_batch_is_not_already_enrolled(drf, write_only, bulk_enroll, refusal):
    drf.set(refusal=refusal, inactive_status=400)
    assert_nothing_enrolled(drf, bulk_enroll(PEOPLE))


def test_deleted_contact_is_not_already_enrolled(drf, write_only, enroll):
    drf.add_contacts([ANN], status="deleted")
    assert_nothing_enrolled(drf, enroll(ANN))


@pytest.mark.parametrize("status", ["unsubscribed", "bounced", "complained"])
def test_suppressed_contact_is_not_enrolled(drf, enroll, assert_agreement, status):
    drf.add_contacts([ANN], status=status)
    report = enroll(ANN)
    assert report.state == "success"
    assert report.of("suppressed") == {ANN}
    assert_agreement(report)


def test_unknown_sequence_fails(drf, write_only, enroll):
    assert_nothing_enrolled(drf, enroll(ANN, sequence_slug="nowhere"))


def test_running_bulk_request_is_not_already_enrolled(drf, bulk_enroll):
    """Another client's request is at work, and the service takes one at a time."""
    drf.set(bulk_one_at_a_time=True)
    drf.fault("hold", "bulk-enroll", "before")
    other = threading.Thread(target=_bulk_enroll_elsewhere, args=(drf, ["other@example.com"]))
    other.start()
    drf.wait_until_held()
    report = bulk_enroll(PEOPLE)
    drf.release()
    other.join()
    assert report.state == "failed"
    assert not report.of("enrolled") | report.of("already_enrolled")
    assert set(drf.enrollments()) == {"other@example.com"}


def _bulk_enroll_elsewhere(drf: DrfServer, emails: list[str]) -> None:
    body = json.dumps({"sequence_slug": "onboarding", "emails": emails}).encode()
    headers = {"X-API-Key": drf.key, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{drf.url()}/sequences/api/bulk-enroll/", body, headers)
    urllib.request.urlopen(request, timeout=30).close()


def test_address_that_django_refuses_is_not_enrolled(drf, enroll, bulk_enroll, assert_agreement):
    """A top-level domain with a digit: a plain check accepts it, Django does not."""
    report = enroll("ann@example.c0m")
    assert report.state == "failed"
    assert not report.of("enrolled")
    assert not drf.enrollments()
