"""Who gets what of the plugin's app: nothing without a session, and never more than Airflow itself would show."""

import importlib.metadata
import json
import logging
import subprocess
import sys

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.routing import APIRoute
from starlette.routing import Mount

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.plugins.app import make_app
from airflow_provider_meisa.plugins.meisa import MeisaPlugin
from tests.plugins.auth_manager import HIDDEN
from tests.plugins.xcom_operator import XComOperator

ROUTES = [route for route in make_app().routes if not isinstance(route, Mount)]
SUMMARY = {"sequence_slug": "onboarding", "counts": {"enrolled": 2}, "meisa_conn_id": "meisa_default"}
QUERY = {"connection": "meisa_default", "dag_id": "d", "run_id": "r", "task_id": "t"}


def asks_for_a_user(dependant):
    return dependant.call is get_user or any(map(asks_for_a_user, dependant.dependencies))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_asks_for_a_user(route):
    assert isinstance(route, APIRoute)
    assert asks_for_a_user(route.dependant)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_without_a_session_every_route_returns_401(as_user, route):
    assert as_user(None).get(route.path.lstrip("/"), params=QUERY).status_code == 401


def test_only_the_static_files_are_mounted_beside_the_routes():
    assert [route.path for route in make_app().routes if isinstance(route, Mount)] == ["/static"]


@pytest.mark.parametrize(
    "path", ["docs", "redoc", "openapi.json", "static/../app.py", "static/%2e%2e/app.py"]
)
def test_nothing_else_is_public(as_user, path):
    assert as_user(None).get(path).status_code == 404


