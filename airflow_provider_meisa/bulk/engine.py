"""Decide how the batches of a plan are sent, step by step, without threads and Airflow."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaAudienceChangedError, MeisaError
from airflow_provider_meisa.api.outcomes import (
    BY_US,
    TWICE,
    Outcome,
    OutcomeCounter,
    OutcomeStatus,
    possibly_ours,
)
from airflow_provider_meisa.api.rate_limit.limiter import Reservation, Wait
from airflow_provider_meisa.bulk.batch_queue import BatchQueue
from airflow_provider_meisa.bulk.checkpoint import REASON_IN_CHECKPOINT, REASONS_IN_CHECKPOINT, Checkpoint
from airflow_provider_meisa.bulk.checkpoint_batches import batch_fields, queue_again
from airflow_provider_meisa.bulk.doubts import Doubts
from airflow_provider_meisa.bulk.job import BadItems, Later
from airflow_provider_meisa.bulk.refusals import Pieces, Refusals, StopRun
from airflow_provider_meisa.bulk.steps import AwaitResend, AwaitResponse, Finished, SendBatch

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.batching import Batch, Key
    from airflow_provider_meisa.bulk.job import Exclusion, Item, Job

Record = Callable[["Batch", Sequence[Outcome]], None]


class BulkEngine:
    """Returns the next step until every item has an outcome.

    The runner calls `step`, carries it out, and reports with `on_response` or `refused`. The result of `checkpoint`
    after a `SendBatch` is the intent: save it before the batch is sent, because a later attempt resumes from it.

    A batch that is refused because of some items is sent again without those that the response names, or else in
    halves. Its pieces then are separate batches.

    :param job: the job.
    :param batches: the batches, the same ones in each attempt.
    :param reserve: reserves a request, or returns the wait for one. An error before the start of the run is raised by
        `step`; a later one stops the run.
    :param checkpoint: the progress of an earlier attempt.
    :param record: called with each batch, or piece of one, and the outcomes of all its rows; again if they change.
    :param max_in_flight: the most batches in flight at a time.
    :param resend: whether batches that may have been carried out are sent again.
    :param resend_after: the seconds before that, see `Settings.resend_after`. A batch whose response was lost is then
        sent again once; ``None`` leaves that to a later attempt, which does not wait.
    :param exclusion: returns the outcome of items that are left out. They may differ between attempts: the fingerprint
        includes them.
    :param stop_at: when nothing more is sent, in seconds since the epoch.
    :param is_expected: whether Meisa is expected to refuse an item. If it has accepted others, that stops no run.
    :param clock: returns the time in seconds since the epoch.
    """

    def __init__(
        self,
        job: Job,
        batches: Iterable[Batch],
        reserve: Callable[[], Reservation | Wait],
        *,
        checkpoint: Checkpoint | None = None,
        record: Record | None = None,
        max_in_flight: int = 1,
        resend: bool = True,
        resend_after: float | None = None,
        exclusion: Exclusion | None = None,
        stop_at: float = math.inf,
        is_expected: Callable[[Item], bool] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._from = checkpoint or Checkpoint()
        self.counter = OutcomeCounter(
            self._from.counts, self._from.attention, self._from.doubts, self._from.reasons
        )
        self.unresolved = OutcomeCounter()
        self._job = job
        self._queue = BatchQueue(batches, exclusion)
        self._doubts = Doubts(
            is_possible=job.repeat == "ambiguous",
            resend=resend,
            resend_after=resend_after,
            resent=self._from.resent,
            clock=clock,
        )
        self._refusals = Refusals(job, is_expected)
        self._reserve = reserve
        self._record = record
        self._max_in_flight = max_in_flight
        self._stop_at = stop_at
        self._clock = clock
        self._has_started = bool(self._from.next_batch)
        self._goes_alone = True
        self._is_out_of_time = False
        self._error: MeisaError | None = None
        self._given_up_by: MeisaError | None = None

    def catch_up(self, pending: Iterable[Batch] | None = None) -> None:
        """Take over the batches that earlier attempts have taken but not completed.

        :param pending: these batches, if they are known to be unchanged. Else all batches are read from the first one
            on, and compared.
        :raises MeisaAudienceChangedError: if they have changed; this attempt has sent nothing.
        :raises MeisaInputError: if a batch may have been carried out and must not be sent again; nothing was sent.
        """
        queue_again(self._queue, self._doubts, self._from, pending)
        if not self._queue.is_at(self._from):
            raise MeisaAudienceChangedError(
                "The addresses differ from those that an earlier attempt began to send: the query, the file or the "
                "list has changed. This attempt sent nothing. Pass the same addresses again, or set "
                "on_changed_audience='restart' to send all of them: Meisa skips those already in the sequence."
            )
        self._doubts.hold_all(self._from)
        # Meanwhile all items of a batch may have been excluded.
        for batch in [batch for batch in self._queue.waiting.values() if not batch.items]:
            self._record_outcomes(batch, [])

    @property
    def _stopped_by(self) -> MeisaError | None:
        return self._error or self._queue.error

    def _stop(self, error: MeisaError) -> None:
        """Send nothing more; the first error is the one to report."""
        if self._stopped_by is None:
            self._error = error

    @property
    def is_stopped(self) -> bool:
        """Whether a failure, or its time, has ended the run: nothing more is sent."""
        return self._stopped_by is not None or self._is_out_of_time

    @property
    def is_stopped_by_refusals(self) -> bool:
        """Whether so many refusals in a row have ended the run."""
        return self._refusals.are_too_many

    @property
    def is_out_of_time(self) -> bool:
        """Whether items are left because the time of the run is over."""
        return self._is_out_of_time and self._stopped_by is None

    @property
    def given_up(self) -> int:
        """The number of items that are left to a later attempt, because Meisa has failed on each of them twice."""
        return sum(len(batch.items) for batch in self._queue.given_up.values())

    @property
    def in_doubt(self) -> list[int]:
        """The numbers of the batches that may have been carried out, from 1."""
        return self._doubts.numbers

    def step(self) -> SendBatch | Wait | AwaitResponse | Finished:
        """Return the next step."""
        self._is_out_of_time |= self._clock() >= self._stop_at
        if not self.is_stopped:
            held = self._doubts.held(self._queue.waiting)
            if len(self._queue.waiting) == len(held):
                self._take_one_to_send()
            if not self._queue.waiting and not self._queue.in_flight:
                self._goes_alone |= self._queue.take_later_ones()
        if not self.is_stopped and self._queue.waiting:
            return self._send_unless(held)
        if self._queue.in_flight:
            return AwaitResponse()
        if self._given_up_by and not self.is_stopped:
            self._stop(self._given_up_by)
        self._set_rest_aside()
        self._is_out_of_time &= self.counter.counts[OutcomeStatus.UNTRIED] > 0
        return Finished(self._stopped_by)

    def put_back(self, send: SendBatch) -> None:
        """Queue a batch again that was not sent."""
        self._queue.put_back(send.batch)

    def leave_out(self, send: SendBatch, outcomes: Mapping[int, Outcome]) -> SendBatch | None:
        """Leave items out of a batch that is about to be sent.

        :param outcomes: the outcomes of these items, by index.
        :return: the rest, to be sent now; ``None`` if nothing is left, and the batch is recorded.
        """
        left = send.batch.leave_out(outcomes)
        if not left.items:
            self._record_outcomes(left, [])
            return None
        self._queue.in_flight[left.key] = left
        return replace(send, batch=left)

    def on_response(self, send: SendBatch, outcomes: Sequence[Outcome]) -> Counter[OutcomeStatus]:
        """Record the response to a batch, and return its counts.

        If the outcomes cannot be recorded, the error is raised, and the batch stays in flight.
        """
        self._goes_alone = self._queue.is_at_later_ones
        self._refusals.on_acceptance()
        ours = send.batch.key in self._doubts
        return self._record_outcomes(send.batch, [*map(possibly_ours, outcomes)] if ours else outcomes)

    def refused(self, send: SendBatch, error: MeisaError) -> bool:
        """Process the error of a batch, and return whether Meisa has decided on its items.

        A 429 or 503 puts the batch back. So does a lost response, if this attempt may send the batch again: once, after
        a wait. Another 5xx sends a batch last, if a retry is harmless, and an error about some items fails only these:
        unless there are too many in a row, see `Refusals`. Any other error concerns all items, and stops the run.
        """
        batch = send.batch
        if error.possibly_done:
            self._doubts.add(batch.key)
        self._queue.put_back(batch)
        is_open = error.possibly_done and self._job.repeat == "ambiguous"
        found = None if is_open else self._job.on_error(error, batch.items)
        if found is not None:
            self._take_refusal(batch, error, found)
            return True
        if self._refusals.may_concern_one_batch(error) and self._set_aside(batch, error):
            return False
        if not self._refusals.is_back_off(error) and not self._doubts.is_resent_after(batch.key, error):
            self._stop(error)
        return False

    def _set_aside(self, batch: Batch, error: MeisaError) -> bool:
        """Send a batch once more at the end, or in a later attempt; return whether that is possible."""
        if self._queue.postpone(batch):
            return True
        is_given_up = self._queue.give_up(batch)
        if is_given_up:
            self._given_up_by = self._given_up_by or error
        return is_given_up

    def _take_refusal(
        self, batch: Batch, error: MeisaError, found: Sequence[Outcome] | Later | BadItems
    ) -> None:
        if isinstance(found, Later):
            if self._queue.postpone(batch):
                return
            found = found.outcomes
        decision = self._refusals.decide(batch, error, found)
        if isinstance(decision, StopRun):
            self._stop(error)
        elif isinstance(decision, Pieces):
            self._replace(batch, decision.pieces)
        else:
            self._record_outcomes(batch, decision)

    def _replace(self, batch: Batch, pieces: Sequence[Batch]) -> None:
        """Queue the pieces of a batch in its place; if it is in doubt, so are they."""
        self._queue.replace(batch, *pieces)
        self._doubts.part(batch.key, pieces)
        for piece in pieces:
            if not piece.items:
                self._record_outcomes(piece, [])

    def checkpoint(self, *, complete: bool = False) -> Checkpoint:
        """Return the progress of the run."""
        return Checkpoint(
            **batch_fields(self._queue, self._doubts),
            counts={status.value: count for status, count in self.counter.counts.items()},
            attention=tuple(self.counter.attention),
            reasons=self.counter.frequent_reasons(REASONS_IN_CHECKPOINT, REASON_IN_CHECKPOINT),
            complete=complete,
            possibly_twice=self.counter.doubts[TWICE],
            possibly_by_this_run=self.counter.doubts[BY_US],
        )

    @property
    def _room(self) -> int:
        """Return how many batches may be sent now: only one at first, so that errors about all records show early."""
        return 1 if self._goes_alone else self._max_in_flight

    def _send_unless(self, held: Mapping[Key, float]) -> SendBatch | Wait | AwaitResponse | Finished:
        """Send the next batch, or wait for those that are held.

        Held batches count as in flight, and those in doubt are sent first: so no more are in doubt than may be in
        flight.
        """
        unheld = [batch for key, batch in self._queue.waiting.items() if key not in held]
        ready = min(unheld, key=lambda batch: batch.key not in self._doubts, default=None)
        if ready is not None and len(self._queue.in_flight) + len(held) < self._room:
            return self._send(ready)
        if held and len(self._queue.in_flight) < self._room:
            return AwaitResend(max(0.0, min(held.values()) - self._clock()))
        return AwaitResponse()

    def _send(self, batch: Batch) -> SendBatch | Wait | AwaitResponse | Finished:
        try:
            decision = self._reserve()
        except MeisaError as error:
            if not self._has_started:
                raise
            self._stop(error)
            return self.step()
        if isinstance(decision, Wait):
            if self._clock() + decision.seconds < self._stop_at:
                return decision
            self._is_out_of_time = True
            return self.step()
        self._has_started = True
        self._queue.start(batch)
        return SendBatch(batch, decision, self._doubts.on_send(batch.key))

    def _take_one_to_send(self) -> None:
        """Take the next batch that has items to send; record those that have none."""
        while (batch := self._queue.take()) and not (left := self._queue.add(batch)).items:
            self._record_outcomes(left, [])

    def _record_outcomes(self, batch: Batch, outcomes: Sequence[Outcome]) -> Counter[OutcomeStatus]:
        """Record a batch, count it, and only then drop it, so that an error in between does not lose it."""
        everyone = [*batch.unsent, *outcomes]
        if self._record:
            self._record(batch, everyone)
        counts = self.counter.add(everyone, batch.counted)
        self._doubts.drop(batch.key)
        if self._queue.drop(batch):
            self._refusals.forget(batch.number)
        return counts

    def _set_rest_aside(self) -> None:
        """Record a status of this attempt for items without one; they are left for a later attempt."""
        for batch in self._queue.unsent():
            if batch.key in self._doubts:
                self._leave(batch, OutcomeStatus.UNREPORTED, "response lost")
            else:
                self._leave(batch, OutcomeStatus.UNTRIED)
        for batch in self._queue.given_up.values():
            if self.is_out_of_time:
                self._leave(batch, OutcomeStatus.UNTRIED)
            else:
                self._leave(batch, OutcomeStatus.UNREPORTED, str(self._given_up_by))
        try:
            for batch in self._queue.rest():
                self._leave(batch, OutcomeStatus.UNTRIED)
        except MeisaError as error:
            if self._stopped_by is None:
                raise
            self._stopped_by.add_note(f"The remaining addresses could not be counted: {error}")

    def _leave(self, batch: Batch, status: OutcomeStatus, reason: str = "") -> None:
        addresses = map(self._job.address, batch.items)
        everyone = [*batch.unsent, *(Outcome(address, status, reason) for address in addresses)]
        if self._record:
            self._record(batch, everyone)
        # If only the time is over, this is their status in this run: the next one sends them.
        counter = self.unresolved if self._stopped_by else self.counter
        counter.add(everyone, batch.counted)
