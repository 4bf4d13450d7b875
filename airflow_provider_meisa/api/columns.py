"""Which of several columns holds the addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.privacy import scrub

DEFAULT_COLUMN = "email"

_MOST_NAMED = 20
_NAME = re.compile(r"[^\W\d]\w*(?:[.-]\w+)*")
# A name of a column, or its number. Anything else may be the content of a row.
_LIKE_A_NAME = re.compile(r"[^\W\d]\w{0,62}(?:[ .-]\w{1,30}){0,3}|\d{1,3}")


def address_column(
    names: Sequence[str], wanted: str | int | None, *, source: str, may_be_record: bool = False
) -> int:
    """Find the column of the addresses: the one that is wanted, else the only one, else the one named ``email``.

    :param source: what has the columns, for the message.
    :param may_be_record: whether a person's data may stand where the names are looked for.
    :raises MeisaInputError: if it cannot be found.
    """
    is_only = wanted is None and len(names) == 1
    if is_only and not (may_be_record and _is_value(names[0])):
        return 0
    chosen = DEFAULT_COLUMN if wanted is None else wanted
    return column_index(names, chosen, source=source, may_be_record=may_be_record)


def column_index(names: Sequence[str], wanted: str | int, *, source: str, may_be_record: bool = False) -> int:
    """Find a column by its name, in another case if need be, or by its number from 0.

    :param source: what has the columns, for the message.
    :param may_be_record: whether a person's data may stand where the names are looked for.
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
    raise MeisaInputError(
        f"{source} has {fault} {wanted!r} for email_column; {_in_words(names, may_be_record=may_be_record)}."
    )


def shown_name(name: str) -> str:
    """Return a column's name if it looks like one, else a mark."""
    return scrub(name) if _LIKE_A_NAME.fullmatch(name.strip()) else "…"


def _is_value(name: str) -> bool:
    return "@" in name or not any(map(str.isalpha, name))


def _look_like_names(names: Sequence[str]) -> bool:
    # "Ann,Lee,London" may be a person as well as a header.
    return all(map(_NAME.fullmatch, names)) and not (names and all(map(str.istitle, names)))


def _in_words(names: Sequence[str], *, may_be_record: bool) -> str:
    # A file without a header has a record where the names are looked for, and that is nobody's to read.
    if any("@" in name for name in names):
        return "instead of names there is an address: without a header, give the column's number"
    if may_be_record and not _look_like_names(names):
        return (
            f"it has {len(names)}, and what stands in their place does not look like names, so it is not shown: "
            "without a header, give the column's number"
        )
    shown = ", ".join(shown_name(name) for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"it has: {shown}{more}" if names else "it has none"
