"""An Airflow of its own for the whole run, and DAGs that run in it against the sandbox."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_provider_meisa.sandbox.server import Sandbox

ROOT = Path(__file__).resolve().parent.parent

# Airflow reads its home when it is first imported, so this stands before any test module.
HOME = Path(tempfile.mkdtemp(prefix="meisa-tests-"))
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
}


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Migrate the run's database."""
    from airflow.utils.db import initdb

    (HOME / "dags").mkdir()
    initdb()


@pytest.fixture
def meisa_connection(meisa_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Point a connection at the sandbox; called again, change what it says."""

    def connect(conn_id: str = "meisa_default", **changes: Any) -> None:
        extra = {"quota_store": "memory", "timeout": 5, **changes.pop("extra", {})}
        fields = {"conn_type": "meisa", "host": meisa_sandbox.url, "password": meisa_sandbox.key, **changes}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**fields, "extra": extra}))

    connect()
    return connect


@pytest.fixture(autouse=True)
def resend_after(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float | None:
    """Let a write whose response was lost be sent again soon; not in tests whose time passes only by sleeping."""
    if "clock" in request.fixturenames:
        return None
    from airflow_provider_meisa.api.settings import Settings

    seconds = 0.1
    monkeypatch.setattr(Settings, "resend_after", seconds)
    return seconds


_numbers = itertools.count()


@dataclass(frozen=True)
class Ran:
    """A DAG run that has ended."""

    dag_id: str
    states: dict[str, str]
    xcom: Callable[..., Any]

    @property
    def state(self) -> str:
        """The state of the only task."""
        (state,) = self.states.values()
        return state


def _store(dag: DAG) -> None:
    """Write a DAG into the database, as the DAG processor does with one it finds in a file."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    DagBundlesManager().sync_bundles_to_db()
    with create_session() as session:
        update_dag_parsing_results_in_db(
            "dags-folder", None, [LazyDeserializedDAG.from_dag(dag)], {}, 0.1, set(), session
        )


@pytest.fixture
def run(airflow_database: None, meisa_connection: Callable[..., None]) -> Callable[..., Ran]:
    """Run a DAG as `airflow dags test` does."""

    def run_dag(dag: DAG, **arguments: Any) -> Ran:
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        _store(dag)
        dag_run = dag.test(**arguments)

        def xcom(task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
            with create_session() as session:
                found = XComModel.get_many(
                    run_id=dag_run.run_id,
                    dag_ids=dag.dag_id,
                    task_ids=task_id,
                    key=key,
                    map_indexes=map_index,
                )
                query = session.scalars(found) if hasattr(session, "scalars") else found
                row = query.first()
                return None if row is None else XComModel.deserialize_value(row)

        states = {
            ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
            for ti in dag_run.get_task_instances()
        }
        return Ran(dag.dag_id, states, xcom)

    return run_dag


@pytest.fixture
def run_task(run: Callable[..., Ran]) -> Callable[..., Ran]:
    """Run one operator in a DAG of its own."""

    def run_operator(operator: type, /, **arguments: Any) -> Ran:
        from airflow.sdk import DAG

        for_dag = ("params", "render_template_as_native_obj")
        dag_arguments = {name: arguments.pop(name) for name in for_dag if name in arguments}
        with DAG(f"one_task_{next(_numbers)}", schedule=None, **dag_arguments) as dag:
            operator(task_id="task", **arguments)
        return run(dag)

    return run_operator


@pytest.fixture
def example(run: Callable[..., Ran]) -> Callable[..., Ran]:
    """Run one of the example DAGs."""

    def run_example(name: str, **arguments: Any) -> Ran:
        import importlib.util

        spec = importlib.util.spec_from_file_location(name, ROOT / "example_dags" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return run(getattr(module, name)(), **arguments)

    return run_example


@pytest.fixture
def everything_written(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[[], str]]:
    """Collect everything that is logged at any level or printed."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.DEBUG)

    def written() -> str:
        out, err = capfd.readouterr()
        return "\n".join([out, err, caplog.text])

    yield written
    sys.stdout.flush()
