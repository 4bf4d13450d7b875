"""The SQLite file that holds all data."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.sandbox.extra import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE keys (
    key TEXT PRIMARY KEY, scopes TEXT NOT NULL, environment TEXT NOT NULL
);
CREATE TABLE sequences (
    slug TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL
);
CREATE TABLE contacts (
    environment TEXT NOT NULL, email TEXT NOT NULL, status TEXT NOT NULL,
    PRIMARY KEY (environment, email)
) WITHOUT ROWID;
CREATE TABLE enrollments (
    id INTEGER PRIMARY KEY, environment TEXT NOT NULL, sequence_slug TEXT NOT NULL, email TEXT NOT NULL,
    status TEXT NOT NULL, trigger_source TEXT NOT NULL, metadata TEXT NOT NULL, enrolled_at REAL NOT NULL
);
CREATE INDEX enrollments_of_contact ON enrollments (environment, email, sequence_slug);
CREATE INDEX enrollments_of_sequence ON enrollments (environment, sequence_slug, status);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, status INTEGER,
    key TEXT NOT NULL, environment TEXT NOT NULL, sequence_slug TEXT NOT NULL, addresses TEXT NOT NULL,
    answered INTEGER NOT NULL
);
CREATE INDEX requests_by_status ON requests (status);
"""
# Also of version 1: a file created before these tables existed gets them when opened.
PROFILES = """
CREATE TABLE IF NOT EXISTS profiles (
    environment TEXT NOT NULL, email TEXT NOT NULL, id TEXT NOT NULL, external_id TEXT,
    first_name TEXT NOT NULL, last_name TEXT NOT NULL, display_name TEXT NOT NULL, source TEXT NOT NULL,
    custom_fields TEXT NOT NULL, tags TEXT NOT NULL, created_at REAL NOT NULL, updated_at REAL NOT NULL,
    PRIMARY KEY (environment, email), UNIQUE (environment, external_id)
)
"""

AUTOMATION_EVENTS = """
CREATE TABLE IF NOT EXISTS automation_events (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, environment TEXT NOT NULL, contact_id TEXT NOT NULL,
    email TEXT NOT NULL, name TEXT NOT NULL, about TEXT NOT NULL
)
"""

Values = Sequence[Any] | Mapping[str, Any]


class Database:
    """One connection to the file, with a lock, because the server and the `Sandbox` object use it from two threads.

    :param path: the file; created if absent.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self.is_new = self._prepare()
        except sqlite3.Error as error:
            raise SandboxError(
                f"The sandbox cannot use {path} as its database ({error}): choose another file."
            ) from error

    def _prepare(self) -> bool:
        """Create the tables in a new file, and return whether it is new."""
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in {0, SCHEMA_VERSION}:
            raise sqlite3.DatabaseError("it was created by another version of the sandbox")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if found == 0:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
            )
        self._connection.execute(PROFILES)
        self._connection.execute(AUTOMATION_EVENTS)
        # Created by 0.1.0. A server that first looks up and then inserts can enroll twice (the fault `late`).
        self._connection.execute("DROP INDEX IF EXISTS one_running_enrollment")
        return bool(found == 0)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection within one transaction."""
        with self._lock, self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def rows(self, query: str, values: Values = ()) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self._lock:
            return [dict(row) for row in self._connection.execute(query, values)]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
