"""The commands, as plain data: read by ``airflow meisa`` and by ``python -m airflow_provider_meisa.cli`` alike.

Every ``airflow`` call loads this module, so it loads nothing but the standard library.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

ABOUT = "Ask Meisa, and enroll files"
EXIT_STATUS = "Exit status: 0 all is fine, 1 it failed, 2 it cannot be done as asked, 130 Ctrl+C."

_HERE = "airflow_provider_meisa.cli"

_MOST_DIGITS = 10

Value = TypeVar("Value")


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


def taken(parameter: str, read: Callable[[str], object] = str) -> Callable[[str], Any]:
    """Make what reads an argument by the rule that the operators have for a parameter.

    :param parameter: its name in `operators.parameters`.
    :param read: makes a value of the text, and leaves what it cannot read to the rule.
    """

    def take(text: str) -> Any:
        from airflow_provider_meisa.operators.parameters import PARAMETERS

        return _checked(lambda: PARAMETERS[parameter](parameter, read(text)))

    take.parameter = parameter  # type: ignore[attr-defined]
    return take


def chosen(name: str, *choices: str) -> Callable[[str], str]:
    """Make what reads an argument that takes one of a few words."""

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
    """Read what names a column: its name, or its number from 0."""
    return int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else text


def _checked(check: Callable[[], Value]) -> Value:
    """Run a check, and let ``argparse`` say what it has found."""
    from airflow_provider_meisa.api.errors import MeisaInputError

    try:
        return check()
    except MeisaInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def delimiter(text: str) -> str:
    r"""Read what stands between cells; a tab may be spelled ``\t``."""
    return "\t" if text == r"\t" else text


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


def _switch(*flags: str, help: str) -> Argument:  # noqa: A002 (argparse's word)
    return _argument(*flags, help=help, action="store_true")


_CONNECTION = _argument(
    "--conn-id",
    help="the Airflow Connection (default: meisa_default)",
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
_VERBOSE = _switch("-v", "--verbose", help="tell on standard error what is being done")
_ASKING = (_CONNECTION, _OUTPUT, _VERBOSE)
_AUDIENCE = (
    _argument(
        "path", help="a local path, or a URI such as s3://bucket/file.csv", type=taken("path"), metavar="PATH"
    ),
    _argument(
        "--sequence",
        help="slug of an active sequence",
        type=taken("sequence_slug"),
        required=True,
        metavar="SLUG",
    ),
    _argument(
        "--column",
        help="name of the column, or its number from 0 (default: the only one, or email)",
        type=taken("email_column", column),
    ),
    _argument(
        "--format",
        help="csv, tsv, jsonl, lines or parquet (default: the file's name says)",
        type=taken("format"),
        metavar="FORMAT",
    ),
    _argument(
        "--encoding",
        help="of text, such as cp1252 (default: UTF-8)",
        type=taken("encoding"),
        default="utf-8-sig",
    ),
    _argument(
        "--delimiter",
        help="between the cells of CSV or TSV, such as ; or \\t (default: what the first line says)",
        type=taken("delimiter", delimiter),
        metavar="CHARACTER",
    ),
    _argument(
        "--quoting",
        help="standard, multiline or none: whether quotes enclose cells (default: standard in CSV, none in TSV)",
        type=taken("quoting"),
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
        "Say which sequences a contact is in",
        f"{_HERE}.queries.enrollments",
        (
            _argument("email", help="the contact's address; - reads it from standard input", metavar="EMAIL"),
            *_ASKING,
        ),
    ),
    Command(
        "rate-limits",
        "Say how many requests the rate limits leave; asks Meisa nothing",
        f"{_HERE}.queries.rate_limits",
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
                type=taken("max_failed", limit),
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
                help="write the status of each address there: .jsonl or .csv, or one of these and .gz",
                type=taken("outcomes_path"),
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
