"""Under a real scheduler: a killed task resumes, and no contact is enrolled twice."""

import json
import os
import signal
from collections import Counter

import pytest

from tests.support.requests_sent import bulk_requests
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

IN_FLIGHT = 4


def people(number):
    return {f"person{each:05}@example.com" for each in range(number)}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_all_enrolled_once(environment, name, number):
    enrolled = {
        row["email"]: row["times_enrolled"] for row in environment.sandboxes[name].enrollments("onboarding")
    }
    assert enrolled == dict.fromkeys(people(number), 1)
    written = Counter(line["address"] for line in lines(environment.outcomes[name]))
    assert written == dict.fromkeys(people(number), 1)


def test_a_task_that_is_killed_amid_40_batches_sends_again_only_what_was_in_flight(
    environment, record_property
):
    sandbox, airflow = environment.sandboxes["killed"], environment.airflow
    run = airflow.trigger("killed")
    wait_until(lambda: len(bulk_requests(sandbox)) >= 15, "15 batches have come in", every=0.02)
    (pid,) = airflow.task_processes()
    os.kill(pid, signal.SIGKILL)
    assert airflow.ended("killed", run) == "success"

    assert airflow.task("killed", run)["try_number"] == 2
    batches = Counter(tuple(request["addresses"]) for request in bulk_requests(sandbox))
    assert len(batches) == 40
    assert set(batches.values()) <= {1, 2}
    again = [batch for batch, times in batches.items() if times == 2]
    record_property("batches sent again", len(again))
    assert len(again) <= IN_FLIGHT
    assert_all_enrolled_once(environment, "killed", 20_000)
    summary = airflow.xcom("killed", run)
    assert summary["total"] == sum(summary["counts"].values()) == 20_000
    assert summary["counts"]["enrolled"] + summary["counts"]["already_enrolled"] == 20_000
    assert summary["resumed"] is True
    possibly = [
        line for line in lines(environment.outcomes["killed"]) if line["status"] == "already_enrolled"
    ]
    assert {line["reason"] for line in possibly} <= {"possibly by this run"}
    assert len(possibly) <= sum(map(len, again))


def test_a_triggerer_that_is_killed_while_a_task_is_deferred_costs_nothing_but_time(environment):
    sandbox, airflow = environment.sandboxes["limited"], environment.airflow
    run = airflow.trigger("limited")
    wait_until(lambda: airflow.task("limited", run)["state"] == "deferred", "the task is deferred", every=0.2)
    sent = len(bulk_requests(sandbox))
    airflow.kill_component("triggerer")
    wait_until(lambda: not airflow.task_processes(), "the worker slot is free")
    assert airflow.pool()["running_slots"] == 0
    assert airflow.pool()["deferred_slots"] == 1
    assert 0 < sent == len(bulk_requests(sandbox)) < 5
    airflow.start_component("triggerer")
    assert airflow.ended("limited", run, within=120) == "success"

    assert airflow.task("limited", run)["try_number"] == 1
    assert [request["status"] for request in bulk_requests(sandbox)] == [200] * 5
    assert_all_enrolled_once(environment, "limited", 2_400)
    summary = airflow.xcom("limited", run)
    assert summary["counts"]["enrolled"] == summary["total"] == 2_400
    assert summary["rate_limited"] == 0
    assert summary["resumed"] is False


def test_responses_that_are_lost_after_the_work_was_done_enroll_no_contact_twice(environment):
    sandbox, airflow = environment.sandboxes["forgetful"], environment.airflow
    sandbox.fault("reset_after", path="bulk-enroll", skip=1, times=2)
    sandbox.fault("status", status=500, path="bulk-enroll", skip=3, times=1)
    run = airflow.trigger("forgetful")
    assert airflow.ended("forgetful", run) == "success"

    assert airflow.task("forgetful", run)["try_number"] == 2
    assert sum(not request["answered"] for request in bulk_requests(sandbox)) == 2
    assert_all_enrolled_once(environment, "forgetful", 3_400)
    summary = airflow.xcom("forgetful", run)
    assert summary["total"] == sum(summary["counts"].values()) == 3_400
    assert summary["counts"]["enrolled"] + summary["counts"]["already_enrolled"] == 3_400
    assert summary["counts"]["already_enrolled"] in {500, 900, 1000}


def test_a_task_that_a_person_sets_to_failed_stops_sending_and_goes_on_when_it_is_cleared(
    environment, record_property
):
    sandbox, airflow = environment.sandboxes["stopped"], environment.airflow
    run = airflow.trigger("stopped")
    wait_until(lambda: len(bulk_requests(sandbox)) >= 3, "3 batches have come in", every=0.02)
    airflow.set_failed("stopped", run)
    wait_until(lambda: not airflow.task_processes(), "its process has ended", within=30)
    sent = len(bulk_requests(sandbox))
    assert sent < 16
    airflow.clear("stopped", run)
    assert airflow.ended("stopped", run) == "success"

    batches = Counter(tuple(request["addresses"]) for request in bulk_requests(sandbox))
    assert len(batches) == 16
    record_property("batches sent again", batches.total() - 16)
    assert batches.total() - 16 <= IN_FLIGHT
    assert_all_enrolled_once(environment, "stopped", 8_000)
    assert airflow.xcom("stopped", run)["resumed"] is True


def test_a_task_that_is_cleared_after_its_success_begins_again(environment):
    sandbox, airflow = environment.sandboxes["calm"], environment.airflow
    run = airflow.trigger("calm")
    assert airflow.ended("calm", run) == "success"
    airflow.clear("calm", run)
    wait_until(lambda: airflow.task("calm", run)["try_number"] == 2, "the second attempt has begun")
    assert airflow.ended("calm", run) == "success"

    assert len(bulk_requests(sandbox)) == 6
    summary = airflow.xcom("calm", run)
    assert summary["counts"]["already_enrolled"] == summary["total"] == 1_100
    assert summary["resumed"] is False
    assert_all_enrolled_once(environment, "calm", 1_100)
