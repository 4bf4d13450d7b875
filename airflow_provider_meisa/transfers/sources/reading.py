"""The state of reading one file, and its errors."""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.redaction import printable
from airflow_provider_meisa.transfers.sources.encodings import encoding_of, is_surprise, is_utf_8
from airflow_provider_meisa.transfers.sources.file_signature import check_is_text, check_signature

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.location import Location

log = logging.getLogger("airflow.task.meisa")

FileFormat = Literal["csv", "tsv", "jsonl", "lines", "parquet"]

LONGEST = 1 << 24
"""The most characters of a line, a cell or a record: a file of one line must not fill the memory."""

_PIECE = 1 << 20
_BUFFER = 1 << 16
_LINE_ENDS = "\r\n"
_MARK = "\ufeff"  # the decoded byte order mark
_GZIP = b"\x1f\x8b"


class Reading:
    """Reads one file once.

    :param place: the file.
    :param file_format: its format.
    :param column: the column of addresses; ``None`` for the only one, or the one named ``email``.
    :param encoding: the encoding of text.
    """

    def __init__(
        self, place: Location, file_format: FileFormat, column: str | int | None, encoding: str
    ) -> None:
        self.name = printable(str(place))
        self.format = file_format
        self.column = column
        self.encoding = encoding
        self.unit = "line"
        self.line = 0

    @contextmanager
    def unpacked(self, file: IO[bytes]) -> Iterator[IO[bytes]]:
        """Decompress the file if it is gzip, whatever its name."""
        buffered = io.BufferedReader(file, _BUFFER)  # type: ignore[type-var]  # files of fsspec are read in the same way
        head = buffered.peek(_BUFFER)
        if head.startswith(_GZIP):
            with gzip.open(buffered) as unpacked:
                yield unpacked  # type: ignore[misc]  # it behaves like one
            return
        if self.name.lower().endswith(".gz") and self.format != "parquet":
            check_is_text(head, self.encoding)
        yield buffered

    def lines(self, file: Any) -> Iterator[str]:
        """Return the lines of a file, with their endings.

        :raises MeisaInputError: as in `pieces`, and if a line is too long.
        """
        return self.whole_lines(self.pieces(file))

    def pieces(self, file: Any) -> Iterator[str]:
        """Return the lines of a file, with their endings, long ones in pieces, without byte order marks.

        :raises MeisaInputError: if the file does not begin like a text of its format.
        """
        buffered = io.BufferedReader(file, _BUFFER)
        head = buffered.peek(_BUFFER)
        found = encoding_of(head, self.encoding)
        if is_surprise(found, self.encoding):
            log.info("%s: read as %s, as its first bytes show", self.name, found.upper())
        self.encoding = found
        check_signature(head, self.name, self.format, self.encoding)
        text = io.TextIOWrapper(buffered, encoding=self.encoding, newline="")
        return self._without_marks(iter(partial(text.readline, _PIECE), ""))

    def _without_marks(self, lines: Iterator[str]) -> Iterator[str]:
        """Remove byte order marks; joined files have several."""
        first = ""
        for line in lines:
            kept = self._joined(line, first) if _MARK in line else line
            first = first or kept.strip()
            if kept:
                yield kept

    def _joined(self, line: str, first: str) -> str:
        """Read a line with a mark; if the rest of the line is the header again, it is not a row."""
        has_header = first and self.format in ("csv", "tsv") and not isinstance(self.column, int)
        before, _, behind = line.rpartition(_MARK)
        if has_header and behind.strip() == first:
            return before.strip(_MARK) + "\n"
        return line.lstrip(_MARK)

    def whole_lines(self, pieces: Iterator[str], begin: int = 1) -> Iterator[str]:
        """Join the pieces of long lines.

        :param begin: the number of the first line.
        :raises MeisaInputError: if one is longer than `LONGEST`.
        """
        for number, piece in enumerate(pieces, begin):
            yield piece if piece[-1] in _LINE_ENDS else self._whole_line(piece, pieces, number)

    def _whole_line(self, piece: str, pieces: Iterator[str], number: int) -> str:
        found = [piece]
        while found[-1][-1] not in _LINE_ENDS and (piece := next(pieces, "")):
            found.append(piece)
            if len(found) * _PIECE > LONGEST:
                self.malformed(f"a line of more than {LONGEST:,} characters", line=number)
        return "".join(found)

    def malformed(self, fault: str, *, line: int | None = None) -> NoReturn:
        """Raise an error about a line, without its content.

        :param line: its number; by default that of the last line.
        """
        number = self.line if line is None else line
        raise MeisaInputError(f"{self.name}, {self.unit} {number:,}: {fault}.") from None

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Convert errors of reading; the messages have the place, not the content."""
        try:
            yield
        except LookupError:
            raise MeisaInputError(f"encoding must be one that Python knows, not {self.encoding!r}.") from None
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise MeisaInputError(f"{self.name}: the gzip is damaged or cut off{self._after()}.") from None
        except UnicodeError:
            encoding = "UTF-8" if is_utf_8(self.encoding) else self.encoding
            raise MeisaInputError(f"{self.name}: the text{self._after()} is not {encoding}.") from None
        except FileNotFoundError as error:
            raise MeisaUnreachableError(f"There is no file {self.name}.") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise MeisaUnreachableError(f"{self.name} cannot be read{self._after()}: {reason}.") from error

    def _after(self) -> str:
        return f" after {self.unit} {self.line:,}" if self.line else ""
