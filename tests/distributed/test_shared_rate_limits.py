"""Tasks on two workers share one key."""

import pytest

from airflow_provider_meisa.api.rate_limit.limits import parse_limits
from tests.distributed.airflow_on_celery import WORKERS
from tests.distributed.support import SCENARIOS

pytestmark = pytest.mark.timeout(300)


def optimum(limits, requests):
    """Seconds between the first and the last request where each is sent at the first moment it may be."""
    from tests.support.limiter_simulation import SlidingLog, fastest

    return fastest([SlidingLog(limit) for limit in parse_limits(limits)], requests)


def test_eight_mapped_tasks_on_two_workers_share_the_limits_of_their_key(environment, record_property):
    dag, airflow = environment.support["shared"], environment.airflow
    run = airflow.trigger("shared")
    assert airflow.all_ended("shared", run) == ["success"] * 8

    instances = [each["id"] for each in airflow.instances("shared", run)]
    for worker in WORKERS:
        assert any(instance in airflow.log_of(worker) for instance in instances)
    assert dag.statuses() == {200: 8 * 12 + 8}
    assert set(dag.times_sent().values()) == {1}
    summaries = airflow.summaries("shared", run)
    dag.assert_all_enrolled_once(summaries)
    assert [summary["counts"]["enrolled"] for summary in summaries] == [dag.people] * 8
    assert [summary["rate_limited"] for summary in summaries] == [0] * 8

    moments = [request["at"] for request in dag.sandbox.requests()]
    took, best = moments[-1] - moments[0], optimum(SCENARIOS["shared"]["limits"], len(moments))
    record_property("pace", f"{took:.2f} s for {len(moments)} requests, {took / best:.3f} × the optimum")
