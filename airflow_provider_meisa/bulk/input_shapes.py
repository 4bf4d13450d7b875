"""Read addresses from the values that a DAG passes: lists, lists of lists, rows, records and tables.

A shape that is clear is read. Any other one is a mistake in the DAG, and an error that names the shape and the remedy.
No library is imported for it: tables and arrays are recognized by their attributes.
"""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from numbers import Real
from typing import Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.bulk.columns import RecordColumn, address_column, column_index

log = logging.getLogger("airflow.task.meisa")

Text = str | None
"""An unchecked address, or ``None`` for a row without one."""

EDGES = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\u200c\u200d\u2060\ufeff"
"""White space and invisible characters, which are removed from both ends of a text."""

_DEEPEST = 8
_LOOKED_AT = 1_000
_MOST_COLUMNS = 20
_FEWEST_LISTS = 2
_PLAIN = {str, type(None)}
_BYTES = (bytes, bytearray, memoryview)
_SETS = (set, frozenset)
_MISSING = ("NAType", "NaTType")  # pandas' types of missing values
# pyarrow; numpy and pandas; polars. In this order: pyarrow's `tolist` is younger than its `to_pylist`.
_TO_LIST = ("to_pylist", "tolist", "to_list")


def addresses_from(value: object) -> Iterable[object]:
    """Read a rendered template field: a list, or the text of a list.

    Jinja renders a list to its Python text unless the DAG sets ``render_template_as_native_obj``.

    :param value: an iterable of addresses, or the text of a list in JSON or in Python.
    :raises MeisaInputError: if it is neither.
    """
    if not isinstance(value, str):
        return readable(value)
    listed = _spelled_list(value.strip(EDGES))
    return readable(value if listed is None else listed)


def readable(source: object) -> Iterable[object]:
    """Return a source that can be read address by address.

    :raises MeisaInputError: if it cannot be; the message has the remedy.
    """
    if isinstance(source, str):
        raise MeisaInputError(
            "emails is a string; pass a list of addresses. If it is a Jinja template, set "
            "render_template_as_native_obj=True on the DAG or return a JSON list."
        )
    if isinstance(source, _BYTES):
        raise MeisaInputError(f"emails is a {type(source).__name__}; pass a list of addresses.")
    if isinstance(source, Mapping):
        raise MeisaInputError(
            f"emails is a {type(source).__name__}; pass a list of addresses, or a list of records."
        )
    if isinstance(source, _SETS):
        raise MeisaInputError("emails is a set, which has no order to resume by; pass sorted(emails).")
    if not isinstance(source, Iterable) and not _is_table(source):
        raise MeisaInputError(f"emails is of type {type(source).__name__}; pass a list of addresses.")
    return source  # type: ignore[return-value]  # a table may not be iterable, but AddressReader reads it


def text_of(value: object, where: Callable[[], str]) -> Text:
    """Read one value: text as it is, UTF-8 bytes as text, a missing value as ``None``.

    :param where: returns the place of the value, for the message.
    :raises MeisaInputError: if it has another type; the message has the type, never the value.
    """
    if type(value) in _PLAIN:
        return value  # type: ignore[return-value]  # a str or None: see above
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, _BYTES):
        return _decoded(bytes(value), where)
    if _is_missing(value):
        return None
    if callable(scalar := getattr(value, "as_py", None)):  # pyarrow
        return text_of(scalar(), where)
    raise MeisaInputError(f"{where()}: a value of type {type(value).__name__}, not text. {_advice(value)}")


