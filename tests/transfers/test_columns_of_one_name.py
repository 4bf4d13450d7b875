"""Two columns of one name: a number chooses between them, or the task stops."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.input_shapes import AddressReader
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from airflow_provider_meisa.transfers.sources.files import read_addresses
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.support.requests_sent import times_enrolled, writes

pyarrow = pytest.importorskip("pyarrow")
WORK, HOME = "work@example.com", "home@example.com"

# Each value says which column it is from.
COLUMNS = {
    "text": lambda place: pyarrow.array([f"c{place}@example.com", None] * 3),
    "bytes": lambda place: pyarrow.array([f"c{place}@example.com".encode(), None] * 3),
    "words": lambda place: pyarrow.array([f"c{place}@example.com", None] * 3).dictionary_encode(),
    "struct": lambda place: pyarrow.array([{"email": "s@example.com", "a": place}, None] * 3),
    "list": lambda place: pyarrow.array([["l@example.com"], None] * 3),
}


@pytest.fixture
def parquet(tmp_path):
    from pyarrow import parquet as module

    def write(arrays, names):
        path = tmp_path / "people.parquet"
        module.write_table(pyarrow.table(arrays, names=names), path, row_group_size=2)
        return path

    return write


@pytest.mark.parametrize("names", itertools.product(["email", "email.a", "email.email"], repeat=3))
@pytest.mark.parametrize("others", ["text", "struct", "list"])
def test_parquet_column_is_read_by_its_place(parquet, names, others):
    arrays = [COLUMNS[kind](place) for place, kind in enumerate(["text", others, "words"])]
    path = parquet(arrays, names)
    for place in (0, 2):
        read = read_addresses(path, file_format=None, column=place, encoding="utf-8-sig")
        assert list(read) == [f"c{place}@example.com", None] * 3


@pytest.mark.parametrize("place", [0, 2])
def test_parquet_column_by_number_is_enrolled(run_task, parquet, meisa_sandbox, place):
    path = parquet([COLUMNS["text"](0), COLUMNS["struct"](1), COLUMNS["bytes"](2)], ["email"] * 3)
    ran = run_task(
        FileToMeisaSequenceOperator, path=str(path), sequence_slug="onboarding", email_column=place
    )
    assert ran.state == "success"
    assert times_enrolled(meisa_sandbox) == {f"c{place}@example.com": 1}


def rows_of_sqlite():
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT ? AS email, 7 AS id, ? AS email", (WORK, HOME)).fetchall()


def rows_of_sqlalchemy():
    import sqlalchemy

    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        query = sqlalchemy.text("SELECT :work AS email, 7 AS id, :home AS email")
        return connection.execute(query, {"work": WORK, "home": HOME}).fetchall()


@pytest.mark.parametrize("rows", [rows_of_sqlite, rows_of_sqlalchemy])
def test_row_with_two_equal_names_is_read_by_place(rows):
    assert list(AddressReader(0).read(rows())) == [WORK]
    assert list(AddressReader(2).read(rows())) == [HOME]
    with pytest.raises(MeisaInputError, match="2 columns 'email' for email_column"):
        list(AddressReader().read(rows()))


def test_later_record_with_two_keys_alike_is_refused():
    records = [{"email": WORK}, {"Email": WORK, "EMAIL": HOME}]
    with pytest.raises(MeisaInputError, match="row 2 has 2 columns 'email' for email_column"):
        list(AddressReader().read(records))


@pytest.fixture(params=["psycopg2", "psycopg"])
def dictionaries(request, postgres, monkeypatch):
    monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", request.param == "psycopg")
    postgres.connect(cursor="dictcursor" if request.param == "psycopg" else "realdictcursor")


@pytest.mark.usefixtures("dictionaries")
def test_dictionaries_with_equal_names_are_refused(run_task, meisa_sandbox, everything_written):
    query = "SELECT 'work@example.com' AS email, 7 AS id, 'home@example.com' AS email"
    task = {"conn_id": "postgres", "sequence_slug": "onboarding", "email_column": 0}
    assert run_task(SqlToMeisaSequenceOperator, sql=query, **task).state == "failed"
    assert writes(meisa_sandbox) == []
    assert "rows as dictionaries, which keep one of them" in everything_written()


@pytest.mark.usefixtures("dictionaries")
def test_dictionaries_with_other_names_are_read_by_number(run_task, meisa_sandbox):
    query = "SELECT 'work@example.com' AS email, 7 AS id, 'home@example.com' AS other"
    task = {"conn_id": "postgres", "sequence_slug": "onboarding", "email_column": 2}
    assert run_task(SqlToMeisaSequenceOperator, sql=query, **task).state == "success"
    assert times_enrolled(meisa_sandbox) == {HOME: 1}
