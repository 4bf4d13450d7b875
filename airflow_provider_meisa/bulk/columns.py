"""Find the column of the addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from unicodedata import category

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import found_names, is_short_number

DEFAULT_COLUMN = "email"

_MOST_REMEMBERED = 100
# Blanks and invisible characters: a copied name may bring a byte order mark or a direction mark.
_INVISIBLE = "\ufeff" + "".join(
    c for c in map(chr, range(0x3001)) if c.isspace() or category(c) in ("Cc", "Cf")
)


def address_column(
    names: Sequence[str], wanted: str | int | None, *, source: str, may_be_record: bool = False
) -> int:
    """Find the column of the addresses: the wanted one, else the only one, else the one named ``email``.

    :param source: the source, for the message.
    :param may_be_record: whether the names may be a person's data.
    :raises MeisaInputError: if it is not found.
    """
    is_only = wanted is None and len(names) == 1
    if is_only and not (may_be_record and _is_value(names[0])):
        return 0
    chosen = DEFAULT_COLUMN if wanted is None else wanted
    return column_index(names, chosen, source=source, may_be_record=may_be_record)


def column_index(
    names: Sequence[str],
    wanted: str | int,
    *,
    source: str,
    may_be_record: bool = False,
    parameter: str = "email_column",
) -> int:
    """Find a column by its name, also in another case, or by its number from 0.

    :param source: the source, for the message.
    :param may_be_record: whether the names may be a person's data.
    :param parameter: what names the column, for the message.
    :raises MeisaInputError: if no column matches, or several do; the message lists the columns.
    """
    if isinstance(wanted, int):
        if 0 <= wanted < len(names):
            return wanted
        # Not the names: if columns have numbers, the first line may be a record.
        raise MeisaInputError(
            f"{source} has no column {wanted} for {parameter}; it has {len(names)}, from 0."
        )
    found = columns_named(names, wanted)
    if len(found) == 1:
        return found[0]
    fault = f"{len(found)} columns" if found else "no column"
    raise MeisaInputError(
        f"{source} has {fault} {wanted!r} for {parameter}; {found_names(names, may_be_record=may_be_record)}."
    )


class RecordColumn:
    """Finds the address in records by its name. Some writers omit NULL, so a record may lack it.

    :param wanted: the name; ``None`` for the only one, else ``email``.
    """

    def __init__(self, wanted: str | None) -> None:
        self._name = DEFAULT_COLUMN if wanted is None else wanted
        self._may_be_only = wanted is None
        self._is_only = False
        self._is_found = self._is_lacking = False
        self._others: dict[str, None] = {}

    def begin(self, records: Iterable[Sequence[str]], source: str) -> None:
        """Read the names of the first records: if all have only the same one, it is the column.

        :param records: the names in each record; read no further than needed.
        :param source: the source, for the message.
        :raises MeisaInputError: if that name is a person's data.
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
        """Return the place of the address in one record; ``None`` if it has none.

        :param where: returns the place of the record, for the message.
        :raises MeisaInputError: if it has more than one, or other names after records with a single one.
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
        """Check that a record had the column, if there were records.

        :raises MeisaInputError: if none had it; the message lists their columns.
        """
        if self._is_lacking and not self._is_found:
            column_index(list(self._others), self._name, source=source, may_be_record=True)


def columns_named(names: Sequence[str], wanted: str) -> list[int]:
    """Return the places of columns with a name, else of those that differ only in case or blanks."""
    return [place for place, name in enumerate(names) if name == wanted] or [
        place for place, name in enumerate(names) if _bare(name) == _bare(wanted)
    ]


def _bare(name: str) -> str:
    return name.strip(_INVISIBLE).lower()


def _is_value(name: str) -> bool:
    return "@" in name or not (any(map(str.isalpha, name)) or is_short_number(name))
