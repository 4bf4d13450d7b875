"""Under a real scheduler: the event of an enrollment starts the DAG that waits for it, and brings the counts."""

import json

import pytest

from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def ask(environment, method, path, **arguments):
    response = environment.airflow._ask(method, path, **arguments)
    response.raise_for_status()
    return response.json()


def test_a_dag_that_is_scheduled_on_a_sequence_runs_after_the_enrollment_and_reads_its_counts(
    environment, tmp_path
):
    file = tmp_path / "signups.csv"
    file.write_text("email\n" + "".join(f"person{n}@example.com\n" for n in range(600)) + "broken\n")
    for dag in ("enroll_signups", "after_enrollment"):
        wait_until(
            lambda dag=dag: environment.airflow._ask("GET", f"dags/{dag}").ok, f"the DAG {dag} is known"
        )
        ask(environment, "PATCH", f"dags/{dag}", json={"is_paused": False})
    assert ask(environment, "GET", "dags/after_enrollment/dagRuns")["dag_runs"] == []

    wish = {"logical_date": None, "conf": {"path": str(file)}}
    ask(environment, "POST", "dags/enroll_signups/dagRuns", json=wish)

    def ended():
        runs = ask(environment, "GET", "dags/after_enrollment/dagRuns")["dag_runs"]
        return [run for run in runs if run["state"] in {"success", "failed"}]

    (run,) = wait_until(ended, "the run that waited has ended", within=120, every=0.5)
    assert (run["state"], run["run_type"]) == ("success", "asset_triggered")
    path = f"dags/after_enrollment/dagRuns/{run['dag_run_id']}/taskInstances/report/xcomEntries/return_value"
    message = ask(environment, "GET", path, params={"deserialize": "true"})["value"]
    message = json.loads(message) if isinstance(message, str) else message
    assert message == ["600 of 601 enrolled by enroll_signups"]
    assert len(environment.sandboxes["meisa_default"].enrollments("onboarding")) == 600
