"""A query's result, or one column of it, as a stream: at no time are all rows in memory."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.bulk.columns import address_column
from airflow_provider_meisa.bulk.input_shapes import text_of
from airflow_provider_meisa.bulk.rows import Rows
from airflow_provider_meisa.transfers.sources.sql_errors import error_in_short
from airflow_provider_meisa.transfers.sources.sql_refusals import has_bare_percent, is_refused

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_CHUNK = 2_000
# These drivers fetch the whole result at once unless they get another cursor class.
_NAMED_CURSOR = ("psycopg", "psycopg2")
_UNBUFFERED_CURSOR = ("MySQLdb", "pymysql")


def database_hook(conn_id: str) -> DbApiHook:
    """Return the hook of a database's Airflow Connection.

    :raises MeisaInputError: if it is not a database, or the extra ``sql`` is not installed.
    """
    from airflow.providers.common.compat.sdk import BaseHook

    with _extra():
        from airflow.providers.common.sql.hooks.sql import DbApiHook
    connection = BaseHook.get_connection(conn_id)
    hook = connection.get_hook()
    if not isinstance(hook, DbApiHook):
        raise MeisaInputError(
            f"The connection {conn_id} is of type {connection.conn_type}, which is not a database that takes SQL."
        )
    return hook


def one_statement(sql: object) -> str:
    """Return the only statement of a text, without its semicolon, which some databases refuse.

    :raises MeisaInputError: if it is not a text, or does not hold exactly one statement.
    """
    with _extra():
        import sqlparse  # its parser fails for long or deep queries, its splitter does not

    if not isinstance(sql, str):
        raise MeisaInputError(f"sql is of type {type(sql).__name__}; give one statement as a string.")
    statements = list(filter(None, map(_without_semicolons, sqlparse.split(sql))))
    if len(statements) != 1:
        raise MeisaInputError(f"sql holds {len(statements)} statements; give one that returns rows.")
    return statements[0]


def _without_semicolons(statement: str) -> str:
    """Cut a statement off at its first semicolon; the result is empty if it has only comments."""
    from sqlparse import lexer, tokens

    def is_distinctive(kind: Any, word: str) -> bool:
        return word != ";" and kind not in tokens.Comment and kind not in tokens.Whitespace

    words = list(lexer.tokenize(statement))  # type: ignore[no-untyped-call]  # sqlparse does not annotate it
    end = max((place for place, word in enumerate(words, 1) if is_distinctive(*word)), default=0)
    behind = [word for _, word in words[end:]]
    kept = behind.index(";") if ";" in behind else len(behind)
    return "".join(word for _, word in words[: end + kept]) if end else ""


def read_column(
    hook: DbApiHook, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None, column: str | int | None
) -> Iterator[str | None]:
    """Run a query and return the values of one column, in the order of the database.

    The connection is closed without a commit, so the statement cannot change anything.

    :param hook: the database.
    :param sql: one statement that returns rows.
    :param parameters: values for its placeholders, in the driver's style.
    :param column: a name, or a number from 0; ``None`` for the only column, else the one named ``email``.
    :raises MeisaInputError: if the column does not exist or does not hold text, or the statement does not return
        rows, or the database refuses it.
    :raises MeisaUnreachableError: if the query fails otherwise; the message has no content of a row.
    """
    with _failures("The database cannot be reached"):
        connection = hook.get_conn()
    with closing(connection):
        cursor = _opened(connection, sql, parameters)
        rows = _fetch(cursor)
        index, key = _key(cursor.description, rows, column)
        name, count = str(cursor.description[index][0]), 0
        while rows:
            yield from _texts([row[key] for row in rows], name, count)
            count += len(rows)
            rows = _fetch(cursor)


def read_rows(
    hook: DbApiHook, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None
) -> Iterator[Rows]:
    """Run a query and return its rows, in the order the database gives them; at least once, for the columns.

    Nothing that the statement changes is kept: the connection is closed without a commit.

    :param hook: the database.
    :param sql: one statement that returns rows.
    :param parameters: values for its placeholders, in the driver's own style.
    :raises MeisaInputError: if the statement returns no rows, two of its columns have one name, or the database
        refuses it.
    :raises MeisaUnreachableError: if the query fails otherwise; the message has no content of a row.
    """
    with _failures("The database cannot be reached"):
        connection = hook.get_conn()
    with closing(connection):
        cursor = _opened(connection, sql, parameters)
        rows = _fetch(cursor)
        names = _names(cursor.description)
        are_mappings = bool(rows) and isinstance(rows[0], Mapping)
        if are_mappings and len(set(names)) < len(names):
            raise MeisaInputError(
                "The query's result has columns of the same name, and the connection's cursor gives rows as "
                "dictionaries, which keep one of them. Give the columns different names with AS."
            )
        while True:
            yield Rows(names, [[row[name] for name in names] for row in rows] if are_mappings else rows)
            rows = _fetch(cursor)
            if not rows:
                return


def _opened(connection: Any, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None) -> Any:
    with _failures("The query failed", sql), _refusals(sql, has_parameters=bool(parameters)):
        cursor = _streaming_cursor(connection)
        with suppress(Exception):  # a wish: some cursors lack it, or do not let it be set
            cursor.arraysize = _CHUNK
        cursor.execute(sql, parameters) if parameters else cursor.execute(sql)
    return cursor


def _names(description: Sequence[Sequence[Any]] | None) -> tuple[str, ...]:
    """Return the names of a result's columns; psycopg2 knows them only after the first rows."""
    if not description:
        raise MeisaInputError("The statement returns no rows; sql must be a query.")
    return tuple(str(entry[0]) for entry in description)


