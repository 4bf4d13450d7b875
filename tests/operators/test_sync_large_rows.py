"""Rows of a contact sync that are too large: Meisa takes them, but its response cannot be read."""

from __future__ import annotations

import json

import pytest

from airflow_provider_meisa.jobs.sync_contacts.sizes import MOST_BYTES
from tests.support.summary import counts
from tests.support.sync_task import SyncTask, row

pytestmark = [pytest.mark.meisa_sandbox(rate_limits="none"), pytest.mark.usefixtures("ledgers", "no_backoff")]


@pytest.fixture
def task(meisa_connection):
    """Return a task."""
    meisa_connection(extra={"rate_limits": "none"})
    return lambda rows, **arguments: SyncTask(rows, max_invalid=None, **arguments)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("plan", "x" * 10_000_000),
        ("plan", ["x" * 1_000] * 10_000),
        ("name", "x" * 3_000_000),
        ("mrr", {f"key{number}": "x" * 1_000 for number in range(3_000)}),
    ],
    ids=["text", "list", "name", "object"],
)
def test_row_that_is_too_large_is_invalid_and_not_sent(task, meisa_sandbox, tmp_path, column, value):
    ours = task([row(1), row(2, **{column: value}), row(3)], outcomes_path=str(tmp_path / "outcomes.jsonl"))
    assert counts(ours.run()) == {"created": 2, "invalid": 1}
    assert {each["external_id"] for each in meisa_sandbox.contacts()} == {"1", "3"}
    lines = [json.loads(line) for line in (tmp_path / "outcomes.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in lines if line["status"] == "invalid"] == [
        f"{column}: the row has more than 2 MiB as JSON"
    ]


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀"])
def test_largest_row_is_sent_and_its_response_read(task, meisa_sandbox, letter):
    """Whatever the letters are, also escaped in the response."""
    long = letter * ((MOST_BYTES - 500) // len(letter.encode()))
    ours = task([row(1, plan=long)])
    assert counts(ours.run()) == {"created": 1}
    assert counts(ours.night([row(1, plan=long)])) == {"unchanged": 1}
    (contact,) = meisa_sandbox.contacts()
    assert contact["custom_fields"]["plan"] == long


def test_large_row_is_not_sent_by_the_next_night_either(task, meisa_sandbox):
    ours = task([row(1), row(2, plan="x" * 10_000_000)])
    ours.run()
    before = len(meisa_sandbox.requests())
    assert counts(ours.night([row(1), row(2, plan="x" * 10_000_000)])) == {"unchanged": 1, "invalid": 1}
    assert not [each for each in meisa_sandbox.requests()[before:] if each["path"].endswith("/upsert/")]
    assert counts(ours.night([row(1), row(2)])) == {"created": 1, "unchanged": 1}
