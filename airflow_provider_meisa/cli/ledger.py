"""The commands ``ledger …``, which show and change a ledger in ``[meisa] ledger_path``."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.nouns import Noun, count
from airflow_provider_meisa.bulk.ledger import Entry, Ledger, State, Subject
from airflow_provider_meisa.bulk.ledger.value_sample import forget_values
from airflow_provider_meisa.bulk.run_ledger import subject_of
from airflow_provider_meisa.cli.connection import client_of
from airflow_provider_meisa.cli.ledger_records import STANDARD_INPUT, Selection, select, values_of
from airflow_provider_meisa.cli.output import ExitStatus, Row, ask, command, print_message, show
from airflow_provider_meisa.hooks import configuration
from airflow_provider_meisa.jobs.enroll import EnrollJob
from airflow_provider_meisa.operators.location import locate
from airflow_provider_meisa.transfers.sources.outcomes import read_enrolled

RECORD = Noun("record", "records")

_UNSENT = (None, State.CLEARED, State.FORGOTTEN)
_RECORDED = (State.RECORDED, State.PRESENT, State.ACCEPTED, State.FORGOTTEN)


@command
def show_ledger(options: Namespace) -> ExitStatus:
    """Show the subject of a ledger, its entries by state, and the runs that wrote it."""
    ledger = _opened(options)
    states = {state.name.lower(): number for state, number in sorted(ledger.count_by_state().items())}
    runs = _runs(ledger)
    if options.output in ("json", "yaml"):
        show([{**_facts(ledger), "states": states, "runs": runs}], options.output)
        return ExitStatus.FINE
    show([_facts(ledger)], options.output)
    show([{"state": state, "entries": number} for state, number in states.items()], options.output)
    show(runs, options.output)
    return ExitStatus.FINE


@command
def export(options: Namespace) -> ExitStatus:
    """Write the hash, the state and the minute of each entry to standard output."""
    ledger = _opened(options)
    line = _csv_line if options.output == "csv" else _json_line
    try:
        if options.output == "csv":
            sys.stdout.write("hash,state,minute\n")
        sys.stdout.writelines(line(f"{record_hash:016x}", entry) for record_hash, entry in ledger.entries())
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitStatus.FINE


def _csv_line(record_hash: str, entry: Entry) -> str:
    return f"{record_hash},{entry.state.name.lower()},{_minute_of(entry) or ''}\n"


def _json_line(record_hash: str, entry: Entry) -> str:
    row = {"hash": record_hash, "state": entry.state.name.lower(), "minute": _minute_of(entry)}
    return f"{json.dumps(row)}\n"


def _minute_of(entry: Entry) -> str | None:
    """Return when an entry was written; ``None`` for a forgotten record, which does not keep it."""
    if entry.state is State.FORGOTTEN:
        return None
    return f"{datetime.fromtimestamp(entry.written_at, UTC):%Y-%m-%dT%H:%MZ}"


@command
def record(options: Namespace) -> ExitStatus:
    """Record the contacts of a file as enrolled; the only request is ``GET /ping/``."""
    if options.outcomes and options.record_id is not None:
        raise MeisaInputError(
            "An outcomes file has addresses, and no column for --record-id. Nothing was written. Leave one of both out."
        )
    _check_can_ask(options)
    with client_of(options.conn_id) as client:
        subject = subject_of(EnrollJob(options.sequence, id_column=options.record_id), client)
    ledger = Ledger.open(
        locate(configuration.ledger_path()), options.ledger, subject, secret=configuration.ledger_key()
    )
    found = select(
        ledger,
        read_enrolled(locate(options.path)) if options.outcomes else _values(ledger, options),
        lambda state: state not in _RECORDED,
    )
    return _write(
        options,
        ledger,
        found,
        State.RECORDED,
        f"Record {count(len(found.hashes), RECORD)} as enrolled in {subject.target}, with a "
        f"{subject.environment or 'Meisa'} key, in the ledger {ledger.name}? Later runs leave them out.",
        by="airflow meisa ledger record",
    )


@command
def clear(options: Namespace) -> ExitStatus:
    """Let later runs send records again: those of a run, or of a file."""
    if (options.run is None) == (options.path is None):
        raise MeisaInputError("Give a file, or a run with --run, and not both. Nothing was written.")
    _check_can_ask(options)
    ledger = _opened(options)
    if options.run is None:
        found = select(ledger, _values(ledger, options), lambda state: state not in _UNSENT)
    else:
        found = _of_run(ledger, options.run)
    return _write(
        options,
        ledger,
        found,
        State.CLEARED,
        f"Clear {count(len(found.hashes), RECORD)} in the ledger {ledger.name}? Later runs send them again.",
        by="airflow meisa ledger clear",
    )


@command
def forget(options: Namespace) -> ExitStatus:
    """Never send records again, also those that the ledger does not have yet."""
    _check_can_ask(options)
    ledger = _opened(options)
    found = select(
        ledger, _values(ledger, options), lambda state: state is not State.FORGOTTEN, may_be_invalid=False
    )
    return _write(
        options,
        ledger,
        found,
        State.FORGOTTEN,
        f"Forget {count(len(found.hashes), RECORD)} in the ledger {ledger.name}? They are never sent again, and this "
        "cannot be undone.",
        by="airflow meisa ledger forget",
    )


@command
def compact(options: Namespace) -> ExitStatus:
    """Write the parts of a ledger as one."""
    ledger = _opened(options)
    before = ledger.parts
    ledger.compact()
    row: Row = {"ledger": ledger.name, "entries": ledger.count}
    show([{**row, "parts_before": before, "parts": ledger.parts}], options.output)
    return ExitStatus.FINE


def _values(ledger: Ledger, options: Namespace) -> Iterator[object]:
    return values_of(options, ledger.subject["record_id"])


def _of_run(ledger: Ledger, run: str) -> Selection:
    found = ledger.records_of_run(run)
    if found.left_out:
        print_message(
            f"{count(found.left_out, RECORD)} of minutes in which another run wrote too: not cleared, because their "
            "run is not known. To send them again, clear them with a file."
        )
    if ledger.runs[run].keeps_others_away(time.time()):
        print_message("The run has not ended: records that it sends from now on are not cleared.")
    hashes = set(found.hashes)
    return Selection(hashes, rows=len(hashes))


def _check_can_ask(options: Namespace) -> None:
    if not options.yes and (options.path == STANDARD_INPUT or not sys.stdin.isatty()):
        raise MeisaInputError(
            "There is no terminal to ask for confirmation. Nothing was written. Pass --yes to write without asking."
        )


def _write(
    options: Namespace, ledger: Ledger, found: Selection, state: State, question: str, *, by: str
) -> ExitStatus:
    """Write a state after a confirmation, and show the number of records that it is new for."""
    changed = len(found.hashes)
    if changed and not options.yes and not ask(question):
        print_message("Nothing was written.")
        return ExitStatus.FAILED
    if changed:
        ledger.write_hashed(((each, 0) for each in found.hashes), state, by=by)
        if state is State.FORGOTTEN:
            forget_values(ledger, found.hashes, by=by)
    row: Row = {"ledger": ledger.name, state.name.lower(): changed}
    show([{**row, "unchanged": found.valid - changed, "invalid": found.invalid}], options.output)
    return ExitStatus.FINE


def _opened(options: Namespace) -> Ledger:
    return Ledger.open_existing(
        locate(configuration.ledger_path()), options.ledger, secret=configuration.ledger_key()
    )


def _facts(ledger: Ledger) -> Row:
    subject = {name: ledger.subject[name] for name in Subject.__slots__}
    return {"ledger": ledger.name, "entries": ledger.count, "parts": ledger.parts, **subject}


def _runs(ledger: Ledger) -> list[Row]:
    """Return the runs, the newest first."""
    newest = sorted(ledger.runs.items(), key=lambda item: item[1].at, reverse=True)
    return [
        {"run": run, "last_write": _utc(status.at / 1000), "ended": status.ended} for run, status in newest
    ]


def _utc(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
