"""The commands ``ledger …``, which show and change a ledger in ``[meisa] ledger_path``."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime

from airflow_provider_meisa.bulk.ledger import Ledger, Subject
from airflow_provider_meisa.cli.output import ExitStatus, Row, command, show
from airflow_provider_meisa.hooks import configuration
from airflow_provider_meisa.operators.location import locate


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
