"""A contact sync whose process is killed: the next attempt brings Meisa in step with the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.meisa_sandbox(rate_limits="none", latency_ms=20)]


@pytest.fixture
def attempt(tmp_path, meisa_sandbox):
    """Begin one attempt of a run for some rows."""

    def begin(rows, run):
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        (tmp_path / "run").write_text(run)
        command = [sys.executable, "-m", "tests.support.sync_process", str(tmp_path), meisa_sandbox.url]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(
            [*command, meisa_sandbox.key], env=environment, stdout=subprocess.PIPE, text=True
        )

    return begin


def rows_of(plan_of):
    return [
        {"email": f"p{number}@example.com", "external_id": str(number), "plan": plan_of(number)}
        for number in range(300)
    ]


def held(sandbox):
    return {contact["external_id"]: contact["custom_fields"]["plan"] for contact in sandbox.contacts()}


def ended(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return {name: count for name, count in json.loads(out.splitlines()[-1]).items() if count}


def upserts(sandbox):
    paths = Counter(request["path"] for request in sandbox.requests())
    return paths["/api/v1/contacts/upsert/"]


@pytest.mark.parametrize("killed_after", [1, 60, 250])
def test_killed_sync_ends_in_step_with_the_table(attempt, meisa_sandbox, killed_after):
    first = rows_of(lambda _number: "free")
    assert ended(attempt(first, "night 1")) == {"created": 300}
    changed = rows_of(lambda number: "team" if number < 290 else "free")
    before = upserts(meisa_sandbox)
    process = attempt(changed, "night 2")
    wait_until(lambda: upserts(meisa_sandbox) >= before + killed_after, "some upserts")
    process.kill()
    process.wait()
    assert sum(ended(attempt(changed, "night 2")).values()) == 300
    assert held(meisa_sandbox) == {row["external_id"]: row["plan"] for row in changed}
    # What was sent since the last part of the ledger is sent again, which does no harm.
    assert upserts(meisa_sandbox) - before <= 290 + 110
    after = upserts(meisa_sandbox)
    assert ended(attempt(changed, "night 3")) == {"unchanged": 300}
    assert upserts(meisa_sandbox) == after


def test_values_of_a_killed_run_do_not_survive_the_next_table(attempt, meisa_sandbox):
    """The rows are again what they were before the killed run: what it may have sent is sent over."""
    first = rows_of(lambda _number: "free")
    ended(attempt(first, "night 1"))
    process = attempt(rows_of(lambda _number: "team"), "night 2")
    wait_until(lambda: "team" in held(meisa_sandbox).values(), "a changed contact")
    process.kill()
    process.wait()
    retried = ended(attempt(first, "night 2"))
    assert sum(retried.values()) == 300
    ended(attempt(first, "night 3"))
    assert set(held(meisa_sandbox).values()) == {"free"}
