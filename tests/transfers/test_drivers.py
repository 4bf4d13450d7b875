"""Drivers that lack what others have, and what their errors may say."""

from __future__ import annotations

import sqlite3
from functools import partial
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_meisa.api.errors import MeisaUnreachableError
from airflow_provider_meisa.transfers.sources.sql import read_column
from airflow_provider_meisa.transfers.sources.sql_errors import error_in_short
from tests.support.people import people
from tests.support.requests_sent import addresses_sent, writes

duckdb = pytest.importorskip("duckdb")
PEOPLE = people(5_000)


class DuckDbHook(DbApiHook):
    """A hook as `airflow-provider-duckdb` has it: the connection is its own cursor."""

    conn_name_attr = "duckdb_conn_id"
    path = ":memory:"

    def get_conn(self):
        return duckdb.connect(self.path, read_only=True)


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """A DuckDB that the connection `lake` leads to; called, it runs a statement."""
    path = str(tmp_path / "lake.duckdb")
    monkeypatch.setattr(DuckDbHook, "path", path)
    others = BaseHook.get_connection
    connection = SimpleNamespace(conn_type="duckdb", get_hook=DuckDbHook)

    def get_connection(name):
        return connection if name == "lake" else others(name)

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(get_connection))

    def run(sql, rows=None):
        with duckdb.connect(path) as database:
            database.executemany(sql, rows) if rows else database.execute(sql)

    run("CREATE TABLE contacts (id INTEGER, email TEXT)")
    return run


@pytest.fixture
def enroll(enroll_query):
    return partial(enroll_query, conn_id="lake")


def test_duckdb_is_enrolled_in_its_order(enroll, lake, meisa_sandbox):
    lake("INSERT INTO contacts SELECT n, 'person' || n || '@example.com' FROM range(5000) AS r(n)")
    ran = enroll("SELECT id, email FROM contacts WHERE id >= ? ORDER BY id;", parameters=[0])
    assert ran.state == "success"
    assert addresses_sent(meisa_sandbox) == [f"person{n}@example.com" for n in range(5_000)]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT emial FROM contacts", 'Referenced column "emial" not found in FROM clause'),
        ("SELECT email FROM contcts", "Table with name contcts does not exist"),
        ("SELECT email FRM contacts;", "syntax error at or near"),
        ("SELECT email::INTEGER AS email FROM contacts", "ConversionException. The database's message"),
        ("SELECT strptime(email, '%Y')::TEXT AS email FROM contacts", "The query failed"),
        ("SELECT error('of ' || email) AS email FROM contacts", "The query failed"),
        ("SELECT id AS email FROM contacts", "a value of type int, not text"),
        ("SELECT [email] AS email FROM contacts", "a value of type list, not text"),
    ],
)
def test_query_that_duckdb_refuses_is_explained(
    enroll, lake, meisa_sandbox, everything_written, sql, message
):
    lake("INSERT INTO contacts VALUES (7, 'lovelace@private.example')")
    assert enroll(sql).state == "failed"
    assert writes(meisa_sandbox) == []
    written = everything_written()
    assert message in written
    assert "lovelace" not in written
    assert "private.example" not in written


class NoHint:
    """A cursor of SQLite that does not let its `arraysize` be set."""

    def __init__(self, cursor, error):
        self._cursor, self._error = cursor, error

    def __getattr__(self, name):
        return getattr(self._cursor, name)

    @property
    def arraysize(self):
        return 1

    @arraysize.setter
    def arraysize(self, size):
        raise self._error


@pytest.mark.parametrize(
    "error", [AttributeError("x"), NotImplementedError(), sqlite3.NotSupportedError("x")]
)
def test_arraysize_is_only_a_wish(error):
    connection = sqlite3.connect(":memory:")
    hook = SimpleNamespace(
        get_conn=lambda: SimpleNamespace(
            cursor=lambda: NoHint(connection.cursor(), error), close=connection.close
        )
    )
    assert list(read_column(hook, "SELECT 'ada@example.com' AS email", None, None)) == ["ada@example.com"]


def test_name_that_a_driver_lacks_is_in_the_message():
    hook = SimpleNamespace(get_conn=lambda: SimpleNamespace(close=lambda: None))
    with pytest.raises(
        MeisaUnreachableError,
        match=r"AttributeError: 'types\.SimpleNamespace' object has no attribute 'cursor'",
    ):
        list(read_column(hook, "SELECT 1", None, None))


class ProgrammingError(Exception):
    """As drivers have it."""


SQL = "SELECT c.emial, name FROM crm.contacts c WHERE name <> 'Ada Lovelace' AND plan = %s"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ProgrammingError(1054, "Unknown column 'c.emial' in 'field list'"),
            "(1054): Unknown column 'c.emial' in …",
        ),
        (
            ProgrammingError(1146, "Table 'crm.contacts' doesn't exist"),
            "(1146): Table 'crm.contacts' doesn't exist",
        ),
        (ProgrammingError('column "emial" does not exist'), ': column "emial" does not exist'),
        (ProgrammingError("Unrecognized name: `emial` at [1:8]"), ": Unrecognized name: `emial` at [1:8]"),
        (ProgrammingError("invalid input: 'Ada Lovelace'"), ": invalid input: …"),
        (ProgrammingError('invalid input: "Ada Lovelace"'), ": invalid input: …"),
        (
            ProgrammingError("Numeric value 'O'Brien' is not recognized"),
            ": Numeric value … is not recognized",
        ),
        (ProgrammingError("bad value 'cut off"), ": bad value …"),
        (ProgrammingError("near 'emia'"), ": near …"),
        (ProgrammingError("can't read 'Ada', isn't 'Bob'"), ": can't read …, isn't …"),
        (ProgrammingError("of ada@example.com\nand more"), ": of <address>"),
        (
            TypeError("got an unexpected keyword argument 'size'"),
            ": got an unexpected keyword argument 'size'",
        ),
        (ValueError("invalid literal for int(): 'Ada'"), ": invalid literal for int(): …"),
    ],
)
def test_message_shows_names_of_the_query_and_no_values(error, message):
    assert error_in_short(error, SQL) == type(error).__name__ + (
        message if message[0] == ":" else f" {message}"
    )
