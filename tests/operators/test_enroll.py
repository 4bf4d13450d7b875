from datetime import timedelta

import pytest
from airflow.sdk import DAG

from airflow_provider_meisa.operators.sequences import MeisaEnrollOperator


@pytest.fixture
def enroll(run_task):
    def run(email="ada@example.com", sequence_slug="onboarding", **arguments):
        return run_task(MeisaEnrollOperator, contact_email=email, sequence_slug=sequence_slug, **arguments)

    return run


def test_every_documented_field_reaches_meisa(enroll, meisa_sandbox):
    ran = enroll(metadata={"plan": "team", "seats": 3}, trigger_source="nightly")
    assert ran.state == "success"
    assert ran.xcom("task") == {
        "sequence_slug": "onboarding",
        "meisa_conn_id": "meisa_default",
        "address": "a***@***.com",
        "status": "enrolled",
        "reason": "",
    }
    (row,) = meisa_sandbox.enrollments("onboarding")
    assert (row["email"], row["trigger_source"], row["metadata"]) == (
        "ada@example.com",
        "nightly",
        {"plan": "team", "seats": 3},
    )


def test_the_source_of_an_enrollment_is_airflow_unless_said_otherwise(enroll, meisa_sandbox):
    enroll()
    assert meisa_sandbox.enrollments("onboarding")[0]["trigger_source"] == "airflow"


def test_the_address_the_slug_and_the_metadata_are_templates(enroll, meisa_sandbox):
    ran = enroll(
        "{{ params.who }}@example.com",
        "{{ params.where }}",
        metadata={"run": "{{ run_id }}"},
        params={"who": "grace", "where": "reactivation"},
    )
    assert ran.state == "success"
    (row,) = meisa_sandbox.enrollments("reactivation")
    assert row["email"] == "grace@example.com"
    assert row["metadata"]["run"].startswith("manual__")


@pytest.mark.parametrize(
    ("choice", "state"), [("success", "success"), ("skip", "skipped"), ("fail", "failed")]
)
def test_a_contact_already_in_the_sequence_ends_as_on_already_enrolled_says(
    enroll, meisa_sandbox, choice, state
):
    meisa_sandbox.seed_enrollments("onboarding", ["ada@example.com"])
    ran = enroll(on_already_enrolled=choice, retries=2)
    assert ran.state == state
    assert ran.xcom("task")["status"] == "already_enrolled"


@pytest.mark.parametrize(
    ("choice", "state"), [("success", "success"), ("skip", "skipped"), ("fail", "failed")]
)
def test_a_contact_who_unsubscribed_ends_as_on_suppressed_says(enroll, meisa_sandbox, choice, state):
    ran = enroll("unsubscribed@example.com", on_suppressed=choice, retries=2)
    assert ran.state == state
    assert ran.xcom("task")["status"] == "suppressed"
    assert meisa_sandbox.enrollments("onboarding") == []


@pytest.mark.parametrize("broken", ["no at sign", "", "@example.com", "x" * 300 + "@example.com"])
def test_what_is_no_address_fails_before_anything_is_sent(enroll, meisa_sandbox, broken):
    ran = enroll(broken, retries=2)
    assert ran.state == "failed"
    assert ran.xcom("task")["status"] == "invalid"
    assert meisa_sandbox.requests() == []


def test_spaces_around_an_address_and_capitals_in_its_domain_do_no_harm(enroll, meisa_sandbox):
    enroll("  Ada@EXAMPLE.com\n")
    assert meisa_sandbox.enrollments("onboarding")[0]["email"].lower() == "ada@example.com"


def test_override_unsubscribe_needs_the_opt_in_of_the_connection(enroll, meisa_connection, meisa_sandbox):
    assert enroll("unsubscribed@example.com", override_unsubscribe=True).state == "failed"
    assert meisa_sandbox.requests() == []
    meisa_connection(extra={"allow_override_unsubscribe": "true"})
    assert enroll("unsubscribed@example.com", override_unsubscribe=True).xcom("task")["status"] == "enrolled"


def test_a_failure_of_the_server_is_left_to_airflow_to_retry(enroll, meisa_sandbox):
    meisa_sandbox.fault("status", status=500, path="/enroll/", times=1)
    ran = enroll(retries=1, retry_delay=timedelta(0))
    assert ran.state == "success"
    assert len(meisa_sandbox.enrollments("onboarding")) == 1


def test_a_lost_response_is_sent_again_only_where_that_is_wanted(enroll, meisa_sandbox):
    meisa_sandbox.fault("reset_after", path="/enroll/", times=1)
    assert enroll(on_ambiguous="fail").state == "failed"
    meisa_sandbox.fault("reset_after", path="/enroll/", times=1)
    assert enroll("grace@example.com").xcom("task")["status"] == "already_enrolled"
    assert len(meisa_sandbox.enrollments("onboarding")) == 2


def test_a_choice_that_does_not_exist_fails_before_anything_is_sent(
    enroll, meisa_sandbox, everything_written
):
    assert enroll(on_suppressed="ignore").state == "failed"
    assert meisa_sandbox.requests() == []
    assert "on_suppressed must be one of: success, skip, fail" in everything_written()


def test_the_link_leads_to_the_dashboard(enroll, meisa_connection):
    assert enroll().xcom("task", key="meisa_dashboard") == "https://app.meisa.io"
    meisa_connection(extra={"dashboard_url": "https://app.example.com/s/{slug}"})
    ran = enroll("grace@example.com")
    assert ran.xcom("task", key="meisa_dashboard") == "https://app.example.com/s/onboarding"
    assert ran.xcom("task", key="_link_MeisaSequenceLink") == "https://app.example.com/s/onboarding"


def test_the_contact_is_never_whom_airflow_tells_of_a_failure():
    with DAG("alerts", schedule=None, default_args={"email": ["ops@example.com"]}):
        task = MeisaEnrollOperator(task_id="one", contact_email="ada@example.com", sequence_slug="onboarding")
        mapped = MeisaEnrollOperator.partial(task_id="many", sequence_slug="onboarding").expand(
            contact_email=["ada@example.com"]
        )
    assert task.email == ["ops@example.com"]
    assert mapped.partial_kwargs["email"] == ["ops@example.com"]
    with pytest.raises(TypeError, match="contact_email"):
        MeisaEnrollOperator(task_id="none", email="ada@example.com", sequence_slug="onboarding")
