"""One run of ``enroll-file``: from the file to the account of every address."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_meisa.api.endpoints import sequences
from airflow_provider_meisa.api.errors import MeisaAudienceChangedError, MeisaError, MeisaInputError
from airflow_provider_meisa.api.outcomes import Verdict, in_words
from airflow_provider_meisa.bulk.batching import batches
from airflow_provider_meisa.bulk.enrollment import Enrollment
from airflow_provider_meisa.cli.connection import WatchedClient
from airflow_provider_meisa.cli.resume_file import ResumeFile
from airflow_provider_meisa.cli.screen import Screen
from airflow_provider_meisa.cli.sentences import say
from airflow_provider_meisa.operators.leg import Leg
from airflow_provider_meisa.operators.location import locate
from airflow_provider_meisa.operators.preflight import check_sequence, suppressed
from airflow_provider_meisa.operators.record import Record
from airflow_provider_meisa.transfers.sources.files import read_addresses

if TYPE_CHECKING:
    from airflow_provider_meisa.api.bulk_enroll_response.reader import BulkReply
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.rate_limit.limiter import Slot
    from airflow_provider_meisa.api.settings import Settings
    from airflow_provider_meisa.bulk.enrollment import Done

_MAX_IN_FLIGHT = 4


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


class Run:
    """Enrolls the contacts of a file. When it is made, the file is read once, so that a bad line stops it in time.

    :param options: what was typed.
    :raises MeisaError: if the file, the resume file or the path for outcomes cannot be used.
    """

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self.total = sum(1 for _ in addresses(options))
        self._kept = ResumeFile(
            options.resume_file, {"sequence_slug": options.sequence, "meisa_conn_id": options.conn_id}
        )
        self.start = self._kept.load()
        self._record = Record(options.outcomes_path, rejects_only=options.rejects_only)

    def perform(self, settings: Settings) -> tuple[dict[str, Any], MeisaError | None]:
        """Send what is to be sent.

        :return: the summary, see `airflow_provider_meisa.api.outcomes.summary`, and what stopped it early.
        :raises MeisaError: if it cannot begin or go on, and the rest was not counted.
        :raises KeyboardInterrupt: on Ctrl+C, once the answers on their way have come.
        """
        screen = Screen(self.total)
        with WatchedClient(settings, max_wait=math.inf, on_wait=screen.wait) as client:
            leg = self._leg(client, screen)
            self._kept.save(self.start.as_json())
            try:
                with screen:
                    step = leg.perform()
            except (KeyboardInterrupt, MeisaError):
                self._put_away(leg, complete=False)
                self._tell_stop(leg)
                raise
        stopped_by = cast("Done", step).stopped_by  # no wait is too long for this leg to sit out
        return self._put_away(leg, complete=stopped_by is None), stopped_by

    def advice(self) -> str:
        """Say how to go on after a run that was stopped."""
        if self._kept:
            return "Say the same again to go on exactly there."
        return "Without --resume-file, a further run sends every address again."

    def _leg(self, client: MeisaClient, screen: Screen) -> Leg:
        if self._options.yes and not self.start.next_batch:  # else it was checked, by the preview or earlier
            check_sequence(client, self._options.sequence)
        engine = Enrollment(
            batches(addresses(self._options)),
            client.quota.reserve,
            checkpoint=self.start,
            record=self._record.write,
            max_in_flight=_MAX_IN_FLIGHT,
            resend_after=client.settings.resend_after,
            suppressed=suppressed(client) if self._options.skip_suppressed else (),
        )
        self._record.begin(first_batch=self.start.next_batch)
        self._catch_up(engine)

        def keep(checkpoint: Mapping[str, Any]) -> None:
            self._kept.save(checkpoint)
            screen.advance(sum(checkpoint["counts"].values()))

        screen.advance(sum(self.start.counts.values()))
        return Leg(
            client,
            engine,
            start=self.start,
            send=lambda batch, slot: self._send(client, batch, slot),
            keep=keep,
            max_in_flight=_MAX_IN_FLIGHT,
            longest_wait=math.inf,
            total=self.total,
        )

    def _catch_up(self, engine: Enrollment) -> None:
        try:
            engine.catch_up()
        except MeisaAudienceChangedError as error:
            raise MeisaInputError(
                "The file no longer has the addresses that the interrupted run began with. Nothing was sent. Give it "
                f"the same file again, or remove {self._options.resume_file} to send all of this one; those already "
                "in the sequence are then skipped by Meisa."
            ) from error

    def _send(self, client: MeisaClient, batch: Sequence[str], slot: Slot) -> BulkReply:
        return sequences.bulk_enroll(
            client,
            batch,
            self._options.sequence,
            override_unsubscribe=self._options.override_unsubscribe,
            resend=False,  # the engine does
            slot=slot,
        )

    def _put_away(self, leg: Leg, *, complete: bool) -> dict[str, Any]:
        """Leave the outcomes, and what a further run goes on from; return the summary."""
        summary = leg.account(
            self._options.sequence,
            meisa_conn_id=self._options.conn_id,
            complete=complete,
            outcomes_path=self._options.outcomes_path,
        )
        self._record.finish(summary)
        if complete:
            self._kept.remove()
        if complete or not self._kept:
            self._record.discard_parts()
        return summary

    def _tell_stop(self, leg: Leg) -> None:
        counts = {Verdict(name): count for name, count in leg.checkpoint().counts.items()}
        done = f"{sum(counts.values()):,} of {self.total:,} addresses"
        say(f"Stopped after {done}: {in_words(counts)}. {self.advice()}")
