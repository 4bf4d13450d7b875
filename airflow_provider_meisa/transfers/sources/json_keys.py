"""Read the address in each record of JSON; records may have different keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.columns import RecordColumn

if TYPE_CHECKING:
    from airflow_provider_meisa.transfers.sources.reading import Reading

_LOOKED_AT = 1_000
_MOST_SHAPES = 1_000
_WORDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
_WRONG_RECORD = "{}, where an object or an address in quotes must be"
_WRONG_VALUE = "email_column holds {}, not a text"


class _Repeating(dict[str, object]):
    """An object in which a key occurs more than once; the dictionary holds its last value.

    :ivar repeated: these keys.
    """

    repeated: frozenset[str] = frozenset()


def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make a dictionary of the pairs of an object, as the hook of a decoder."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    keys = [key for key, _ in pairs]
    repeating = _Repeating(found)
    repeating.repeated = frozenset(key for key in found if keys.count(key) > 1)
    return repeating


def whole_object(value: object, reading: Reading) -> dict[str, object]:
    """Return a value that is an object, and has each key once.

    :raises MeisaInputError: if it is not.
    """
    if not isinstance(value, dict):
        reading.malformed(f"{_WORDS.get(type(value), 'a text')}, where an object must be")
    if isinstance(value, _Repeating):
        reading.malformed("a key of the object occurs more than once")
    return value


def addresses_of(records: Iterator[object], reading: Reading) -> Iterator[str | None]:
    """Yield the address of each record.

    :raises MeisaInputError: if a record has another shape, or no record has the key of the address.
    """
    address_of = _AddressOf(reading)
    yield from map(address_of, address_of.begin(records))
    address_of.end()


class _AddressOf:
    """Reads the address of a record."""

    def __init__(self, reading: Reading) -> None:
        wanted = reading.column
        self._reading = reading
        self._is_number = isinstance(wanted, int)
        self._column = RecordColumn(None if isinstance(wanted, int) else wanted)
        self._keys: dict[tuple[str, ...], str | None] = {}

    def begin(self, records: Iterator[object]) -> Iterator[object]:
        """Read the keys of the first records, and yield all records."""
        held: list[tuple[int, object]] = []

        def keys() -> Iterator[tuple[str, ...]]:
            for record in islice(records, _LOOKED_AT):
                held.append((self._reading.line, record))
                yield tuple(record) if isinstance(record, dict) else ()

        self._column.begin(keys(), self._where())
        for self._reading.line, record in held:
            yield record
        yield from records

    def __call__(self, record: object) -> str | None:
        """Return the address; ``None`` if there is none."""
        if not isinstance(record, dict):
            return self._text(record, _WRONG_RECORD)
        names = tuple(record)
        if names not in self._keys:
            if len(self._keys) >= _MOST_SHAPES:
                self._keys.clear()
            self._keys[names] = self._key(names)
        key = self._keys[names]
        if key is None:
            return None
        if isinstance(record, _Repeating) and key in record.repeated:
            self._reading.malformed("the key of the address occurs more than once")
        return self._text(record[key], _WRONG_VALUE)

    def end(self) -> None:
        """Check that a record had the key."""
        self._column.end(self._reading.name)

    def _key(self, names: tuple[str, ...]) -> str | None:
        if self._is_number:
            raise MeisaInputError("JSON Lines have no numbered columns; give email_column a name.")
        place = self._column.place(names, self._where)
        return None if place is None else names[place]

    def _text(self, value: object, fault: str) -> str | None:
        if value is not None and not isinstance(value, str):
            # Not a bad address, but a file of another shape.
            kind = dict if isinstance(value, dict) else type(value)
            self._reading.malformed(fault.format(_WORDS[kind]))
        return value

    def _where(self) -> str:
        return f"{self._reading.name}, {self._reading.unit} {self._reading.line:,}"
