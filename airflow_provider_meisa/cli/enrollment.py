"""The commands ``preview`` and ``enroll-file``."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaScopeError
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
from airflow_provider_meisa.cli.output import ExitStatus, Row, command, print_message, show
from airflow_provider_meisa.cli.run import Run, addresses
from airflow_provider_meisa.jobs.enroll import EnrollJob


@command
def preview(options: Namespace) -> ExitStatus:
    """Say what enrolling a file would send."""
    with client_of(options.conn_id) as client:
        job = EnrollJob(options.sequence)
        report = preview_of(client, job, batches(job, addresses(options)))
    show([_row(report)], options.output)
    return _status_of_addresses(report["counts"]["invalid"], report["total"])


@command
def enroll_file(options: Namespace) -> ExitStatus:
    """Enroll the contacts of a file, once a person or ``--yes`` has agreed."""
    if not options.yes and not sys.stdin.isatty():
        raise MeisaInputError(
            "There is no terminal to ask on, so nothing was sent. Say --yes to send without asking."
        )
    settings = settings_of(options.conn_id)
    if options.override_unsubscribe:
        _check_override(settings)
    run = Run(options)
    if run.start.next_batch:
        print_message(f"Going on after {sum(run.start.counts.values()):,} of {run.total:,} addresses.")
    if not options.yes and not _agreed(run, options, settings):
        print_message("Nothing was sent.")
        return ExitStatus.FAILED
    summary, stopped_by = run.perform(settings)
    _report(summary, options)
    if stopped_by is not None:
        print_message(f"{stopped_by} {run.advice()}")
        return ExitStatus.FAILED
    return _judged(summary, options)


def _check_override(settings: Settings) -> None:
    if not settings.allow_override_unsubscribe:
        raise MeisaInputError(
            "--override-unsubscribe would mail people who unsubscribed. To allow it, set the connection's extra "
            "allow_override_unsubscribe to true. Nothing was sent."
        )
    print_message("--override-unsubscribe is set: people who unsubscribed are sent too, and will be mailed.")


def _row(report: dict[str, Any]) -> Row:
    """Put a preview into one row."""
    columns = ("sequence_slug", "environment", "total", "to_send", "requests", "seconds")
    return {**{name: report[name] for name in columns}, **report["counts"]}


def _agreed(run: Run, options: Namespace, settings: Settings) -> bool:
    """Show what would be sent, and ask a person."""
    try:
        with VerboseClient(settings) as client:
            found = batches(run.job, addresses(options))
            report: dict[str, Any] = preview_of(client, run.job, found, start=run.start)
    except MeisaScopeError as error:
        raise MeisaInputError(f"{error} Or say --yes to send without a preview.") from error
    print_message(_plan(report, which="remaining addresses" if run.start.next_batch else "addresses"))
    sys.stderr.write("Enroll them? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _plan(report: dict[str, Any], *, which: str) -> str:
    """Put a preview into a sentence."""
    plan = (
        f"{report['sequence_slug']}, with a {report['environment'] or 'Meisa'} key: {report['to_send']:,} of "
        f"{report['total']:,} {which} to send"
    )
    if mailed := report.get("to_send_suppressed"):
        plan += f", {mailed:,} of them suppressed: they will be mailed"
    counts = {OutcomeStatus(name): count for name, count in report["counts"].items() if count}
    if counts:
        plan += f", without {format_counts(counts)}"
    return f"{plan}; {report['requests']:,} requests, about {report['seconds']:,.0f} s."


def _report(summary: dict[str, Any], options: Namespace) -> None:
    """Show the account: the whole summary to programs, to people the statuses and what needs their attention."""
    if options.output in ("json", "yaml"):
        show([summary], options.output)
        return
    rows = [{"status": name, "addresses": count} for name, count in summary["counts"].items() if count]
    show(rows, options.output)
    for entry in summary["attention"]:
        print_message(f"{entry['address']}: {entry['status']}{entry['reason'] and ', ' + entry['reason']}")
    if summary["attention_truncated"]:
        print_message("… and more: --outcomes-path writes them all.")
    print_message(f"{summary['requests']:,} requests, {summary['elapsed_s']:,.0f} s.")


def _judged(summary: dict[str, Any], options: Namespace) -> ExitStatus:
    counts = {OutcomeStatus(name): count for name, count in summary["counts"].items()}
    found = threshold_violations(counts, max_failed=options.max_failed, max_invalid=None)
    if found:
        print_message(f"{'; '.join(found)}.")
        return ExitStatus.FAILED
    return _status_of_addresses(summary["counts"]["invalid"], summary["total"])


def _status_of_addresses(invalid: int, total: int) -> ExitStatus:
    """Fail if there were rows, and not one valid address among them."""
    if not nothing_valid(invalid, total):
        return ExitStatus.FINE
    print_message(f"Not one of {total:,} rows is a valid address. Is it the right column?")
    return ExitStatus.FAILED
