"""A service in Django REST Framework instead of the sandbox, and its database next to what a task reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.drf_server import NGINX, DrfServer
from tests.support.programs import find_program, require_program


@pytest.fixture(scope="session")
def drf_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrfServer]:
    """Start gunicorn, and nginx where it is installed."""
    folder = tmp_path_factory.mktemp("drf")
    with DrfServer(folder, with_nginx=find_program(*NGINX) is not None) as server:
        yield server


@pytest.fixture
def drf(drf_processes: DrfServer) -> Iterator[DrfServer]:
    """Return the service with an active sequence ``onboarding`` and no contacts."""
    drf_processes.reset()
    yield drf_processes
    drf_processes.end_faults()


@pytest.fixture
def nginx(drf: DrfServer) -> None:
    """Require nginx for the test."""
    require_program(*NGINX, package="nginx-light")


@pytest.fixture
def resend_after() -> None:
    """Leave the wait before a resend as it is; `test_lost_responses.py` shortens it where it may be."""


@pytest.fixture
def meisa_connection(drf: DrfServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Point a connection at the service; called again, change it."""

    def connect(conn_id: str = "meisa_default", **changes: Any) -> None:
        extra = {
            "rate_limit_storage": "memory",
            "rate_limits": "1000/s",
            "timeout": 5,
            **changes.pop("extra", {}),
        }
        fields = {"conn_type": "meisa", "host": drf.url(), "password": drf.key, **changes}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**fields, "extra": extra}))

    connect()
    return connect


@dataclass(frozen=True)
class Report:
    """What a task says after its end: its state, its summary, and a line for each address."""

    state: str
    summary: dict[str, Any]
    outcomes: list[dict[str, Any]]

    def statuses(self) -> dict[str, str]:
        """Return the status of each address."""
        return {line["address"]: line["status"] for line in self.outcomes}

    def of(self, status: str) -> set[str]:
        """Return the addresses with this status."""
        return {address for address, found in self.statuses().items() if found == status}


@pytest.fixture
def bulk_enroll(
    run_task: Callable[..., Any], tmp_path: Path, airflow_database: None
) -> Callable[..., Report]:
    """Run ``MeisaBulkEnrollOperator`` once."""

    def run(emails: Sequence[str], **arguments: Any) -> Report:
        from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator

        path = tmp_path / "outcomes.jsonl"
        arguments = {"sequence_slug": "onboarding", "outcomes_path": str(path), **arguments}
        ran = run_task(MeisaBulkEnrollOperator, emails=list(emails), **arguments)
        lines = path.read_text().splitlines() if path.exists() else []
        return Report(ran.state, ran.xcom("task") or {}, [json.loads(line) for line in lines])

    return run


@pytest.fixture
def enroll(run_task: Callable[..., Any]) -> Callable[..., Report]:
    """Run ``MeisaEnrollOperator`` once."""

    def run(email: str, **arguments: Any) -> Report:
        from airflow_provider_meisa.operators.sequences import MeisaEnrollOperator

        arguments = {"sequence_slug": "onboarding", **arguments}
        ran = run_task(MeisaEnrollOperator, contact_email=email, **arguments)
        summary = ran.xcom("task") or {}
        return Report(ran.state, summary, [{**summary, "address": email}] if summary else [])

    return run


@pytest.fixture
def assert_agreement(drf: DrfServer) -> Callable[[Report], None]:
    """Compare a report with the database, once the service has ended all work.

    Two enrollments of a contact are reported as possible, or the contact as unreported: its response was lost.
    """

    def check(report: Report) -> None:
        drf.wait_until_idle()
        held = drf.enrollments()
        for line in report.outcomes:
            rows, status = held[line["address"].lower()], line["status"]
            if status in {"enrolled", "already_enrolled"}:
                assert rows >= 1, f"reported as {status}, not in the database"
            if status in {"invalid", "suppressed", "untried"}:
                assert rows == 0, f"reported as {status}, enrolled in the database"
            if rows > 1 and status != "unreported":
                assert "possibly" in line.get("reason", ""), f"{rows} enrollments, reported as {status} only"
        assert held.keys() <= {line["address"].lower() for line in report.outcomes} or not report.outcomes

    return check
