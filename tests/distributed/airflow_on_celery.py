"""An Airflow on Celery, PostgreSQL and Redis, with two workers, each of which can be lost."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.support.airflow_processes import AIRFLOW, AirflowAtWork, descendants
from tests.support.waiting import wait_until

WORKERS = ("worker-1", "worker-2")
SLOTS = 4  # of each worker

_UNTIL_READY = 60.0  # seconds; 10 to 20 were seen on two cores
_ENDED = {"success", "failed", "skipped", "upstream_failed"}


class AirflowOnCelery(AirflowAtWork):
    """The components of `AirflowAtWork`, and two Celery workers in process groups of their own.

    :param home: a folder for everything of it; DAG files are in ``dags``.
    :param connections: what each connection says, by its id.
    :param database: the URL of a database of PostgreSQL, without ``postgresql``.
    :param broker: the URL of a Redis.
    """

    def __init__(self, home, connections, *, database, broker):
        super().__init__(home, connections)
        self._env |= {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__PARALLELISM": "16",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2{database}",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2{database}",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
        }

    def start(self):
        """Start all components and both workers, and return once all of them are ready."""
        super().start()
        for name in WORKERS:
            self.start_worker(name)
        for name in WORKERS:
            self.await_worker(name)

    def start_worker(self, name):
        """Start a worker, in a process group of its own."""
        command = [AIRFLOW, "celery", "worker", "--celery-hostname", f"{name}@loopback", "--skip-serve-logs"]
        with (self.home / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command, env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def await_worker(self, name):
        """Wait until a worker takes tasks."""
        wait_until(
            lambda: " ready." in self.log_of(name), f"{name} is ready: {self.home}", within=_UNTIL_READY
        )

    def log_of(self, name):
        """Return what a component has logged since it was last started."""
        return (self.home / f"{name}.log").read_text()

    def lose_host_of(self, instance):
        """Kill the worker that runs a task and all it has started, as a host that goes down does.

        :return: its name.
        """
        name, _ = self._place_of(instance)
        worker = self._processes.pop(name)
        for pid in [worker.pid, *descendants(worker.pid)]:
            os.kill(pid, signal.SIGKILL)
        worker.wait(timeout=20)
        return name

    def orphan(self, instance):
        """Kill the worker that runs a task, but not the task's process, which has a process group of its own.

        Where Celery's main process alone is killed, its others end by themselves: to the task it is the same.

        :return: the worker's name, and the folder in ``/proc`` of the process that continues.
        """
        name, pid = self._place_of(instance)
        worker = self._processes.pop(name)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(timeout=20)
        return name, Path(f"/proc/{pid}")

    def instances(self, dag_id, run_id):
        """Return what the API says of each instance of the task, in the order of their map indexes."""
        response = self._ask(
            "GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"task_id": "enroll"}
        )
        response.raise_for_status()
        found = [each for each in response.json()["task_instances"] if each["map_index"] >= 0]
        return sorted(found, key=lambda each: each["map_index"])

    def states(self, dag_id, run_id):
        """Return the state of each instance of the task."""
        return [each["state"] for each in self.instances(dag_id, run_id)]

    def all_ended(self, dag_id, run_id, *, within=120.0):
        """Wait for the end of all instances of the task and return their states."""

        def ended():
            states = self.states(dag_id, run_id)
            return states if states and set(states) <= _ENDED else None

        return wait_until(ended, f"{dag_id} has ended (logs in {self.home})", within=within, every=0.5)

    def checkpoint(self, dag_id, run_id):
        """Return what the first instance of the task has noted last, or nothing."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/enroll/state-store/meisa"
        response = self._ask("GET", path, params={"map_index": 0})
        return response.json()["value"] if response.ok else {}

    def summaries(self, dag_id, run_id):
        """Return the summary of each instance of the task."""
        return [self._summary(dag_id, run_id, each["map_index"]) for each in self.instances(dag_id, run_id)]

    def _summary(self, dag_id, run_id, map_index):
        response = self._ask(
            "GET",
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/enroll/xcomEntries/return_value",
            params={"deserialize": "true", "map_index": map_index},
        )
        response.raise_for_status()
        return response.json()["value"]

    def _place_of(self, instance):
        """Find the worker that runs an instance, and the instance's process."""
        for name in WORKERS:
            worker = self._processes.get(name)
            for pid in descendants(worker.pid) if worker else ():
                if _title(pid) == f"airflow worker -- {instance['id']}":
                    return name, pid
        raise AssertionError(f"no worker runs {instance['id']}")


def _title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    except OSError:
        return ""
