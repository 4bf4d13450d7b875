"""What is done before the first address is sent, and the file of outcomes that is left after the last."""

import csv
import gzip
import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from tests.support.requests_sent import bulk_requests, writes
from tests.support.summary import counts

PEOPLE = [f"person{number:04}@example.com" for number in range(2600)]
MIXED = [*PEOPLE[:1100], PEOPLE[3].upper(), "broken", "unsubscribed@example.com", None]


def paths(sandbox):
    return [request["path"].removeprefix("/api/v1") for request in sandbox.requests()]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# A preview.


def test_a_preview_counts_and_sends_nothing(task, meisa_sandbox, meisa_connection):
    meisa_connection(extra={"rate_limits": "4/minute"})
    report = task(MIXED, preview=True).run()
    seconds, ends_at = report.pop("seconds"), datetime.fromisoformat(report.pop("ends_at"))
    assert abs((ends_at - datetime.now(UTC)).total_seconds() - seconds) < 10
    path, _, plan_id = report.pop("plan").rpartition("#")
    assert (Path(path).stat().st_mode & 0o777, len(plan_id)) == (0o600, 32)
    assert report == {
        "preview": True,
        "job": "enroll",
        "sequence_slug": "onboarding",
        "meisa_conn_id": "meisa_default",
        "environment": "live",
        "total": 1104,
        "counts": {"duplicate": 1, "invalid": 2, "suppressed": 1},
        "to_send": 1100,
        "requests": 3,
    }
    # Three requests were spent on asking: one batch goes at once, two wait for the window.
    assert 20 < seconds < 62  # counted from the first request, so less on a slow machine
    assert paths(meisa_sandbox) == [
        "/ping/",
        "/sequences/api/list/",
        "/contacts/api/unsubscribed-emails/",
    ]
    assert json.loads(json.dumps(report)) == report


def test_a_preview_says_where_it_could_not_ask_who_unsubscribed(task, meisa_sandbox, meisa_connection):
    meisa_sandbox.add_key("meisa_live_narrow", ["sequences:read", "sequences:enroll"])
    meisa_connection(password="meisa_live_narrow")
    report = task(MIXED, preview=True).run()
    assert report["counts"] == {"duplicate": 1, "invalid": 2, "suppressed": None}
    assert report["to_send"] == 1101


def test_a_preview_of_a_task_that_mails_the_suppressed_subtracts_none_of_them(
    task, meisa_sandbox, meisa_connection
):
    meisa_connection(extra={"allow_override_unsubscribe": True})
    ours = task(MIXED, preview=True, override_unsubscribe=True)
    report = ours.run()
    assert report["counts"] == {"duplicate": 1, "invalid": 2, "suppressed": 0}
    assert (report["to_send"], report["to_send_suppressed"], report["total"]) == (1101, 1, 1104)
    assert counts(ours.run(preview=False)) == {"enrolled": 1101, "duplicate": 1, "invalid": 2}


def test_such_a_preview_says_where_it_could_not_ask_who_they_are(task, meisa_sandbox, meisa_connection):
    meisa_sandbox.add_key("meisa_live_narrow", ["sequences:read", "sequences:enroll"])
    meisa_connection(password="meisa_live_narrow", extra={"allow_override_unsubscribe": True})
    report = task(MIXED, preview=True, override_unsubscribe=True).run()
    assert (report["to_send"], report["to_send_suppressed"]) == (1101, None)


def test_a_preview_of_no_contact_needs_no_time(task):
    report = task([], preview=True).run()
    assert (report["total"], report["to_send"], report["requests"], report["seconds"]) == (0, 0, 0, 0.0)


@pytest.mark.parametrize(("slug", "hint"), [("winback", "draft"), ("onbording", "onboarding")])
def test_a_preview_fails_for_a_sequence_that_takes_no_contact(task, meisa_sandbox, slug, hint):
    with pytest.raises(AirflowFailException, match=hint):
        task(MIXED, preview=True, sequence_slug=slug).run()
    assert bulk_requests(meisa_sandbox) == []


