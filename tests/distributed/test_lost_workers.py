"""A worker is lost amid an enrollment: the other one resumes it, and no contact is enrolled twice."""

import time
from datetime import datetime

import pytest

from tests.distributed.support import IN_FLIGHT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def recovered(environment):
    """Collect the names of lost workers, which are started again after the test."""
    lost = []
    yield lost
    for name in lost:
        environment.airflow.start_worker(name)
    for name in lost:
        environment.airflow.await_worker(name)


def begin(environment, name):
    """Start a run and return its id once its task runs, and the instance."""
    run = environment.airflow.trigger(name)
    wait_until(lambda: environment.airflow.states(name, run) == ["running"], f"{name} runs")
    (instance,) = environment.airflow.instances(name, run)
    return run, instance


def assert_a_second_try_finished(environment, name, run):
    assert environment.airflow.all_ended(name, run) == ["success"]
    (instance,) = environment.airflow.instances(name, run)
    assert instance["try_number"] == 2
    (summary,) = summaries = environment.airflow.summaries(name, run)
    assert summary["resumed"] is True
    environment.support[name].assert_all_enrolled_once(summaries)
    return datetime.fromisoformat(instance["start_date"]).timestamp()


def test_what_a_lost_host_had_not_sent_the_other_sends(environment, recovered, record_property):
    dag = environment.support["lost"]
    run, instance = begin(environment, "lost")
    wait_until(lambda: len(dag.bulk_requests()) >= 9, "9 batches have come in", every=0.02)
    recovered.append(environment.airflow.lose_host_of(instance))
    assert_a_second_try_finished(environment, "lost", run)

    sent = dag.times_sent()
    assert len(sent) == 24
    assert set(sent.values()) <= {1, 2}
    record_property("batches sent again", sent.total() - 24)
    assert sent.total() - 24 <= IN_FLIGHT


def test_an_orphaned_task_sends_nothing_after_what_was_on_its_way(environment, recovered):
    dag = environment.support["orphaned"]
    run, instance = begin(environment, "orphaned")

    def on_their_way():
        return [tuple(each["addresses"]) for each in dag.bulk_requests() if each["status"] is None]

    wait_until(lambda: dag.statuses()[200] > IN_FLIGHT, "a first round was answered", every=0.02)
    wait_until(lambda: len(on_their_way()) == IN_FLIGHT, f"{IN_FLIGHT} batches are on their way", every=0.02)
    name, orphan = environment.airflow.orphan(instance)
    recovered.append(name)
    in_doubt = on_their_way()
    sent = len(dag.bulk_requests())
    assert orphan.exists()
    wait_until(lambda: not orphan.exists(), "the orphan has ended")
    assert len(dag.bulk_requests()) == sent
    second_try = assert_a_second_try_finished(environment, "orphaned", run)

    assert dag.bulk_requests()[sent]["at"] > second_try
    times = dag.times_sent()
    again = {batch for batch, number in times.items() if number == 2}
    assert len(times) == times.total() - len(again) == 16
    assert set(in_doubt) <= again
    assert len(again) <= IN_FLIGHT


def test_an_orphaned_task_that_waits_for_the_limits_sends_nothing_when_the_wait_is_over(
    environment, recovered
):
    dag = environment.support["asleep"]
    run, instance = begin(environment, "asleep")

    def noted():
        return sum(environment.airflow.checkpoint("asleep", run).get("counts", {}).values())

    wait_until(lambda: noted() == 3 * 500, "the limits are used up, and all answers are noted")
    name, orphan = environment.airflow.orphan(instance)
    recovered.append(name)
    assert orphan.exists()
    wait_until(lambda: not orphan.exists(), "the orphan has ended")
    orphan_ended = time.time()
    assert len(dag.bulk_requests()) == 3
    second_try = assert_a_second_try_finished(environment, "asleep", run)

    assert dag.sandbox.requests()[0]["at"] + 15 < orphan_ended
    assert dag.bulk_requests()[3]["at"] > second_try
    assert list(dag.times_sent().values()) == [1] * 8
