"""One run of ``enroll-file``, from the file to the status of every address."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_meisa.api.errors import MeisaAudienceChangedError, MeisaError, MeisaInputError
from airflow_provider_meisa.api.nouns import ADDRESS, count
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
    from airflow_provider_meisa.bulk.steps import Finished


def addresses(options: Namespace) -> Iterator[object]:
    """Read the addresses of the file, from the start at each call.

    :raises MeisaInputError: if the path, the format, the column, the encoding or a line is invalid.
    :raises MeisaUnreachableError: if the file does not exist, or cannot be read.
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
    """The addresses of a file, and their number."""

    options: Namespace
    total: int

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[object]:
        return addresses(self.options)


class Run:
    """Enrolls the contacts of a file. The constructor reads the file once, so that a bad line stops the run in time.

    :param options: the parsed arguments.
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
        """Send the batches.

        :return: the summary, see `api.outcomes.build_summary`, and the error that stopped it early.
        :raises MeisaError: if it cannot begin or continue, and the rest was not counted.
        :raises KeyboardInterrupt: on Ctrl+C, after the responses to the requests in flight.
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
            except (KeyboardInterrupt, MeisaError) as error:
                self._put_away(
                    runner, complete=False, stopped_by=error if isinstance(error, MeisaError) else None
                )
                self._print_stop(runner)
                raise
        stopped_by = cast("Finished", step).stopped_by  # max_wait is infinite, so the run never defers
        return self._put_away(runner, complete=stopped_by is None, stopped_by=stopped_by), stopped_by

    def advice(self) -> str:
        """Return how to continue after a run that stopped early."""
        if self._kept:
            return "Run the same command again to resume there."
        return "Without --resume-file, the next run sends every address again."

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
            check_first=False,  # the preview has checked, or `_prepare` does
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
        if (
            self._options.yes and not self.start.next_batch
        ):  # otherwise the preview or the earlier run has checked
            self.job.check(runner.client)
        try:
            runner.prepare()
        except MeisaAudienceChangedError as error:
            raise MeisaInputError(
                "The file no longer has the addresses that the interrupted run began with. Nothing was sent. Pass the "
                f"same file again, or remove {self._options.resume_file} to send all of this one. Meisa then skips "
                "contacts already in the sequence."
            ) from error

    def _put_away(
        self, runner: BulkRunner, *, complete: bool, stopped_by: MeisaError | None
    ) -> dict[str, Any]:
        """Write the outcomes, keep or remove the state to resume from, and return the summary."""
        summary = runner.summary(complete=complete, stopped_by=stopped_by)
        runner.finish(summary)
        if complete or not self._kept:
            runner.cleanup()
        return summary

    def _print_stop(self, runner: BulkRunner) -> None:
        counts = {OutcomeStatus(name): number for name, number in runner.checkpoint().counts.items()}
        done = f"{sum(counts.values()):,} of {count(self.total, ADDRESS)}"
        print_message(f"Stopped after {done}: {format_counts(counts)}. {self.advice()}")
