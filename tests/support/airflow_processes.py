"""An Airflow that runs as in production, in a home of its own: each component a process that can be killed."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from tests.support.waiting import wait_until

AIRFLOW = Path(sys.executable).with_name("airflow")
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")

_UNTIL_HEALTHY = 150.0  # seconds; 25 to 70 were seen on two cores
_ENDED = {"success", "failed", "skipped"}


class AirflowAtWork:
    """Scheduler with LocalExecutor, triggerer, DAG processor and API server on loopback.

    :param home: a folder for everything of it; DAG files are in ``dags``.
    :param connections: what each connection says, by its id.
    :param users: the role of each user, the first of whom runs the DAGs; without users nobody has to log in.
    :param path: what its addresses begin with, as behind a proxy.
    """

    def __init__(self, home, connections, users=None, path=""):
        self.home = home
        self.dags = home / "dags"
        self.dags.mkdir()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}{path}"
        self._users = users or {}
        self._env = _environment(home, self.url, port, connections) | _login(self._users)
        self._processes = {}
        self._session = requests.Session()
        self._session.trust_env = False

    def start(self):
        """Start all components, and return once all of them are healthy."""
        subprocess.run(
            [AIRFLOW, "db", "migrate"], env=self._env, check=True, capture_output=True, timeout=120
        )
        for component in COMPONENTS:
            self.start_component(component)
        wait_until(self._healthy, f"all healthy (logs in {self.home})", within=_UNTIL_HEALTHY, every=0.5)
        self._session.headers["Authorization"] = f"Bearer {self.token(next(iter(self._users), None))}"

    def token(self, user=None):
        """Log a user in and return the token of the session."""
        if user is None:
            answer = self._session.get(f"{self.url}/auth/token", timeout=20)
        else:
            passwords = json.loads((self.home / "simple_auth_manager_passwords.json.generated").read_text())
            login = {"username": user, "password": passwords[user]}
            answer = self._session.post(f"{self.url}/auth/token", json=login, timeout=20)
        answer.raise_for_status()
        return answer.json()["access_token"]

    def start_component(self, name):
        """Start one component, in a process group of its own."""
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [AIRFLOW, name], env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def kill_component(self, name):
        """Kill one component and all it has started, as a node that goes down does."""
        process = self._processes.pop(name)
        for pid in [*descendants(process.pid), process.pid]:
            _kill(pid, signal.SIGKILL)
        process.wait(timeout=20)

    def stop(self):
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

    def task_processes(self):
        """Return the ids of the processes that run tasks now: supervised children of the LocalExecutor."""
        return [pid for pid in descendants(self._processes["scheduler"].pid) if _runs_a_task(pid)]

    def trigger(self, dag_id):
        """Start a run of a DAG and return its id."""
        wait_until(lambda: self._ask("GET", f"dags/{dag_id}").ok, f"the DAG {dag_id} is known")
        answer = self._ask("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None})
        answer.raise_for_status()
        return answer.json()["dag_run_id"]

    def task(self, dag_id, run_id):
        """Return what the API says of the only task of a run."""
        answer = self._ask("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/task")
        answer.raise_for_status()
        return answer.json()

    def ended(self, dag_id, run_id, *, within=90.0):
        """Wait for the task's end and return its state."""
        task = wait_until(
            lambda: (now := self.task(dag_id, run_id))["state"] in _ENDED and now,
            f"the task of {dag_id} has ended (logs in {self.home})",
            within=within,
            every=0.3,
        )
        return task["state"]

    def xcom(self, dag_id, run_id):
        """Return the task's summary."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/task/xcomEntries/return_value"
        answer = self._ask("GET", path, params={"deserialize": "true"})
        answer.raise_for_status()
        value = answer.json()["value"]
        return json.loads(value) if isinstance(value, str) else value

    def set_failed(self, dag_id, run_id):
        """Mark the task as failed, as a person does in the UI; a running one is told to stop."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/task"
        self._ask("PATCH", path, json={"new_state": "failed"}).raise_for_status()

    def clear(self, dag_id, run_id):
        """Clear the task, as a person does in the UI: it runs again."""
        wish = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": ["task"]}
        self._ask("POST", f"dags/{dag_id}/clearTaskInstances", json=wish).raise_for_status()

    def pool(self):
        """Return the slots of the default pool."""
        answer = self._ask("GET", "pools/default_pool")
        answer.raise_for_status()
        return answer.json()

    def _ask(self, method, path, **arguments):
        return self._session.request(method, f"{self.url}/api/v2/{path}", timeout=20, **arguments)

    def _healthy(self):
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


def descendants(pid):
    """Return the ids of all processes that a process has started, and those that they have."""
    children = {}
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


def _runs_a_task(pid):
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    # LocalExecutor's own processes say "airflow worker -- LocalExecutor: …" and "airflow supervisor: …".
    return title.startswith(b"airflow worker -- ") and b"LocalExecutor" not in title


def _kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _environment(home, url, port, connections):
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
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
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


def _login(users):
    if not users:
        return {}
    roles = ",".join(f"{user}:{role}" for user, role in users.items())
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": roles,
    }


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
