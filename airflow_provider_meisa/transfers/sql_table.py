"""Write rows to a table of any database: all of them in one transaction, or none.

No method of `DbApiHook` runs the statements: these log parameters, and commit after every 1,000 rows.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.transfers.sources.sql_errors import error_in_short
from airflow_provider_meisa.transfers.sources.sql_refusals import is_refused

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

log = logging.getLogger("airflow.task.meisa")

_CHUNK = 1_000
_NAME = re.compile(r"\w[\w $.-]*")
_BACKTICKS = ("mysql", "mariadb")
_WITHOUT_TRANSACTIONS = ("gcpbigquery",)  # the commit of its DB-API does nothing


class SqlTable:
    """A table within one transaction.

    :param hook: the database.
    :param cursor: the cursor of the transaction.
    :param name: the name of the table, as the DAG spells it.
    :param columns: the names of its columns, as the database spells them.
    """

    def __init__(self, hook: DbApiHook, cursor: Any, name: str, columns: Sequence[str]) -> None:
        self._hook = hook
        self._cursor = cursor
        self.name = name
        self._columns = {column.lower(): column for column in columns}

    def require(self, *columns: str) -> None:
        """Check that the table has some columns.

        :raises MeisaInputError: if it lacks one.
        """
        if missing := self.lacking(columns):
            raise MeisaInputError(
                f"The table {self.name} has no column {_listed(missing)}. Nothing was changed. Add it, or give a table "
                "that does not exist yet and create_table=True."
            )

    def lacking(self, columns: Iterable[str]) -> list[str]:
        """Return those of some columns that the table does not have."""
        return [column for column in columns if column.lower() not in self._columns]

    def is_empty(self) -> bool:
        """Return whether the table has no rows."""
        with _failures(f"The table {self.name} cannot be read"):
            self._cursor.execute(f"SELECT COUNT(*) AS n FROM {self.name}")  # noqa: S608 (its form is checked)
            (count,) = _values(self._cursor.fetchone())
            return not count

    def texts(self, column: str) -> Iterator[str]:
        """Yield the values of a column that are texts."""
        sql = f"SELECT {self._quoted(column)} FROM {self.name}"  # noqa: S608 (its form is checked)
        with _failures(f"The table {self.name} cannot be read", sql):
            self._cursor.execute(sql)
        while rows := self._fetch():
            for row in rows:
                (value,) = _values(row)
                if isinstance(value, str):
                    yield value

    def delete(self, column: str | None = None, value: object = None) -> int | None:
        """Delete the rows with a value in a column, or all rows.

        :return: their number; ``None`` if the database does not count them.
        """
        where = "" if column is None else f" WHERE {self._quoted(column)} = {self._hook.placeholder}"
        sql = f"DELETE FROM {self.name}{where}"  # noqa: S608 (its form is checked)
        with _failures(f"Rows of the table {self.name} cannot be deleted", sql):
            self._cursor.execute(sql, (value,)) if column else self._cursor.execute(sql)
        return self._cursor.rowcount if self._cursor.rowcount >= 0 else None

    def insert(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
        """Insert rows, some at a time; a column that the table lacks is left out.

        :param columns: the names of the columns.
        :param rows: a value for each of them.
        :return: the number of rows.
        """
        places = [place for place, column in enumerate(columns) if column.lower() in self._columns]
        names = ", ".join(self._quoted(columns[place]) for place in places)
        marks = ", ".join([self._hook.placeholder] * len(places))
        sql = f"INSERT INTO {self.name} ({names}) VALUES ({marks})"  # noqa: S608 (its form is checked)
        count, waiting = 0, iter(rows)
        while chunk := [tuple(storable(row[place]) for place in places) for row in islice(waiting, _CHUNK)]:
            with _failures(f"Rows cannot be inserted into the table {self.name}", about_rows=True):
                _insert_many(self._cursor, sql, chunk)
            count += len(chunk)
        return count

    def _fetch(self) -> Sequence[Any]:
        with _failures(f"The table {self.name} cannot be read", about_rows=True):
            rows: Sequence[Any] = self._cursor.fetchmany(_CHUNK)
            return rows

    def _quoted(self, column: str) -> str:
        return _quoted(self._hook, self._columns[column.lower()])


@contextmanager
def open_table(
    hook: DbApiHook, name: str, columns: Mapping[str, str], *, key: Sequence[str], create: bool
) -> Iterator[SqlTable]:
    """Open a table in a transaction: commit it at the end, and change nothing if there was an error.

    :param hook: the database.
    :param name: the name of the table.
    :param columns: for `create`: the columns and their types.
    :param key: for `create`: the columns of the primary key.
    :param create: whether to create the table if it does not exist.
    :raises MeisaInputError: if the database cannot change several rows in one transaction or refuses a statement, or a
        name cannot be used.
    :raises MeisaUnreachableError: if the database cannot be reached, or a row does not fit.
    """
    if _kind(hook) in _WITHOUT_TRANSACTIONS:
        _refuse_autocommit(hook)
    with _failures("The database cannot be reached"):
        connection = hook.get_conn()
    with closing(connection):
        if hook.supports_autocommit:
            hook.set_autocommit(connection, autocommit=False)
        if _commits_alone(hook, connection):
            _refuse_autocommit(hook)
        cursor = connection.cursor()
        # A cursor of DuckDB is a connection of its own, which commits each statement until it begins a transaction.
        owner = cursor if _is_connection(cursor) else connection
        try:
            _begin(owner)
            definition = _definition(hook, name, columns, key) if create else None
            found = _columns_of(owner, cursor, name, definition)
            _lock(hook, cursor, name)
            yield SqlTable(hook, cursor, name, found)
            _commit(owner, name)
        except BaseException:
            with suppress(Exception):  # the connection may be lost: then nothing was committed either
                owner.rollback()
            raise
        finally:
            with suppress(Exception):  # as of a connection that is lost
                cursor.close()


def warn_of_left_out(table: SqlTable, columns: Iterable[str]) -> list[str]:
    """Log which columns the table lacks, so that their values are not in it.

    :return: their names.
    """
    if lacking := table.lacking(columns):
        log.warning(
            "The table %s lacks columns, and their values are left out: %s. Add them with ALTER TABLE.",
            table.name,
            _listed(lacking),
        )
    return lacking


def storable(value: object) -> object:
    """Return a value as every database takes it: objects as JSON, no NUL and no lone surrogate in a text."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    if "\x00" in value:
        value = value.replace("\x00", "\\x00")
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _values(row: Any) -> Iterable[object]:
    """Return the values of a row, which some cursors give as a dictionary."""
    return row.values() if isinstance(row, Mapping) else row


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(shown_name(column) for column in columns)


