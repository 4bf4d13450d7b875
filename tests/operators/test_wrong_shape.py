"""Inputs of a wrong shape through the front door: read whole, or refused before the first request."""

import itertools
import json
from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from airflow.sdk import DAG, task

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from tests.support.people import people
from tests.support.requests_sent import times_enrolled, writes

PEOPLE = people(1200, domain="private.example")
AGAIN = {"retries": 1, "retry_delay": timedelta(0)}
numbers = itertools.count()


@pytest.fixture
def bulk(run_task):
    def run(emails, **arguments):
        return run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug="onboarding", **arguments)

    return run


@pytest.fixture
def enroll_output(run):
    """Run a DAG that enrolls what its other tasks return."""

    def run_dag(make, **arguments):
        with DAG(f"outputs_{next(numbers)}", schedule=None) as dag:
            MeisaBulkEnrollOperator(task_id="task", emails=make(), sequence_slug="onboarding", **arguments)
        return run(dag)

    return run_dag


@task(show_return_value_in_logs=False)
def page(n, size):
    return PEOPLE[n * size : (n + 1) * size]


@task(show_return_value_in_logs=False)
def one(n):
    return PEOPLE[n]


@task(show_return_value_in_logs=False)
def record(n):
    return {"id": n, "Email": PEOPLE[n]}


def mapped_pages(size):
    return lambda: page.partial(size=size).expand(n=[0, 1, 2])


@pytest.mark.parametrize(
    ("make", "total"),
    [
        (mapped_pages(1), 3),
        (mapped_pages(2), 6),
        (mapped_pages(400), 1200),
        (lambda: one.expand(n=[0, 1, 2]), 3),
        (lambda: record.expand(n=[0, 1, 2]), 3),
        (lambda: [page(0, 3), page(1, 3)], 6),
        (lambda: [one(0), one(1)], 2),
        (lambda: [page.partial(size=2).expand(n=[0, 1]), page(2, 2)], 6),
        (lambda: page(0, 2).concat(page(1, 2)), 4),
    ],
    ids=["one each", "two each", "many each", "texts", "records", "listed", "listed texts", "both", "concat"],
)
def test_pages_of_other_tasks_are_enrolled_whole(enroll_output, meisa_sandbox, make, total):
    ran = enroll_output(make)
    assert ran.states["task"] == "success"
    assert ran.counts() == {"enrolled": total}
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE[:total], 1)


def test_pages_are_logged_once_without_addresses(enroll_output, everything_written):
    enroll_output(mapped_pages(2), max_contacts=10)
    written = everything_written()
    assert written.count("emails: 3 lists read as one of 6 rows") == written.count("Sending to onboarding")
    assert "private.example" not in written


FRAME = pd.DataFrame({"id": [1, 2, 3], "email": PEOPLE[:3]})


@pytest.mark.parametrize(
    ("emails", "arguments"),
    [
        (FRAME, {}),
        (FRAME.rename(columns={"email": "mail"}), {"email_column": "mail"}),
        (FRAME.to_dict("records"), {}),
        (FRAME.to_numpy().tolist(), {"email_column": 1}),
        (pl.DataFrame({"EMAIL": PEOPLE[:3], "id": [1, 2, 3]}), {}),
        (pa.table({"id": [1, 2, 3], "email": PEOPLE[:3]}), {}),
        (np.array(PEOPLE[:3]), {}),
        ([one.encode() for one in PEOPLE[:3]], {}),
        ([[(one,)] for one in PEOPLE[:3]], {}),
        ((page for page in (PEOPLE[:2], PEOPLE[2:3])), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_tables_records_and_bytes_are_enrolled(bulk, meisa_sandbox, emails, arguments):
    ran = bulk(emails, **arguments)
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 3}
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE[:3], 1)


def test_a_frame_of_another_task_is_enrolled(enroll_output, meisa_sandbox):
    @task(show_return_value_in_logs=False)
    def frame():
        return FRAME

    ran = enroll_output(frame)
    assert ran.counts() == {"enrolled": 3}
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE[:3], 1)