@pytest.mark.parametrize("name", ["meisa.js", "page.js", "task.js", "meisa.css"])
def test_the_module_is_public_and_looked_up_again_after_an_upgrade(as_user, name):
    response = as_user(None).get(f"static/{name}")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache"
    again = as_user(None).get(f"static/{name}", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304


def test_a_viewer_sees_runs_and_nothing_of_connections(as_user, run_task, meisa_sandbox):
    ran = run_task(XComOperator, returns=SUMMARY)
    viewer = as_user("viewer", "VIEWER")
    (run,) = [run for run in viewer.get("runs").json()["runs"] if run["dag_id"] == ran.dag_id]
    assert run["summary"]["counts"] == {"enrolled": 2}
    assert run["summary"]["connection"] == ""
    assert viewer.get("connections").json() == []
    for path in ("sequences", "rate_limits"):
        assert viewer.get(path, params=QUERY).status_code == 403
    assert meisa_sandbox.requests() == []


def test_viewer_sees_an_error_without_the_connection(as_user, run_task):
    error = {"meisa_conn_id": "meisa_default", "message": "The connection meisa_default has no key."}
    ran = run_task(XComOperator, error=error, fails=True)
    assert ran.state == "failed"
    for user, text in {("viewer", "VIEWER"): "***", ("admin", "ADMIN"): "meisa_default"}.items():
        runs = as_user(*user).get("runs").json()["runs"]
        (run,) = [run for run in runs if run["dag_id"] == ran.dag_id]
        assert run["error"]["message"] == f"The connection {text} has no key."


def test_an_admin_sees_the_connection_of_a_run(as_user, run_task):
    ran = run_task(XComOperator, returns=SUMMARY)
    (run,) = [run for run in as_user().get("runs").json()["runs"] if run["dag_id"] == ran.dag_id]
    assert run["summary"]["connection"] == "meisa_default"


def test_runs_of_dags_that_a_user_may_not_read_are_not_there(as_user, run):
    from airflow.sdk import DAG

    for name in ("open_to_clerks", f"{HIDDEN}_from_clerks"):
        with DAG(name, schedule=None) as dag:
            XComOperator(task_id="task", returns={"sequence_slug": "onboarding", "counts": {"enrolled": 1}})
        run(dag)
    of_admin = as_user().get("runs").json()["runs"]
    of_viewer = as_user("clerk", "USER").get("runs").json()["runs"]
    assert {"open_to_clerks", f"{HIDDEN}_from_clerks"} <= {each["dag_id"] for each in of_admin}
    assert "open_to_clerks" in {each["dag_id"] for each in of_viewer}
    assert not [each for each in of_viewer if HIDDEN in each["dag_id"]]


def test_the_tab_of_a_dag_that_a_user_may_not_read_is_refused_also_if_another_dag_is_named_beside_it(
    as_user, run
):
    from airflow.sdk import DAG

    with DAG(f"{HIDDEN}_tab", schedule=None) as dag:
        XComOperator(task_id="task", returns={"sequence_slug": "onboarding", "counts": {"enrolled": 1}})
    run(dag)
    (found,) = [each for each in as_user().get("runs").json()["runs"] if each["dag_id"] == f"{HIDDEN}_tab"]
    asked = {"dag_id": found["dag_id"], "run_id": found["run_id"], "task_id": "task"}
    viewer = as_user("clerk", "USER")
    assert as_user().get("task", params=asked).json()["run"]["summary"]["total"] == 1
    assert viewer.get("task", params=asked).status_code == 403
    for names in (["other", found["dag_id"]], [found["dag_id"], "other"]):
        response = viewer.get("task", params={**asked, "dag_id": names})
        assert response.status_code == 403 or response.json()["run"] is None


def test_filter_by_a_dag_that_a_user_may_not_read_finds_nothing(as_user, run):
    from airflow.sdk import DAG

    with DAG(f"{HIDDEN}_filter", schedule=None) as dag:
        XComOperator(task_id="task", returns=SUMMARY)
    run(dag)
    found = as_user("clerk", "USER").get("runs", params={"dag_id": f"{HIDDEN}_filter"}).json()
    assert found["runs"] == []
    assert f"{HIDDEN}_filter" not in found["dags"]
    assert len(as_user().get("runs", params={"dag_id": f"{HIDDEN}_filter"}).json()["runs"]) == 1


def test_a_user_without_a_right_to_results_gets_no_runs(as_user):
    assert as_user("nobody", "VIEWER").get("runs").status_code == 403


def test_connections_that_a_user_may_not_read_are_not_named_and_look_as_if_they_did_not_exist(
    as_user, meisa_connection
):
    meisa_connection(f"meisa_{HIDDEN}")
    viewer = as_user("clerk", "USER")
    assert f"meisa_{HIDDEN}" in as_user().get("connections").json()
    assert viewer.get("connections").json() == ["meisa_default"]
    refused = [
        viewer.get("sequences", params={"connection": name}) for name in (f"meisa_{HIDDEN}", "no_such_one")
    ]
    assert [response.status_code for response in refused] == [403, 403]
    assert refused[0].json() == refused[1].json()


def test_a_connection_of_another_type_is_never_spoken_to(as_user, meisa_sandbox, monkeypatch):
    other = {"conn_type": "http", "host": meisa_sandbox.url, "password": "a password of something else"}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(other))
    assert "other" not in as_user().get("connections").json()
    for path in ("sequences", "rate_limits"):
        assert as_user().get(path, params={"connection": "other"}).status_code == 403
    assert meisa_sandbox.requests() == []


def test_neither_the_key_nor_an_address_reaches_the_browser(
    as_user, run_task, meisa_sandbox, everything_written
):
    people = ["jane.doe@example.com", "john roe@example.com", "unsubscribed@example.com"]
    ran = run_task(MeisaBulkEnrollOperator, emails=people, sequence_slug="onboarding")
    admin = as_user()
    (run,) = [run for run in admin.get("runs").json()["runs"] if run["dag_id"] == ran.dag_id]
    asked = {**QUERY, **{name: run[name] for name in ("dag_id", "run_id", "task_id")}}
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    everything_written()
    message = "".join(admin.get(route.path.lstrip("/"), params=asked).text for route in ROUTES)
    assert "j***@***.com" in message
    for secret in (*people, "jane.doe", "john", meisa_sandbox.key):
        assert secret not in message
        assert secret not in everything_written()


def test_to_load_the_plugin_loads_nothing_heavy():
    program = (
        "import sys; from airflow.sdk import BaseOperator; import airflow.plugins_manager; before = set(sys.modules);"
        "import airflow_provider_meisa.plugins.meisa; print(*(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in ran.stdout.split()}
    assert not loaded & {"fastapi", "starlette", "requests", "sqlalchemy"}


def test_airflow_finds_the_plugin_by_its_entry_point():
    found = importlib.metadata.entry_points(group="airflow.plugins", name="meisa")
    assert [point.load() for point in found] == [MeisaPlugin]