def _refuse_autocommit(hook: DbApiHook) -> None:
    raise MeisaInputError(
        f"The connection {hook.get_conn_id()} commits each statement at once, so that others would see a half-filled "
        "table. Nothing was changed. Give a connection to a database with transactions."
    )


def _commits_alone(hook: DbApiHook, connection: Any) -> bool:
    # The level 0 is that of psycopg2 and of Trino for it. The `autocommit` of sqlite3 is -1 where it does not.
    level = getattr(connection, "isolation_level", None)
    return hook.get_autocommit(connection) is True or (isinstance(level, int) and level == 0)


def _definition(hook: DbApiHook, name: str, columns: Mapping[str, str], key: Sequence[str]) -> str:
    """Return the statement that creates the table."""
    if unusable := [column for column in columns if not _NAME.fullmatch(column)]:
        raise MeisaInputError(
            f"{len(unusable)} columns have names that a new table cannot have: {_listed(unusable)}. Nothing was "
            "changed. Create the table, or give the columns other names."
        )
    lines = [
        f"{_quoted(hook, column)} {kind}{' NOT NULL' if column in key else ''}"
        for column, kind in columns.items()
    ]
    keys = ", ".join(_quoted(hook, column) for column in key)
    return f"CREATE TABLE {name} ({', '.join(lines)}, PRIMARY KEY ({keys}))"


def _kind(hook: DbApiHook) -> str:
    return getattr(hook, "conn_type", "")  # not all hooks have it


def _begin(owner: Any) -> None:
    if _is_connection(owner):
        owner.begin()


def _is_connection(cursor: Any) -> bool:
    return hasattr(cursor, "execute") and hasattr(cursor, "begin")


def _columns_of(owner: Any, cursor: Any, name: str, definition: str | None) -> list[str]:
    """Return the columns of the table; create it if it does not exist and there is a definition."""
    sql = f"SELECT * FROM {name} WHERE 1 = 0"  # noqa: S608 (its form is checked)
    try:
        cursor.execute(sql)
    except Exception as error:
        what = f"The table {name} cannot be read"
        with _failures(what, sql):
            if definition is None:
                raise
            owner.rollback()
            _begin(owner)
        with _failures(
            f"The table {name} can be neither read ({error_in_short(error, sql)}) nor created", definition
        ):
            cursor.execute(definition)
        log.info("The table %s is created", name)
        with _failures(what, sql):
            cursor.execute(sql)
    return [str(column[0]) for column in cursor.description]


def _lock(hook: DbApiHook, cursor: Any, name: str) -> None:
    """Let a second task that writes the table wait, where a lock does not stop readers; else its key refuses rows."""
    if _kind(hook) != "postgres":
        return
    try:
        cursor.execute("SAVEPOINT meisa_lock")
        cursor.execute(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")
    except Exception:  # noqa: BLE001 (a user who may only insert, or a database that only speaks PostgreSQL's protocol)
        with _failures("The database cannot be reached"):
            cursor.execute("ROLLBACK TO SAVEPOINT meisa_lock")


def _quoted(hook: DbApiHook, name: str) -> str:
    """Quote a column's name if it needs that; the database folds the case of others, in its own way."""
    word: str = hook.dialect.escape_word(name)
    if word == name and name in (name.lower(), name.upper()):
        return name
    return ("`{}`" if hook.dialect_name in _BACKTICKS else hook.escape_word_format).format(name)


def _insert_many(cursor: Any, sql: str, rows: Sequence[Sequence[object]]) -> None:
    if any(kind.__module__.partition(".")[0] == "psycopg2" for kind in type(cursor).__mro__):
        # Its own executemany takes a round trip for each row.
        importlib.import_module("psycopg2.extras").execute_batch(cursor, sql, rows, page_size=len(rows))
    else:
        cursor.executemany(sql, rows)


def _commit(connection: Any, name: str) -> None:
    try:
        connection.commit()
    except Exception as error:  # noqa: BLE001 (each driver has its own errors)
        raise MeisaUnreachableError(
            f"The changes to the table {name} are all made or none of them, because their commit failed: "
            f"{error_in_short(error, about_rows=True)}. To run the task again is harmless."
        ) from None


@contextmanager
def _failures(what: str, sql: str = "", *, about_rows: bool = False) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 (each driver has its own errors)
        # Not "from error": the driver's text may hold content of a row, and the log would print it.
        shown = error_in_short(error, sql, about_rows=about_rows)
        if is_refused(error):
            raise MeisaInputError(
                f"{what}: {shown}. Nothing was changed. Correct the table or the rights of the user, and clear the "
                "task: a retry cannot help."
            ) from None
        raise MeisaUnreachableError(f"{what}: {shown}. Nothing was changed.") from None
