"""Read an outcomes file, which an earlier run has written: its enrolled contacts, or all its lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.bulk.outcome_file import text_of_cell
from airflow_provider_meisa.bulk.rows import Rows
from airflow_provider_meisa.transfers.sources.reading import Reading

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.location import Location

_ENROLLED = frozenset({OutcomeStatus.ENROLLED, OutcomeStatus.ALREADY_ENROLLED})
_SUFFIXES = (".jsonl", ".csv")
_CHUNK = 1_000
_NUMBERS = ("batch", "row")
_NEVER_NULL = ("address", "status", "reason")
_FEWEST = (*_NEVER_NULL, "batch")  # the fields of the first version of the lines


def read_enrolled(place: Location) -> Iterator[str]:
    """Yield the addresses with the status ``enrolled`` or ``already_enrolled``, and no others.

    :param place: the file: ``.csv`` or ``.jsonl``; gzip is decompressed.
    :raises MeisaInputError: if it is not an outcomes file.
    :raises MeisaUnreachableError: if it does not exist, or cannot be read.
    """
    with _opened(place) as (lines, reading):
        is_csv = reading.format == "csv"
        for outcome in csv.DictReader(lines) if is_csv else _records(lines, reading):
            address, status = _fields(outcome, reading)
            if status in _ENROLLED:
                yield text_of_cell(address) if is_csv else address


def read_outcomes(place: Location) -> Iterator[Rows]:
    """Yield the lines of an outcomes file with all their columns, some at a time.

    Lines that different versions of this package have written may have different columns. The first of the rows are
    none; they have the columns of a CSV file.

    :param place: the file: ``.csv`` or ``.jsonl``, or one of these and ``.gz``.
    :raises MeisaInputError: if it is not an outcomes file.
    :raises MeisaUnreachableError: if it does not exist, or cannot be read.
    """
    if not place.name.removesuffix(".gz").endswith(_SUFFIXES):
        raise MeisaInputError("outcomes_path must end in .jsonl, .jsonl.gz, .csv or .csv.gz.")
    with _opened(place) as (lines, reading):
        yield from _cells(lines, reading) if reading.format == "csv" else _objects(lines, reading)


@contextmanager
def _opened(place: Location) -> Iterator[tuple[Iterator[str], Reading]]:
    is_csv = place.name.lower().removesuffix(".gz").endswith(".csv")
    reading = Reading(place, "csv" if is_csv else "jsonl", None, "utf-8")
    with reading.failures(), place.open("rb") as file, reading.unpacked(file) as unpacked:
        yield reading.lines(unpacked), reading


def _records(lines: Iterator[str], reading: Reading) -> Iterator[Any]:
    for reading.line, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            reading.malformed("not JSON")


def _objects(lines: Iterator[str], reading: Reading) -> Iterator[Rows]:
    def checked() -> Iterator[Mapping[str, object]]:
        for outcome in _records(lines, reading):
            _fields(outcome, reading)
            yield outcome

    yield Rows((), ())
    for columns, outcomes in groupby(checked(), key=tuple):
        while chunk := [tuple(outcome.values()) for outcome in islice(outcomes, _CHUNK)]:
            yield Rows(columns, chunk)


def _cells(lines: Iterator[str], reading: Reading) -> Iterator[Rows]:
    records = _csv_records(lines, reading)
    columns = tuple(next(records, ()))
    _fields(dict.fromkeys(columns, ""), reading)
    yield Rows(columns, ())
    while chunk := [_values(columns, cells, reading) for cells in islice(records, _CHUNK)]:
        yield Rows(columns, chunk)


def _csv_records(lines: Iterator[str], reading: Reading) -> Iterator[list[str]]:
    try:
        for reading.line, cells in enumerate(csv.reader(lines, strict=True), 1):
            yield cells
    except csv.Error:
        reading.malformed("not CSV")


def _values(columns: tuple[str, ...], cells: list[str], reading: Reading) -> list[object]:
    """Return the values of a line; one of an earlier version has fewer, and an empty cell that was kept is NULL."""
    if not len(_FEWEST) <= len(cells) <= len(columns):
        reading.malformed(f"{len(cells)} fields, where the first line has {len(columns)}")
    values = [_value(column, cell) for column, cell in zip(columns, cells, strict=False)]
    return values + [None] * (len(columns) - len(cells))


def _value(column: str, cell: str) -> object:
    if column in _NUMBERS and cell.isdecimal():
        return int(cell)
    return text_of_cell(cell) if cell or column in _NEVER_NULL else None


def _fields(outcome: Any, reading: Reading) -> tuple[str, str]:
    found = (outcome.get("address"), outcome.get("status")) if isinstance(outcome, dict) else ()
    match found:
        case (str(address), str(status)):
            return address, status
    raise MeisaInputError(
        f"{reading.name} is not an outcomes file: a row has no address or no status. Nothing was written. Give a file "
        "that outcomes_path named."
    )
