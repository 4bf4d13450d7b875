"""An Airflow of its own in this process: its home, its database, and DAGs that run in it."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.summary import counts

if TYPE_CHECKING:
    from airflow.sdk import DAG

ROOT = Path(__file__).resolve().parents[2]


def make_home() -> Path:
    """Give Airflow an empty home; it reads where that is when it is first imported."""
    home = Path(tempfile.mkdtemp(prefix="meisa-tests-"))
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    return home


def make_database(home: Path, templates: Path) -> None:
    """Put a migrated database into a home: a copy of the template, or the one that becomes the template.

    :param templates: a folder that outlives this process; it has one template for each version of Airflow.
    """
    (home / "dags").mkdir()
    templates.mkdir(parents=True, exist_ok=True)
    template = templates / f"airflow-{version('apache-airflow-core')}.db"
    with (templates / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if template.exists():
            shutil.copyfile(template, home / "airflow.db")
        else:
            _migrate(home, template)


def _migrate(home: Path, template: Path) -> None:
    """Migrate the database of a home, and make a copy of it the template, whole or not at all."""
    from airflow.utils.db import initdb

    initdb()
    begun = template.with_suffix(".begun")
    with closing(sqlite3.connect(home / "airflow.db")) as source, closing(sqlite3.connect(begun)) as copy:
        source.backup(copy)
    begun.replace(template)


class Ran:
    """A DAG run that has ended.

    A task that failed fails the test, unless the test reads the states and so says what it expects.
    """

    def __init__(self, dag_id: str, run_id: str, states: Mapping[str, str]) -> None:
        self.dag_id = dag_id
        self.run_id = run_id
        self._states = dict(states)
        self.is_asserted = False

    @property
    def states(self) -> dict[str, str]:
        """The final state of each task; mapped ones as ``task[0]``."""
        self.is_asserted = True
        return self._states

    @property
    def state(self) -> str:
        """The final state of the only task."""
        (state,) = self.states.values()
        return state

    def check(self) -> None:
        """Fail if a task has not succeeded, and the test has not read its state."""
        if not self.is_asserted:
            others = {task: state for task, state in self._states.items() if state != "success"}
            assert not others, f"{self.dag_id}: the test does not assert that these ended so: {others}"

    def xcom(self, task_id: str = "task", key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task has pushed; ``None`` if it has not."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            found = XComModel.get_many(
                run_id=self.run_id, dag_ids=self.dag_id, task_ids=task_id, key=key, map_indexes=map_index
            )
            row = session.scalars(found).first()
            return None if row is None else XComModel.deserialize_value(row)

    def counts(self, task_id: str = "task", map_index: int = -1) -> dict[str, int]:
        """Return the counts of a task's summary that are not zero."""
        return counts(self.xcom(task_id, map_index=map_index))


def run_dag(dag: DAG, **arguments: Any) -> Ran:
    """Run a DAG as `airflow dags test` does."""
    _store(dag)
    run: Any = dag.test(**arguments)
    states = {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
        for ti in run.get_task_instances()
    }
    return Ran(dag.dag_id, run.run_id, states)


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


def forget_runs(*dag_ids: str) -> None:
    """Remove the runs of other tests: what they have reported of their ledger is not to be missed in this one."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id.in_(dag_ids)))


def load_example(name: str) -> DAG:
    """Make the DAG of an example's file."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "example_dags" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dag: DAG = getattr(module, name)()
    return dag
