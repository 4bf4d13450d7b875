"""Which of several columns holds the addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.privacy import scrub

_MOST_NAMED = 20
_USUAL = "email"
# A name of a column, or its number. Anything else may be the content of a row.
_NAME = re.compile(r"[^\W\d]\w{0,62}(?:[ .-]\w{1,30}){0,3}|\d{1,3}")


def address_column(names: Sequence[str], wanted: str | int | None, *, source: str) -> int:
    """Find the column of the addresses: the one asked for, else the only one, else the one named ``email``.

    :param names: of all columns, in their order.
    :param wanted: a name, in any case, or a number from 0; ``None`` to find it by the rule.
    :param source: what has the columns, for the message.
    :return: its number, from 0.
    :raises MeisaInputError: if there is no such column, or more than one; names those that exist.
    """
    if wanted is not None:
        return column_index(names, wanted, source=source)
    if len(names) == 1:
        return 0
    usual = [index for index, name in enumerate(names) if name.strip().lower() == _USUAL]
    if len(usual) == 1:
        return usual[0]
    fault = f"{len(usual)} columns" if usual else "no column"
    raise MeisaInputError(
        f"{source} has {len(names)} columns and {fault} named {_USUAL}: set email_column; {_in_words(names)}."
    )


def check_email_column(wanted: object) -> None:
    """See that ``email_column`` can name a column.

    :raises MeisaInputError: if it is neither a name, nor a number, nor ``None``.
    """
    is_name = isinstance(wanted, str) and bool(wanted.strip())
    is_number = isinstance(wanted, int) and not isinstance(wanted, bool)
    if wanted is not None and not is_name and not is_number:
        raise MeisaInputError("email_column must be a column's name, its number from 0, or None.")


def column_index(names: Sequence[str], wanted: str | int, *, source: str) -> int:
    """Find a column by its name, in another case if need be, or by its number from 0.

    :param source: what has the columns, for the message.
    :raises MeisaInputError: if there is no such column, or more than one; names those that exist.
    """
    if isinstance(wanted, int):
        found = [wanted] if 0 <= wanted < len(names) else []
    else:
        found = [index for index, name in enumerate(names) if name == wanted] or [
            index for index, name in enumerate(names) if name.strip().lower() == wanted.strip().lower()
        ]
    if len(found) == 1:
        return found[0]
    if isinstance(wanted, int):
        # Not the names: where columns have numbers, the first line may be a record.
        raise MeisaInputError(
            f"{source} has no column {wanted} for email_column; it has {len(names)}, from 0."
        )
    fault = f"{len(found)} columns" if found else "no column"
    raise MeisaInputError(f"{source} has {fault} {wanted!r} for email_column; {_in_words(names)}.")


def shown_name(name: str) -> str:
    """Return a column's name if it looks like one, else a mark: it may be the content of a row."""
    return scrub(name) if _NAME.fullmatch(name.strip()) else "…"


def _in_words(names: Sequence[str]) -> str:
    # A file without a header has a record where the names are looked for, and that is nobody's to read.
    if any("@" in name for name in names):
        return "instead of names there is an address: without a header, give the column's number"
    shown = ", ".join(shown_name(name) for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"it has: {shown}{more}" if names else "it has none"
