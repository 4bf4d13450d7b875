"""Run each DAG alone, with ``airflow dags test``."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import world
from environment import Environment, Failed
from home import Home
from lines import Line

_AT_ONCE = 2
_LOOK = 1.0  # seconds
_IN_VAIN = 2


def run(line: Line, environment: Environment, template: Home, folder: Path, *, deferrable: bool) -> str:
    """Run each DAG, and compare the result with the sandbox.

    :param template: a home whose database is migrated.
    :param folder: the folder for the homes, one per DAG.
    :raises Failed: if a DAG fails, or the enrolled contacts differ.
    """

    def run_one(dag_id: str) -> None:
        home = Home(folder / dag_id, environment)
        home.take_database(template)
        home.meet(sandbox, deferrable=deferrable)
        _test(home, dag_id)

    with world.sandbox(environment) as sandbox:
        sandbox.set_status("draft")
        dags = [dag_id for dag_id in world.runs(folder) if not _needs_a_person(line, dag_id)]
        with activated_after_two_looks(sandbox), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(run_one, dags))
        sandbox.check_summary()
    return f"{len(dags)} of {len(dags)}"


def _test(home: Home, dag_id: str) -> None:
    conf = json.dumps(world.runs(home.folder)[dag_id])
    home.airflow("dags", "test", dag_id, "--conf", conf)
    states = home.states(dag_id)
    if set(states.values()) != {"success"}:
        raise Failed(f"{dag_id}: {states}")


def _needs_a_person(line: Line, dag_id: str) -> bool:
    # Before Airflow 3.1 there is no approval, and the DAG has an empty task instead.
    return dag_id == "nightly_reactivation" and line.number >= (3, 1)


class activated_after_two_looks:  # noqa: N801 - used as a context manager
    """Activates ``slow-start``, in a ``with`` block, after the sensor has found it inactive twice."""

    def __init__(self, sandbox: world.Sandbox) -> None:
        self._sandbox = sandbox
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            if self._sandbox.looks() >= _IN_VAIN:
                self._sandbox.set_status("active")
                return
