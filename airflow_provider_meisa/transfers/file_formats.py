"""The addresses of a file, as a stream: CSV, JSON Lines, one address a line, Parquet; gzip on the fly."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow_provider_meisa.api.columns import column_index
from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.privacy import printable

if TYPE_CHECKING:
    from airflow_provider_meisa.api.outcome_file import Location

FileFormat = Literal["csv", "tsv", "jsonl", "lines", "parquet"]

_BY_SUFFIX: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "lines",
    ".parquet": "parquet",
}
_FORMATS = tuple(dict.fromkeys(_BY_SUFFIX.values()))
_DEFAULT_COLUMN = "email"
_UTF_8 = "utf-8-sig"  # Python's name for it with or without a byte order mark
# A longer line is read in pieces: a file that is one line must not fill the memory.
_LONGEST_LINE = 1 << 20
_PARQUET_CHUNK = 4_096


class Reading:
    """One reading of one file: what is asked of it, and how far it has come.

    :param place: the file.
    :param column: what names the column of addresses.
    :param encoding: of text.
    """

    def __init__(self, place: Location, column: str | int, encoding: str) -> None:
        self.name = printable(str(place))
        self.column = column
        self.encoding = encoding
        self.line = 0

    def text(self, file: Any) -> Iterator[str]:
        """Return the lines of a file, with their endings."""
        try:
            text = io.TextIOWrapper(file, encoding=self.encoding, newline="")
        except LookupError as error:
            raise MeisaInputError(
                f"encoding must be one that Python knows, not {self.encoding!r}."
            ) from error
        return iter(partial(text.readline, _LONGEST_LINE), "")

    def malformed(self, fault: str) -> NoReturn:
        """Refuse the file for a line, without its content."""
        raise MeisaInputError(f"{self.name}, line {self.line:,}: {fault}.") from None

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Say of what can go wrong with any file where it was, never what was there."""
        try:
            yield
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise MeisaInputError(f"{self.name}: the gzip is damaged or cut off{self._after()}.") from None
        except UnicodeError:
            encoding = "UTF-8" if self.encoding == _UTF_8 else self.encoding
            raise MeisaInputError(f"{self.name}: the text{self._after()} is not {encoding}.") from None
        except FileNotFoundError as error:
            raise MeisaUnreachableError(f"There is no file {self.name}.") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise MeisaUnreachableError(f"{self.name} cannot be read{self._after()}: {reason}.") from error

    def _after(self) -> str:
        return f" after line {self.line:,}" if self.line else ""


def read_addresses(
    place: Location, *, file_format: str | None, column: str | int | None, encoding: str
) -> Iterator[object]:
    """Read the addresses of a file in its order.

    :param place: the file; a name that ends in ``.gz`` is decompressed.
    :param file_format: ``csv``, ``tsv``, ``jsonl``, ``lines`` or ``parquet``; ``None``: by the name's suffix.
    :param column: see `FileToMeisaOperator`.
    :param encoding: of text.
    :raises MeisaInputError: if the format, the column or a line cannot be used.
    :raises MeisaUnreachableError: if there is no such file, or it cannot be read.
    """
    read = _READERS[_format_of(place.name, file_format)]
    reading = Reading(place, _DEFAULT_COLUMN if column is None else column, encoding)
    with reading.failures(), place.open("rb") as file:
        if place.name.endswith(".gz"):
            with gzip.open(file) as unpacked:
                yield from read(unpacked, reading)
        else:
            yield from read(file, reading)


def _format_of(name: str, chosen: str | None) -> str:
    suffix = "." + name.removesuffix(".gz").rpartition(".")[2].lower()
    found = chosen or _BY_SUFFIX.get(suffix)
    if found not in _FORMATS:
        raise MeisaInputError(
            f"format must be one of: {', '.join(_FORMATS)}. Without it, path must end in one of: "
            f"{', '.join(_BY_SUFFIX)}, or one of these and .gz."
        )
    return found


def _read_csv(file: Any, reading: Reading, *, delimiter: str = ",") -> Iterator[object]:
    rows = csv.reader(reading.text(file), delimiter=delimiter, strict=True)
    try:
        # The first row is the header, or with a numbered column a record like the others.
        first = next(rows, None)
        if first is None:
            return
        index, width = column_index(first, reading.column, source=reading.name), len(first)
        if isinstance(reading.column, int):
            yield first[index]
        for row in rows:
            if len(row) == width:
                yield row[index]
            elif row:
                reading.line = rows.line_num
                reading.malformed(f"{len(row)} fields, where the first line has {width}")
    except csv.Error:
        reading.line = rows.line_num
        reading.malformed("a quote is not closed, or the line is no CSV")
    finally:
        reading.line = rows.line_num


def _read_json_lines(file: Any, reading: Reading) -> Iterator[object]:
    key: str | None = None
    for number, line in enumerate(reading.text(file), 1):
        reading.line = number
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            reading.malformed("no JSON")
        if type(record) is not dict:
            yield record
            continue
        if key is None:
            # Of the first record the key is demanded; a later one without it is a record without an address.
            names = list(record)
            key = names[
                column_index(names, _name(reading.column), source=f"{reading.name}, line {reading.line:,}")
            ]
        yield record.get(key)


def _name(column: str | int) -> str:
    if isinstance(column, int):
        raise MeisaInputError("JSON Lines have no numbered columns; give email_column a name.")
    return column


def _read_lines(file: Any, reading: Reading) -> Iterator[object]:
    for number, line in enumerate(reading.text(file), 1):
        reading.line = number
        if address := line.strip():
            yield address


def _read_parquet(file: Any, reading: Reading) -> Iterator[object]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MeisaInputError("To read Parquet, install airflow-provider-meisa[parquet].") from error
    try:
        table = ParquetFile(file)
        names = table.schema_arrow.names
        index = column_index(names, reading.column, source=reading.name)
        for batch in table.iter_batches(batch_size=_PARQUET_CHUNK, columns=[names[index]]):
            values = batch.column(0).to_pylist()
            yield from values
            reading.line += len(values)
    except ArrowException as error:
        # Arrow's own text is left out: it may hold what it could not read.
        raise MeisaInputError(
            f"{reading.name} is no Parquet file, or damaged: {type(error).__name__}."
        ) from None


_READERS: dict[str, Callable[[Any, Reading], Iterator[object]]] = {
    "csv": _read_csv,
    "tsv": partial(_read_csv, delimiter="\t"),
    "jsonl": _read_json_lines,
    "lines": _read_lines,
    "parquet": _read_parquet,
}
