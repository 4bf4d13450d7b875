"""``keep``: columns of the source in the outcomes file, next to the number of the row."""

from __future__ import annotations

import csv
import json
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task
from pyarrow import parquet

from airflow_provider_meisa.transfers.file_to_meisa import (
    FileToMeisaContactsOperator,
    FileToMeisaSequenceOperator,
)
from airflow_provider_meisa.transfers.sql_to_meisa import (
    SqlToMeisaContactsOperator,
    SqlToMeisaSequenceOperator,
)
from tests.support.sync_task import SyncTask
from tests.support.task import Task

pytestmark = pytest.mark.usefixtures("ledgers")

RECORDS = [
    {"user_id": 7, "email": "ada@example.com", "note": "secret-1"},
    {"user_id": 8, "email": "broken", "note": "secret-2"},
    {"user_id": 9, "email": "Ada@example.com", "note": None},
    {"user_id": 10, "email": "grace@example.com", "note": '=1+1 "x"'},
    {"user_id": 11, "email": "unsubscribed@example.com", "note": "secret-5"},
]
LINES = [
    ("enrolled", 1, 7, "secret-1"),
    ("invalid", 2, 8, "secret-2"),
    ("duplicate", 3, 9, None),
    ("enrolled", 4, 10, '=1+1 "x"'),
    ("suppressed", 5, 11, "secret-5"),
]
SYNCED = [(status.replace("enrolled", "created"), *rest) for status, *rest in LINES]
KEEP = ["user_id", "note"]


