"""Read the addresses of CSV and TSV. A stray quote does not hide the rows after it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.columns import DEFAULT_COLUMN, address_column
from airflow_provider_meisa.operators.parameters import is_delimiter
from airflow_provider_meisa.transfers.sources.reading import LONGEST

if TYPE_CHECKING:
    from airflow_provider_meisa.transfers.sources.reading import Reading

Quoting = Literal["standard", "multiline", "none"]

MOST_LINE_BREAKS = 10
"""The most in a quoted cell, unless ``quoting`` is ``multiline``: a postal address or a note has fewer."""

_DEFAULT_DELIMITER = {"csv": ",", "tsv": "\t"}
_DEFAULT_QUOTING: dict[str, Quoting] = {"csv": "standard", "tsv": "none"}
_STYLES: dict[Quoting, Literal[0, 3]] = {
    "standard": csv.QUOTE_MINIMAL,
    "multiline": csv.QUOTE_MINIMAL,
    "none": csv.QUOTE_NONE,
}
_DELIMITERS = {",": "commas", ";": "semicolons", "|": "pipes", "\t": "tabs"}
# Quoted text with that many delimiters, each line as wide as a row, is not a sentence.
_DELIMITERS_OF_ROWS = 5
_MOST_LINE_BREAKS_IN_HEADER = 2
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_ADDRESS = re.compile(r"\s*[^\s@,;|]+@[^\s@,;|]+\s*")
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*("?)')
_CELLS_IN_QUOTES = "the cell is in quotes; set quoting to 'standard'"
_CURE = "close it, write it twice (\"\"), or set quoting to 'none' if quotes mean nothing in this file"
_TOO_LONG = f"is not closed within {MOST_LINE_BREAKS} lines"
_HOLDS_ROWS = "takes in what looks like other rows"
_CURE_LONG = f"{_CURE}, to 'multiline' if the cell really holds these lines"


def check_dialect(file_format: str, delimiter: object, quoting: object) -> None:
    """Check that ``delimiter`` and ``quoting``, if given, are used by a format.

    :raises MeisaInputError: if they are not.
    """
    if file_format not in _DEFAULT_DELIMITER and not delimiter is quoting is None:
        raise MeisaInputError(
            f"delimiter and quoting are for the formats csv and tsv, and format is {file_format}: leave them out, or "
            "set format."
        )


def read_delimited(
    file: Any, reading: Reading, *, delimiter: str | None, quoting: Quoting | None
) -> Iterator[object]:
    """Read CSV or TSV.

    :param delimiter: the character between cells; ``None``: by ``sep=`` or the first line, in TSV a tab.
    :param quoting: whether quotes enclose cells, see `FileToMeisaSequenceOperator`; ``None``: yes in CSV, no in TSV.
    """
    table = _table(file, reading, delimiter, quoting)
    if table is not None:
        is_checked = quoting or _DEFAULT_QUOTING[reading.format] != "none"
        yield from table.addresses() if is_checked else table.addresses_without_quotes()


def read_delimited_rows(
    file: Any, reading: Reading, *, delimiter: str | None, quoting: Quoting | None
) -> Iterator[list[str]]:
    """Read CSV or TSV with a header: first the names of the columns, then the cells of each row."""
    table = _table(file, reading, delimiter, quoting)
    if table is not None:
        yield from table.rows()


def _table(file: Any, reading: Reading, delimiter: str | None, quoting: Quoting | None) -> _Table | None:
    """Find out how the cells of a file are separated; ``None`` for an empty file."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))  # 131,072 by default, for the whole process
    begin, first, lines = _first_line(reading.lines(file))
    separator = _SEPARATOR_LINE.fullmatch(first)
    if separator and is_delimiter(separator[1]):
        delimiter = delimiter or separator[1]
        skipped, first, lines = _first_line(lines)
        begin += skipped
    if not first:
        return None
    reading.line = begin
    chosen = quoting or _DEFAULT_QUOTING[reading.format]
    delimiter = delimiter or _delimiter_of(first, reading, chosen)
    if not isinstance(reading.column, int):
        _check_first_line(first, reading, delimiter, chosen)
    return _Table(chain([first], lines), reading, delimiter, chosen, begin)