def test_a_preview_neither_reads_nor_changes_the_checkpoint_or_the_outcomes(task, tmp_path):
    path = tmp_path / "outcomes.jsonl"
    ours = task(MIXED, outcomes_path=str(path))
    ours.run()
    before, kept = path.read_bytes(), dict(ours.state.values)
    assert ours.run(preview=True)["to_send"] == 1100
    assert path.read_bytes() == before
    assert ours.state.values == kept


def test_a_preview_runs_in_a_real_airflow_and_leaves_its_report_in_xcom(run_task, meisa_sandbox):
    ran = run_task(MeisaBulkEnrollOperator, emails=MIXED, sequence_slug="onboarding", preview=True)
    assert ran.state == "success"
    assert ran.xcom("task")["to_send"] == 1100
    assert bulk_requests(meisa_sandbox) == []


# Who is not sent.


def test_the_suppressed_are_not_sent_where_that_is_wanted(task, meisa_sandbox):
    meisa_sandbox.put_contacts(dict.fromkeys(PEOPLE[:500], "unsubscribed"))
    summary = task([*PEOPLE[:500], PEOPLE[500].upper(), *PEOPLE[501:700]], skip_suppressed=True).run()
    assert counts(summary) == {"enrolled": 200, "suppressed": 500}
    assert [len(request["addresses"]) for request in bulk_requests(meisa_sandbox)] == [200]


def test_a_key_that_may_not_ask_who_unsubscribed_fails_before_anything_is_sent(
    task, meisa_sandbox, meisa_connection
):
    meisa_sandbox.add_key("meisa_live_narrow", ["sequences:read", "sequences:enroll"])
    meisa_connection(password="meisa_live_narrow")
    with pytest.raises(AirflowFailException, match="contacts:read"):
        task(MIXED, skip_suppressed=True).run()
    assert bulk_requests(meisa_sandbox) == []


def test_who_unsubscribes_between_two_tries_is_not_sent_by_the_second(task, meisa_sandbox):
    ours = task(PEOPLE[:1100], skip_suppressed=True, max_in_flight=1)
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowFailException):
        ours.run()
    meisa_sandbox.put_contacts(dict.fromkeys(PEOPLE[490:1000], "unsubscribed"))
    assert counts(ours.run()) == {"enrolled": 600, "suppressed": 500}
    assert [len(request["addresses"]) for request in bulk_requests(meisa_sandbox)] == [500, 500, 100]


def test_a_source_with_more_addresses_than_allowed_sends_none(task, meisa_sandbox):
    with pytest.raises(AirflowFailException, match="max_contacts=2,599 "):
        task(PEOPLE, max_contacts=2599).run()
    assert writes(meisa_sandbox) == []


def test_a_source_with_as_many_addresses_as_allowed_is_sent(task):
    assert counts(task(PEOPLE[:600], max_contacts=600).run()) == {"enrolled": 600}


def test_that_the_unsubscribed_are_mailed_is_said_loudly(task, meisa_connection, caplog):
    meisa_connection(extra={"allow_override_unsubscribe": True})
    assert counts(task(["unsubscribed@example.com"], override_unsubscribe=True).run()) == {"enrolled": 1}
    assert "people who have unsubscribed will be mailed" in caplog.text


# The file of outcomes.


@pytest.mark.parametrize("name", ["outcomes.jsonl", "outcomes.csv", "outcomes.jsonl.gz", "outcomes.csv.gz"])
def test_each_address_of_the_input_has_one_line(task, tmp_path, name):
    path = tmp_path / name
    summary = task(MIXED, outcomes_path=str(path)).run()
    assert summary["outcomes_path"] == str(path)
    text = (gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()).decode()
    rows = (
        list(csv.DictReader(text.splitlines()))
        if ".csv" in name
        else list(map(json.loads, text.splitlines()))
    )
    assert Counter(row["status"] for row in rows) == counts(summary)
    assert sorted(row["address"] for row in rows)[1:] == sorted(
        [*PEOPLE[:1100], "PERSON0003@example.com", "broken", "unsubscribed@example.com"]
    )
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("outcomes")] == [name]


def test_only_rejects_are_written_where_that_is_wanted(task, tmp_path):
    path = tmp_path / "rejects.jsonl"
    task(MIXED, outcomes_path=str(path), rejects_only=True).run()
    assert Counter(line["status"] for line in lines(path)) == {"invalid": 2, "suppressed": 1}


