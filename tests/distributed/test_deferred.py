"""Tasks wait in the triggerer and come back on any worker."""

import pytest

from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def test_a_task_that_is_deferred_twice_goes_on_exactly_where_it_was(environment):
    dag, airflow = environment.support["deferred"], environment.airflow
    run = airflow.trigger("deferred")
    for answered in (3, 6):
        wait_until(
            lambda answered=answered: (
                airflow.states("deferred", run) == ["deferred"] and dag.statuses() == {200: answered}
            ),
            f"the task is deferred after {answered} requests",
        )
    assert airflow.all_ended("deferred", run) == ["success"]

    assert list(dag.times_sent().values()) == [1] * 7
    assert dag.statuses() == {200: 8}
    (instance,) = airflow.instances("deferred", run)
    assert instance["try_number"] == 1
    (summary,) = summaries = airflow.summaries("deferred", run)
    assert summary["counts"]["enrolled"] == dag.people
    assert summary["requests"] == 8
    assert summary["resumed"] is False
    dag.assert_all_enrolled_once(summaries)


def test_a_scheduler_and_a_triggerer_that_are_killed_while_tasks_are_deferred_cost_nothing_but_time(
    environment,
):
    dag, airflow = environment.support["restarted"], environment.airflow
    run = airflow.trigger("restarted")
    wait_until(
        lambda: airflow.states("restarted", run).count("deferred") >= 2, "tasks are deferred", every=0.05
    )
    for component in ("triggerer", "scheduler"):
        airflow.kill_component(component)
    sent = len(dag.bulk_requests())
    assert 0 < sent < 12
    for component in ("triggerer", "scheduler"):
        airflow.start_component(component)
    assert airflow.all_ended("restarted", run, within=200) == ["success"] * 4

    assert list(dag.times_sent().values()) == [1] * 12
    assert set(dag.statuses()) == {200}
    assert [each["try_number"] for each in airflow.instances("restarted", run)] == [1] * 4
    summaries = airflow.summaries("restarted", run)
    assert [summary["counts"]["enrolled"] for summary in summaries] == [dag.people] * 4
    assert [summary["rate_limited"] for summary in summaries] == [0] * 4
    dag.assert_all_enrolled_once(summaries)
