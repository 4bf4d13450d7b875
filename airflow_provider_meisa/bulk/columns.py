"""Which of several columns holds the addresses."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import found_names, is_short_number

DEFAULT_COLUMN = "email"


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
        if 0 <= wanted < len(names):
            return wanted
        # Not the names: where columns have numbers, the first line may be a record.
        raise MeisaInputError(
            f"{source} has no column {wanted} for email_column; it has {len(names)}, from 0."
        )
    found = columns_named(names, wanted)
    if len(found) == 1:
        return found[0]
    fault = f"{len(found)} columns" if found else "no column"
    raise MeisaInputError(
        f"{source} has {fault} {wanted!r} for email_column; {found_names(names, may_be_record=may_be_record)}."
    )


def columns_named(names: Sequence[str], wanted: str) -> list[int]:
    """Return the places of the columns with a name, else of those with that name in another case."""
    return [place for place, name in enumerate(names) if name == wanted] or [
        place for place, name in enumerate(names) if name.strip().lower() == wanted.strip().lower()
    ]


def _is_value(name: str) -> bool:
    return "@" in name or not (any(map(str.isalpha, name)) or is_short_number(name))
