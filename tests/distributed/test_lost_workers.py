"""A worker is lost amid an enrollment: the other goes on with it, and nobody is enrolled twice."""

import time
from datetime import datetime

import pytest

from tests.distributed.troubles import IN_FLIGHT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def mended(scene):
    """Collect the names of lost workers, which are started again after the test."""
    lost = []
    yield lost
    for name in lost:
        scene.airflow.start_worker(name)
    for name in lost:
        scene.airflow.await_worker(name)


def begin(scene, name):
    """Start a run and return its id once its task runs, and the instance."""
    run = scene.airflow.trigger(name)
    wait_until(lambda: scene.airflow.states(name, run) == ["running"], f"{name} runs")
    (instance,) = scene.airflow.instances(name, run)
    return run, instance


def assert_a_second_try_finished(scene, name, run):
    assert scene.airflow.all_ended(name, run) == ["success"]
    (instance,) = scene.airflow.instances(name, run)
    assert instance["try_number"] == 2
    (summary,) = summaries = scene.airflow.summaries(name, run)
    assert summary["resumed"] is True
    scene.troubles[name].assert_everybody_is_in_once(summaries)
    return datetime.fromisoformat(instance["start_date"]).timestamp()


def test_what_a_lost_host_had_not_sent_the_other_sends(scene, mended, record_property):
    trouble = scene.troubles["lost"]
    run, instance = begin(scene, "lost")
    wait_until(lambda: len(trouble.bulk_requests()) >= 9, "9 batches have come in", every=0.02)
    mended.append(scene.airflow.lose_host_of(instance))
    assert_a_second_try_finished(scene, "lost", run)

    sent = trouble.times_sent()
    assert len(sent) == 24
    assert set(sent.values()) <= {1, 2}
    record_property("batches sent again", sent.total() - 24)
    assert sent.total() - 24 <= IN_FLIGHT


def test_an_orphaned_task_sends_nothing_after_what_was_on_its_way(scene, mended):
    trouble = scene.troubles["orphaned"]
    run, instance = begin(scene, "orphaned")

    def on_their_way():
        return [tuple(each["addresses"]) for each in trouble.bulk_requests() if each["status"] is None]

    wait_until(lambda: trouble.statuses()[200] > IN_FLIGHT, "a first round was answered", every=0.02)
    wait_until(lambda: len(on_their_way()) == IN_FLIGHT, f"{IN_FLIGHT} batches are on their way", every=0.02)
    name, orphan = scene.airflow.orphan(instance)
    mended.append(name)
    in_doubt = on_their_way()
    sent = len(trouble.bulk_requests())
    assert orphan.exists()
    wait_until(lambda: not orphan.exists(), "the orphan has ended")
    assert len(trouble.bulk_requests()) == sent
    second_try = assert_a_second_try_finished(scene, "orphaned", run)

    assert trouble.bulk_requests()[sent]["at"] > second_try
    times = trouble.times_sent()
    again = {batch for batch, number in times.items() if number == 2}
    assert len(times) == times.total() - len(again) == 16
    assert set(in_doubt) <= again
    assert len(again) <= IN_FLIGHT


def test_an_orphaned_task_that_waits_for_the_limits_sends_nothing_when_the_wait_is_over(scene, mended):
    trouble = scene.troubles["asleep"]
    run, instance = begin(scene, "asleep")

    def noted():
        return sum(scene.airflow.checkpoint("asleep", run).get("counts", {}).values())

    wait_until(lambda: noted() == 3 * 500, "the limits are used up, and all answers are noted")
    name, orphan = scene.airflow.orphan(instance)
    mended.append(name)
    assert orphan.exists()
    wait_until(lambda: not orphan.exists(), "the orphan has ended")
    orphan_ended = time.time()
    assert len(trouble.bulk_requests()) == 3
    second_try = assert_a_second_try_finished(scene, "asleep", run)

    assert trouble.sandbox.requests()[0]["at"] + 15 < orphan_ended
    assert trouble.bulk_requests()[3]["at"] > second_try
    assert list(trouble.times_sent().values()) == [1] * 8
