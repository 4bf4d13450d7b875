"""An Airflow that runs as in production, in a home of its own: each component a process that can be killed."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.support.ports import free_port
from tests.support.waiting import wait_until

AIRFLOW = Path(sys.executable).with_name("airflow")
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")

_UNTIL_HEALTHY = 150.0  # seconds; 25 to 70 were seen on two cores
_ENDED = {"success", "failed", "skipped"}


class AirflowAtWork:
    """Scheduler with LocalExecutor, triggerer, DAG processor and API server on loopback.

    :param home: a folder for everything of it; DAG files are in ``dags``.
    :param connections: what each connection says, by its id.
    :param users: the role of each user; the first one runs the DAGs. Without users, no login is needed.
    :param path: what its addresses begin with, as behind a proxy.
    :param settings: more of its configuration, as environment variables.
    """

    def __init__(
        self,
        home: Path,
        connections: Mapping[str, Mapping[str, Any]],
        users: Mapping[str, str] | None = None,
        path: str = "",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.dags = home / "dags"
        self.dags.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}{path}"
        self._users = users or {}
        self._env = (
            _environment(home, self.url, port, connections) | _login(self._users) | dict(settings or {})
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._session = requests.Session()
        self._session.trust_env = False

    def start(self) -> None:
        """Start all components, and return once all of them are healthy."""
        subprocess.run(
            [AIRFLOW, "db", "migrate"], env=self._env, check=True, capture_output=True, timeout=120
        )
        for component in COMPONENTS:
            self.start_component(component)
        wait_until(self._healthy, f"all healthy (logs in {self.home})", within=_UNTIL_HEALTHY, every=0.5)
        self._session.headers["Authorization"] = f"Bearer {self.token(next(iter(self._users), None))}"

    def token(self, user: str | None = None) -> str:
        """Log a user in and return the token of the session."""
        if user is None:
            response = self._session.get(f"{self.url}/auth/token", timeout=20)
        else:
            passwords = json.loads((self.home / "simple_auth_manager_passwords.json.generated").read_text())
            login = {"username": user, "password": passwords[user]}
            response = self._session.post(f"{self.url}/auth/token", json=login, timeout=20)
        response.raise_for_status()
        token: str = response.json()["access_token"]
        return token

    def start_component(self, name: str) -> None:
        """Start one component, in a process group of its own."""
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [AIRFLOW, name], env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def kill_component(self, name: str) -> None:
        """Kill one component and all it has started, as a node that goes down does."""
        process = self._processes.pop(name)
        for pid in [*descendants(process.pid), process.pid]:
            _kill(pid, signal.SIGKILL)
        process.wait(timeout=20)

    def stop(self) -> None:
        """Stop everything that was started, tasks too."""
        ours = [p for process in self._processes.values() for p in (process.pid, *descendants(process.pid))]
        for process in self._processes.values():
            _kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and any(p.poll() is None for p in self._processes.values()):
            time.sleep(0.1)
        for pid in ours:
            _kill(pid, signal.SIGKILL)
        for process in self._processes.values():
            process.wait(timeout=20)
        self._processes.clear()

    def task_processes(self) -> list[int]:
        """Return the ids of the processes that run tasks now: supervised children of the LocalExecutor."""
        return [pid for pid in descendants(self._processes["scheduler"].pid) if _runs_a_task(pid)]

    def trigger(self, dag_id: str, logical_date: str | None = None) -> str:
        """Start a run of a DAG and return its id."""
        wait_until(lambda: self._ask("GET", f"dags/{dag_id}").ok, f"the DAG {dag_id} is known")
        response = self._ask("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": logical_date})
        response.raise_for_status()
        run_id: str = response.json()["dag_run_id"]
        return run_id

    def task(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return what the API says of the only task of a run."""
        response = self._ask("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/task")
        response.raise_for_status()
        task: dict[str, Any] = response.json()
        return task

    def ended(self, dag_id: str, run_id: str, *, within: float = 90.0) -> str:
        """Wait for the task's end and return its state."""

        def final_state() -> str | None:
            state = self.task(dag_id, run_id)["state"]
            return state if state in _ENDED else None

        ended = f"the task of {dag_id} has ended (logs in {self.home})"
        return wait_until(final_state, ended, within=within, every=0.3)

    def xcom(self, dag_id: str, run_id: str) -> Any:
        """Return the task's summary."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/task/xcomEntries/return_value"
        response = self._ask("GET", path, params={"deserialize": "true"})
        response.raise_for_status()
        value = response.json()["value"]
        return json.loads(value) if isinstance(value, str) else value

    def log(self, dag_id: str, run_id: str, try_number: int = 1) -> str:
        """Return what an attempt of the task has logged."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/task/logs/{try_number}"
        response = self._ask("GET", path, headers={"Accept": "application/x-ndjson"})
        response.raise_for_status()
        return response.text

    def set_failed(self, dag_id: str, run_id: str) -> None:
        """Mark the task as failed, as a person does in the UI; Airflow stops a running one."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/task"
        self._ask("PATCH", path, json={"new_state": "failed"}).raise_for_status()

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear the task, as a person does in the UI, once its run has ended: it runs again.

        While the scheduler is still closing the run, Airflow may close it over the task that was cleared.
        """
        wait_until(lambda: self._run_state(dag_id, run_id) in _ENDED, f"the run of {dag_id} has ended")
        wish = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": ["task"]}
        self._ask("POST", f"dags/{dag_id}/clearTaskInstances", json=wish).raise_for_status()

    def pool(self) -> dict[str, Any]:
        """Return the slots of the default pool."""
        response = self._ask("GET", "pools/default_pool")
        response.raise_for_status()
        pool: dict[str, Any] = response.json()
        return pool

    def _run_state(self, dag_id: str, run_id: str) -> str:
        response = self._ask("GET", f"dags/{dag_id}/dagRuns/{run_id}")
        response.raise_for_status()
        state: str = response.json()["state"]
        return state

    def _ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        return self._session.request(method, f"{self.url}/api/v2/{path}", timeout=20, **arguments)

    def _healthy(self) -> bool:
        for name, process in self._processes.items():
            assert process.poll() is None, (
                f"{name} has ended: {(self.home / f'{name}.log').read_text()[-3000:]}"
            )
        try:
            report = self._ask("GET", "monitor/health").json()
        except (requests.RequestException, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((report.get(part) or {}).get("status") == "healthy" for part in parts)


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(status.parent.name))
    found, waiting = [], [pid]
    while waiting:
        waiting.extend(children.get(waiting[0], ()))
        found.append(waiting.pop(0))
    return found[1:]


def _runs_a_task(pid: int) -> bool:
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    # LocalExecutor's own processes say "airflow worker -- LocalExecutor: …" and "airflow supervisor: …".
    return title.startswith(b"airflow worker -- ") and b"LocalExecutor" not in title


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _environment(
    home: Path, url: str, port: int, connections: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    secret = base64.urlsafe_b64encode(b"nothing secret in a test's home!").decode()
    settings = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__FERNET_KEY": secret,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secret,
        "AIRFLOW__API_AUTH__JWT_SECRET": secret,
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        # A process that is gone is missed sooner than after five minutes (tasks) or 30 s (the triggerer).
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    }
    conns = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(conn) for name, conn in connections.items()}
    # Coverage of all these processes would cost a multiple of what they do.
    kept = {name: v for name, v in os.environ.items() if not name.startswith(("AIRFLOW", "COV", "_AIRFLOW"))}
    return {**kept, "AIRFLOW_HOME": str(home), "NO_PROXY": "127.0.0.1", **settings, **conns}


def _login(users: Mapping[str, str]) -> dict[str, str]:
    if not users:
        return {}
    roles = ",".join(f"{user}:{role}" for user, role in users.items())
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": roles,
    }
