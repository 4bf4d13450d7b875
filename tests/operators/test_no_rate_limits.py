"""`rate_limits` of a connection may be `none`, as of the sandbox."""

from __future__ import annotations

import pytest

from airflow_provider_meisa.api.rate_limit.limits import DEFAULT_LIMITS, NO_LIMITS, parse_limits
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from tests.support.people import people


@pytest.mark.parametrize("text", ["none", " None ", "NONE"])
def test_none_is_read_as_no_limit(text):
    assert parse_limits(text) == NO_LIMITS
    assert parse_limits(", ".join(map(str, NO_LIMITS))) == NO_LIMITS


@pytest.mark.meisa_sandbox(rate_limits="none")
@pytest.mark.parametrize("store", ["memory", "file"])
def test_connection_without_limits_does_not_wait(run_task, meisa_sandbox, meisa_connection, store):
    meisa_connection(extra={"rate_limits": "none", "rate_limit_storage": store})
    found = people(500 * (DEFAULT_LIMITS[0].requests + 5))
    ran = run_task(MeisaBulkEnrollOperator, emails=found, sequence_slug="onboarding")
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": len(found)}
    assert ran.xcom("task")["waited_s"] == 0


def test_429_is_obeyed_without_limits(run_task, meisa_sandbox, meisa_connection):
    meisa_connection(extra={"rate_limits": "none"})
    meisa_sandbox.fault("status", status=429, path="bulk-enroll", headers={"Retry-After": "1"}, times=1)
    ran = run_task(MeisaBulkEnrollOperator, emails=people(2), sequence_slug="onboarding")
    assert ran.counts() == {"enrolled": 2}
    assert ran.xcom("task")["waited_s"] >= 1
