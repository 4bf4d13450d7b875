"""The rows of a file, or its addresses, as a stream: CSV, JSON Lines, one address a line, Parquet; gzip on the fly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.columns import address_column
from airflow_provider_meisa.bulk.rows import Rows
from airflow_provider_meisa.transfers.sources.delimited import (
    check_dialect,
    read_delimited,
    read_delimited_rows,
)
from airflow_provider_meisa.transfers.sources.json_records import read_json, read_json_objects
from airflow_provider_meisa.transfers.sources.reading import Reading

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.location import Location
    from airflow_provider_meisa.transfers.sources.delimited import Quoting
    from airflow_provider_meisa.transfers.sources.reading import FileFormat

_BY_SUFFIX: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "lines",
    ".parquet": "parquet",
}
_FORMATS = tuple(dict.fromkeys(_BY_SUFFIX.values()))
_PARQUET_CHUNK = 4_096
_ROWS = 2_000
_TEXTS = ("string", "large_string", "string_view", "null")
_BYTES = ("binary", "large_binary", "binary_view")
_DELIMITER = re.compile(r"[,;\t]")
_TWO_ADDRESSES = re.compile(r"\S@\S+\s+\S+@\S")


def read_addresses(
    place: Location,
    *,
    file_format: str | None,
    column: str | int | None,
    encoding: str,
    delimiter: str | None = None,
    quoting: Quoting | None = None,
) -> Iterator[object]:
    """Read the addresses of a file in its order.

    :param place: the file; gzip is decompressed, whatever the name.
    :param file_format: ``csv``, ``tsv``, ``jsonl``, ``lines`` or ``parquet``; ``None``: by the name's suffix.
    :param column: see `FileToMeisaSequenceOperator`, as for the other parameters.
    :param encoding: the encoding of text.
    :param delimiter: the character between the cells of CSV and TSV.
    :param quoting: whether quotes enclose cells.
    :raises MeisaInputError: if the format, the column or a line cannot be used.
    :raises MeisaUnreachableError: if the file does not exist, or cannot be read.
    """
    found = format_of(place.name, file_format)
    check_dialect(found, delimiter, quoting)
    reading = Reading(place, found, column, encoding)

    def read(file: Any) -> Iterator[object]:
        if found in ("csv", "tsv"):
            return read_delimited(file, reading, delimiter=delimiter, quoting=quoting)
        return {"jsonl": read_json, "lines": _read_lines, "parquet": _read_parquet}[found](file, reading)

    with reading.failures(), place.open("rb") as file, reading.unpacked(file) as unpacked:
        yield from read(unpacked)


def read_rows(
    place: Location,
    *,
    file_format: str | None,
    email_column: str,
    encoding: str,
    delimiter: str | None = None,
    quoting: Quoting | None = None,
) -> Iterator[Rows | Mapping[str, object]]:
    """Read the rows of a file in its order, with all their columns. An empty cell of CSV is NULL.

    :param place: the file; gzip is decompressed, whatever the name says.
    :param file_format: ``csv``, ``tsv``, ``jsonl`` or ``parquet``; ``None``: by the name's suffix.
    :param email_column: the column of the addresses, which helps to find a quote that is not closed.
    :param encoding: of text, as the others see `FileToMeisaContactsOperator`.
    :raises MeisaInputError: if the format or a line cannot be used.
    :raises MeisaUnreachableError: if there is no such file, or it cannot be read.
    """
    found = format_of(place.name, file_format)
    if found == "lines":
        raise MeisaInputError("A file of lines has addresses only. Set format to csv, tsv, jsonl or parquet.")
    check_dialect(found, delimiter, quoting)
    reading = Reading(place, found, email_column, encoding)

    def read(file: Any) -> Iterator[Rows | Mapping[str, object]]:
        if found in ("csv", "tsv"):
            return _cells(read_delimited_rows(file, reading, delimiter=delimiter, quoting=quoting))
        return read_json_objects(file, reading) if found == "jsonl" else _parquet_rows(file, reading)

    with reading.failures(), place.open("rb") as file, reading.unpacked(file) as unpacked:
        yield from read(unpacked)


def _cells(rows: Iterator[list[str]]) -> Iterator[Rows]:
    header = next(rows, None)
    if header is None:
        return
    columns = tuple(cell.strip() for cell in header)
    yield Rows(columns, ())
    while chunk := [[cell or None for cell in row] for row in islice(rows, _ROWS)]:
        yield Rows(columns, chunk)


def format_of(name: str, chosen: str | None) -> FileFormat:
    """Return the chosen format of a file, or the one of its name.

    :raises MeisaInputError: if the format is not known.
    """
    suffix = "." + name.lower().removesuffix(".gz").rpartition(".")[2]
    found = chosen or _BY_SUFFIX.get(suffix)
    for known in _FORMATS:
        if found == known:
            return known
    raise MeisaInputError(
        f"format must be one of: {', '.join(_FORMATS)}. Without it, path must end in one of: "
        f"{', '.join(_BY_SUFFIX)}, or one of these and .gz."
    )


def _read_lines(file: Any, reading: Reading) -> Iterator[object]:
    is_first = True
    for number, address in _stripped_lines(file, reading):
        reading.line = number
        has_cells = _DELIMITER.search(address) is not None
        # An address may hold a pipe, but the first of a list hardly does.
        if is_first and (has_cells or "|" in address):
            _refuse_cells(reading)
        if "@" in address and (has_cells or _TWO_ADDRESSES.search(address)):
            _refuse_cells(reading)
        is_first = False
        yield address


def _stripped_lines(file: Any, reading: Reading) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(reading.pieces(file), 1):
        for text in line.split("\ufeff"):  # joined files without a line break at their end
            if address := text.strip():
                yield number, address


def _refuse_cells(reading: Reading) -> None:
    reading.malformed(
        "it holds more than an address; write one address a line, or set format to 'csv' and name its "
        "email_column"
    )


def _read_parquet(file: Any, reading: Reading) -> Iterator[object]:
    with _arrow_failures(reading) as parquet_file:
        table = parquet_file(file)
        names = table.schema_arrow.names
        index = address_column(names, reading.column, source=reading.name)
        are_bytes = _are_bytes(table.schema_arrow.types[index], reading)
        for batch in table.iter_batches(batch_size=_PARQUET_CHUNK, columns=[names[index]]):
            # For a name with a dot, its first part selects other columns as well.
            values = batch.column(_place_of(index, names, batch.schema.names)).to_pylist()
            yield from _decoded(values, reading) if are_bytes else values
            reading.line += len(values)


def _parquet_rows(file: Any, reading: Reading) -> Iterator[Rows]:
    with _arrow_failures(reading) as parquet_file:
        table = parquet_file(file)
        columns = tuple(table.schema_arrow.names)
        yield Rows(columns, ())
        for batch in table.iter_batches(batch_size=_PARQUET_CHUNK):
            yield Rows(columns, list(zip(*(column.to_pylist() for column in batch.columns), strict=True)))


@contextmanager
def _arrow_failures(reading: Reading) -> Iterator[Any]:
    """Give pyarrow's ``ParquetFile``, and say what is wrong with a file without its content."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MeisaInputError("To read Parquet, install airflow-provider-meisa[parquet].") from error
    reading.unit = "row"
    try:
        yield ParquetFile
    except ArrowException as error:
        # Without Arrow's text, which may hold the data that it could not read.
        raise MeisaInputError(
            f"{reading.name} is not a Parquet file, or is damaged: {type(error).__name__}."
        ) from None


def _are_bytes(kind: Any, reading: Reading) -> bool:
    """Return whether a column's values are bytes and not text.

    :raises MeisaInputError: if they are neither; the message leaves out the names of fields in the type.
    """
    from pyarrow import DictionaryType

    name = str(kind.value_type if isinstance(kind, DictionaryType) else kind)
    if name in _TEXTS:
        return False
    if name in _BYTES or name.startswith("fixed_size_binary["):
        return True
    raise MeisaInputError(
        f"{reading.name}: the column for email_column is of type {name.partition('<')[0]}, not text. Set "
        "email_column to a column of text, or write the addresses into one: flatten structs and lists, one address a "
        "row."
    )


def _place_of(index: int, names: list[str], read: list[str]) -> int:
    """Find a column among those that were read, also if several have its name."""
    places = [place for place, name in enumerate(read) if name == names[index]]
    return places[names[:index].count(names[index])]


def _decoded(values: list[bytes | None], reading: Reading) -> Iterator[str | None]:
    for number, value in enumerate(values, reading.line + 1):
        try:
            yield None if value is None else value.decode()
        except UnicodeDecodeError:
            reading.malformed("bytes that are not text in UTF-8", line=number)
