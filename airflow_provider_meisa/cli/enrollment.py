"""The commands ``preview`` and ``enroll-file``."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaScopeError
from airflow_provider_meisa.api.nouns import ADDRESS, REQUEST, ROW, Noun, count
from airflow_provider_meisa.api.outcomes import (
    OutcomeStatus,
    format_counts,
    nothing_valid,
    threshold_violations,
)
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.bulk.batching import batches
from airflow_provider_meisa.bulk.preview import preview as preview_of
from airflow_provider_meisa.cli.connection import VerboseClient, client_of, settings_of
from airflow_provider_meisa.cli.output import ExitStatus, Row, ask, command, print_message, show
from airflow_provider_meisa.cli.run import Run, addresses
from airflow_provider_meisa.jobs.enroll import EnrollJob

REMAINING = Noun("remaining address", "remaining addresses")


@command
def preview(options: Namespace) -> ExitStatus:
    """Show what enrolling a file would send."""
    with client_of(options.conn_id) as client:
        job = EnrollJob(options.sequence)
        report = preview_of(client, job, batches(job, addresses(options)))
    show([_row(report)], options.output)
    return _status_of_addresses(report["counts"]["invalid"], report["total"])


@command
def enroll_file(options: Namespace) -> ExitStatus:
    """Enroll the contacts of a file, after a confirmation or with ``--yes``."""
    if not options.yes and not sys.stdin.isatty():
        raise MeisaInputError(
            "There is no terminal to ask for confirmation. Nothing was sent. Pass --yes to send without asking."
        )
    settings = settings_of(options.conn_id)
    if options.override_unsubscribe:
        _check_override(settings, options.conn_id)
    run = Run(options)
    if run.start.next_batch:
        print_message(f"Resuming after {sum(run.start.counts.values()):,} of {count(run.total, ADDRESS)}.")
    if not options.yes and not _agreed(run, options, settings):
        print_message("Nothing was sent.")
        return ExitStatus.FAILED
    summary, stopped_by = run.perform(settings)
    _report(summary, options)
    if stopped_by is not None:
        print_message(f"{stopped_by} {run.advice()}")
        return ExitStatus.FAILED
    return _judged(summary, options)


def _check_override(settings: Settings, conn_id: str) -> None:
    if not settings.allow_override_unsubscribe:
        raise MeisaInputError(
            "--override-unsubscribe would mail people who unsubscribed. Nothing was sent. To allow it, set the extra "
            f"allow_override_unsubscribe of the connection {conn_id!r} to true."
        )
    print_message(
        "--override-unsubscribe is set: unsubscribed contacts are enrolled too, and will be mailed."
    )


def _row(report: dict[str, Any]) -> Row:
    """Return a preview as one row."""
    columns = ("sequence_slug", "environment", "total", "to_send", "requests", "seconds")
    return {**{name: report[name] for name in columns}, **report["counts"]}


def _agreed(run: Run, options: Namespace, settings: Settings) -> bool:
    """Show what would be sent, and ask for confirmation."""
    try:
        with VerboseClient(settings) as client:
            found = batches(run.job, addresses(options))
            report: dict[str, Any] = preview_of(client, run.job, found, start=run.start)
    except MeisaScopeError as error:
        raise MeisaInputError(f"{error} Or pass --yes to send without a preview.") from error
    print_message(_plan(report, REMAINING if run.start.next_batch else ADDRESS))
    return ask("Enroll them?")


def _plan(report: dict[str, Any], which: Noun) -> str:
    """Return a preview as a sentence."""
    plan = (
        f"{report['sequence_slug']}, with a {report['environment'] or 'Meisa'} key: {report['to_send']:,} of "
        f"{count(report['total'], which)} to send"
    )
    if mailed := report.get("to_send_suppressed"):
        plan += f", {mailed:,} of them suppressed: they will be mailed"
    counts = {OutcomeStatus(name): number for name, number in report["counts"].items() if number}
    if counts:
        plan += f", without {format_counts(counts)}"
    return f"{plan}; {count(report['requests'], REQUEST)}, about {report['seconds']:,.0f} s."


def _report(summary: dict[str, Any], options: Namespace) -> None:
    """Show the whole summary as JSON or YAML, or a table of statuses and the addresses that need attention."""
    if options.output in ("json", "yaml"):
        show([summary], options.output)
        return
    rows = [{"status": name, "addresses": number} for name, number in summary["counts"].items() if number]
    show(rows, options.output)
    for entry in summary["attention"]:
        print_message(f"{entry['address']}: {entry['status']}{entry['reason'] and ', ' + entry['reason']}")
    if summary["attention_truncated"]:
        print_message("… and more: set --outcomes-path to write them all.")
    print_message(f"{count(summary['requests'], REQUEST)}, {summary['elapsed_s']:,.0f} s.")


def _judged(summary: dict[str, Any], options: Namespace) -> ExitStatus:
    counts = {OutcomeStatus(name): number for name, number in summary["counts"].items()}
    found = threshold_violations(counts, max_failed=options.max_failed, max_invalid=None)
    if found:
        print_message(f"{'; '.join(found)}.")
        return ExitStatus.FAILED
    return _status_of_addresses(summary["counts"]["invalid"], summary["total"])


def _status_of_addresses(invalid: int, total: int) -> ExitStatus:
    """Fail if there are rows, and none holds a valid address."""
    if not nothing_valid(invalid, total):
        return ExitStatus.FINE
    print_message(f"No valid address in {count(total, ROW)}. Check the column, or set --column.")
    return ExitStatus.FAILED
