"""Several tasks at once, each a process of its own, with one API key and one count of its requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

LIMITS = "30/2s"
PEOPLE = {"first": 40, "second": 40, "third": 40, "fourth": 40, "enroll": 2_100}

pytestmark = [pytest.mark.system, pytest.mark.timeout(180), pytest.mark.meisa_sandbox(rate_limits=LIMITS)]


@pytest.fixture
def tasks(tmp_path, meisa_sandbox):
    """Start the process of each task, and return them once all are ready."""
    (tmp_path / "rate_limits").mkdir(mode=0o700)
    extra = {"rate_limits": LIMITS, "rate_limit_storage": (tmp_path / "rate_limits").as_uri()}
    connection = {
        "conn_type": "meisa",
        "host": meisa_sandbox.url,
        "password": meisa_sandbox.key,
        "extra": extra,
    }
    (tmp_path / "connection.json").write_text(json.dumps(connection))
    command = [sys.executable, "-m", "tests.support.shared_key_process", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = {
        name: subprocess.Popen(
            [*command, name, str(number)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, number in PEOPLE.items()
    }
    for process in processes.values():
        while process.stdout.readline() not in ("ready\n", ""):
            pass
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


def test_four_syncs_and_an_enrollment_meet_no_429(tasks, meisa_sandbox, record_property):
    for process in tasks.values():
        process.stdin.write("\n")
        process.stdin.flush()
    summaries = {}
    for name, process in tasks.items():
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
        summaries[name] = json.loads(out.splitlines()[-1])

    requests = meisa_sandbox.requests()
    assert set(Counter(request["status"] for request in requests)) == {200, 201}
    assert [summary["rate_limited"] for summary in summaries.values()] == [0] * 5
    done = {
        name: summary["counts"]["enrolled" if name == "enroll" else "created"]
        for name, summary in summaries.items()
    }
    assert done == PEOPLE
    upserted = {contact["email"] for contact in meisa_sandbox.contacts()}
    assert upserted == {f"{name}{n}@example.com" for name in PEOPLE if name != "enroll" for n in range(40)}
    assert len(meisa_sandbox.enrollments("onboarding")) == PEOPLE["enroll"]
    took = requests[-1]["at"] - requests[0]["at"]
    record_property("pace", f"{len(requests)} requests in {took:.1f} s at {LIMITS}")
