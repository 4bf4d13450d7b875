"""The commands, as plain data: read by ``airflow meisa`` and by ``python -m airflow_provider_meisa.cli`` alike.

Every ``airflow`` call loads this module, so it loads nothing but the standard library.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ABOUT = "Ask Meisa, and enroll files"
EXIT_STATUS = "Exit status: 0 all is fine, 1 it failed, 2 it cannot be done as asked, 130 Ctrl+C."

_HERE = "airflow_provider_meisa.cli"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command.

    :param flags: its spellings; a single one without dashes is positional.
    :param options: what ``argparse`` is told of it.
    """

    flags: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    :param name: what is typed.
    :param help: what it does, in a few words.
    :param function: dotted path of what carries it out, loaded when it is needed.
    :param arguments: what it takes.
    :param epilog: what its exit status means.
    """

    name: str
    help: str
    function: str
    arguments: tuple[Argument, ...]
    epilog: str = EXIT_STATUS


def share(text: str) -> float | None:
    """Read the most failures that are fine: a number of addresses, a share of them such as ``0.01``, or ``none``.

    :raises argparse.ArgumentTypeError: if it is none of these.
    """
    if text.lower() == "none":
        return None
    try:
        limit = int(text) if text.isdecimal() else float(text)
    except ValueError:
        limit = -1
    if limit < 0 or (isinstance(limit, float) and not limit <= 1):
        raise argparse.ArgumentTypeError(
            "give a number of addresses, a share of them from 0.0 to 1.0, or none"
        )
    return limit


def column(text: str) -> str | int:
    """Read what names a column: its name, or its number from 0."""
    return int(text) if text.isdecimal() else text


def delimiter(text: str) -> str:
    r"""Read what stands between cells; a tab may be spelled ``\t``."""
    return "\t" if text == r"\t" else text


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


def _switch(*flags: str, help: str) -> Argument:  # noqa: A002 (argparse's word)
    return _argument(*flags, help=help, action="store_true")


_CONNECTION = _argument(
    "--conn-id", help="the Airflow Connection (default: meisa_default)", default="meisa_default"
)
_OUTPUT = _argument(
    "-o",
    "--output",
    help="table, json, yaml or plain (default: table)",
    metavar="(table, json, yaml, plain)",
    choices=("table", "json", "yaml", "plain"),
    default="table",
)
_VERBOSE = _switch("-v", "--verbose", help="tell on standard error what is being done")
_ASKING = (_CONNECTION, _OUTPUT, _VERBOSE)
_AUDIENCE = (
    _argument("path", help="a local path, or a URI such as s3://bucket/file.csv", metavar="PATH"),
    _argument("--sequence", help="slug of an active sequence", required=True, metavar="SLUG"),
    _argument(
        "--column",
        help="name of the column, or its number from 0 (default: the only one, or email)",
        type=column,
    ),
    _argument(
        "--format",
        help="csv, tsv, jsonl, lines or parquet (default: the file's name says)",
        choices=("csv", "tsv", "jsonl", "lines", "parquet"),
        metavar="FORMAT",
    ),
    _argument("--encoding", help="of text, such as cp1252 (default: UTF-8)", default="utf-8-sig"),
    _argument(
        "--delimiter",
        help="between the cells of CSV or TSV, such as ; or \\t (default: what the first line says)",
        type=delimiter,
        metavar="CHARACTER",
    ),
    _argument(
        "--quoting",
        help="standard, multiline or none: whether quotes enclose cells (default: standard in CSV, none in TSV)",
        choices=("standard", "multiline", "none"),
        metavar="QUOTING",
    ),
)

SANDBOX = (
    _argument("--host", help="address to listen on (default: 127.0.0.1)"),
    _argument("--port", help="port to listen on (default: a free one)", type=int),
    _argument("--database", help="SQLite file to keep everything in (default: a temporary one)"),
    _argument("--rate-limits", help="limits per key, like 5/10s; none for no limit", metavar="LIMITS"),
    _argument("--latency", help="milliseconds every request takes at least", type=float, metavar="MS"),
    _argument(
        "--key",
        help="another key and its scopes, all without =; may be given again",
        action="append",
        metavar="KEY=SCOPE,...",
    ),
    _switch("--allow-public", help="permit an address that other machines can reach"),
)
"""What ``python -m airflow_provider_meisa.sandbox`` takes, which says more about each."""

COMMANDS = (
    Command(
        "ping",
        "Say which key the connection has, and what the key may not do",
        f"{_HERE}.questions.ping",
        _ASKING,
    ),
    Command(
        "sequences",
        "List sequences",
        f"{_HERE}.questions.sequences",
        (
            _argument(
                "--status",
                help="active or all (default: active)",
                choices=("active", "all"),
                default="active",
            ),
            _argument("--search", help="part of a name", default="", metavar="TEXT"),
            *_ASKING,
        ),
    ),
    Command(
        "enrollments",
        "Say which sequences a contact is in",
        f"{_HERE}.questions.enrollments",
        (
            _argument("email", help="the contact's address; - reads it from standard input", metavar="EMAIL"),
            *_ASKING,
        ),
    ),
    Command(
        "quota",
        "Say how many requests the rate limits leave; asks Meisa nothing",
        f"{_HERE}.questions.quota",
        _ASKING,
    ),
    Command(
        "preview",
        "Say what enrolling a file would send, and send nothing",
        f"{_HERE}.enrollment.preview",
        (
            *_AUDIENCE,
            *_ASKING,
        ),
    ),
    Command(
        "enroll-file",
        "Enroll the contacts of a file, and account for each",
        f"{_HERE}.enrollment.enroll_file",
        (
            *_AUDIENCE,
            _switch("-y", "--yes", help="do not ask before sending"),
            _argument(
                "--max-failed",
                help="most failed and unreported addresses: a number, a share such as 0.01, or none (default: 0)",
                type=share,
                default=0,
                metavar="LIMIT",
            ),
            _switch("--skip-suppressed", help="ask Meisa first who unsubscribed, and do not send them"),
            _switch(
                "--override-unsubscribe",
                help="enroll even who unsubscribed; the connection must allow it",
            ),
            _argument(
                "--outcomes-path",
                help="write the verdict of each address there: .jsonl or .csv, or one of these and .gz",
                metavar="PATH",
            ),
            _switch("--rejects-only", help="leave out of it who was enrolled, before or now, and duplicates"),
            _argument(
                "--resume-file",
                help="keep there how far it has come, and go on from there if it was interrupted",
                metavar="PATH",
            ),
            *_ASKING,
        ),
    ),
    Command(
        "sandbox",
        "Start a Meisa on this machine, which sends nothing to anybody",
        f"{_HERE}.sandbox.sandbox",
        SANDBOX,
        epilog="Exit status: 0 it was told to stop, 1 it cannot run.",
    ),
)
