"""The commands as plain data, for both ``airflow meisa`` and ``python -m airflow_provider_meisa.cli``.

Every ``airflow`` call imports this module, so it imports only the standard library.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

ABOUT = "Query Meisa, enroll contacts from files, and manage ledgers"
EXIT_STATUS = "Exit status: 0 success, 1 failure, 2 invalid option, connection or file, 130 Ctrl+C."

_HERE = "airflow_provider_meisa.cli"

_MOST_DIGITS = 10

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command.

    :param flags: its spellings; a single one without dashes is positional.
    :param options: keyword arguments for ``add_argument``.
    """

    flags: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    :param name: the word that you type.
    :param help: what the command does, in a few words.
    :param function: dotted path of the function, imported when the command runs.
    :param arguments: its arguments, in order.
    :param epilog: what its exit status means.
    """

    name: str
    help: str
    function: str
    arguments: tuple[Argument, ...]
    epilog: str = EXIT_STATUS


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under one word.

    :param name: the word that you type before theirs.
    :param help: what they are for, in a few words.
    :param commands: the commands.
    """

    name: str
    help: str
    commands: tuple[Command, ...]


def taken(parameter: str, read: Callable[[str], object] = str) -> Callable[[str], Any]:
    """Return an ``argparse`` type that checks an argument as the operators check a parameter.

    :param parameter: its name in `operators.parameters`.
    :param read: converts the text to a value; returns text it cannot convert, for the check to reject.
    """

    def take(text: str) -> Any:
        from airflow_provider_meisa.operators.parameters import PARAMETERS

        return _checked(lambda: PARAMETERS[parameter](parameter, read(text)))

    take.parameter = parameter  # type: ignore[attr-defined]
    return take


def chosen(name: str, *choices: str) -> Callable[[str], str]:
    """Return an ``argparse`` type that accepts one of a few words."""

    def choose(text: str) -> str:
        from airflow_provider_meisa.api.checks import check_choice

        return _checked(lambda: check_choice(name, text, choices))

    return choose


def limit(text: str) -> object:
    """Read a number of addresses, a share of them such as ``0.01``, or ``none``."""
    if text.lower() == "none":
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def column(text: str) -> str | int:
    """Read a column: its name, or its number from 0."""
    return int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else text


def _checked(check: Callable[[], Value]) -> Value:
    """Run a check, and raise its message as an error of ``argparse``."""
    from airflow_provider_meisa.api.errors import MeisaInputError

    try:
        return check()
    except MeisaInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def delimiter(text: str) -> str:
    r"""Read a delimiter; a tab may be written ``\t``."""
    return "\t" if text == r"\t" else text


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


def _switch(*flags: str, help: str) -> Argument:  # noqa: A002 (argparse's word)
    return _argument(*flags, help=help, action="store_true")


_CONNECTION = _argument(
    "--conn-id",
    help="id of the Airflow connection (default: meisa_default)",
    type=taken("meisa_conn_id"),
    default="meisa_default",
)
_OUTPUT = _argument(
    "-o",
    "--output",
    help="table, json, yaml or plain (default: table)",
    metavar="(table, json, yaml, plain)",
    type=chosen("output", "table", "json", "yaml", "plain"),
    default="table",
)
_VERBOSE = _switch("-v", "--verbose", help="log each request and each batch to standard error")
_ASKING = (_CONNECTION, _OUTPUT, _VERBOSE)
_SEQUENCE = _argument(
    "--sequence",
    help="slug of an active sequence",
    type=taken("sequence_slug"),
    required=True,
    metavar="SLUG",
)
_YES = _switch("-y", "--yes", help="do not ask for confirmation")
_SHAPE = (
    _argument(
        "--column",
        help="name of the column, or its number from 0 (default: the only one, or email)",
        type=taken("email_column", column),
    ),
    _argument(
        "--format",
        help="csv, tsv, jsonl, lines or parquet (default: taken from the file's name)",
        type=taken("format"),
        metavar="FORMAT",
    ),
    _argument(
        "--encoding",
        help="encoding of a text file, such as cp1252 (default: UTF-8)",
        type=taken("encoding"),
        default="utf-8-sig",
    ),
    _argument(
        "--delimiter",
        help="delimiter of a CSV or TSV file, such as ; or \\t (default: taken from the first line)",
        type=taken("delimiter", delimiter),
        metavar="CHARACTER",
    ),
    _argument(
        "--quoting",
        help="whether quotes enclose cells: standard, multiline or none (default: standard in CSV, none in TSV)",
        type=taken("quoting"),
        metavar="QUOTING",
    ),
)
_AUDIENCE = (
    _argument(
        "path", help="a local path, or a URI such as s3://bucket/file.csv", type=taken("path"), metavar="PATH"
    ),
    _SEQUENCE,
    *_SHAPE,
)

