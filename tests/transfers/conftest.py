"""Databases and stores to read from."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing

import pytest

from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.support.postgres import postgres_on_loopback

QUERY = "SELECT email FROM contacts ORDER BY id"


class Sqlite:
    """A SQLite database with a table of contacts."""

    def __init__(self, path):
        self.path = path

    def run(self, sql, rows=None):
        with closing(sqlite3.connect(self.path)) as connection, connection:
            if rows is not None:
                connection.executemany(sql, rows)
            else:
                connection.execute(sql)

    def fill(self, emails):
        self.run("CREATE TABLE IF NOT EXISTS contacts (id INTEGER PRIMARY KEY, name TEXT, email TEXT)")
        self.run("DELETE FROM contacts")
        self.run(
            "INSERT INTO contacts (name, email) VALUES ('Secret Name', ?)", [(email,) for email in emails]
        )


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    """A database that the connection `warehouse` leads to."""
    database = Sqlite(tmp_path / "warehouse.db")
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(database.path)})
    )
    return database


@pytest.fixture
def enroll_file(run_task):
    """Enroll the contacts of a file."""

    def run(path, **arguments):
        return run_task(FileToMeisaSequenceOperator, path=str(path), sequence_slug="onboarding", **arguments)

    return run


@pytest.fixture
def enroll_query(run_task):
    """Enroll the contacts that a query finds."""

    def run(sql=QUERY, conn_id="warehouse", **arguments):
        return run_task(
            SqlToMeisaSequenceOperator, sql=sql, conn_id=conn_id, sequence_slug="onboarding", **arguments
        )

    return run


@pytest.fixture(autouse=True)
def staging(tmp_path, monkeypatch):
    """The default folder for staged copies, of this test alone; no other user may read it at any time."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield lambda: [
        (file, stat.S_IMODE(file.stat().st_mode))
        for file in sorted(tmp_path.glob("airflow-provider-meisa-staged-*/*"))
    ]
    for folder in tmp_path.glob("airflow-provider-meisa-staged-*"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.fixture
def memory_store():
    """An object store in memory that `memory://` leads to."""
    from fsspec.implementations.memory import MemoryFileSystem

    try:
        from airflow.sdk.io import attach
    except ImportError:
        from airflow.io.store import attach

    attach("memory", fs=MemoryFileSystem())
    yield MemoryFileSystem()
    MemoryFileSystem.store.clear()


@pytest.fixture(scope="session")
def postgres_port():
    with postgres_on_loopback() as port:
        yield port


@pytest.fixture
def postgres(postgres_port, monkeypatch):
    """A PostgreSQL that the connection `postgres` leads to; called, it runs a statement."""
    psycopg2 = pytest.importorskip("psycopg2")

    def connect(**extra):
        fields = {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": postgres_port,
            "login": "meisa",
            "schema": "postgres",
            "extra": extra,
        }
        monkeypatch.setenv("AIRFLOW_CONN_POSTGRES", json.dumps(fields))

    def run(sql, parameters=None):
        with closing(
            psycopg2.connect(host="127.0.0.1", port=postgres_port, user="meisa", dbname="postgres")
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else None

    connect()
    run("DROP TABLE IF EXISTS contacts")
    run.connect = connect
    return run
