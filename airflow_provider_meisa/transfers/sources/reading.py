"""One reading of one file: what is asked of it, how far it has come, and how its faults are worded."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.redaction import printable
from airflow_provider_meisa.transfers.sources.file_signature import check_signature

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.outcome_file import Location

FileFormat = Literal["csv", "tsv", "jsonl", "lines", "parquet"]

_UTF_8 = "utf-8-sig"  # Python's name for it with or without a byte order mark
# A longer line is read in pieces: a file that is one line must not fill the memory.
_LONGEST_LINE = 1 << 20
_BUFFER = 1 << 16


class Reading:
    """One reading of one file.

    :param place: the file.
    :param file_format: of the file.
    :param column: what names the column of addresses; ``None`` for the only one, or the one named ``email``.
    :param encoding: of text.
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

    def text(self, file: Any) -> Iterator[str]:
        """Return the lines of a file, with their endings.

        :raises MeisaInputError: if the file begins as no text of its format does, or the encoding is unknown.
        """
        buffered = io.BufferedReader(file, _BUFFER)
        try:
            text = io.TextIOWrapper(buffered, encoding=self.encoding, newline="")
        except LookupError as error:
            raise MeisaInputError(
                f"encoding must be one that Python knows, not {self.encoding!r}."
            ) from error
        check_signature(buffered.peek(_BUFFER), self.name, self.format, self.encoding)
        return iter(partial(text.readline, _LONGEST_LINE), "")

    def malformed(self, fault: str, *, line: int | None = None) -> NoReturn:
        """Refuse the file for a line, without its content.

        :param line: its number, if it is not the one that was read last.
        """
        number = self.line if line is None else line
        raise MeisaInputError(f"{self.name}, {self.unit} {number:,}: {fault}.") from None

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
        return f" after {self.unit} {self.line:,}" if self.line else ""