_LEDGER = _argument(
    "ledger", help="name of the ledger, as in a task's ledger", type=taken("ledger"), metavar="LEDGER"
)
_RECORDS = _argument(
    "path",
    help="a path or URI of a file of addresses or ids; - reads one a line from standard input",
    type=taken("path"),
    metavar="PATH",
)
_LEDGER_COMMANDS = (
    Command(
        "show",
        "Show the entries of a ledger by state, and the runs that wrote it",
        f"{_HERE}.ledger.show_ledger",
        (_LEDGER, _OUTPUT, _VERBOSE),
    ),
    Command(
        "export",
        "Write the hash, the state and the minute of each entry to standard output",
        f"{_HERE}.ledger.export",
        (
            _LEDGER,
            _argument(
                "-o",
                "--output",
                help="csv or jsonl (default: csv)",
                metavar="(csv, jsonl)",
                type=chosen("output", "csv", "jsonl"),
                default="csv",
            ),
            _VERBOSE,
        ),
    ),
    Command(
        "record",
        "Record the contacts of a file as enrolled, without a request for them",
        f"{_HERE}.ledger.record",
        (
            _LEDGER,
            _RECORDS,
            _SEQUENCE,
            _argument(
                "--record-id",
                help="the task's record_id; PATH has ids in this column (default: it has addresses)",
                type=taken("record_id"),
                metavar="COLUMN",
            ),
            _switch("--outcomes", help="PATH is an outcomes file: record its enrolled contacts only"),
            *_SHAPE,
            _YES,
            *_ASKING,
        ),
    ),
    Command(
        "clear",
        "Let later runs send records again: those of a run, or of a file",
        f"{_HERE}.ledger.clear",
        (
            _LEDGER,
            Argument(_RECORDS.flags, {**_RECORDS.options, "nargs": "?"}),
            _argument("--run", help="a run, as `ledger show` names it"),
            *_SHAPE,
            _YES,
            _OUTPUT,
            _VERBOSE,
        ),
    ),
    Command(
        "forget",
        "Never send records again: a person has the right to be forgotten",
        f"{_HERE}.ledger.forget",
        (_LEDGER, _RECORDS, *_SHAPE, _YES, _OUTPUT, _VERBOSE),
    ),
    Command(
        "compact",
        "Write the parts of a ledger as one",
        f"{_HERE}.ledger.compact",
        (_LEDGER, _OUTPUT, _VERBOSE),
    ),
)

SANDBOX = (
    _argument("--host", help="address to listen on (default: 127.0.0.1)"),
    _argument("--port", help="port to listen on (default: a free one)", type=int),
    _argument("--database", help="SQLite file for all data (default: a temporary file)"),
    _argument("--rate-limits", help="limits per key, such as 5/10s; none for no limit", metavar="LIMITS"),
    _argument("--latency", help="minimum duration of a request in milliseconds", type=float, metavar="MS"),
    _argument(
        "--key",
        help="another API key and its scopes; without =, it has all scopes; repeatable",
        action="append",
        metavar="KEY=SCOPE,...",
    ),
    _switch("--allow-public", help="allow an address that other machines can reach"),
)
"""The options of ``python -m airflow_provider_meisa.sandbox``; its own help explains them further."""

COMMANDS: tuple[Command | Group, ...] = (
    Command(
        "ping",
        "Check the connection; show its API key's environment, scopes and missing scopes",
        f"{_HERE}.queries.ping",
        _ASKING,
    ),
    Command(
        "sequences",
        "List sequences",
        f"{_HERE}.queries.sequences",
        (
            _argument(
                "--status",
                help="active or all (default: active)",
                type=chosen("status", "active", "all"),
                default="active",
            ),
            _argument("--search", help="part of a name", default="", metavar="TEXT"),
            *_ASKING,
        ),
    ),
    Command(
        "enrollments",
        "List the sequences of a contact",
        f"{_HERE}.queries.enrollments",
        (
            _argument("email", help="the contact's address; - reads it from standard input", metavar="EMAIL"),
            *_ASKING,
        ),
    ),
    Command(
        "rate-limits",
        "Show the requests left in each rate limit; sends no request",
        f"{_HERE}.queries.rate_limits",
        _ASKING,
    ),
    Command(
        "preview",
        "Show what enrolling a file would send, and send nothing",
        f"{_HERE}.enrollment.preview",
        (
            *_AUDIENCE,
            *_ASKING,
        ),
    ),
    Command(
        "enroll-file",
        "Enroll the contacts of a file, and report the status of each",
        f"{_HERE}.enrollment.enroll_file",
        (
            *_AUDIENCE,
            _YES,
            _argument(
                "--max-failed",
                help="how many failed and unreported addresses to accept: a number, a share such as 0.01, or none "
                "(default: 0)",
                type=taken("max_failed", limit),
                default=0,
                metavar="LIMIT",
            ),
            _switch(
                "--skip-suppressed", help="ask Meisa first who unsubscribed, and leave these contacts out"
            ),
            _switch(
                "--override-unsubscribe",
                help="enroll unsubscribed contacts as well; the connection must allow it",
            ),
            _argument(
                "--outcomes-path",
                help="write the status of each address to this file: .jsonl or .csv, or one of these and .gz",
                type=taken("outcomes_path"),
                metavar="PATH",
            ),
            _switch(
                "--rejects-only",
                help="leave enrolled contacts, already enrolled ones and duplicates out of that file",
            ),
            _argument(
                "--resume-file",
                help="keep the progress in this file, and resume from it after an interruption",
                metavar="PATH",
            ),
            *_ASKING,
        ),
    ),
    Group("ledger", "Show, export and change ledgers", _LEDGER_COMMANDS),
    Command(
        "probe",
        "Send each documented request once with a test key; report shapes of the responses, without values",
        f"{_HERE}.probe.probe",
        (
            _argument(
                "--sequence",
                help="slug of an active sequence, for two made-up contacts",
                type=taken("sequence_slug"),
                required=True,
                metavar="SLUG",
            ),
            _CONNECTION,
            _VERBOSE,
        ),
    ),
    Command(
        "sandbox",
        "Start a sandbox of Meisa on this machine; it sends no e-mail",
        f"{_HERE}.sandbox.sandbox",
        SANDBOX,
        epilog="Exit status: 0 stopped by a signal, 1 cannot run.",
    ),
)
