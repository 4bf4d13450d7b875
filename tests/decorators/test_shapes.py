"""What a function under `@task.meisa_enroll` may return or yield."""

import itertools

import pandas as pd
import pyarrow as pa
import pytest
from airflow.sdk import DAG, task

from tests.support.people import people
from tests.support.requests_sent import times_enrolled, writes

PEOPLE = people(1200, domain="private.example")
numbers = itertools.count()


@pytest.fixture(autouse=True)
def staging(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return lambda: list(tmp_path.glob("airflow-provider-meisa-staged-*/*"))


@pytest.fixture
def enroll(run):
    def run_function(function, **arguments):
        with DAG(f"shapes_{next(numbers)}", schedule=None) as dag:
            task.meisa_enroll(task_id="task", sequence_slug="onboarding", **arguments)(function)()
        return run(dag)

    return run_function


def frame():
    return pd.DataFrame({"id": range(1200), "email": PEOPLE})


def yields_pages():
    for first in range(0, 1200, 100):
        yield PEOPLE[first : first + 100]


def yields_frames():
    yield frame()[:700]
    yield frame()[700:]


def yields_record_batches():
    yield from pa.table({"id": list(range(1200)), "email": PEOPLE}).to_batches(max_chunksize=500)


def yields_records():
    yield from ({"id": number, "email": one} for number, one in enumerate(PEOPLE))


def yields_bytes():
    yield from map(str.encode, PEOPLE)


@pytest.mark.parametrize(
    "function",
    [frame, yields_pages, yields_frames, yields_record_batches, yields_records, yields_bytes],
    ids=lambda function: function.__name__,
)
def test_what_needs_no_guessing_is_enrolled(enroll, meisa_sandbox, staging, function):
    ran = enroll(function)
    assert ran.state == "success"
    assert ran.xcom("task")["counts"]["enrolled"] == 1200
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)
    assert staging() == []


def test_pages_are_logged_once(enroll, everything_written):
    enroll(yields_pages)
    assert everything_written().count("emails: 12 lists read as one of 1,200 rows") >= 1


def test_email_column_chooses(enroll, meisa_sandbox):
    assert enroll(lambda: list(enumerate(PEOPLE[:3])), email_column=1).state == "success"
    assert (
        enroll(lambda: frame()[:5].rename(columns={"email": "mail"}), email_column="mail").state == "success"
    )
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE[:5], 1)


def yields_a_number_late():
    yield from PEOPLE
    yield 17


def yields_rows():
    yield from enumerate(PEOPLE)


def yields_sheet():
    yield ["name", "email"]
    yield from (["Ada", one] for one in PEOPLE)


def returns_a_page_by_key():
    return {"results": PEOPLE}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (yields_a_number_late, "row 1,201: a value of type int, not text"),
        (yields_rows, "a row of 2 columns without names"),
        (yields_sheet, "1,201 lists of 2 texts each, which look like rows"),
        (returns_a_page_by_key, "is a dict; pass a list of addresses"),
        (lambda: frame()[["id"]], "column id: a value of type int"),
        (lambda: frame().rename(columns={"email": "mail"}), "it has: id, mail"),
    ],
    ids=["late", "rows", "sheet", "dictionary", "numbers", "column"],
)
@pytest.mark.parametrize("preview", [False, True])
def test_a_wrong_shape_fails_before_the_first_request(
    enroll, meisa_sandbox, everything_written, staging, function, message, preview
):
    assert enroll(function, preview=preview, skip_suppressed=True).state == "failed"
    assert writes(meisa_sandbox) == []
    assert staging() == []
    written = everything_written()
    assert "What the function returned cannot be enrolled" in written
    assert message in written
    assert "private.example" not in written
