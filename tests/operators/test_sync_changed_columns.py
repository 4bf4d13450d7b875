"""Which columns of a contact have changed: what the report, the summary and the message of ``max_changes`` say."""

from __future__ import annotations

import logging
import shutil

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_meisa.bulk.ledger import State, value_sample
from tests.support.summary import counts
from tests.support.sync_task import COLUMNS, SyncTask, contact_ledger, row, upserts

pytestmark = [pytest.mark.meisa_sandbox(rate_limits="none"), pytest.mark.usefixtures("ledgers")]

ROWS = [row(number) for number in range(40)]
SOME = [row(0, plan="team", mrr=2), row(1, plan="team"), row(2, name="Eve"), *ROWS[3:], row(50)]


@pytest.fixture
def sync(meisa_connection, no_backoff):
    meisa_connection(extra={"rate_limits": "none"})
    return lambda contacts=ROWS, **arguments: SyncTask(contacts, **arguments)


@pytest.fixture
def sample(ledgers, meisa_sandbox):
    """Read the entries of the sample."""
    return lambda: list(contact_ledger(ledgers, meisa_sandbox).within("values").entries())


def columns_of(summary):
    return summary["changed_columns"], summary["compared"], summary["changed"]


@pytest.mark.parametrize("first_run", ["send", "record"])
def test_preview_counts_the_columns_that_have_changed(sync, meisa_sandbox, first_run):
    ours = sync(first_run=first_run)
    assert columns_of(ours.run()) == ({}, 0, 0)
    sent = len(upserts(meisa_sandbox))
    expected = {"plan": 2, "mrr": 1, "name": 1}
    for _ in range(2):  # a preview keeps nothing: the second one counts the same
        assert columns_of(ours.night(SOME, preview=True)) == (expected, 3, 3)
    assert len(upserts(meisa_sandbox)) == sent
    assert columns_of(ours.night(SOME, preview=False)) == (expected, 3, 3)
    assert columns_of(ours.night(SOME)) == ({}, 0, 0)
    assert columns_of(ours.night(ROWS)) == (expected, 3, 3)


def test_plan_of_a_preview_is_compared_with_in_the_next_night(sync):
    ours = sync(preview=True)
    ours.ti.task_id = "preview"
    applied = sync([], plan=ours.run()["plan"])
    assert counts(applied.run()) == {"created": 40}
    assert columns_of(applied.night(SOME, plan=None)) == ({"plan": 2, "mrr": 1, "name": 1}, 3, 3)


def test_too_many_changes_name_the_columns_that_differ_most(sync, meisa_sandbox):
    ours = sync(max_changes=2)
    ours.run()
    differ = r"allows \(2\), and differ in plan \(2\), mrr \(1\), name \(1\)\. Nothing was sent"
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=differ):
            ours.night(SOME)
    assert len(upserts(meisa_sandbox)) == 40


def test_report_names_twenty_columns_and_the_message_five(sync):
    many = [f"field_{number:02}" for number in range(30)]
    before, after = (
        [{**each, **{name: number + at for at, name in enumerate(many)}} for each in ROWS[:5]]
        for number in (0, 1)
    )
    ours = sync(before, custom_fields=many, max_changes=0)
    ours.run()
    assert columns_of(ours.night(after, preview=True)) == (dict.fromkeys(many[:20], 5), 5, 5)
    named = (
        r"differ in field_00 \(5\), field_01 \(5\), field_02 \(5\), field_03 \(5\), field_04 \(5\), 15 more\."
    )
    with pytest.raises(AirflowFailException, match=named):
        ours.night(after, preview=False)


@pytest.mark.parametrize(
    ("change", "arguments", "expected"),
    [
        ({"plan": None}, {}, {"plan": 1}),
        ({"plan": None}, {"nulls": "omit"}, {"plan": 1}),
        ({"name": None}, {"nulls": "omit"}, {"name": 1}),
        ({"email": "new@example.com"}, {}, {"email": 1}),
        ({"labels": ["a", "b"]}, {"tags": "labels"}, {"labels": 1}),
        ({"labels": ["b"]}, {"tags": "labels", "custom_fields": ["labels"]}, {"labels": 1}),
        ({"data": {"a": [1, 2]}}, {"custom_fields": ["data"]}, {"data": 1}),
    ],
    ids=str,
)
def test_change_of_each_kind_names_its_column(sync, change, arguments, expected):
    rows = [{**each, "labels": ["a"], "data": {"a": [1]}} for each in ROWS[:3]]
    ours = sync(rows, **arguments)
    ours.run()
    assert columns_of(ours.night([{**rows[0], **change}, *rows[1:]])) == (expected, 1, 1)


