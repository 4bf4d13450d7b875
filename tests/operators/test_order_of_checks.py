"""What stops a task before its source is read, and the plan that no attempt will use."""

import tempfile
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.api.endpoints import account
from airflow_provider_meisa.api.models import KeyInfo
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from tests.support.people import people
from tests.support.requests_sent import addresses_sent, writes

PEOPLE = people(1100)


def plans():
    """Return the files of plans, which hold addresses."""
    return list(Path(tempfile.gettempdir()).glob("airflow-provider-meisa-staged-*/*"))


@pytest.fixture
def refused(task, meisa_sandbox, mocker):
    """Run a task that must stop before it reads its source; return the message."""
    read = mocker.spy(MeisaBulkEnrollOperator, "read")

    def run(**arguments):
        ours = task(PEOPLE, **arguments)
        with pytest.raises(AirflowFailException) as raised:
            ours.run()
        assert read.call_count == 0
        assert writes(meisa_sandbox) == []
        assert len(meisa_sandbox.requests()) <= 2
        assert plans() == []
        return str(raised.value)

    return run


def test_unknown_sequence_stops_before_the_source(refused):
    assert "No sequence has the slug 'onbording'. Close ones: onboarding" in refused(
        sequence_slug="onbording"
    )


def test_inactive_sequence_stops_before_the_source(refused):
    assert "has the status 'draft'" in refused(sequence_slug="winback")


def test_override_that_is_not_allowed_stops_before_the_source(refused):
    assert "override_unsubscribe would mail people" in refused(override_unsubscribe=True)


def test_other_environment_stops_before_the_source(refused, meisa_connection):
    meisa_connection(extra={"environment": "test"})
    assert "requires the environment 'test'" in refused()


def test_revoked_key_stops_before_the_source(refused, meisa_connection):
    meisa_connection(password="meisa_live_revoked")
    assert "does not accept the API key (401)" in refused()


@pytest.mark.parametrize(
    ("scopes", "arguments", "missing"),
    [
        (["sequences:read"], {}, "sequences:enroll"),
        (["sequences:read", "sequences:enroll"], {"skip_suppressed": True}, "contacts:read"),
    ],
)
def test_missing_scope_stops_before_the_source(
    refused, meisa_sandbox, meisa_connection, scopes, arguments, missing
):
    meisa_sandbox.add_key("meisa_live_few", scopes)
    meisa_connection(password="meisa_live_few")
    assert f"The API key lacks the scope {missing}: Meisa lists " in refused(**arguments)


def test_scope_of_another_name_may_include_the_needed_one(task, mocker):
    key = KeyInfo("live", "", frozenset({"sequences:read", "everything"}))
    mocker.patch.object(account, "ping", return_value=key)
    assert task(PEOPLE).run()["counts"]["enrolled"] == 1100


def test_unreadable_ping_does_not_stop_a_task(task, meisa_sandbox):
    meisa_sandbox.fault("status", status=404, path="/ping/", times=None)
    assert task(PEOPLE).run()["counts"]["enrolled"] == 1100


def test_recording_needs_no_active_sequence(task):
    ours = task(PEOPLE, sequence_slug="winback", ledger="ours", again_after="never", first_run="record")
    assert ours.run()["counts"]["enrolled_before"] == 1100


def test_plan_is_removed_if_its_first_request_is_refused(task, meisa_sandbox):
    ours = task(PEOPLE, max_in_flight=1)
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", times=1)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert plans() == []
    assert ours.clear().run(emails=PEOPLE[:700])["counts"]["enrolled"] == 700
    assert addresses_sent(meisa_sandbox)[-700:] == PEOPLE[:700]


def test_plan_is_kept_for_a_cleared_task_that_resumes(task, meisa_sandbox):
    ours = task(PEOPLE, max_in_flight=1)
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert plans()
    assert ours.clear().run(emails=[])["counts"]["enrolled"] == 1100
    assert plans() == []


def test_plan_is_removed_if_unsubscribed_addresses_cannot_be_read(task, meisa_sandbox):
    meisa_sandbox.fault("status", status=401, path="unsubscribed", times=1)
    with pytest.raises(AirflowException):
        task(PEOPLE, skip_suppressed=True).run()
    assert plans() == []


def test_plan_of_a_preview_without_valid_rows_is_removed(task):
    with pytest.raises(AirflowFailException, match="no valid address in 2 rows"):
        task(["broken", "broken too"], preview=True).run()
    assert plans() == []