class AddressReader:
    """Reads the addresses of one input lazily, in its order.

    A list inside a list is a page of addresses. A tuple, or any other row of a fixed size, is a row. An object with
    keys or fields is a record. An object with columns is a table.

    :param email_column: the column of the addresses in rows, records and tables: its name, or its number from 0. By
        default the only column, else the one named ``email``. With a number, a list inside a list is a row.
    :param name: the name of the input in messages.
    """

    def __init__(self, email_column: str | int | None = None, *, name: str = "emails") -> None:
        self._wanted = email_column
        self._name = name
        self._rows = 0
        self._pages = 0
        self._lists = _Lists()
        self._places: dict[tuple[object, ...], int | None] = {}
        self._records = RecordColumn(None if isinstance(email_column, int) else email_column)
        self._has_records = False

    def read(self, source: Iterable[object]) -> Iterator[Text]:
        """Return the addresses one by one.

        :raises MeisaInputError: if an item is neither an address nor has one that can be found.
        """
        yield from self._table(source) if _is_table(source) else self._items(self._values(source), 0)
        self._lists.check(self._name)
        self._records.end(self._name)
        if self._pages:
            log.info("%s: %s lists read as one of %s rows", self._name, f"{self._pages:,}", f"{self._rows:,}")

    def _items(self, values: Iterable[object], depth: int) -> Iterator[Text]:
        """Read the items of a list, of any shape."""
        for value in self._looked_at(values):
            yield from self._item(value, depth)

    def _texts(self, values: Iterable[object], column: object = None) -> Iterator[Text]:
        """Read the values of a column, or of a list of texts."""
        for value in values:
            yield self._text(value, column)

    def _looked_at(self, values: Iterable[object]) -> Iterator[object]:
        """Yield values; at the first record, read the names in the following ones."""
        stream = iter(values)
        for value in stream:
            if self._has_records or not _names_in(value):
                yield value
                continue
            self._has_records = True
            ahead = [value, *islice(stream, _LOOKED_AT - 1)]
            self._records.begin(([str(name) for name in _names_in(one)] for one in ahead), self._where())
            yield from ahead

    def _item(self, value: Any, depth: int) -> Iterator[Text]:
        if _is_text(value) or value is None:
            yield self._text(value)
        elif isinstance(value, Mapping):
            names = tuple(value)
            yield self._field(names, lambda place: value[names[place]])
        elif names := _fields_of(value):
            # By its place, because names may occur twice.
            yield self._field(names, tuple(value).__getitem__)
        elif _is_table(value):
            yield from self._table(value)
        elif _is_row(value):
            yield self._column(value)
        elif isinstance(value, _SETS):
            raise MeisaInputError(
                f"{self._where()}: a set, which has no order to resume by. Pass sorted lists."
            )
        elif _is_container(value):
            yield from self._page(list(self._values(value)), depth + 1)
        else:
            yield self._text(value)

    def _page(self, values: list[object], depth: int) -> Iterator[Text]:
        """Read a list that is an item of a list."""
        if depth > _DEEPEST:
            raise MeisaInputError(f"{self._where()}: lists in lists, too deep to read. Flatten them.")
        holds_lists = any(map(_is_container, values)) and not any(
            value is not None and not _is_container(value) for value in values
        )
        if holds_lists:
            self._pages += 1
            yield from self._items(values, depth)
        elif values and isinstance(self._wanted, int):
            yield self._column(values)
        else:
            self._pages += 1
            self._lists.add(values)
            yield from self._texts(values)

    def _table(self, table: Any) -> Iterator[Text]:
        """Read one column of a table."""
        names = _names_of(table)
        if names is None:  # a numpy array
            yield from map(self._column, self._values(table))
            return
        shown = [str(name) for name in names]
        if not shown and not len(table):
            return
        index = address_column(shown, self._wanted, source=self._name, may_be_record=True)
        values = self._values(_column_of(table, index, names[index]), of=table)
        yield from self._texts(values, names[index])

    def _column(self, row: Any) -> Text:
        """Read a row whose columns have no names."""
        width = len(row)
        if isinstance(self._wanted, int):
            return self._text(row[column_index([""] * width, self._wanted, source=self._where())])
        if width != 1:
            raise MeisaInputError(
                f"{self._where()}: a row of {width} columns without names. Pass the address alone, or set "
                "email_column to the column's number, from 0."
            )
        return self._text(row[0])

    def _field(self, names: tuple[object, ...], value_at: Callable[[int], object]) -> Text:
        """Read a record; the columns of the first decide for all."""
        if names not in self._places:
            self._places[names] = self._place(names)
        place = self._places[names]
        if place is None:
            self._rows += 1
            return None
        return self._text(value_at(place), names[place])

    def _place(self, names: tuple[object, ...]) -> int | None:
        """Find the column of the address; a record that lacks it has no address."""
        shown = [str(name) for name in names]
        if isinstance(self._wanted, int):
            return column_index(shown, self._wanted, source=self._where())
        return self._records.place(shown, self._where)

    def _text(self, value: object, column: object = None) -> Text:
        text = text_of(value, lambda: self._where(column))
        self._rows += 1
        return text

    def _where(self, column: object = None) -> str:
        place = "" if column is None else f", column {self._shown(str(column))}"
        return f"{self._name}, row {self._rows + 1:,}{place}"

    def _shown(self, name: str) -> str:
        return name if name == self._wanted else shown_name(name, may_be_record=True)

    def _values(self, column: Any, *, of: object = None) -> Iterable[object]:
        """Return the values of an array or a column as Python values, and any other iterable unchanged.

        :param of: the table of the column, for the message.
        """
        to_list = next((method for name in _TO_LIST if callable(method := getattr(column, name, None))), None)
        values: Iterable[object] = to_list() if to_list else column
        if _can_iterate(values):
            return values
        whole = column if of is None else of
        raise MeisaInputError(
            f"{self._where()}: a {type(whole).__name__} that cannot be read here. Pass a list of addresses, such as "
            "one column collected to a list."
        )


