"""Read the enrolled contacts of an outcomes file, which an earlier run has written."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.bulk.outcome_file import text_of_cell
from airflow_provider_meisa.transfers.sources.reading import Reading

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.location import Location

_ENROLLED = frozenset({OutcomeStatus.ENROLLED, OutcomeStatus.ALREADY_ENROLLED})


def read_enrolled(place: Location) -> Iterator[str]:
    """Yield the addresses with the status ``enrolled`` or ``already_enrolled``, and no others.

    :param place: the file: ``.csv`` or ``.jsonl``; gzip is decompressed.
    :raises MeisaInputError: if it is not an outcomes file.
    :raises MeisaUnreachableError: if it does not exist, or cannot be read.
    """
    is_csv = place.name.lower().removesuffix(".gz").endswith(".csv")
    reading = Reading(place, "csv" if is_csv else "jsonl", None, "utf-8")
    with reading.failures(), place.open("rb") as file, reading.unpacked(file) as unpacked:
        lines = reading.lines(unpacked)
        for outcome in csv.DictReader(lines) if is_csv else _records(lines, reading):
            address, status = _fields(outcome, reading)
            if status in _ENROLLED:
                yield text_of_cell(address) if is_csv else address


def _records(lines: Iterator[str], reading: Reading) -> Iterator[Any]:
    for reading.line, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            reading.malformed("not JSON")


def _fields(outcome: Any, reading: Reading) -> tuple[str, str]:
    found = (outcome.get("address"), outcome.get("status")) if isinstance(outcome, dict) else ()
    match found:
        case (str(address), str(status)):
            return address, status
    raise MeisaInputError(
        f"{reading.name} is not an outcomes file: a row has no address or no status. Nothing was written. Give a file "
        "that outcomes_path named, or leave out --outcomes."
    )