def _streaming_cursor(connection: Any) -> Any:
    drivers = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    if drivers.intersection(_NAMED_CURSOR):
        return connection.cursor(name=f"meisa_{uuid.uuid4().hex}")
    for driver in drivers.intersection(_UNBUFFERED_CURSOR):
        return connection.cursor(importlib.import_module(f"{driver}.cursors").SSCursor)
    return connection.cursor()


def _fetch(cursor: Any) -> Sequence[Any]:
    with _failures("The query failed while its rows were read", about_rows=True):
        rows: Sequence[Any] = cursor.fetchmany(_CHUNK)
        return rows


def _texts(values: list[object], name: str, before: int) -> Iterator[str | None]:
    """Read one column of some rows.

    :param before: how many rows came before them.
    """
    for number, value in enumerate(values, start=before + 1):
        yield text_of(value, partial(_place, name, number))


def _place(name: str, number: int) -> str:
    return f"The query's column {shown_name(name)}, row {number:,}"


def _key(
    description: Sequence[Sequence[Any]] | None, rows: Sequence[Any], column: str | int | None
) -> tuple[int, Any]:
    """Find the column of the address, and by what to take it out of a row."""
    names = _names(description)
    index = address_column(names, column, source="The query's result")
    if not (rows and isinstance(rows[0], Mapping)):
        return index, index
    # With the extra "cursor" of its connection, PostgreSQL returns dictionaries, with each name once.
    if (columns := names.count(names[index])) > 1:
        raise MeisaInputError(
            f"The query's result has {columns} columns of the name of column {index}, and the connection's cursor "
            "gives rows as dictionaries, which keep one of them. Give the columns different names with AS."
        )
    return index, names[index]


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MeisaInputError(
            "To read databases, install airflow-provider-meisa[sql] and the provider of yours."
        ) from error


@contextmanager
def _failures(what: str, sql: str = "", *, about_rows: bool = False) -> Iterator[None]:
    try:
        yield
    except MeisaInputError:
        raise
    except Exception as error:  # noqa: BLE001 (each driver has its own errors)
        # Not "from error": the driver's text may hold content of a row, and the log would print it.
        raise MeisaUnreachableError(f"{what}: {error_in_short(error, sql, about_rows=about_rows)}") from None


@contextmanager
def _refusals(sql: str, *, has_parameters: bool) -> Iterator[None]:
    """Raise an error that is not retried for a statement that cannot succeed."""
    try:
        yield
    except Exception as error:
        if has_parameters and has_bare_percent(error, sql):
            raise MeisaInputError(
                f"A percent sign in sql was read as a placeholder ({type(error).__name__}), because parameters are "
                "given. Nothing was sent. Write %% for each percent sign, such as LIKE 'a%%'; a retry cannot help."
            ) from None
        if is_refused(error):
            found = error_in_short(error, sql).rstrip(".")
            raise MeisaInputError(
                f"The database refuses the query: {found}. Nothing was sent. Correct sql, or what the query needs in "
                "the database, and clear the task: a retry cannot help."
            ) from None
        raise