def _spelled_list(text: str) -> list[object] | tuple[object, ...] | None:
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, (list, tuple)):
            return found
    return None


class _Lists:
    """Distinguishes pages of addresses from rows: in rows, some column has no address at all."""

    def __init__(self) -> None:
        self.count = 0
        self._width = 0
        self._with_address: list[bool] = []

    def add(self, values: Sequence[object]) -> None:
        """Add one more list."""
        if not self.count:
            self._width = len(values)
            self._with_address = [False] * self._width
        self.count += 1
        if len(values) != self._width:
            self._width = 0
        if self._width <= _MOST_COLUMNS:
            for place, value in enumerate(values[: self._width]):
                self._with_address[place] |= not isinstance(value, str) or "@" in value

    def check(self, name: str) -> None:
        """Check that the lists do not look like rows.

        :raises MeisaInputError: if they do.
        """
        alike = self.count >= _FEWEST_LISTS and 1 < self._width <= _MOST_COLUMNS
        if alike and not all(self._with_address):
            raise MeisaInputError(
                f"{name}: {self.count:,} lists of {self._width} texts each, which look like rows, not like lists of "
                "addresses. Pass the address alone, or set email_column to the column's number, from 0."
            )


def _can_iterate(values: Iterable[object]) -> bool:
    """Return whether it can be iterated; some objects only look so."""
    try:
        iter(values)
    except TypeError:
        return False
    return not _is_text(values)


def _decoded(value: bytes, where: Callable[[], str]) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        # Not "from error": its text has the bytes.
        raise MeisaInputError(f"{where()}: bytes that are not UTF-8. Decode them to text.") from None


def _is_missing(value: object) -> bool:
    if type(value).__name__ in _MISSING:
        return True
    return isinstance(value, Real) and bool(value != value)  # noqa: PLR0124 (only NaN differs from itself)


def _advice(value: object) -> str:
    if isinstance(value, Mapping):
        return "Take the address out of it."
    if isinstance(value, Iterable):
        return "Give each address a row of its own: unnest, explode or flatten it."
    return "Pass the address alone, or set email_column."


def _is_table(value: Any) -> bool:
    if isinstance(value, (str, *_BYTES, Mapping, list, tuple)):
        return False
    return _names_of(value) is not None or (hasattr(value, "dtype") and getattr(value, "ndim", 1) > 1)


def _names_of(table: Any) -> list[object] | None:
    """Return the names of a table's columns: pyarrow's, pandas' and polars', numpy's."""
    for name in ("column_names", "columns"):
        names = getattr(table, name, None)
        if isinstance(names, Iterable):
            return list(names)
    names = getattr(getattr(table, "dtype", None), "names", None)
    return list(names) if isinstance(names, tuple) else None


def _column_of(table: Any, index: int, name: object) -> Any:
    """Return a column of a table, by its number if possible, because names may occur twice."""
    if hasattr(table, "iloc"):  # pandas
        return table.iloc[:, index]
    if hasattr(table, "schema") and callable(getattr(table, "column", None)):  # pyarrow
        return table.column(index)
    try:
        return table[name]
    except (TypeError, KeyError, ValueError):
        return None


def _names_in(value: Any) -> tuple[object, ...]:
    """Return the names in a record; none for any other value."""
    if _is_text(value):
        return ()
    return tuple(value) if isinstance(value, Mapping) else _fields_of(value)


def _fields_of(value: Any) -> tuple[object, ...]:
    """Return the names in a row with names: a named tuple, a row of SQLAlchemy, Spark or SQLite."""
    if not hasattr(value, "__getitem__"):
        return ()
    for name in ("_fields", "__fields__"):
        if isinstance(fields := getattr(value, name, None), (tuple, list)):
            return tuple(fields)
    if isinstance(names := getattr(getattr(value, "dtype", None), "names", None), tuple):  # numpy
        return names if value.ndim == 0 else ()
    keys = getattr(value, "keys", None)
    return tuple(keys()) if callable(keys) and not hasattr(value, "iloc") else ()


def _is_row(value: object) -> bool:
    """Return whether it is a row of a fixed size without names: a tuple, or a driver's type."""
    if isinstance(value, tuple):
        return True
    is_sized = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return is_sized and not isinstance(value, Sequence) and not any(hasattr(value, name) for name in _TO_LIST)


def _is_container(value: object) -> bool:
    return (isinstance(value, Iterable) or _is_table(value)) and not _is_text(value)


def _is_text(value: object) -> bool:
    return isinstance(value, (str, *_BYTES))
