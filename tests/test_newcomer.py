"""A newcomer's first hour: the commands of README, a DAG of their own, and what goes wrong in it."""

from __future__ import annotations

import inspect
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_meisa.operators.contacts import MeisaUpsertContactOperator
from airflow_provider_meisa.operators.parameters import declared
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from airflow_provider_meisa.transfers.file_to_meisa import (
    FileToMeisaContactsOperator,
    FileToMeisaSequenceOperator,
)
from airflow_provider_meisa.transfers.meisa_to_sql import (
    MeisaOutcomesToSqlOperator,
    MeisaUnsubscribedToSqlOperator,
)
from airflow_provider_meisa.transfers.sql_to_meisa import (
    SqlToMeisaContactsOperator,
    SqlToMeisaSequenceOperator,
)
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
OPERATORS = (
    FileToMeisaContactsOperator,
    FileToMeisaSequenceOperator,
    MeisaBulkEnrollOperator,
    MeisaEnrollOperator,
    MeisaOutcomesToSqlOperator,
    MeisaSequenceSensor,
    MeisaSyncContactsOperator,
    MeisaUnsubscribedToSqlOperator,
    MeisaUpsertContactOperator,
    SqlToMeisaContactsOperator,
    SqlToMeisaSequenceOperator,
)
PEOPLE = ["ada@example.com", "grace@example.com"]
PRIVATE = "turing@example.com"


def enrolled(sandbox):
    return sorted(row["email"] for row in sandbox.enrollments("onboarding"))


# README


@pytest.mark.system
def test_readme_runs_in_clean_environment(meisa_sandbox, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (dag,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (export,) = re.findall(r"^\$ (export AIRFLOW_CONN_.*)$", readme, re.MULTILINE)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "enroll_signups.py").write_text(dag)
    with closing(sqlite3.connect(tmp_path / "warehouse.sqlite")) as warehouse, warehouse:
        warehouse.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, signed_up_on DATE)")
        rows = [(address, "2026-03-04") for address in PEOPLE]
        warehouse.executemany("INSERT INTO users (email, signed_up_on) VALUES (?, ?)", rows)
    meisa_sandbox.add_key("meisa_live_your_key")
    host = meisa_sandbox.url.replace(":", "%3A").replace("/", "%2F")
    script = [
        "set -euo pipefail",
        export.replace("@'", f"@{host}'"),
        "airflow db migrate",
        "airflow connections test meisa_default",
        "airflow dags test enroll_signups 2026-03-05",
    ]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    settings = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{outside['PATH']}",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(
            {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.sqlite")}
        ),
    }
    ran = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**outside, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "Connection success!" in ran.stdout
    assert enrolled(meisa_sandbox) == PEOPLE


# A DAG of their own


def misspelt():
    """Yield each parameter of each operator, without its last letter but one."""
    for operator in OPERATORS:
        for name in dict.fromkeys(name for name, _, _ in declared(operator)):
            yield pytest.param(operator, name, id=f"{operator.__name__}-{name}")


def required(operator):
    """Return a value for each parameter that an operator must have."""
    return {name: "x" for name, _, default in declared(operator) if default is inspect.Parameter.empty}


@pytest.mark.parametrize(("operator", "name"), misspelt())
def test_typo_in_parameter_names_it_without_its_value(operator, name):
    arguments = required(operator)
    arguments.pop(name, None)
    typo = name[:-2] + name[-1]
    with pytest.raises(TypeError) as caught:
        operator(task_id="task", **arguments, **{typo: PRIVATE})
    assert f"'{name}'" in str(caught.value)
    assert PRIVATE not in str(caught.value)


@pytest.mark.parametrize("name", ["retry", "on_failure_callbacks", "polls"])
def test_typo_in_parameter_of_airflow_is_refused(name):
    with pytest.raises(TypeError, match=f"MeisaBulkEnrollOperator has no parameter '{name}'"):
        MeisaBulkEnrollOperator(task_id="task", emails=PEOPLE, sequence_slug="onboarding", **{name: PRIVATE})


def test_typo_in_dag_file_is_an_import_error(tmp_path, airflow_database):
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "own.py").write_text(
        "from airflow.sdk import DAG\n"
        "from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator\n"
        "with DAG('own', schedule=None):\n"
        f"    MeisaBulkEnrollOperator(task_id='task', emails=['{PRIVATE}'], sequence_slug='x', max_invalids=1)\n"
    )
    (error,) = DagBag(dag_folder=tmp_path).import_errors.values()
    assert "MeisaBulkEnrollOperator has no parameter 'max_invalids'. Did you mean 'max_invalid'?" in error


# What goes wrong


@pytest.fixture
def enroll(run_task):
    """Run a task of their own, with retries as in README."""
    return lambda **arguments: run_task(
        MeisaBulkEnrollOperator, **{"emails": PEOPLE, "sequence_slug": "onboarding", "retries": 3} | arguments
    )


def test_revoked_key_fails_at_once_until_replaced(
    enroll, meisa_connection, meisa_sandbox, everything_written
):
    meisa_connection(password="meisa_live_revoked")
    assert enroll().state == "failed"
    assert "Meisa does not accept the API key (401)" in everything_written()
    assert enrolled(meisa_sandbox) == []
    meisa_connection()
    assert enroll().state == "success"
    assert enrolled(meisa_sandbox) == PEOPLE


def test_paused_sequence_fails_at_once_until_active(enroll, meisa_sandbox, everything_written):
    meisa_sandbox.put_sequence("onboarding", status="paused")
    assert enroll().state == "failed"
    assert "paused" in everything_written()
    assert enrolled(meisa_sandbox) == []
    meisa_sandbox.put_sequence("onboarding", status="active")
    assert enroll().state == "success"
    assert enrolled(meisa_sandbox) == PEOPLE


def test_misspelt_slug_names_the_nearest(enroll, meisa_sandbox, everything_written):
    assert enroll(sequence_slug="onbording").state == "failed"
    assert "onboarding" in everything_written()
    assert enrolled(meisa_sandbox) == []


def test_database_that_is_down_enrolls_no_one(run_task, meisa_sandbox, monkeypatch, everything_written):
    fields = {"conn_type": "postgres", "host": "127.0.0.1", "port": free_port(), "password": "s3cret-word"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
    ran = run_task(
        SqlToMeisaSequenceOperator,
        conn_id="warehouse",
        sql="SELECT email FROM users",
        sequence_slug="onboarding",
    )
    assert ran.state == "failed"
    written = everything_written()
    assert "Connection refused" in written
    assert "s3cret-word" not in written
    assert enrolled(meisa_sandbox) == []
