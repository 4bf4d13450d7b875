"""Which of several columns holds the addresses."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.privacy import scrub

_MOST_NAMED = 20


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


def _in_words(names: Sequence[str]) -> str:
    # A file without a header has a record where the names are looked for, and that is nobody's to read.
    if any("@" in name for name in names):
        return "instead of names there is an address: without a header, give the column's number"
    shown = ", ".join(scrub(name) for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"it has: {shown}{more}" if names else "it has none"
