"""One Airflow on PostgreSQL for all tests of this folder, and a sandbox for each type of trouble."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.scheduler import backfills, contact_sync, nights
from tests.support.airflow_processes import AirflowAtWork
from tests.support.postgres import postgres_on_loopback

DAGS = '''
"""Enrollments that meet dag."""
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator

OF = {of!r}

for name, (people, arguments) in OF.items():
    with DAG(name, schedule=None, is_paused_upon_creation=False) as dag:
        MeisaBulkEnrollOperator(
            task_id="task",
            emails=[f"person{{number:05}}@example.com" for number in range(people)],
            sequence_slug="onboarding",
            meisa_conn_id=name,
            retries=2,
            retry_delay=timedelta(seconds=1),
            **arguments,
        )
    globals()[name] = dag
'''

# What is sent, how, and to which Meisa. Batches are of 500.
SCENARIOS = {
    "killed": {"people": 20_000, "latency_ms": 1200, "limits": "none", "arguments": {"max_in_flight": 4}},
    "limited": {
        "people": 2_400,
        "limits": "3/15s",
        "arguments": {"max_in_flight": 4, "deferrable": True, "defer_after": 10},
    },
    "stopped": {"people": 8_000, "latency_ms": 1000, "limits": "none", "arguments": {"max_in_flight": 4}},
    "calm": {"people": 1_100, "limits": "none", "arguments": {}},
    "forgetful": {"people": 3_400, "limits": "none", "arguments": {"max_in_flight": 2}},
}
EXAMPLE = Path(__file__).resolve().parents[2] / "example_dags" / "after_enrollment.py"


class Environment:
    """The Airflow at work, with its sandboxes and outcome files, and the port of its PostgreSQL."""

    def __init__(self, airflow, sandboxes, outcomes, port):
        self.airflow = airflow
        self.sandboxes = sandboxes
        self.outcomes = outcomes
        self.port = port


@pytest.fixture(scope="session")
def environment():
    from airflow_provider_meisa.sandbox.server import Sandbox

    home = Path(tempfile.mkdtemp(prefix="meisa-scheduler-"))
    (home / "rate_limits").mkdir(mode=0o700)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        sandboxes = {
            name: stack.enter_context(Sandbox(rate_limits=dag["limits"], latency_ms=dag.get("latency_ms", 0)))
            for name, dag in SCENARIOS.items()
        }
        sandboxes["meisa_default"] = stack.enter_context(Sandbox(rate_limits="none"))
        sandboxes["nightly"] = stack.enter_context(Sandbox(rate_limits="none", latency_ms=500))
        sandboxes[contact_sync.NAME] = stack.enter_context(
            Sandbox(rate_limits=contact_sync.LIMITS, latency_ms=contact_sync.LATENCY_MS)
        )
        for name in backfills.ARGUMENTS:
            sandboxes[name] = stack.enter_context(Sandbox(rate_limits="none", latency_ms=100))
        port = stack.enter_context(postgres_on_loopback())
        connections = {name: _connection(name, sandboxes, home) for name in sandboxes}
        airflow = AirflowAtWork(
            home, connections | {"warehouse": _warehouse(port)}, settings=_settings(home, port)
        )
        outcomes = {name: home / f"{name}.jsonl" for name in SCENARIOS}
        of = {
            name: (dag["people"], {**dag["arguments"], "outcomes_path": str(outcomes[name])})
            for name, dag in SCENARIOS.items()
        }
        (airflow.dags / "troubles.py").write_text(DAGS.format(of=of))
        shutil.copy(EXAMPLE, airflow.dags)
        nights.deploy(airflow)
        backfills.deploy(airflow)
        contact_sync.deploy(airflow)
        stack.callback(airflow.stop)
        airflow.start()
        yield Environment(airflow, sandboxes, outcomes, port)


@pytest.fixture
def nightly(environment):
    """The warehouse, the Meisa and the disk of a nightly DAG."""
    return nights.Nights(environment.airflow, environment.sandboxes["nightly"], environment.port)


@pytest.fixture(name="contact_sync")
def synced(environment):
    """The warehouse and the Meisa of a DAG that syncs contacts."""
    return contact_sync.ContactSync(
        environment.airflow, environment.sandboxes[contact_sync.NAME], environment.port
    )


@pytest.fixture(scope="session")
def backfilled(environment):
    """DAGs by name, each with a backfill of six runs that has ended; the one to be killed has not started."""
    found = {
        name: backfills.Backfill(environment.airflow, environment.sandboxes[name], name)
        for name in backfills.ARGUMENTS
    }
    # Two requests are refused until later, so that their tasks are deferred.
    found["backfilled_and_deferred"].sandbox.fault(
        "status", status=503, headers={"Retry-After": "12"}, path="bulk-enroll", skip=1, times=2
    )
    at_once = [each for name, each in found.items() if name != "backfilled_and_killed"]
    for each in at_once:
        each.start()
    for each in at_once:
        each.wait()  # the tests of this folder find no other task at work
    return found


def _settings(home, port):
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://meisa@127.0.0.1:{port}/postgres",
        "AIRFLOW__CORE__PARALLELISM": str(backfills.RUNS),
        "AIRFLOW__MEISA__LEDGER_PATH": str(home / "ledgers"),
    }


def _warehouse(port):
    with closing(nights.connect(port, "postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE warehouse")
    return {
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": port,
        "login": "meisa",
        "schema": "warehouse",
    }


def _connection(name, sandboxes, home):
    own = {contact_sync.NAME: contact_sync.LIMITS}
    limits = SCENARIOS[name]["limits"] if name in SCENARIOS else own.get(name, "none")
    extra = {
        "rate_limit_storage": (home / "rate_limits").as_uri(),
        "timeout": 10,
        "rate_limits": "10000/minute" if limits == "none" else limits,
    }
    return {
        "conn_type": "meisa",
        "host": sandboxes[name].url,
        "password": sandboxes[name].key,
        "extra": extra,
    }
