"""Detect the type of a file by its first bytes: the suffix ``.csv`` does not make it CSV."""

from __future__ import annotations

import gzip
import re

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.transfers.sources.encodings import encoding_of

_EXPECTED = {"csv": "CSV", "tsv": "TSV", "jsonl": "JSON Lines", "lines": "a list of addresses"}
_EXPORT = "Export the addresses as CSV"
_UNPACK = "Decompress it, or compress it with gzip"
# https://en.wikipedia.org/wiki/List_of_file_signatures
_SIGNATURES = (
    (b"\x1f\x8b", "gzip within gzip", "Decompress it once"),
    (b"PK\x03\x04", "a ZIP archive, such as an Excel workbook (.xlsx)", f"{_EXPORT}, or unpack it"),
    (b"PK\x05\x06", "an empty ZIP archive", _EXPORT),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Office document, such as an Excel workbook (.xls)",
        _EXPORT,
    ),
    (b"PAR1", "Parquet", "Set format to 'parquet'"),
    (b"PARE", "encrypted Parquet", "Write it without encryption"),
    (b"%PDF-", "a PDF", _EXPORT),
    (rb"{\rtf", "an RTF document", _EXPORT),
    (b"BZh", "bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "Zstandard", _UNPACK),
    (b"\x04\x22\x4d\x18", "LZ4", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it"),
    (b"Obj\x01", "Avro", f"{_EXPORT} or Parquet"),
    (b"ORC", "ORC", f"{_EXPORT} or Parquet"),
    (b"ARROW1", "an Arrow or Feather file", f"{_EXPORT} or Parquet"),
    (b"\x89HDF\r\n\x1a\n", "HDF5", f"{_EXPORT} or Parquet"),
    (b"SQLite format 3\x00", "a SQLite database", "Read it with SqlToMeisaSequenceOperator"),
    (b"\x80\x04\x95", "a Python pickle", f"{_EXPORT} or Parquet"),
    (b"\x80\x05\x95", "a Python pickle", f"{_EXPORT} or Parquet"),
)
_PLAIN = b"\t\r\n" + bytes(range(0x20, 0x100))
_TAR = slice(257, 262), b"ustar"
# A tag, a declaration or a comment; "<ada@example.com>" is none of them.
_MARKUP = re.compile(r"<(?:[!?][a-z-]|[a-z][\w:-]*[\s/>])", re.IGNORECASE)
_JSON = re.compile(r'\{\s*["}]|\[\s*["{\[\]]')
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_BLANK = "\ufeff \t\r\n\f\v"


def check_signature(head: bytes, name: str, file_format: str, encoding: str) -> None:
    """Check that a file does not begin like a file of another type.

    :param head: the first bytes.
    :param name: the name of the file, for the message.
    :raises MeisaInputError: if it does; the message names the type and the remedy.
    """
    found = _binary(head) or _other_text(head.decode(encoding, "ignore"), file_format)
    if found:
        what, cure = found
        raise MeisaInputError(f"{name} is not {_EXPECTED[file_format]}: it is {what}. {cure}.")


def check_is_text(head: bytes, encoding: str) -> None:
    """Check that a file that should be gzip begins like text or another known type.

    :raises gzip.BadGzipFile: if it does not: then it is damaged gzip.
    """
    if _binary(head) is None and _CONTROL.search(head.decode(encoding_of(head, encoding), "ignore")):
        raise gzip.BadGzipFile


def _binary(head: bytes) -> tuple[str, str] | None:
    for signature, what, cure in _SIGNATURES:
        # A text may begin with "ORC" or "PAR1" as well; in a binary file, other bytes follow soon.
        if head.startswith(signature) and not (signature.isalnum() and _is_plain(head)):
            return what, cure
    place, mark = _TAR
    return ("a tar archive", "Unpack it") if head[place] == mark else None


def _is_plain(head: bytes) -> bool:
    return not head.translate(None, _PLAIN)


def _other_text(text: str, file_format: str) -> tuple[str, str] | None:
    begin = text.lstrip(_BLANK)
    if _MARKUP.match(begin):
        return "an HTML or XML page", "Open it in a browser: it may be an error or a login page"
    if file_format != "jsonl" and _JSON.match(begin):
        return "JSON", "Set format to 'jsonl'"
    if "\0" in text:
        return "binary, or text in another encoding", f"{_EXPORT}, or set encoding"
    return None