def test_same_value_of_another_driver_names_no_column(sync):
    ours = sync(ROWS[:2])
    ours.run()
    assert columns_of(ours.night([row(0, mrr=1.5, plan="x"), row(1)])) == ({"plan": 1}, 1, 1)


def test_new_mapping_names_what_differs(sync):
    ours = sync(ROWS[:3])
    ours.run()
    rows = [{**each, "seats": 3} for each in ROWS[:3]]
    summary = ours.night(rows, custom_fields=["plan", "mrr", "seats"], resync="all")
    assert columns_of(summary) == ({"seats": 3}, 3, 3)


def test_large_tables_are_estimated_by_a_sample(sync, monkeypatch, sample):
    monkeypatch.setattr(value_sample, "MOST_RECORDS", 100)
    rows = [row(number) for number in range(900)]
    ours = sync(rows, first_run="record", max_changes=1)
    ours.run()
    per_contact = len(COLUMNS["fields"]) + len(COLUMNS["custom_fields"]) + 1  # and tags
    # The hashes differ with the port of the sandbox: about 56 contacts, give or take seven.
    assert 15 <= len(sample()) / per_contact <= 100
    changed = [row(number, plan="team", mrr=2 if number % 2 else 1.5) for number in range(900)]
    report = ours.night(changed, preview=True)
    assert 10 < report["compared"] <= 100
    assert report["changed_columns"]["plan"] == 900
    assert 50 < report["changed_columns"]["mrr"] < 850
    with pytest.raises(AirflowFailException, match=r"differ in plan \(about 900\), mrr \(about \d+\)\."):
        ours.night(changed, preview=False)


def test_record_that_was_refused_with_its_plan_is_not_compared_with(sync, sample):
    ours = sync(first_run="record", min_contacts=41)
    with pytest.raises(AirflowFailException, match="min_contacts"):
        ours.run()
    assert sample() == []
    assert counts(ours.run(min_contacts=None)) == {"unchanged": 40}
    assert len({entry.state for _, entry in sample()} - {State.ACCEPTED}) == 0
    assert columns_of(ours.night(SOME)) == ({"plan": 2, "mrr": 1, "name": 1}, 3, 3)


def test_contact_that_meisa_refuses_keeps_what_it_was_compared_with(sync, meisa_sandbox):
    ours = sync(ROWS[:1], max_failed=None)
    ours.run()
    meisa_sandbox.fault("status", status=400, path="upsert")
    assert counts(ours.night([row(0, plan="team")])) == {"failed": 1}
    meisa_sandbox.clear_faults()
    assert counts(ours.night([row(0, mrr=9)])) == {"updated": 1}
    assert columns_of(ours.night([row(0, mrr=9, plan="pro")])) == ({"plan": 1}, 1, 1)


def test_attempt_after_a_failed_one_keeps_the_values_it_sends(sync, meisa_sandbox):
    ours = sync()
    meisa_sandbox.fault("status", status=401, path="upsert", skip=10)
    with pytest.raises(AirflowFailException):
        ours.run()
    meisa_sandbox.clear_faults()
    assert sum(counts(ours.run()).values()) == 40
    changed = [row(number, plan="team") for number in range(40)]
    assert columns_of(ours.night(changed)) == ({"plan": 40}, 40, 40)


@pytest.mark.parametrize("content", [b"", b"MEISA", b"\0" * 500])
def test_damaged_sample_stops_no_run(sync, ledgers, meisa_sandbox, caplog, content):
    ours = sync()
    ours.run()
    for part in (ledgers / "users" / "values").iterdir():
        part.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        summary = ours.night(SOME)
    assert counts(summary) == {"updated": 3, "created": 1, "unchanged": 37}
    assert columns_of(summary) == ({}, 0, 3)
    assert caplog.text.count("which columns have changed is not known") == 1
    shutil.rmtree(ledgers / "users" / "values")
    assert counts(ours.night(ROWS)) == {"updated": 3, "unchanged": 37}
    assert columns_of(ours.night(SOME))[1:] == (3, 3)
