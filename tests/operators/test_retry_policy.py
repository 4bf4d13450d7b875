from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, ExceptionRetryPolicy

from airflow_provider_meisa.api.errors import MeisaRateLimitError, MeisaServerError
from airflow_provider_meisa.hooks.meisa import raise_airflow_errors
from airflow_provider_meisa.operators.retry_policy import MeisaRetryPolicy
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator

TASK = {"task_id": "task", "sequence_slug": "onboarding"}


def decision_on(error):
    with pytest.raises(AirflowException) as raised, raise_airflow_errors():
        raise error
    return MeisaRetryPolicy().evaluate(raised.value, 1, 3)


def test_a_task_that_met_the_rate_limit_is_tried_again_when_there_is_room():
    decision = decision_on(MeisaRateLimitError("later", retry_after=1234))
    assert decision.action.value == "retry"
    assert decision.retry_delay == timedelta(seconds=1235)


@pytest.mark.parametrize("error", [MeisaServerError("failed", status=502), MeisaRateLimitError("later")])
def test_other_failures_are_left_to_the_task(error):
    assert decision_on(error).action.value == "default"


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [(MeisaEnrollOperator, {"contact_email": "ada@example.com"}), (MeisaBulkEnrollOperator, {"emails": []})],
)
def test_a_task_has_the_policy_unless_its_author_gives_another(operator, arguments):
    assert isinstance(operator(**TASK, **arguments).retry_policy, MeisaRetryPolicy)
    other = ExceptionRetryPolicy(rules=[])
    assert operator(**TASK, **arguments, retry_policy=other).retry_policy is other


def test_the_policy_is_made_again_from_what_it_says_of_itself():
    assert isinstance(MeisaRetryPolicy.deserialize(MeisaRetryPolicy().serialize()), MeisaRetryPolicy)


def test_a_single_enroll_that_is_to_wait_for_long_gives_its_slot_back(run_task, meisa_sandbox):
    meisa_sandbox.fault("status", status=429, headers={"Retry-After": "130"}, path="/enroll/", times=1)
    ran = run_task(
        MeisaEnrollOperator, contact_email="ada@example.com", sequence_slug="onboarding", retries=0
    )
    assert ran.state == "failed"
    assert len(meisa_sandbox.requests()) == 1
