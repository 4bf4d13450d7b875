"""The fixture, as a user's tests use it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TESTS = """
import pytest, requests

def ping(sandbox):
    return requests.get(sandbox.api_url + "/ping/", headers={"X-API-Key": sandbox.key}, timeout=10).status_code

def test_by_default_it_has_the_documented_limits(meisa_sandbox, tmp_path):
    assert [ping(meisa_sandbox) for _ in range(61)] == [200] * 60 + [429]
    assert meisa_sandbox.database.parent == tmp_path

@pytest.mark.meisa_sandbox(rate_limits="2/minute", latency_ms=1)
def test_a_marker_changes_them(meisa_sandbox):
    assert [ping(meisa_sandbox) for _ in range(3)] == [200, 200, 429]

def test_each_test_has_its_own(meisa_sandbox):
    assert meisa_sandbox.requests() == []
"""

WITHOUT_EXTRA = """
from airflow_provider_meisa.sandbox import extra
extra.find_spec = lambda name: None

def test_it(meisa_sandbox):
    raise AssertionError("never run")
"""


def run(folder, text):
    (folder / "test_theirs.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    plugin = ["-p", "airflow_provider_meisa.sandbox.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", *plugin]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )


def test_the_fixture_gives_each_test_a_sandbox_as_its_marker_asks(tmp_path):
    done = run(tmp_path, TESTS)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_without_the_extra_the_fixture_says_how_to_install_it(tmp_path):
    done = run(tmp_path, WITHOUT_EXTRA)
    assert done.returncode == 1
    assert "pip install 'airflow-provider-meisa[sandbox]'" in done.stdout
    assert "never run" not in done.stdout


def test_importing_the_plugin_loads_no_web_server():
    code = """
import sys
import airflow_provider_meisa.sandbox.pytest_plugin
assert not {"fastapi", "uvicorn", "requests", "airflow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.meisa_sandbox(rate_limits="none")
def test_the_fixture_is_here_through_the_entry_point(meisa_sandbox):
    assert meisa_sandbox.url.startswith("http://127.0.0.1:")
