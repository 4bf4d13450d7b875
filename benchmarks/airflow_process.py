"""Run an Airflow as `airflow standalone` sets it up, and measure which worker slots are taken."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

AIRFLOW = Path(sys.executable).with_name("airflow")
DAGS = Path(__file__).resolve().parent / "dags"
SLOTS = 4

_UNTIL_HEALTHY = 180.0
_ENDED = {"success", "failed"}
_LOOK = 0.05
_LOOK_FOR_WORKERS = 1.0
# The process title of a LocalExecutor worker names its task instance (Airflow 3.3).
_BUSY = re.compile(rb"airflow worker -- LocalExecutor: ([0-9a-f-]{36})")


class Airflow:
    """Every component of an Airflow with LocalExecutor, on loopback, with its default settings.

    :param url: the base URL of its API.
    :param session: the id of the session of all its processes.
    """

    def __init__(self, url: str, session: int) -> None:
        self.session = session
        self._url = url
        self._requests = requests.Session()

    def begin(self, dag_id: str) -> str:
        """Start a run of a DAG and return its id."""
        self._until(lambda: self._ask("GET", f"dags/{dag_id}").ok, 60)
        self._ask("PATCH", f"dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        response = self._ask("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None})
        response.raise_for_status()
        return str(response.json()["dag_run_id"])

    def end(self, dag_id: str, run_id: str, within: float) -> None:
        """Wait for the end of a run.

        :raises SystemExit: if it failed.
        """
        path = f"dags/{dag_id}/dagRuns/{run_id}"
        self._until(lambda: self._ask("GET", path).json()["state"] in _ENDED, within)
        if (state := self._ask("GET", path).json()["state"]) != "success":
            raise SystemExit(f"The run of {dag_id} ended as {state}.")

    def instances(self, dag_id: str, run_id: str, task_id: str) -> set[str]:
        """Return the ids of a task's instances."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self._ask("GET", path, params={"task_id": task_id, "limit": 1000}).json()["task_instances"]
        return {each["id"] for each in found if each["task_id"] == task_id}

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self._ask("GET", path, params={"deserialize": "true"}).json()["value"]
        return json.loads(value) if isinstance(value, str) else value

    def log_in(self) -> None:
        """Wait until all components are healthy, and get a token."""
        self._until(self._is_healthy, _UNTIL_HEALTHY)
        token = self._requests.get(f"{self._url}/auth/token", timeout=30).json()["access_token"]
        self._requests.headers["Authorization"] = f"Bearer {token}"

    def _is_healthy(self) -> bool:
        try:
            report = self._ask("GET", "monitor/health").json()
        except (requests.RequestException, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((report.get(part) or {}).get("status") == "healthy" for part in parts)

    def _ask(self, method: str, path: str, **what: Any) -> requests.Response:
        return self._requests.request(method, f"{self._url}/api/v2/{path}", timeout=30, **what)

    def _until(self, condition: Any, within: float) -> None:
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"Airflow made no progress within {within:g} s.")
            time.sleep(1)


class Slots(threading.Thread):
    """Measures for how long and how often each task instance takes a worker slot.

    A slot is taken from when a worker process picks up a task instance until it is idle again.
    """

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.stretches: Counter[str] = Counter()
        self._session = session
        self._stopping = threading.Event()

    def run(self) -> None:
        """Sample the slots until stopped."""
        before: set[str] = set()
        workers: list[int] = []
        looked = searched = 0.0
        while not self._stopping.wait(_LOOK):
            now = time.monotonic()
            if now - searched > _LOOK_FOR_WORKERS:
                workers, searched = _processes(self._session), now
            # A set, because a task's process has its worker's title until it sets its own.
            taken = {found for pid in workers if (found := _instance_of(pid))}
            for instance in taken:
                self.seconds[instance] += now - looked if instance in before else _LOOK
                self.stretches[instance] += instance not in before
            before, looked = taken, now

    def stop(self) -> None:
        """Stop sampling."""
        self._stopping.set()
        self.join()

    def of(self, instances: set[str]) -> tuple[float, int]:
        """Return the slot-seconds of some task instances, and how often they took a slot."""
        return sum(self.seconds[each] for each in instances), sum(self.stretches[each] for each in instances)


def _processes(session: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.append(int(stat.parent.name))
    return found


def _instance_of(pid: int) -> str | None:
    try:
        match = _BUSY.match(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return None
    return match[1].decode() if match else None


@contextmanager
def airflow(home: Path, environment: Mapping[str, str]) -> Iterator[Airflow]:
    """Run an Airflow for a ``with`` block."""
    url = f"http://127.0.0.1:{_free_port()}"
    env = _environment(home, url, environment)
    with (home / "airflow.log").open("w") as log:
        subprocess.run([AIRFLOW, "db", "migrate"], env=env, stdout=log, stderr=log, check=True)
        process = subprocess.Popen(
            [AIRFLOW, "standalone"], env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            started = Airflow(url, process.pid)
            started.log_in()
            yield started
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop all processes of the session; tasks have process groups of their own in it."""
    process.terminate()
    try:
        process.wait(timeout=30)
    finally:
        for pid in _processes(process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _environment(home: Path, url: str, more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    return {
        **kept,
        "PATH": f"{AIRFLOW.parent}{os.pathsep}{os.environ['PATH']}",  # standalone starts "airflow" by its bare name
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": url.rpartition(":")[2],
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
        **more,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
