"""Read the records of JSON: on one line each, on several lines, or in one array."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.transfers.sources.json_keys import addresses_of, object_of, whole_object
from airflow_provider_meisa.transfers.sources.reading import LONGEST

if TYPE_CHECKING:
    from airflow_provider_meisa.transfers.sources.reading import Reading

_CHUNK = 1 << 16
_BLANKS = " \t\r\n"
_BLANK = re.compile(f"[{_BLANKS}]*")
_MARK = "\ufeff"
_NO_JSON = "not JSON"
_TOO_LONG = f"a record of more than {LONGEST:,} characters"
_LIST = "a list, where an object or an address in quotes must be"


def read_json(file: Any, reading: Reading) -> Iterator[object]:
    """Read the addresses of JSON Lines, of objects on several lines each, or of a file that is one JSON array."""
    yield from addresses_of(_values_in(file, reading), reading)


def read_json_objects(file: Any, reading: Reading) -> Iterator[dict[str, object]]:
    """Read the objects of a file like that, with all that is in them."""
    for value in _values_in(file, reading):
        yield whole_object(value, reading)


def _values_in(file: Any, reading: Reading) -> Iterator[object]:
    pieces = reading.pieces(file)
    begin, first = next(((n, piece) for n, piece in enumerate(pieces, 1) if not piece.isspace()), (0, ""))
    if not first:
        return
    is_array = first.lstrip().startswith("[")
    if is_array and _is_json(first) and not all(map(str.isspace, pieces)):
        reading.malformed(_LIST, line=begin)
    pieces = chain([first], pieces)
    if is_array:
        yield from _elements(pieces, reading)
    else:
        yield from _records(_Lines(reading.whole_lines(pieces, begin), begin), reading)


_decode = json.JSONDecoder(object_pairs_hook=object_of).raw_decode


def _records(lines: _Lines, reading: Reading) -> Iterator[object]:
    """Read values that each begin on a new line; most also end on it."""
    while line := lines.next():
        if line.isspace():
            continue
        reading.line = lines.number
        try:
            value, behind = _value(line.lstrip(), lines)
        except OverflowError:
            reading.malformed(_TOO_LONG)
        except (ValueError, RecursionError):
            reading.malformed(_NO_JSON)
        if behind.startswith(_MARK):  # joined files without a line break at their end
            lines.put_back([behind.lstrip(_MARK)])
        elif behind:
            reading.malformed(_NO_JSON)
        yield value


def _value(line: str, lines: _Lines) -> tuple[object, str]:
    """Read a value and the further lines it needs; return it with the rest of its last line.

    :raises ValueError: if it is not JSON.
    :raises OverflowError: if it is too long.
    """
    held, text = [line], line
    while True:
        try:
            value, end = _decode(text)
        except json.JSONDecodeError as error:
            # Twice as many lines each time; else a record of many lines takes too long.
            more = lines.take(len(held)) if error.pos >= len(text.rstrip()) else []
            if not more:
                raise
        else:
            break
        held += more
        text = "".join(held)
        if len(text) > LONGEST:
            raise OverflowError
    size = used = 0
    while size < end:
        size += len(held[used])
        used += 1
    lines.put_back(held[used:])
    return value, text[end:size].strip(_BLANKS)


class _Lines:
    """A source of lines that accepts lines back.

    :ivar number: the number of the last line.
    """

    def __init__(self, lines: Iterator[str], begin: int) -> None:
        self.number = begin - 1
        self._lines = lines
        self._ahead: deque[str] = deque()

    def next(self) -> str:
        """Return the next line; empty at the end."""
        line = self._ahead.popleft() if self._ahead else next(self._lines, "")
        self.number += bool(line)
        return line

    def take(self, count: int) -> list[str]:
        """Return the next lines, fewer at the end."""
        return [line for _ in range(count) if (line := self.next())]

    def put_back(self, lines: list[str]) -> None:
        """Put lines before the next one."""
        self._ahead.extendleft(reversed(lines))
        self.number -= len(lines)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _elements(pieces: Iterator[str], reading: Reading) -> Iterator[object]:
    """Read the elements of one array, without holding all of it."""
    reading.unit, reading.line = "record", 0
    text = _Text(pieces)
    text.take("[")
    if not text.take("]"):
        while True:
            reading.line += 1
            yield _element(text, reading)
            if text.take("]"):
                break
            if not text.take(","):
                reading.malformed("the JSON array breaks off after it")
    if text.next_character():
        reading.malformed("more follows the JSON array; write one array, or one object a line")


def _element(text: _Text, reading: Reading) -> object:
    try:
        return text.decode()
    except OverflowError:
        reading.malformed(_TOO_LONG)
    except (ValueError, RecursionError):
        reading.malformed(_NO_JSON)


class _Text:
    """The part of a text that is not read yet."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._held = ""
        self._place = 0

    def next_character(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            blank = _BLANK.match(self._held, self._place)
            self._place = blank.end() if blank else self._place
            if self._place < len(self._held) or not self._more(_CHUNK):
                return self._held[self._place : self._place + 1]

    def take(self, mark: str) -> bool:
        """Skip a mark if it is next, and return whether it was."""
        if self.next_character() != mark:
            return False
        self._place += 1
        return True

    def decode(self) -> object:
        """Read the next value.

        :raises ValueError: if it is not JSON.
        :raises OverflowError: if it is too long.
        """
        self.next_character()
        while True:
            try:
                value, self._place = _decode(self._held, self._place)
            except ValueError:
                # It may continue in the unread part. Twice as much each time; else long records take too long.
                held = len(self._held) - self._place
                if held > LONGEST:
                    raise OverflowError from None
                if not self._more(max(_CHUNK, held)):
                    raise
            else:
                return value

    def _more(self, least: int) -> bool:
        found, size = [self._held[self._place :]], 0
        for piece in self._pieces:
            found.append(piece)
            size += len(piece)
            if size >= least:
                break
        self._held, self._place = "".join(found), 0
        return bool(size)
