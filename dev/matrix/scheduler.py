"""Run all DAGs at once under a real scheduler, with a triggerer for deferred tasks, and approve the preview."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import components
import requests
import world
from environment import Failed
from examples import activated_after_two_looks
from home import Home
from lines import Line

_WITHIN = 600.0  # seconds; about 60 are needed on two idle cores
_LOOK = 0.3
# LocalExecutor treats a task that resumes within seconds of its deferral as killed.
_PERSON = 10.0
_ENDED = {"success", "failed"}
_WITH_PAGE = (3, 1)


def run(line: Line, home: Home) -> str:
    """Run every DAG, deferred where possible, and compare the result with the sandbox.

    :raises Failed: if a DAG fails or does not end, if no task was deferred, if the enrolled contacts differ, or if the
        plugin's routes are missing.
    """
    dags = world.runs(home.folder)
    with ExitStack() as stack:
        sandbox = stack.enter_context(world.sandbox(home.environment))
        sandbox.set_status("draft")
        home.meet(sandbox, deferrable=True)
        url = f"http://127.0.0.1:{components.free_port()}"
        home.variables |= components.settings(line, url)
        stack.enter_context(components.running(line, home))
        if line.number >= (3, 0):
            _until(lambda: _is_healthy(url), "its components are healthy")
        home.inside("trigger", json.dumps(dags))
        stack.enter_context(activated_after_two_looks(sandbox))
        deferred = _until_all_ended(line, home, url, set(dags))
        sandbox.check_summary()
        if line.number >= _WITH_PAGE:
            _check_page(home, url)
    if not deferred >= {"wait", "enroll"}:
        raise Failed(f"Not all tasks of the DAG waits were deferred; deferred: {deferred or 'none'}.")
    return f"{len(dags)} of {len(dags)}"


def _check_page(home: Home, url: str) -> None:
    """Check that the page's module is public, and that its data needs a login."""
    token = {"Authorization": f"Bearer {_token(home, url)}"}
    expected: tuple[tuple[str, dict[str, str], int], ...] = (
        ("static/meisa.js", {}, 200),
        ("connections", token, 200),
        ("connections", {}, 401),
    )
    for path, headers, status in expected:
        response = requests.get(f"{url}/meisa/{path}", headers=headers, timeout=10)
        if response.status_code != status:
            raise Failed(f"/meisa/{path} responds with {response.status_code} instead of {status}.")


def _token(home: Home, url: str) -> str:
    """Log in as the user that Airflow creates, with the password that it writes into its home."""
    passwords = json.loads((home.folder / "simple_auth_manager_passwords.json.generated").read_text())
    login = {"username": "admin", "password": passwords["admin"]}
    return str(requests.post(f"{url}/auth/token", json=login, timeout=10).json()["access_token"])


def _until_all_ended(line: Line, home: Home, url: str, dags: set[str]) -> set[str]:
    """Wait for the end of all runs, and return the tasks of the DAG ``waits`` that were deferred."""
    deferred: set[str] = set()
    person = Person(home, url)

    def all_ended() -> bool:
        deferred.update(task for task, state in home.states("waits").items() if state == "deferred")
        person.look()
        states = _states(home)
        return states.keys() == dags and set(states.values()) <= _ENDED

    _until(all_ended, "all runs have ended", lambda: str(_states(home)))
    if bad := [dag_id for dag_id, state in _states(home).items() if state != "success"]:
        raise Failed(f"Not all succeeded: { {dag_id: home.states(dag_id) for dag_id in bad} }")
    _until(
        lambda: _has_reported(line, home),
        "the DAG that the asset starts has reported the counts of its event",
    )
    return deferred


def _states(home: Home) -> dict[str, str]:
    return dict(home.query("SELECT dag_id, state FROM dag_run WHERE run_id = 'matrix'"))


def _has_reported(line: Line, home: Home) -> bool:
    """Return whether the run that the asset's event started has got the counts of enrolled contacts."""
    query = "SELECT value FROM xcom WHERE dag_id = 'after_enrollment' AND run_id != 'matrix'"
    reports = " ".join(str(row[0]) for row in home.query(query))
    # Airflow 2 passes the events to tasks under another name.
    return ("4 of 4 enrolled" in reports) if line.number >= (3, 0) else bool(reports)


def _until(condition: Callable[[], bool], what: str, found: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + _WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"Waited {_WITHIN:g} s until {what}, in vain. {found()}")
        time.sleep(_LOOK)


def _is_healthy(url: str) -> bool:
    parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    with suppress(requests.RequestException, ValueError):
        report = requests.get(f"{url}/api/v2/monitor/health", timeout=10).json()
        return all((report.get(part) or {}).get("status") == "healthy" for part in parts)
    return False


class Person:
    """Approves a required action, some time after it appears."""

    def __init__(self, home: Home, url: str) -> None:
        self._home = home
        self._url = url
        self._asked_at = 0.0

    def look(self) -> None:
        """Check for a required action, and approve it after `_PERSON` seconds."""
        state = self._home.states("nightly_reactivation").get("approve")
        if state not in {"deferred", "awaiting_input"}:
            self._asked_at = 0.0
        elif not self._asked_at:
            self._asked_at = time.monotonic()
        elif time.monotonic() - self._asked_at > _PERSON:
            self._approve()

    def _approve(self) -> None:
        with suppress(requests.RequestException):
            requests.patch(
                f"{self._url}/api/v2/dags/nightly_reactivation/dagRuns/matrix/taskInstances/approve/-1/hitlDetails",
                json={"chosen_options": ["Approve"]},
                headers={"Authorization": f"Bearer {_token(self._home, self._url)}"},
                timeout=10,
            )