class _Table:
    """Rows of cells, and the lines of the file that each row occupies."""

    def __init__(
        self, lines: Iterator[str], reading: Reading, delimiter: str, quoting: Quoting, begin: int
    ) -> None:
        self._reading = reading
        self._delimiter = delimiter
        self._quoting = quoting
        self._begin = begin
        self._lines = lines
        self._record: list[str] = []

    def addresses(self) -> Iterator[str]:
        """Return the cells with the addresses."""
        places: list[int] = []

        def place_of(first: list[str]) -> int:
            places.append(self._index(first))
            return places[0]

        for row in self._rows(place_of):
            yield row[places[0]]

    def rows(self) -> Iterator[list[str]]:
        """Return the names of the columns, and then the cells of each row."""

        def place_of(first: list[str]) -> int:
            self._check_header(first)
            wanted = str(self._reading.column or DEFAULT_COLUMN).casefold()
            names = [cell.strip().casefold() for cell in first]
            # A column that is missing is the mapping's to name.
            return names.index(wanted) if wanted in names else -1

        yield from self._rows(place_of, with_header=True)

    def _rows(
        self, place_of: Callable[[list[str]], int], *, with_header: bool = False
    ) -> Iterator[list[str]]:
        try:
            yield from self._read(place_of, with_header=with_header)
        except csv.Error as error:
            self._refuse_record(is_too_long="field limit" in str(error))
        finally:
            self._reading.line = self._begin + len(self._record) - 1

    def addresses_without_quotes(self) -> Iterator[str]:
        """Return the cells with the addresses; raise an error for quoted ones."""
        for address in self.addresses():
            if "@" in address and _is_in_quotes(address):
                self._reading.malformed(_CELLS_IN_QUOTES, line=self._begin)
            yield address

    def _read(self, place_of: Callable[[list[str]], int], *, with_header: bool) -> Iterator[list[str]]:
        record, reading = self._record, self._reading
        rows = _parse(self._fed(), self._delimiter, self._quoting)
        # The first row is the header, or with a numbered column a record.
        first = next(rows)
        index, width = place_of(first), len(first)
        if isinstance(reading.column, int):
            self._check_record(first, index, width)
            yield first
        elif with_header:
            yield first
        self._begin += len(record)
        record.clear()
        for row in rows:
            if len(record) > 1:
                self._check_record(row, index, width)
            if len(row) == width:
                yield row
            elif row:
                reading.malformed(self._wrong_width(row, width), line=self._begin)
            self._begin += len(record)
            record.clear()

    def _fed(self) -> Iterator[str]:
        """Yield the lines, and stop if a quoted cell holds too many of them."""
        record = self._record
        for line in self._lines:
            record.append(line)
            if len(record) > MOST_LINE_BREAKS + 1 and self._quoting == "standard":
                self._check_open_quote()
            yield line

    def _index(self, first: list[str]) -> int:
        reading = self._reading
        if not isinstance(reading.column, int):
            self._check_header(first)
        return address_column(first, reading.column, source=reading.name, may_be_record=True)

    def _check_header(self, header: list[str]) -> None:
        for cell in header:
            breaks = len(_LINE_BREAK.findall(cell))
            if breaks > _MOST_LINE_BREAKS_IN_HEADER or (breaks and "@" in cell):
                self._refuse_quote(0, _HOLDS_ROWS, _CURE)
        if self._quoting == "none" and any(_is_in_quotes(cell) for cell in header):
            self._reading.malformed(_CELLS_IN_QUOTES, line=self._begin)

    def _check_record(self, row: Sequence[str], index: int, width: int) -> None:
        """Raise an error for a row of several lines if one of its cells looks like other rows."""
        line = opened = 0
        for place, cell in enumerate(row):
            if breaks := len(_LINE_BREAK.findall(cell)):
                opened = line
                if breaks > MOST_LINE_BREAKS and self._quoting == "standard":
                    self._refuse_quote(line, _TOO_LONG, _CURE_LONG)
                if self._holds_rows(cell, place, index, width):
                    self._refuse_quote(line, _HOLDS_ROWS, _CURE_LONG)
            line += breaks
        if line and len(row) != width:
            self._refuse_quote(opened, f"leaves a row with {self._wrong_width(row, width)}", _CURE)

    def _holds_rows(self, cell: str, place: int, index: int, width: int) -> bool:
        if place == index:
            return _LINE_BREAK.search(cell.strip()) is not None
        if self._quoting == "multiline":
            return False
        lines = [line.split(self._delimiter) for line in _LINE_BREAK.split(cell)]
        # The lines as rows: with the same number of cells, and an address in the same cell.
        befores = [place] + [0] * (len(lines) - 1)
        widths = [before + len(cells) for before, cells in zip(befores, lines, strict=True)]
        widths[-1] += width - place - 1
        found = zip(lines, befores, widths, strict=True)
        if any(_has_address(cells, index - before, is_row=wide == width) for cells, before, wide in found):
            return True
        delimiters = sum(len(cells) - 1 for cells in lines)
        return delimiters >= _DELIMITERS_OF_ROWS and set(widths) == {width}

    def _check_open_quote(self) -> None:
        line = self._open_quote()
        if line is not None and len(self._record) - 1 - line > MOST_LINE_BREAKS:
            self._refuse_quote(line, _TOO_LONG, _CURE_LONG)

    def _refuse_record(self, *, is_too_long: bool) -> None:
        line = self._open_quote()
        if is_too_long and (line is None or self._quoting == "multiline"):
            self._reading.malformed(f"a cell of more than {LONGEST:,} characters", line=self._begin)
        if line is None:
            self._reading.malformed("a quote is not closed, or the line is not CSV", line=self._begin)
        self._refuse_quote(line, "is not closed where its cell ends", _CURE)

    def _refuse_quote(self, line: int, fault: str, cure: str) -> None:
        self._reading.malformed(f"the quote that opens here {fault}: {cure}", line=self._begin + line)

    def _open_quote(self) -> int | None:
        """Return the line in the current record, from 0, of the first quote that does not enclose a cell."""
        if self._quoting == "none":
            return None
        text, place = "".join(self._record), 0
        while True:
            if quoted := _QUOTED.match(text, place):
                end = quoted.end()
                if not quoted[1] or text[end : end + 1] not in (self._delimiter, "\r", "\n", ""):
                    return len(_LINE_BREAK.findall(text, 0, place))
                place = end
            place = text.find(self._delimiter, place) + 1
            if not place:
                return None

    def _wrong_width(self, row: Sequence[str], width: int) -> str:
        fault = f"{len(row)} fields, where the first line has {width}"
        if self._quoting == "none" and any('"' in cell for cell in row):
            fault += "; if quotes enclose cells, set quoting to 'standard'"
        return fault


