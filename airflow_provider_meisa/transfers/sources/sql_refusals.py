"""Which errors of a database driver a retry cannot fix, without importing a driver."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_STATE = re.compile(r"[0-9A-Z]{5}")
# Of SQL's standard: a syntax error, an unknown table, column or function, or a missing privilege.
_CLASS_OF_SYNTAX = "42"
# MySQL gives these numbers of limits of a user the same class.
_MYSQL_LIMITS = {1203, 1226}
# Errors of these drivers have numbers. Snowflake also raises `ProgrammingError` for a timeout.
_NUMBERS = {
    "MySQLdb": {1054, 1064, 1109, 1142, 1143, 1146, 1305},
    "pymysql": {1054, 1064, 1109, 1142, 1143, 1146, 1305},
    "mysql": {1054, 1064, 1109, 1142, 1143, 1146, 1305},
    "snowflake": {904, 1003, 2003},
}
# SQLite's code of a wrong statement; busy, locked and unreadable files have others. A wrong statement may also have
# that of a changed schema (17), if the connection is new.
_SQLITE_ERROR = 1
_SQLITE_TEXT = re.compile(r"no such (?:table|column|function)|syntax error")
_GOOGLE = ("BadRequest", "NotFound")
_DUCKDB = ("BinderException", "CatalogException", "ParserException", "SyntaxException")
_FORMATTING = (IndexError, KeyError, TypeError, ValueError)
_ABOUT_PLACEHOLDERS = re.compile(r"placeholder|format string|format character", re.IGNORECASE)
_LITERAL = re.compile(r"'(?:[^']|'')*'?")
_PERCENT_IN_LITERAL = re.compile(r"(?<!%)(?:%%)*%(?!%)")
_PERCENT_OUTSIDE = re.compile(r"(?<!%)(?:%%)*%(?![%sbt(])")


def is_refused(error: BaseException) -> bool:
    """Return whether the database has refused a statement, so that a retry cannot succeed."""
    return any(map(_refuses, _with_causes(error)))


def has_bare_percent(error: Exception, sql: str) -> bool:
    """Return whether a driver has taken a percent sign of the query for a placeholder, as far as one can see.

    :param error: the error of a query with parameters.
    """
    is_about_format = isinstance(error, _FORMATTING) or _ABOUT_PLACEHOLDERS.search(str(error))
    in_literals = map(_PERCENT_IN_LITERAL.search, _LITERAL.findall(sql))
    return bool(is_about_format and (any(in_literals) or _PERCENT_OUTSIDE.search(_LITERAL.sub("''", sql))))


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it wraps, as SQLAlchemy (`orig`) and BigQuery (`args`) do."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [getattr(found, "orig", None), found.__cause__, *found.args]


def _refuses(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    driver = type(error).__module__.partition(".")[0]
    number, state = _number(error), _state(error)
    if driver == "sqlite3":
        is_statement = getattr(error, "sqlite_errorcode", None) == _SQLITE_ERROR
        return is_statement or "ProgrammingError" in names or _SQLITE_TEXT.search(str(error)) is not None
    if driver == "google":
        return bool(names.intersection(_GOOGLE))
    if driver in _NUMBERS and number is not None:
        return number in _NUMBERS[driver]
    if state:
        return state.startswith(_CLASS_OF_SYNTAX) and number not in _MYSQL_LIMITS
    return driver in ("duckdb", "_duckdb") and bool(names.intersection(_DUCKDB))


def _number(error: BaseException) -> int | None:
    first = error.args[0] if error.args else None
    found = getattr(error, "errno", None)
    return next((one for one in (found, first) if isinstance(one, int)), None)


def _state(error: Any) -> str:
    """Return the SQLSTATE, which some drivers give as an attribute, others as the first argument or within it."""
    first = error.args[0] if error.args else None
    within = first.get("C") if isinstance(first, dict) else first if error.args[1:] else None
    states = (getattr(error, "sqlstate", None), getattr(error, "pgcode", None), within)
    return next((state for state in states if isinstance(state, str) and _STATE.fullmatch(state)), "")
