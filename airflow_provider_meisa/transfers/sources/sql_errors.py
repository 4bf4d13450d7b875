"""Shorten the error of a database driver, without content of rows or parameters."""

from __future__ import annotations

import re

from airflow_provider_meisa.api.redaction import redact

_ABOUT_ROWS = ("DataError", "IntegrityError")
# Errors in the code of the driver: they quote names of that code.
_ABOUT_CODE = (AttributeError, ImportError, NameError, NotImplementedError, TypeError)
# An apostrophe within a word is not a quote.
_QUOTED = re.compile(r"(?<!\w)(['\"`])(.*?)(?:\1(?!\w)|\Z)", re.DOTALL)
_LITERAL = re.compile(r"'(?:[^']|'')*'?")
_NAME = re.compile(r"[^\W\d][\w$]*(?:\.[^\W\d][\w$]*)*(?:\(\))?")


def error_in_short(error: Exception, sql: str = "", *, about_rows: bool = False) -> str:
    """Return the text of a driver's error; of quoted words it keeps names that are in the query as well.

    :param sql: the query; empty before it is sent, when the text cannot hold content of a row.
    :param about_rows: whether rows were being read; then only the class of the error and its code are shown.
    """
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    text = str(error)
    if code is None and error.args and isinstance(error.args[0], int):
        code, *others = error.args
        text = str(others[0]) if others else ""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    kind = kinds[0] if code is None else f"{kinds[0]} ({code})"
    if about_rows or any(name in kinds for name in _ABOUT_ROWS):
        return f"{kind}. The database's message is not shown, because it may hold a row's content."
    return f"{kind}: {redact(_without_values(_first_line(text), sql, is_about_code=isinstance(error, _ABOUT_CODE)))}"


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")


def _without_values(text: str, sql: str, *, is_about_code: bool) -> str:
    names = _LITERAL.sub("''", sql)

    def may_be_shown(mark: str, word: str) -> bool:
        if is_about_code:
            return _NAME.fullmatch(word) is not None
        if not sql:
            return mark != "'"
        last = word.rpartition(".")[2] if _NAME.fullmatch(word) else word
        return re.search(rf"(?<!\w){re.escape(last)}(?!\w)", names) is not None

    return _QUOTED.sub(lambda found: found[0] if may_be_shown(*found.groups()) else "…", text)
