"""The page on known problems is true of the installed Airflow, and the ways round work."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "known-problems.md"
AFFECTED = {"3.3.1", "3.3.2"}


@pytest.fixture
def api_server(airflow_database, monkeypatch):
    """Return a client of the API server of the installed Airflow, logged in."""
    from airflow.api_fastapi import app as core
    from fastapi.testclient import TestClient

    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test alone " * 5)
    core.purge_cached_app()
    with TestClient(core.create_app()) as client:
        client.headers["Authorization"] = f"Bearer {client.get('/auth/token').json()['access_token']}"
        yield client
        client.delete("/api/v2/connections/meisa_default")
    core.purge_cached_app()
    core._AuthManagerState.instance = None


def press_test(api_server):
    """Post what the UI posts for a connection of its list: see `TestConnectionButton.tsx` of Airflow 3.3."""
    stored = api_server.get("/api/v2/connections/meisa_default").json()
    texts = {name: stored[name] or "" for name in ("description", "host", "login", "password", "schema")}
    body = {
        "connection_id": stored["connection_id"],
        "conn_type": stored["conn_type"],
        "extra": stored["extra"] or "{}",
        "port": stored["port"] or 0,  # Number(null)
        **texts,
    }
    return api_server.post("/api/v2/connections/test", json=body)


def run_command(line):
    """Run a command of Airflow in this process."""
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(shlex.split(line)[1:])
    arguments.func(arguments)


@pytest.fixture
def commands():
    """Return the commands of the page."""
    return re.findall(r"^\$ (airflow .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_ui_cannot_test_connection_without_port(api_server, meisa_sandbox):
    fields = {"conn_type": "meisa", "host": meisa_sandbox.url, "password": meisa_sandbox.key}
    api_server.post("/api/v2/connections", json={"connection_id": "meisa_default", **fields})
    response = press_test(api_server)
    is_affected = version("apache-airflow-core") in AFFECTED
    assert (response.status_code, response.reason_phrase) == (
        (400, "Bad Request") if is_affected else (200, "OK")
    )
    if is_affected:
        assert response.json()["detail"] in PAGE.read_text(encoding="utf-8")
        assert meisa_sandbox.requests() == []


def test_ui_tests_connection_with_port_0(api_server, meisa_sandbox, commands):
    (add,) = (line for line in commands if "--conn-port 0" in line)
    run_command(add.replace("meisa_live_your_key", f"{meisa_sandbox.key} --conn-host {meisa_sandbox.url}"))
    response = press_test(api_server)
    assert response.json()["status"] is True
    assert response.json()["message"].startswith("Connected with a live key of Sandbox")


def test_ping_command_tests_connection_without_port(meisa_connection, commands, capsys):
    meisa_connection()
    with pytest.raises(SystemExit, match=r"^0$"):
        run_command(commands[0])
    assert "live" in capsys.readouterr().out


def test_page_names_affected_versions():
    (heading,) = re.findall(r"^## (Bad Request .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"\d+\.\d+\.\d+", heading)) == AFFECTED
