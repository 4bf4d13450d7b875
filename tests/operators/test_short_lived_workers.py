"""Workers that share nothing but an object store and Redis, as pods do, and the state that Airflow keeps."""

import itertools
import json

import pytest

from airflow_provider_meisa.bulk.ledger import Ledger, State
from tests.support.ledgers import s3_path, s3_server
from tests.support.people import people
from tests.support.pod_process import STORE, Pod
from tests.support.redis import redis_on_loopback
from tests.support.requests_sent import bulk_requests
from tests.support.summary import counts
from tests.support.waiting import wait_until

BUCKET = "pods"
RUN = {"ledger": "reactivation", "again_after": "never", "sequence_slug": "onboarding", "run_id": "night 1"}

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def s3():
    with s3_server(BUCKET) as url:
        yield url


@pytest.fixture
def settings(request, tmp_path, meisa_sandbox):
    """The environment of all pods: a connection, and the configuration for Kubernetes."""
    place = f"s3://{STORE}@{BUCKET}/{request.node.name}"
    (tmp_path / "redis").mkdir()
    with redis_on_loopback(tmp_path / "redis") as redis:
        connection = {
            "conn_type": "meisa",
            "host": meisa_sandbox.url,
            "password": meisa_sandbox.key,
            "extra": {"rate_limits": "4/2s", "timeout": 5},
        }
        yield {
            "AIRFLOW_CONN_MEISA_DEFAULT": json.dumps(connection),
            "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
            "AIRFLOW__MEISA__LEDGER_PATH": f"{place}/ledgers",
            "AIRFLOW__MEISA__STAGING_PATH": f"{place}/plans",
            "AIRFLOW__MEISA__RATE_LIMIT_STORAGE": redis,
        }


@pytest.fixture
def pod(tmp_path, s3, settings):
    """Start a pod for an attempt of a task, with a disk of its own."""
    numbers = itertools.count()

    def start(task="task", without=(), **arguments):
        given = {name: value for name, value in settings.items() if name not in without}
        return Pod(tmp_path / f"disk {next(numbers)}", tmp_path / task, s3, given, **{**RUN, **arguments})

    return start


@pytest.fixture
def ledger(request, s3):
    """Open the ledger."""
    root = s3_path(s3, f"{BUCKET}/{request.node.name}/ledgers", skip_instance_cache=True)
    return lambda: Ledger.open_existing(root, "reactivation")


def times_enrolled(sandbox, slug="onboarding"):
    return {row["email"]: row["times_enrolled"] for row in sandbox.enrollments(slug)}


def kill_amid_batches(pod, sandbox):
    wait_until(lambda: len(bulk_requests(sandbox)) >= 3, "the third batch has come in")
    pod.kill()


@pytest.mark.meisa_sandbox(rate_limits="4/2s", latency_ms=300)
def test_next_pod_sends_the_rest_of_the_plan(pod, meisa_sandbox, ledger):
    audience = people(3000)
    kill_amid_batches(pod(emails=audience, max_in_flight=1), meisa_sandbox)
    second = pod(emails=["other@example.com"])
    summary = second.summary()
    assert summary["total"] == sum(summary["counts"].values()) == 3000
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(audience, 1)
    assert summary["rate_limited"] == 0
    assert ledger().count_by_state().keys() <= {State.ACCEPTED, State.PRESENT}
    assert "is on this worker's disk" not in second.log()


@pytest.mark.meisa_sandbox(rate_limits="4/2s", latency_ms=300)
def test_next_pod_plans_again_if_the_plan_is_gone(pod, meisa_sandbox, ledger):
    audience, later = people(3000), people(3000, start=5)
    without = ["AIRFLOW__MEISA__STAGING_PATH"]
    kill_amid_batches(pod(emails=audience, max_in_flight=1, without=without), meisa_sandbox)
    second = pod(emails=later, without=without)
    summary = second.summary()
    enrolled = times_enrolled(meisa_sandbox)
    assert set(enrolled.values()) == {1}
    assert set(later) <= enrolled.keys() <= {*audience, *later}
    assert summary["total"] == sum(summary["counts"].values()) == len(enrolled) == ledger().count
    assert "Set [meisa] staging_path to a place that all workers reach" in second.log()


@pytest.mark.meisa_sandbox(rate_limits="4/2s")
def test_next_night_on_another_pod_sends_only_new_contacts(pod, meisa_sandbox):
    first = pod(emails=people(600)).summary()
    meisa_sandbox.seed_enrollments("onboarding", people(600), "completed")
    night = pod("night 2", emails=people(601), run_id="night 2", earlier=first)
    assert counts(night.summary()) == {"enrolled": 1, "enrolled_before": 600}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}


@pytest.mark.meisa_sandbox(rate_limits="4/2s")
def test_two_pods_at_once_share_the_rate_limit_of_their_key(pod, meisa_sandbox):
    slugs = ["onboarding", "reactivation"]
    pods = [pod(slug, emails=people(2000), sequence_slug=slug, ledger=slug) for slug in slugs]
    summaries = [each.summary() for each in pods]
    assert [counts(summary) for summary in summaries] == [{"enrolled": 2000}] * 2
    assert [summary["rate_limited"] for summary in summaries] == [0, 0]
    assert {request["status"] for request in meisa_sandbox.requests()} == {200}
    for slug in slugs:
        assert times_enrolled(meisa_sandbox, slug) == dict.fromkeys(people(2000), 1)