def lines_of(path, *names):
    """Read the lines by row: status, row and these columns."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(
        (tuple(line[name] for name in ("status", "row", *names)) for line in found), key=lambda each: each[1]
    )


@pytest.fixture
def outcomes(tmp_path):
    return tmp_path / "outcomes.jsonl"


@pytest.fixture
def users(warehouse):
    warehouse.run("CREATE TABLE users (user_id INTEGER, email TEXT, note TEXT)")
    warehouse.run("INSERT INTO users VALUES (?, ?, ?)", [tuple(each.values()) for each in RECORDS])
    return "SELECT user_id, email, note FROM users ORDER BY user_id"


@pytest.mark.parametrize("names", [["user_id", "note"], ["USER_ID", "Note"]], ids=" ".join)
def test_columns_of_a_query_are_kept(run_task, users, outcomes, names):
    ran = run_task(
        SqlToMeisaSequenceOperator,
        sql=users,
        conn_id="warehouse",
        sequence_slug="onboarding",
        outcomes_path=str(outcomes),
        keep=names,
        skip_suppressed=True,
    )
    assert ran.state == "success"
    assert lines_of(outcomes, *names) == LINES


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (FileToMeisaSequenceOperator, {"sequence_slug": "onboarding"}),
        (
            FileToMeisaSequenceOperator,
            {
                "sequence_slug": "onboarding",
                "ledger": "night",
                "again_after": timedelta(days=9),
                "record_id": "user_id",
            },
        ),
        (FileToMeisaContactsOperator, {"ledger": "users", "first_run": "send"}),
    ],
    ids=["enroll", "record_id", "sync"],
)
def test_columns_of_a_file_are_kept(run_task, tmp_path, outcomes, file_format, operator, arguments):
    path = tmp_path / f"users.{file_format}"
    frame = pd.DataFrame(RECORDS)
    if file_format == "parquet":
        parquet.write_table(pa.Table.from_pylist(RECORDS), path)
    elif file_format == "csv":
        frame.to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(each) + "\n" for each in RECORDS))
    ran = run_task(
        operator, path=str(path), outcomes_path=str(outcomes), keep=KEEP, max_invalid=None, **arguments
    )
    assert ran.state == "success"
    found = lines_of(outcomes, *KEEP)
    if file_format == "csv":
        found = [(status, row, int(user_id), note or None) for status, row, user_id, note in found]
    if "sequence_slug" in arguments:
        assert found == LINES
    else:  # a sync sends who has unsubscribed as well, and neither of two rows of one address
        assert [line[1:] for line in found] == [line[1:] for line in LINES]
        assert [line[0] for line in found][1:2] == ["invalid"]


def test_columns_of_contacts_of_a_query_are_kept_night_after_night(run_task, users, warehouse, outcomes):
    arguments = {
        "sql": users,
        "conn_id": "warehouse",
        "fields": {"email": "email", "external_id": "user_id"},
        "custom_fields": ["note"],
        "ledger": "users",
        "first_run": "send",
        "outcomes_path": str(outcomes),
        "keep": ["user_id"],
        "max_invalid": None,
        "max_failed": None,
    }
    warehouse.run("UPDATE users SET email = 'other@example.com' WHERE user_id = 9")
    run_task(SqlToMeisaContactsOperator, **arguments)
    statuses = ["created", "invalid", "created", "created", "updated"]  # the sandbox has the last one
    assert lines_of(outcomes, "user_id") == [(each, row, row + 6) for row, each in enumerate(statuses, 1)]
    warehouse.run("UPDATE users SET note = 'new' WHERE user_id = 10")
    run_task(SqlToMeisaContactsOperator, **arguments)
    statuses = ["unchanged", "invalid", "unchanged", "updated", "unchanged"]
    assert lines_of(outcomes, "user_id") == [(each, row, row + 6) for row, each in enumerate(statuses, 1)]


def test_rows_are_numbered_among_many_unchanged_ones(meisa_connection, meisa_sandbox, outcomes):
    meisa_connection(extra={"rate_limits": "none"})
    rows = [
        {"id": number, "email": f"p{number}@example.com", "name": "A", "plan": "x", "mrr": 1}
        for number in range(1200)
    ]
    ours = SyncTask(rows, outcomes_path=str(outcomes), keep=["id"], first_run="record", max_invalid=None)
    ours.run()
    assert lines_of(outcomes, "id") == [("unchanged", number + 1, number) for number in range(1200)]
    special = {
        3: {"plan": "y"},
        4: {"email": "bad"},
        499: {"plan": "z"},
        500: {"email": None},
        1199: {"mrr": 2},
    }
    ours.night([{**each, **special.get(each["id"], {})} for each in rows])
    expected = {3: "updated", 4: "invalid", 499: "updated", 500: "invalid", 1199: "updated"}
    expected = [(expected.get(each, "unchanged"), each + 1, each) for each in range(1200)]
    found = [
        ("updated" if status == "created" else status, *rest) for status, *rest in lines_of(outcomes, "id")
    ]
    assert found == expected


@pytest.mark.meisa_sandbox(rate_limits="none")
def test_contact_of_each_kind_has_its_row(meisa_connection, meisa_sandbox, tmp_path):
    """A split batch, known contacts, and a retry after a failed attempt."""
    meisa_connection(extra={"rate_limits": "none"})
    path = tmp_path / "o.csv"
    records = [{"id": f"u{number}", "email": f"p{number}@example.com"} for number in range(1201)]
    arguments = {"outcomes_path": str(path), "keep": ["id"], "ledger": "night", "again_after": "never"}
    ours = Task(records[:300], **arguments)
    ours.run()
    meisa_sandbox.fault("status", status=401, path="enroll", skip=1)
    ours.next_night(emails=records)
    with pytest.raises(AirflowFailException):
        ours.run()
    meisa_sandbox.clear_faults()
    ours.run()
    with path.open(newline="") as file:
        found = sorted(csv.DictReader(file), key=lambda line: int(line["row"]))
    assert [(line["row"], line["id"], line["address"]) for line in found] == [
        (str(number + 1), f"u{number}", f"p{number}@example.com") for number in range(1201)
    ]
    assert [line["status"] for line in found[:301]] == ["enrolled_before"] * 300 + ["enrolled"]


@pytest.mark.parametrize(
    "make",
    [list, pd.DataFrame, pa.Table.from_pylist, json.dumps],
    ids=["list", "pandas", "arrow", "text"],
)
def test_columns_of_what_a_task_passes_are_kept(meisa_connection, make, outcomes):
    Task(make(RECORDS), outcomes_path=str(outcomes), keep=KEEP, skip_suppressed=True).run()
    assert lines_of(outcomes, *KEEP) == LINES


def test_columns_of_what_a_function_returns_are_kept(run, outcomes):
    with DAG("kept", schedule=None) as dag:

        @task.meisa_enroll(
            sequence_slug="onboarding", outcomes_path=str(outcomes), keep=["user_id"], skip_suppressed=True
        )
        def enroll():
            yield from RECORDS

        enroll()
    assert run(dag).state == "success"
    assert lines_of(outcomes, "user_id") == [line[:3] for line in LINES]


def test_values_of_other_types_are_kept_as_json(meisa_connection, outcomes):
    from datetime import date
    from decimal import Decimal
    from uuid import UUID

    values = [
        3.0,
        float("nan"),
        1.5,
        Decimal("4.20"),
        date(2026, 1, 2),
        UUID(int=1),
        b"\xff",
        True,
        [1, "a"],
        10**30,
    ]
    records = [{"email": f"p{number}@example.com", "x": value} for number, value in enumerate(values)]
    Task(records, outcomes_path=str(outcomes), keep=["x"]).run()
    assert [line[2] for line in lines_of(outcomes, "x")] == [
        3,
        None,
        1.5,
        "4.20",
        "2026-01-02",
        "00000000-0000-0000-0000-000000000001",
        "ff",
        True,
        '[1, "a"]',
        10**30,
    ]


def test_record_may_lack_a_kept_column(meisa_connection, outcomes):
    records = [{"email": "a@example.com"}, {"email": "b@example.com", "id": 2}]
    Task(records, outcomes_path=str(outcomes), keep=["id"]).run()
    assert lines_of(outcomes, "id") == [("enrolled", 1, None), ("enrolled", 2, 2)]


def test_rows_are_numbered_without_kept_columns(meisa_connection, outcomes):
    Task(["a@example.com", "x", None, "b@example.com"], outcomes_path=str(outcomes)).run()
    assert lines_of(outcomes) == [("enrolled", 1), ("invalid", 2), ("invalid", 3), ("enrolled", 4)]


def test_approved_plan_has_the_kept_columns(meisa_connection, outcomes):
    preview = Task(RECORDS, outcomes_path=str(outcomes), keep=KEEP, preview=True, skip_suppressed=True)
    preview.ti.task_id = "preview"
    plan = preview.run()["plan"]
    arguments = {"outcomes_path": str(outcomes), "plan": plan, "skip_suppressed": True}
    with pytest.raises(AirflowFailException, match=r"made with another keep\. Nothing was sent"):
        Task([], keep=["note"], **arguments).run()
    Task([], keep=KEEP, **arguments).run()
    assert lines_of(outcomes, *KEEP) == LINES


def test_approved_plan_without_kept_columns_has_rows(meisa_connection, outcomes):
    preview = Task(RECORDS, preview=True, skip_suppressed=True)
    preview.ti.task_id = "preview"
    Task([], outcomes_path=str(outcomes), plan=preview.run()["plan"], skip_suppressed=True).run()
    assert lines_of(outcomes) == [line[:2] for line in LINES]


def test_kept_values_are_only_in_the_file(meisa_connection, outcomes, everything_written, meisa_sandbox):
    ours = Task(RECORDS, outcomes_path=str(outcomes), keep=KEEP, ledger="night", again_after="never")
    meisa_sandbox.fault("status", status=401, path="enroll")
    with pytest.raises(AirflowFailException) as failed:
        ours.run()
    meisa_sandbox.clear_faults()
    ours.run()
    assert "secret-1" in outcomes.read_text()
    elsewhere = everything_written() + str(ours.ti.xcoms) + str(ours.state.values) + repr(failed.value)
    assert "secret" not in elsewhere
    assert "secret" not in str(meisa_sandbox.requests())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": ["userid"]}, r"The source has no column 'userid' for keep; .*user_id.*"),
        ({"keep": "user_id"}, "keep must be a list of texts"),
        ({"keep": ["user_id", 3]}, r"keep\[1\]"),
        ({"keep": ["user_id", "USER_ID"]}, "keep names 'USER_ID', which the outcomes file has already"),
        ({"keep": ["Row"]}, "which the outcomes file has already"),
        ({"keep": ["status"]}, "Remove it, or give the column another name in the source"),
        ({"keep": [""]}, r"keep\[0\] is empty"),
        ({"keep": [" "]}, r"keep\[0\] is empty"),
        ({"keep": KEEP, "outcomes_path": None}, "keep needs an outcomes file. Set outcomes_path"),
        ({"keep": KEEP, "email_column": 1}, "keep needs columns with names"),
        ({"keep": KEEP, "emails": ["a@example.com"]}, "emails holds a text, not a record"),
        ({"keep": ["id"], "emails": [{"email": "a@example.com"}]}, "no column 'id' for keep"),
    ],
    ids=str,
)
def test_wrong_keep_stops_before_anything_is_sent(
    meisa_connection, meisa_sandbox, outcomes, arguments, message
):
    with pytest.raises(AirflowFailException, match=message):
        Task(**{"emails": RECORDS, "outcomes_path": str(outcomes), **arguments}).run()
    assert not [one for one in meisa_sandbox.requests() if one["method"] == "POST"]
    assert not outcomes.exists()


def test_contact_sync_refuses_a_column_that_is_not_there(meisa_connection, meisa_sandbox, outcomes):
    rows = [{"id": 1, "email": "a@example.com", "name": "A", "plan": "x", "mrr": 1}]
    with pytest.raises(AirflowFailException, match="no column 'ids' for keep"):
        SyncTask(rows, outcomes_path=str(outcomes), keep=["ids"]).run()
    assert meisa_sandbox.contacts() == []


@pytest.mark.parametrize("changed", [["note"], ["user_id", "note"]], ids=" ".join)
def test_retry_with_another_keep_stops(meisa_connection, meisa_sandbox, outcomes, changed):
    records = [{**RECORDS[0], "email": f"p{number}@example.com"} for number in range(1200)]
    ours = Task(records, outcomes_path=str(outcomes), keep=["user_id"])
    meisa_sandbox.fault("status", status=401, path="enroll", skip=1)
    with pytest.raises(AirflowFailException):
        ours.run()
    meisa_sandbox.clear_faults()
    sent = len(meisa_sandbox.enrollments("onboarding"))
    with pytest.raises(AirflowFailException, match="made with another keep"):
        ours.run(keep=changed)
    assert len(meisa_sandbox.enrollments("onboarding")) == sent
    ours.run(keep=["user_id"])
    assert [line[1] for line in lines_of(outcomes, "user_id")] == list(range(1, 1201))
