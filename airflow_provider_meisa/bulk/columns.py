"""Which of several columns holds the addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from unicodedata import category

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import found_names, is_short_number

DEFAULT_COLUMN = "email"

_MOST_REMEMBERED = 100
# Blanks, and what no one sees: a byte order mark or a direction mark comes along from where a name was copied.
_INVISIBLE = "\ufeff" + "".join(
    c for c in map(chr, range(0x3001)) if c.isspace() or category(c) in ("Cc", "Cf")
)


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


class RecordColumn:
    """Finds the address in records by its name. Not each of them has it: some writers leave NULL out.

    :param wanted: the name; ``None`` for the only one, else ``email``.
    """

    def __init__(self, wanted: str | None) -> None:
        self._name = DEFAULT_COLUMN if wanted is None else wanted
        self._may_be_only = wanted is None
        self._is_only = False
        self._is_found = self._is_lacking = False
        self._others: dict[str, None] = {}

    def begin(self, records: Iterable[Sequence[str]], source: str) -> None:
        """Look at the names of the first records: if all have one and the same, it is the one.

        :param records: the names of each; no more are taken than it takes.
        :param source: what has them, for the message.
        :raises MeisaInputError: if a person's data is in the place of that name.
        """
        if not self._may_be_only:
            return
        only: str | None = None
        for name in chain.from_iterable(records):
            only = name if only is None else only
            if columns_named([name], self._name) or not columns_named([name], only):
                return
        if only is not None:
            address_column([only], None, source=source, may_be_record=True)
            self._name, self._is_only = only, True

    def place(self, names: Sequence[str], where: Callable[[], str]) -> int | None:
        """Return the place of the address in one record; ``None`` if that has none.

        :param where: says which record it is.
        :raises MeisaInputError: if it has more than one, or the only name is no longer the only one.
        """
        found = columns_named(names, self._name)
        if self._is_only and len(found) < len(names):
            raise MeisaInputError(f"{where()}: other keys than the records before; set email_column.")
        if found:
            self._is_found = True
            return column_index(names, self._name, source=where(), may_be_record=True)
        self._is_lacking = True
        if len(self._others) < _MOST_REMEMBERED:
            self._others.update(dict.fromkeys(names))
        return None

    def end(self, source: str) -> None:
        """See that a record had it, if there were records.

        :raises MeisaInputError: if none had; says what they had.
        """
        if self._is_lacking and not self._is_found:
            column_index(list(self._others), self._name, source=source, may_be_record=True)


def columns_named(names: Sequence[str], wanted: str) -> list[int]:
    """Return the places of the columns with a name, else of those with that name in another case or between blanks."""
    return [place for place, name in enumerate(names) if name == wanted] or [
        place for place, name in enumerate(names) if _bare(name) == _bare(wanted)
    ]


def _bare(name: str) -> str:
    return name.strip(_INVISIBLE).lower()


def _is_value(name: str) -> bool:
    return "@" in name or not (any(map(str.isalpha, name)) or is_short_number(name))
