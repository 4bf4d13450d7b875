"""The addresses of JSON: a record a line, or one array of records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.columns import DEFAULT_COLUMN, address_column

if TYPE_CHECKING:
    from airflow_provider_meisa.transfers.sources.reading import Reading

_CHUNK = 1 << 16
_LONGEST_RECORD = 1 << 22
_BLANK = re.compile(r"[ \t\r\n]*")
_WORDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
_NO_JSON = "no JSON"
_WRONG_RECORD = "{}, where an object or an address in quotes must be"
_WRONG_VALUE = "email_column holds {}, not a text"


def read_json(file: Any, reading: Reading) -> Iterator[object]:
    """Read JSON Lines, or a file that is one JSON array."""
    lines = reading.text(file)
    begin, first = next(((n, line) for n, line in enumerate(lines, 1) if not line.isspace()), (0, ""))
    if not first:
        return
    address_of = _AddressOf(reading)
    if first.lstrip().startswith("["):
        if _is_json(first) and not all(map(str.isspace, lines)):
            reading.malformed(_WRONG_RECORD.format("a list"), line=begin)
        yield from map(address_of, _elements(chain([first], lines), reading))
    else:
        yield from map(address_of, _records(chain([first], lines), reading, begin=begin))


class _AddressOf:
    """Takes the address out of one record after the other, by the key that the first has."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._key: str | None = None
        self._is_only = False

    def __call__(self, record: object) -> str | None:
        if isinstance(record, dict):
            return self._text(record.get(self._key_in(record)), _WRONG_VALUE)
        return self._text(record, _WRONG_RECORD)

    def _text(self, value: object, fault: str) -> str | None:
        if value is not None and not isinstance(value, str):
            # Not one bad address, but a file of another shape.
            self._reading.malformed(fault.format(_WORDS[type(value)]))
        return value

    def _key_in(self, record: dict[str, object]) -> str:
        # Of the first record the key is demanded; a later one without it is a record without an address.
        if self._key is None:
            names, column = list(record), self._reading.column
            if isinstance(column, int):
                raise MeisaInputError("JSON Lines have no numbered columns; give email_column a name.")
            source = f"{self._reading.name}, {self._reading.unit} {self._reading.line:,}"
            self._key = names[address_column(names, column, source=source, may_be_record=True)]
            # Taken because it was alone, it must stay alone: another may be the right one.
            self._is_only = column is None and self._key.strip().lower() != DEFAULT_COLUMN and len(names) == 1
        elif self._is_only and record.keys() - {self._key}:
            self._reading.malformed("other keys than the records before; set email_column")
        return self._key


def _records(lines: Iterator[str], reading: Reading, *, begin: int) -> Iterator[object]:
    for number, line in enumerate(lines, begin):
        reading.line = number
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            reading.malformed(_NO_JSON)
        yield record


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _elements(lines: Iterator[str], reading: Reading) -> Iterator[object]:
    """Read the elements of one array, never the whole of it."""
    reading.unit, reading.line = "record", 0
    text = _Text(lines)
    text.take("[")
    if not text.take("]"):
        while True:
            reading.line += 1
            yield _element(text, reading)
            if text.take("]"):
                break
            if not text.take(","):
                reading.malformed("the JSON array breaks off behind it")
    if text.next_character():
        reading.malformed("more stands behind the JSON array; write one array, or one object a line")


def _element(text: _Text, reading: Reading) -> object:
    try:
        return text.decode()
    except (ValueError, RecursionError):
        reading.malformed(_NO_JSON)


class _Text:
    """The part of a text that is not yet read."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._held = ""
        self._place = 0
        self._decode = json.JSONDecoder().raw_decode

    def next_character(self) -> str:
        """Return the character that comes next, white space aside; empty at the end."""
        while True:
            blank = _BLANK.match(self._held, self._place)
            self._place = blank.end() if blank else self._place
            if self._place < len(self._held) or not self._more(_CHUNK):
                return self._held[self._place : self._place + 1]

    def take(self, mark: str) -> bool:
        """Step over a mark, if it comes next."""
        if self.next_character() != mark:
            return False
        self._place += 1
        return True

    def decode(self) -> object:
        """Read the value that comes next.

        :raises ValueError: if there is none.
        """
        self.next_character()
        while True:
            try:
                value, self._place = self._decode(self._held, self._place)
            except ValueError:
                # It may go on in what was not read. Twice as much each time, or long records take for ever.
                held = len(self._held) - self._place
                if held > _LONGEST_RECORD or not self._more(max(_CHUNK, held)):
                    raise
            else:
                return value

    def _more(self, least: int) -> bool:
        found, size = [self._held[self._place :]], 0
        for line in self._lines:
            found.append(line)
            size += len(line)
            if size >= least:
                break
        self._held, self._place = "".join(found), 0
        return bool(size)
