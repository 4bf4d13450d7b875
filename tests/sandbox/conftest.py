"""Calling a sandbox over a real socket."""

from __future__ import annotations

import pytest
import requests

from airflow_provider_meisa.sandbox.server import Sandbox


class Caller:
    """Calls a sandbox with a key, as a user's program would."""

    def __init__(self, sandbox: Sandbox, key: str | None = None) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.headers["X-API-Key"] = sandbox.key if key is None else key

    def get(self, path, **more):
        return self.session.get(self.sandbox.api_url + path, timeout=10, **more)

    def post(self, path, body, **more):
        return self.session.post(self.sandbox.api_url + path, json=body, timeout=10, **more)

    def enroll(self, email="ada@example.org", slug="onboarding", **fields):
        return self.post("/sequences/enroll/", {"email": email, "sequence_slug": slug, **fields})

    def bulk(self, emails, slug="onboarding", **fields):
        body = {"emails": emails, "sequence_slug": slug, **fields}
        return self.post("/sequences/api/bulk-enroll/", body)

    def control(self, method, path, body=None):
        return self.session.request(method, f"{self.sandbox.url}/_sandbox{path}", json=body, timeout=10)


@pytest.fixture(scope="module")
def _running(tmp_path_factory):
    """One server a module: a test starts from what its predecessor left, so it picks addresses of its own."""
    with Sandbox(tmp_path_factory.mktemp("sandbox") / "sandbox.db", rate_limits="none") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_running):
    yield _running
    _running.clear_faults()


@pytest.fixture
def live(sandbox):
    return Caller(sandbox)


@pytest.fixture
def test_caller(sandbox):
    return Caller(sandbox, sandbox.test_key)


@pytest.fixture
def caller_of():
    return Caller
