"""The plugin's app with an auth manager, as in Airflow's API server, and clients of several users."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_meisa.plugins.meisa import MeisaPlugin
from airflow_provider_meisa.plugins.runs import RunCache
from airflow_provider_meisa.plugins.sequence_cache import SequenceCache, fetch_sequences
from tests.plugins.auth_manager import AuthManager


@pytest.fixture
def as_user(airflow_database, monkeypatch):
    """Return a client of the app for a user with a role; without a user, one that is not logged in."""
    from airflow.api_fastapi import app as core
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    monkeypatch.setenv(
        "AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test alone, long enough for SHA-512 " * 2
    )
    monkeypatch.setattr(core, "get_auth_manager_cls", lambda: AuthManager)
    host = FastAPI()
    manager = core.init_auth_manager(host)
    for place in MeisaPlugin.fastapi_apps:
        host.mount(place["url_prefix"], place["app"])
    monkeypatch.setattr("airflow_provider_meisa.plugins.app.SEQUENCES", SequenceCache(fetch_sequences))
    monkeypatch.setattr("airflow_provider_meisa.plugins.app.RUNS", RunCache())

    def client(name: str | None = "admin", role: str = "ADMIN") -> TestClient:
        token = name and manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return TestClient(host, base_url="http://testserver/meisa/", headers=headers)

    yield client
    core._AuthManagerState.instance = None
