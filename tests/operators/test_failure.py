"""The error that fails a task is an XCom, until the next attempt."""

import pytest

from airflow_provider_meisa.operators.failure import LONGEST, XCOM_KEY
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator

TARGET = {"sequence_slug": "onboarding", "meisa_conn_id": "meisa_default"}


def test_error_before_the_first_request_is_pushed(run_task, meisa_sandbox):
    ran = run_task(MeisaBulkEnrollOperator, emails=["a@example.com"], sequence_slug="onbording")
    assert ran.state == "failed"
    error = ran.xcom(key=XCOM_KEY)
    assert error["message"].startswith("No sequence has the slug 'onbording'")
    assert (error["sequence_slug"], error["meisa_conn_id"]) == ("onbording", "meisa_default")


def test_error_of_a_threshold_is_pushed(run_task, meisa_sandbox):
    ran = run_task(
        MeisaBulkEnrollOperator, emails=["a@example.com", "b"], sequence_slug="onboarding", max_invalid=0
    )
    assert ran.state == "failed"
    assert "1 invalid (max_invalid=0)" in ran.xcom(key=XCOM_KEY)["message"]


def test_error_of_one_contact_is_pushed_without_the_address(run_task, meisa_sandbox):
    ran = run_task(
        MeisaEnrollOperator,
        contact_email="unsubscribed@example.com",
        sequence_slug="onboarding",
        on_suppressed="fail",
    )
    assert ran.state == "failed"
    error = ran.xcom(key=XCOM_KEY)
    assert {name: error[name] for name in TARGET} == TARGET
    assert "suppressed" in error["message"]
    assert "unsubscribed@" not in error["message"]


def test_error_of_a_contact_sync_names_the_sync(run_task, meisa_sandbox, ledgers):
    contacts = [{"email": "a@example.com"}]
    ran = run_task(MeisaSyncContactsOperator, contacts=contacts, ledger="contacts")
    assert ran.state == "failed"
    assert ran.xcom(key=XCOM_KEY)["sync_name"] == "contacts"
    assert "first_run" in ran.xcom(key=XCOM_KEY)["message"]


@pytest.mark.parametrize("arguments", [{}, {"sequence_slug": "onboarding"}], ids=["success", "named"])
def test_success_pushes_no_error(run_task, meisa_sandbox, arguments):
    ran = run_task(MeisaBulkEnrollOperator, emails=["a@example.com"], **{**TARGET, **arguments})
    assert ran.state == "success"
    assert ran.xcom(key=XCOM_KEY) is None


def test_skip_pushes_no_error(run_task, meisa_sandbox):
    ran = run_task(MeisaBulkEnrollOperator, emails=[], sequence_slug="onboarding", on_empty="skip")
    assert ran.state == "skipped"
    assert ran.xcom(key=XCOM_KEY) is None


def test_foreign_error_shows_its_type_only(run_task, meisa_sandbox):
    class Unreadable(MeisaBulkEnrollOperator):
        def read(self, context):
            raise KeyError("jane@example.com")

    ran = run_task(Unreadable, emails=["a@example.com"], sequence_slug="onboarding")
    assert ran.state == "failed"
    assert ran.xcom(key=XCOM_KEY)["message"] == "KeyError: the log of the task has the message."


def test_long_error_is_cut(run_task, meisa_sandbox):
    ran = run_task(MeisaBulkEnrollOperator, emails=["a@example.com"], sequence_slug="x-" * 900)
    assert ran.state == "failed"
    assert len(ran.xcom(key=XCOM_KEY)["message"]) <= LONGEST
