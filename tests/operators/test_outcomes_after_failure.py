"""The outcomes file of a run that has failed for good: whole, without parts, and the start of a cleared task."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk import outcome_file
from airflow_provider_meisa.operators.failure import is_last_try
from tests.support.sync_task import SyncTask, row
from tests.support.task import FakeTaskInstance, Task

pytestmark = [pytest.mark.meisa_sandbox(rate_limits="none"), pytest.mark.usefixtures("ledgers")]

PEOPLE = [{"id": number, "email": f"p{number}@example.com"} for number in range(2300)]
PEOPLE[7]["email"] = 'broken, "as it were"'
FORMS = [".jsonl", ".csv", ".jsonl.gz", ".csv.gz"]


@pytest.fixture(autouse=True)
def _connection(meisa_connection, no_backoff):
    meisa_connection(extra={"rate_limits": "none"})


@pytest.fixture
def task(tmp_path):
    """Make a task that enrolls 2,300 contacts one batch after the other, with an outcomes file."""

    def make(form=".jsonl", **more):
        path = tmp_path / f"outcomes{form}"
        return Task(PEOPLE, **{"outcomes_path": str(path), "keep": ["id"], "max_in_flight": 1, **more}), path

    return make


def lines(path: Path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    if ".csv" in path.name:
        found = list(csv.DictReader(text.splitlines()))
        return [{**line, "id": int(line["id"]), "row": int(line["row"])} for line in found]
    return list(map(json.loads, text.splitlines()))


def parts(path):
    return list(path.parent.glob("*.parts"))


def refuse_after(sandbox, requests):
    sandbox.fault("status", status=401, path="enroll", skip=requests)


def assert_complete(path, people=PEOPLE):
    found = sorted(lines(path), key=lambda line: line["row"])
    assert [(line["row"], line["id"]) for line in found] == [(each["id"] + 1, each["id"]) for each in people]
    assert {line["status"] for line in found} == {"enrolled", "invalid"}
    assert parts(path) == []


@pytest.mark.parametrize("form", FORMS)
def test_file_of_a_failed_run_has_every_line_and_no_parts(task, meisa_sandbox, form):
    ours, path = task(form)
    refuse_after(meisa_sandbox, 2)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert parts(path) == []
    found = lines(path)
    assert len(found) == 2300
    assert sum(line["status"] == "enrolled" for line in found) == 1000
    meisa_sandbox.clear_faults()
    ours.clear().run()
    assert_complete(path)


def test_file_of_rejects_of_a_failed_run_is_there(task, meisa_sandbox):
    ours, path = task(rejects_only=True)
    refuse_after(meisa_sandbox, 2)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert parts(path) == []
    assert [line["row"] for line in lines(path) if line["status"] == "invalid"] == [8]
    assert {line["status"] for line in lines(path)} == {"invalid", "untried"}
    meisa_sandbox.clear_faults()
    ours.clear().run()
    assert [(line["row"], line["status"]) for line in lines(path)] == [(8, "invalid")]
    assert parts(path) == []


def test_run_that_fails_again_and_again_ends_with_every_line(task, meisa_sandbox):
    ours, path = task()
    for sent in (0, 1, 1, 0, 2):
        refuse_after(meisa_sandbox, sent)
        with pytest.raises(AirflowFailException):
            ours.clear().run()
        meisa_sandbox.clear_faults()
        assert parts(path) == []
    ours.clear().run()
    assert_complete(path)


def test_parts_stay_while_a_retry_follows(task, meisa_sandbox):
    ours, path = task()
    meisa_sandbox.fault("status", status=500, path="enroll", skip=1)
    with pytest.raises(AirflowException):
        ours.run()
    assert len(parts(path)) == 1
    ours.ti.try_number = 2
    with pytest.raises(AirflowException):
        ours.run()
    assert parts(path) == []
    meisa_sandbox.clear_faults()
    ours.clear().run()
    assert len({line["row"] for line in lines(path)}) == len(lines(path)) == 2300
    assert parts(path) == []


def test_last_try_that_fails_in_its_checks_removes_the_parts(task, meisa_sandbox):
    ours, path = task()
    meisa_sandbox.fault("status", status=500, path="enroll", skip=1)
    with pytest.raises(AirflowException):
        ours.run()
    assert len(parts(path)) == 1
    ours.ti.try_number = 2
    with pytest.raises(AirflowFailException, match="made with another keep"):
        ours.run(keep=["email"])
    assert parts(path) == []
    assert len(lines(path)) == 2300
    meisa_sandbox.clear_faults()
    ours.clear().run(keep=["id"])
    assert len({line["row"] for line in lines(path)}) == len(lines(path)) == 2300


def test_run_that_fails_before_its_first_batch_leaves_nothing(task, meisa_sandbox):
    ours, path = task()
    meisa_sandbox.fault("status", status=401)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert (path.exists(), parts(path)) == (False, [])


@pytest.mark.parametrize("change", ["removed", "changed", "replaced"])
def test_file_that_has_changed_meanwhile_is_warned_of(task, meisa_sandbox, caplog, change):
    ours, path = task()
    refuse_after(meisa_sandbox, 2)
    with pytest.raises(AirflowFailException):
        ours.run()
    meisa_sandbox.clear_faults()
    if change == "removed":
        path.unlink()
    else:
        path.write_text(path.read_text() + "\n" if change == "changed" else "not JSON at all")
    with caplog.at_level(logging.WARNING):
        summary = ours.clear().run()
    assert summary["counts"]["enrolled"] == 2299
    assert "is not the one that the last attempt has written" in caplog.text
    assert "The outcomes file has 1,299 lines for 2300 addresses" in caplog.text
    assert len(lines(path)) == 1299
    assert parts(path) == []


def test_process_that_dies_while_it_takes_lines_back_loses_none(task, meisa_sandbox, monkeypatch):
    ours, path = task()
    refuse_after(meisa_sandbox, 3)
    with pytest.raises(AirflowFailException):
        ours.run()
    meisa_sandbox.clear_faults()
    create, made = outcome_file.create, []

    def die_at_the_second(place):
        if place.name.startswith("part-"):
            made.append(place)
        if len(made) == 2:
            raise KeyboardInterrupt
        return create(place)

    with monkeypatch.context() as patched:
        patched.setattr(outcome_file, "create", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            ours.clear().run()
    assert len(parts(path)) == 1
    ours.run()
    assert_complete(path)


def test_split_batch_keeps_its_parts_until_it_has_every_status(task, meisa_sandbox):
    ours, path = task()
    meisa_sandbox.fault("status", status=400, path="enroll", times=1)  # the first batch is halved
    refuse_after(meisa_sandbox, 1)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert len(parts(path)) == 1
    meisa_sandbox.clear_faults()
    ours.clear().run()
    assert len({line["row"] for line in lines(path)}) == len(lines(path)) == 2300
    assert parts(path) == []


def test_contact_sync_resumes_from_its_file(tmp_path, meisa_sandbox):
    path = tmp_path / "outcomes.csv"
    rows = [row(number) for number in range(40)]
    ours = SyncTask(rows, outcomes_path=str(path), keep=["id"], max_in_flight=1)
    meisa_sandbox.fault("status", status=401, path="upsert", skip=10)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert parts(path) == []
    assert len(lines(path)) == 40
    meisa_sandbox.clear_faults()
    ours.clear().run()
    found = sorted(lines(path), key=lambda line: line["row"])
    assert [(line["row"], line["id"], line["status"]) for line in found] == [
        (number + 1, number, "created") for number in range(40)
    ]
    assert parts(path) == []


@pytest.mark.parametrize(
    ("error", "tries", "is_last"),
    [
        (AirflowFailException("x"), (1, 3), True),
        (MeisaInputError("x"), (1, 3), True),
        (AirflowException("x"), (1, 3), False),
        (AirflowException("x"), (3, 3), False),
        (AirflowException("x"), (4, 3), True),
        (RuntimeError("x"), (1, 0), True),
    ],
)
def test_last_try_is_known_by_its_number_or_its_error(error, tries, is_last):
    ti = FakeTaskInstance()
    ti.try_number, ti.max_tries = tries
    assert is_last_try(ti, error) is is_last