def test_a_path_that_is_not_of_a_known_kind_fails_before_anything_is_sent(task, tmp_path, meisa_sandbox):
    with pytest.raises(AirflowFailException, match=r"\.jsonl"):
        task(MIXED, outcomes_path=str(tmp_path / "outcomes.txt")).run()
    assert writes(meisa_sandbox) == []


@pytest.mark.parametrize("max_in_flight", [1, 4])
def test_after_a_failure_the_file_has_every_contact_and_after_the_retry_too(
    task, meisa_sandbox, tmp_path, max_in_flight
):
    path = tmp_path / "outcomes.jsonl"
    ours = task([*PEOPLE, "broken"], outcomes_path=str(path), max_in_flight=max_in_flight)
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=2, times=1)
    with pytest.raises(AirflowException):
        ours.run()
    first = Counter(line["address"] for line in lines(path))
    assert first == dict.fromkeys([*PEOPLE, "broken"], 1)
    assert Counter(line["status"] for line in lines(path)) == counts(ours.ti.xcoms["return_value"])
    summary = ours.run()
    assert Counter(line["address"] for line in lines(path)) == first
    assert Counter(line["status"] for line in lines(path)) == counts(summary)
    assert not list(tmp_path.glob("*.parts"))


def test_only_rejects_stand_in_the_file_after_a_retry_and_none_of_them_twice(task, meisa_sandbox, tmp_path):
    path = tmp_path / "rejects.jsonl"
    ours = task(["broken", *PEOPLE[:1100]], outcomes_path=str(path), rejects_only=True, max_in_flight=1)
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowException):
        ours.run()
    assert Counter(line["status"] for line in lines(path)) == {
        "invalid": 1,
        "unreported": 500,
        "untried": 100,
    }
    ours.run()
    assert [line["status"] for line in lines(path)] == ["invalid"]


@pytest.mark.parametrize("writes", range(7))
def test_wherever_a_process_dies_no_address_is_doubled_or_missing_in_the_end(task, tmp_path, writes):
    path = tmp_path / "outcomes.jsonl"
    ours = task([*PEOPLE[:1100], "broken"], outcomes_path=str(path), max_in_flight=1)
    ours.state.fail_at = writes  # the last is the note that all is complete: the file was joined already
    with pytest.raises(RuntimeError):
        ours.run()
    ours.state.fail_at = None
    ours.run()
    assert Counter(line["address"] for line in lines(path)) == dict.fromkeys([*PEOPLE[:1100], "broken"], 1)


def test_a_file_that_lacks_what_another_host_has_written_is_warned_of(task, meisa_sandbox, tmp_path, caplog):
    path = tmp_path / "outcomes.jsonl"
    ours = task(PEOPLE[:1100], outcomes_path=str(path), max_in_flight=1)
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowException):
        ours.run()
    shutil.rmtree(f"{path}.parts")
    ours.run()
    assert len(lines(path)) == 600
    assert "600 lines for 1100 addresses" in caplog.text


def test_another_audience_that_is_sent_from_its_beginning_has_a_file_of_its_own(
    task, meisa_sandbox, tmp_path
):
    path = tmp_path / "outcomes.jsonl"
    ours = task(PEOPLE, outcomes_path=str(path), max_in_flight=1, on_changed_audience="restart")
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=2, times=1)
    with pytest.raises(AirflowException):
        ours.run()
    ours.lose_plan().run(emails=PEOPLE[:700][::-1])
    assert [line["address"] for line in lines(path)] == PEOPLE[:700][::-1]


def test_a_retry_in_a_real_airflow_leaves_a_file_with_every_contact_once(run_task, meisa_sandbox, tmp_path):
    path = tmp_path / "outcomes.jsonl"
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=2, times=1)
    ran = run_task(
        MeisaBulkEnrollOperator,
        emails=PEOPLE,
        sequence_slug="onboarding",
        outcomes_path=str(path),
        retries=1,
        retry_delay=timedelta(0),
    )
    assert ran.state == "success"
    assert Counter(line["address"] for line in lines(path)) == dict.fromkeys(PEOPLE, 1)
