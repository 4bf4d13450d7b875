"""One run of ``enroll-file``: from the file to the account of every address."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_meisa.api.errors import MeisaAudienceChangedError, MeisaError, MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus, format_counts
from airflow_provider_meisa.bulk.options import RunOptions
from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter
from airflow_provider_meisa.bulk.reporting import RunReporter
from airflow_provider_meisa.bulk.runner import BulkRunner
from airflow_provider_meisa.cli.connection import VerboseClient
from airflow_provider_meisa.cli.output import ProgressBar, print_message
from airflow_provider_meisa.cli.resume_file import ResumeFile
from airflow_provider_meisa.jobs.enroll import EnrollJob
from airflow_provider_meisa.operators.location import locate
from airflow_provider_meisa.transfers.sources.files import read_addresses

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.settings import Settings
    from airflow_provider_meisa.bulk.engine import Finished


def addresses(options: Namespace) -> Iterator[object]:
    """Read the addresses of the file that was named, anew at each call.

    :raises MeisaInputError: if the path, the format, the column, the encoding or a line cannot be used.
    :raises MeisaUnreachableError: if there is no such file, or it cannot be read.
    """
    return read_addresses(
        locate(options.path),
        file_format=options.format,
        column=options.column,
        encoding=options.encoding,
        delimiter=options.delimiter,
        quoting=options.quoting,
    )


@dataclass(frozen=True, slots=True)
class _File:
    """The addresses of a file whose number is known."""

    options: Namespace
    total: int

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[object]:
        return addresses(self.options)


class Run:
    """Enrolls the contacts of a file. When it is made, the file is read once, so that a bad line stops it in time.

    :param options: what was typed.
    :raises MeisaError: if the file, the resume file or the path for outcomes cannot be used.
    """

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self.job = EnrollJob(
            options.sequence,
            override_unsubscribe=options.override_unsubscribe,
            skip_suppressed=options.skip_suppressed,
        )
        self.total = sum(1 for _ in addresses(options))
        self._kept = ResumeFile(
            options.resume_file, {"sequence_slug": options.sequence, "meisa_conn_id": options.conn_id}
        )
        self.start = self._kept.load()
        outcomes_path = options.outcomes_path
        self._outcomes = OutcomeWriter(
            locate(outcomes_path) if outcomes_path else None, rejects_only=options.rejects_only
        )

    def perform(self, settings: Settings) -> tuple[dict[str, Any], MeisaError | None]:
        """Send what is to be sent.

        :return: the summary, see `airflow_provider_meisa.api.outcomes.summary`, and what stopped it early.
        :raises MeisaError: if it cannot begin or go on, and the rest was not counted.
        :raises KeyboardInterrupt: on Ctrl+C, once the answers on their way have come.
        """
        progress_bar = ProgressBar(self.total)
        watched = VerboseClient(settings, max_wait=math.inf, on_wait=progress_bar.wait)
        with watched as client, self._runner(client, progress_bar) as runner:
            self._prepare(runner)
            self._kept.save(self.start.as_json())
            progress_bar.advance(sum(self.start.counts.values()))
            try:
                with progress_bar:
                    step = runner.run()
            except (KeyboardInterrupt, MeisaError):
                self._put_away(runner, complete=False)
                self._print_stop(runner)
                raise
        stopped_by = cast("Finished", step).stopped_by  # no wait is too long for this run to sit out
        return self._put_away(runner, complete=stopped_by is None), stopped_by

    def advice(self) -> str:
        """Say how to go on after a run that was stopped."""
        if self._kept:
            return "Say the same again to go on exactly there."
        return "Without --resume-file, a further run sends every address again."

    def _runner(self, client: MeisaClient, progress_bar: ProgressBar) -> BulkRunner:
        def save(checkpoint: Mapping[str, Any]) -> None:
            if checkpoint["complete"]:
                self._kept.remove()
            else:
                self._kept.save(checkpoint)
            progress_bar.advance(sum(checkpoint["counts"].values()))

        options = RunOptions(
            meisa_conn_id=self._options.conn_id,
            outcomes_path=self._options.outcomes_path,
            check_first=False,  # the preview did, or `_prepare` does
        )
        return BulkRunner(
            client,
            self.job,
            options,
            lambda: _File(self._options, self.total),
            start=self.start,
            save=save,
            outcomes=self._outcomes,
            reporter=RunReporter(client, self.job),
        )

    def _prepare(self, runner: BulkRunner) -> None:
        if self._options.yes and not self.start.next_batch:  # else it was checked, by the preview or earlier
            self.job.check(runner.client)
        try:
            runner.prepare()
        except MeisaAudienceChangedError as error:
            raise MeisaInputError(
                "The file no longer has the addresses that the interrupted run began with. Nothing was sent. Give it "
                f"the same file again, or remove {self._options.resume_file} to send all of this one; those already "
                "in the sequence are then skipped by Meisa."
            ) from error

    def _put_away(self, runner: BulkRunner, *, complete: bool) -> dict[str, Any]:
        """Leave the outcomes, and what a further run goes on from; return the summary."""
        summary = runner.summary(complete=complete)
        runner.finish(summary)
        if complete or not self._kept:
            runner.cleanup()
        return summary

    def _print_stop(self, runner: BulkRunner) -> None:
        counts = {OutcomeStatus(name): count for name, count in runner.checkpoint().counts.items()}
        done = f"{sum(counts.values()):,} of {self.total:,} addresses"
        print_message(f"Stopped after {done}: {format_counts(counts)}. {self.advice()}")