@pytest.mark.parametrize(
    ("emails", "message"),
    [
        ([*PEOPLE, 17], "row 1,201: a value of type int, not text"),
        ([*PEOPLE, b"\xff"], "row 1,201: bytes that are not UTF-8"),
        (
            [*PEOPLE[:600], {"id": 1, "mail": PEOPLE[600]}],
            "no column 'email' for email_column; it has: id, mail",
        ),
        ([(number, one) for number, one in enumerate(PEOPLE)], "a row of 2 columns without names"),
        ([["Ada", PEOPLE[0]], ["Bob", PEOPLE[1]]], "look like rows"),
        (FRAME[["id"]], "column id: a value of type int"),
        (FRAME.assign(mail="x")[["id", "mail"]], "it has: id, mail"),
        ({"email": PEOPLE}, "emails is a dict; pass a list of addresses, or a list of records"),
        ([set(PEOPLE)], "a set, which has no order"),
        (pl.DataFrame({"email": [[PEOPLE[0]], [PEOPLE[1]]]}), "column email: a value of type list"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("preview", [False, True])
def test_a_wrong_shape_fails_before_the_first_request(
    bulk, meisa_sandbox, everything_written, emails, message, preview
):
    ran = bulk(emails, preview=preview, skip_suppressed=True, max_contacts=5000, **AGAIN)
    assert ran.state == "failed"
    assert writes(meisa_sandbox) == []
    assert times_enrolled(meisa_sandbox) == {}
    written = everything_written()
    assert message in written
    assert "private.example" not in written


def test_a_wrong_value_late_in_a_stream_stops_before_the_first_request(bulk, meisa_sandbox):
    assert bulk(iter([*PEOPLE, 17]), **AGAIN).state == "failed"
    assert writes(meisa_sandbox) == []


@pytest.mark.parametrize("value", [17, ["one"], {"at": "one"}, True])
def test_a_wrong_value_late_in_a_file_stops_before_the_first_request(
    run_task, meisa_sandbox, tmp_path, value
):
    file = tmp_path / "people.jsonl"
    file.write_text("".join(json.dumps({"email": one}) + "\n" for one in [*PEOPLE[:600], value]))
    ran = run_task(FileToMeisaSequenceOperator, path=str(file), sequence_slug="onboarding")
    assert ran.state == "failed"
    assert writes(meisa_sandbox) == []


@pytest.mark.parametrize("column", [True, "", " ", 1.0, ["email"], b"email"])
def test_an_unusable_email_column_fails_before_the_first_request(
    bulk, meisa_sandbox, everything_written, column
):
    assert bulk(FRAME, email_column=column).state == "failed"
    assert writes(meisa_sandbox) == []
    assert "email_column must be a column's name or its number from 0" in everything_written()


def test_missing_values_stay_rows_without_an_address(bulk):
    ran = bulk([*PEOPLE[:3], None, float("nan")])
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 3, "invalid": 2}


@pytest.mark.parametrize(
    ("contact", "state", "message"),
    [
        ((PEOPLE[0],), "success", ""),
        (PEOPLE[0].encode(), "success", ""),
        ({"email": PEOPLE[0], "id": 1}, "success", ""),
        (PEOPLE[:2], "failed", "contact_email holds 2 addresses; pass one, or use MeisaBulkEnrollOperator"),
        (17, "failed", "contact_email, row 1: a value of type int, not text"),
        ({"id": 1, "mail": PEOPLE[0]}, "failed", "no column 'email'"),
        (None, "failed", "no value"),
    ],
    ids=["row", "bytes", "record", "list", "number", "other keys", "nothing"],
)
def test_one_contact_is_read_or_refused(run_task, meisa_sandbox, everything_written, contact, state, message):
    ran = run_task(MeisaEnrollOperator, contact_email=contact, sequence_slug="onboarding")
    assert ran.state == state
    assert times_enrolled(meisa_sandbox) == ({PEOPLE[0]: 1} if state == "success" else {})
    assert message in everything_written()