def _parse(lines: Iterator[str], delimiter: str, quoting: Quoting) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=delimiter, quoting=_STYLES[quoting], strict=True)


def _first_line(lines: Iterator[str]) -> tuple[int, str, Iterator[str]]:
    """Return the number and the text of the first line that is not blank, and the lines after it."""
    for number, line in enumerate(lines, 1):
        if line.strip(" \r\n"):
            return number, line, lines
    return 0, "", lines


def _is_in_quotes(cell: str) -> bool:
    return len(cell) > 1 and cell.startswith('"') and cell.endswith('"')


def _has_address(cells: Sequence[str], index: int, *, is_row: bool) -> bool:
    if len(cells) == 1 or not 0 <= index < len(cells):
        return False
    return (is_row and "@" in cells[index]) or _ADDRESS.fullmatch(cells[index]) is not None


def _cells(line: str, delimiter: str, quoting: Quoting) -> list[str]:
    """Split one line, whatever it holds."""
    try:
        return next(csv.reader([line], delimiter=delimiter, quoting=_STYLES[quoting]), [])
    except csv.Error:
        return []


def _delimiter_of(first: str, reading: Reading, quoting: Quoting) -> str:
    """Return the delimiter, by the first line of a file."""
    default = _DEFAULT_DELIMITER[reading.format]
    if reading.format == "tsv":
        return default
    found = {mark: cells for mark in _DELIMITERS if len(cells := _cells(first, mark, quoting)) > 1}
    fitting = [mark for mark, cells in found.items() if _has_column(cells, reading.column)]
    if not fitting and len(found) == 1:
        fitting = list(found)
    return fitting[0] if fitting else default


def _has_column(cells: Sequence[str], column: str | int | None) -> bool:
    if isinstance(column, int):
        return column < len(cells) and _ADDRESS.fullmatch(cells[column]) is not None
    wanted = (column or DEFAULT_COLUMN).strip().lower()
    return any(cell.strip().lower() == wanted for cell in cells)


def _check_first_line(first: str, reading: Reading, delimiter: str, quoting: Quoting) -> None:
    """Raise an error for a header of one cell that has other delimiters in it."""
    cells = _cells(first, delimiter, quoting)
    if len(cells) > 1 or (reading.column is not None and _has_column(cells, reading.column)):
        return
    for mark, words in _DELIMITERS.items():
        if mark != delimiter and len(_cells(first, mark, quoting)) > 1:
            expected = _DELIMITERS.get(delimiter, repr(delimiter))
            reading.malformed(f"{words} where {expected} should separate the cells; set delimiter")
