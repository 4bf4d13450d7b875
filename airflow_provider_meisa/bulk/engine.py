"""Decide how the batches of a plan are sent, step by step, without threads and Airflow."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import (
    MeisaAudienceChangedError,
    MeisaBackOffError,
    MeisaError,
    MeisaInputError,
    may_be_resent,
)
from airflow_provider_meisa.api.outcomes import (
    BY_US,
    TWICE,
    Outcome,
    OutcomeCounter,
    OutcomeStatus,
    possibly_ours,
)
from airflow_provider_meisa.api.rate_limit.limiter import Reservation, Wait
from airflow_provider_meisa.bulk.checkpoint import (
    REASON_IN_CHECKPOINT,
    REASONS_IN_CHECKPOINT,
    Checkpoint,
    Piece,
    PieceState,
    chained,
    seconds_until_resend,
)
from airflow_provider_meisa.bulk.job import BadItems, Later
from airflow_provider_meisa.bulk.steps import AwaitResend, AwaitResponse, Finished, SendBatch

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.job import Exclusion, Item, Job

MOST_REFUSALS = 20
"""The number of refusals in a row, with nothing accepted in between, that stops a run."""

_MOST_RATE_LIMITED = 20
# For one batch: how often it is sent again without items that a response has named, and how many bad items are
# searched for in halves. After that, refused items fail.
_MOST_NAMED = 3
_MOST_FOUND = 3
_MOST_LATER = 100  # they are in memory and in the checkpoint

Key = tuple[int, int]
Record = Callable[["Batch", Sequence[Outcome]], None]


@dataclass(slots=True)
class _Search:
    """The progress of the search for bad items in one batch.

    :param named: how often it was sent again without the items that a response had named.
    :param found: how many bad items were found in halves.
    """

    named: int = 0
    found: int = 0


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
        self._batches = iter(batches)
        self._reserve = reserve
        self._record = record
        self._max_in_flight = max_in_flight
        self._resend = resend
        self._resend_after = resend_after
        self._exclusion = exclusion
        self._stop_at = stop_at
        self._is_expected = is_expected
        self._clock = clock
        self._next = 0
        self._fingerprint = ""
        # A batch taken from the plan is in one of the two until it is counted, and in both while it moves.
        self._waiting: dict[Key, Batch] = {}
        self._in_flight: dict[Key, Batch] = {}
        self._searches: dict[int, _Search] = {}
        self._doubtful: set[Key] = set()
        # For those in doubt: when they may be sent again, and which ones this attempt has sent again.
        self._resend_at: dict[Key, float] = {}
        self._resent: set[Key] = {(number, 0) for number in self._from.resent}
        self._has_started = bool(self._from.next_batch)
        self._goes_alone = True
        self._has_accepted = False
        self._is_out_of_time = False
        # Those to be sent once more at the end, and the keys of all that were.
        self._later: dict[Key, Batch] = {}
        self._was_later: set[Key] = set()
        self._rate_limited = 0
        self._refusals = 0
        self._stopped_by: MeisaError | None = None

    def catch_up(self, pending: Iterable[Batch] | None = None) -> None:
        """Take over the batches that earlier attempts have taken but not completed.

        :param pending: these batches, if they are known to be unchanged. Else all batches are read from the first one
            on, and compared.
        :raises MeisaAudienceChangedError: if they have changed; this attempt has sent nothing.
        :raises MeisaInputError: if a batch may have been carried out and must not be sent again; nothing was sent.
        """
        if pending is None:
            pending = self._read_up()
        else:
            self._next, self._fingerprint = self._from.next_batch, self._from.fingerprint
        for batch in pending:
            self._take_back(batch)
        if (self._next, self._fingerprint) != (self._from.next_batch, self._from.fingerprint):
            raise MeisaAudienceChangedError(
                "The addresses differ from those that an earlier attempt began to send: the query, the file or the "
                "list has changed. This attempt sent nothing. Pass the same addresses again, or set "
                "on_changed_audience='restart' to send all of them: Meisa skips those already in the sequence."
            )
        now = self._clock()
        first = now + seconds_until_resend(self._from, self._resend_after or 0.0, now)
        self._resend_at = dict.fromkeys(self._doubtful, first)
        if self._doubtful and not self._resend:
            raise MeisaInputError(
                f"An earlier attempt ended with {len(self._doubtful)} of its batches in flight: Meisa may have "
                "enrolled them. With on_ambiguous='fail' they are not sent again. Set on_ambiguous='resend' and clear "
                "the task."
            )
        # Meanwhile all items of a batch may have been excluded.
        for batch in [batch for batch in self._waiting.values() if not batch.items]:
            self._record_outcomes(batch, [])

    def _read_up(self) -> list[Batch]:
        """Read all batches that an earlier attempt has taken, and return those that it has not completed."""
        pending, numbers = [], self._from.pending
        while self._next < self._from.next_batch and (batch := self._take()):
            if batch.number in numbers:
                pending.append(batch)
        if self._stopped_by is not None:
            raise self._stopped_by
        return pending

    def _take_back(self, batch: Batch) -> None:
        """Queue a batch again, or its pieces from an earlier attempt."""
        pieces = [piece for piece in self._from.pieces if piece.number == batch.number]
        for piece in pieces:
            left = self._wait_for_turn(batch.piece(piece.start, piece.stop))
            if piece.state != "unsent":
                self._become_doubtful(left)
            if piece.state == "resent":
                self._resent.add(left.key)
        if not pieces:
            self._wait_for_turn(batch)
            if batch.number in self._from.in_flight:
                self._become_doubtful(batch)

    def _become_doubtful(self, batch: Batch) -> None:
        if self._job.repeat == "ambiguous":
            self._doubtful.add(batch.key)

    def _wait_for_turn(self, batch: Batch) -> Batch:
        """Queue a batch, without excluded items."""
        left = batch.without(self._exclusion) if self._exclusion else batch
        self._waiting[left.key] = left
        return left

    @property
    def is_stopped(self) -> bool:
        """Whether a failure, or its time, has ended the run: nothing more is sent."""
        return self._stopped_by is not None or self._is_out_of_time

    @property
    def is_stopped_by_refusals(self) -> bool:
        """Whether so many refusals in a row have ended the run."""
        return self._refusals >= MOST_REFUSALS

    @property
    def is_out_of_time(self) -> bool:
        """Whether items are left because the time of the run is over."""
        return self._is_out_of_time and self._stopped_by is None

    @property
    def in_doubt(self) -> list[int]:
        """The numbers of the batches that may have been carried out, from 1."""
        return sorted({number + 1 for number, _ in self._doubtful})

    def step(self) -> SendBatch | Wait | AwaitResponse | Finished:
        """Return the next step."""
        self._is_out_of_time |= self._clock() >= self._stop_at
        if not self.is_stopped:
            held = self._held()
            if len(self._waiting) == len(held):
                self._take_one_to_send()
            if not self._waiting and not self._in_flight:
                self._send_later_ones()
        if not self.is_stopped and self._waiting:
            return self._send_unless(held)
        if self._in_flight:
            return AwaitResponse()
        self._set_rest_aside()
        self._is_out_of_time &= self.counter.counts[OutcomeStatus.UNTRIED] > 0
        return Finished(self._stopped_by)

    def _send_later_ones(self) -> None:
        """Queue what may be accepted now, the last one first: that frees the addresses that others wait for."""
        self._waiting = dict(reversed(self._later.items()))
        self._later.clear()
        self._goes_alone |= bool(self._waiting)

    def put_back(self, send: SendBatch) -> None:
        """Queue a batch again that was not sent."""
        self._waiting[send.batch.key] = send.batch
        del self._in_flight[send.batch.key]

    def leave_out(self, send: SendBatch, outcomes: Mapping[int, Outcome]) -> SendBatch | None:
        """Leave items out of a batch that is about to be sent.

        :param outcomes: the outcomes of these items, by index.
        :return: the rest, to be sent now; ``None`` if nothing is left, and the batch is recorded.
        """
        left = send.batch.leave_out(outcomes)
        if not left.items:
            self._record_outcomes(left, [])
            return None
        self._in_flight[left.key] = left
        return replace(send, batch=left)

    def on_response(self, send: SendBatch, outcomes: Sequence[Outcome]) -> Counter[OutcomeStatus]:
        """Record the response to a batch, and return its counts.

        If the outcomes cannot be recorded, the error is raised, and the batch stays in flight.
        """
        self._goes_alone = bool(self._was_later) and not self._later
        self._has_accepted = True
        self._rate_limited = self._refusals = 0
        ours = send.batch.key in self._doubtful
        return self._record_outcomes(send.batch, [*map(possibly_ours, outcomes)] if ours else outcomes)

    def refused(self, send: SendBatch, error: MeisaError) -> bool:
        """Process the error of a batch, and return whether Meisa has decided on its items.

        A 429 or 503 puts the batch back. So does a lost response, if this attempt may send the batch again: once, after
        a wait. An error about some items fails only these, until there are `MOST_REFUSALS` in a row. Any other error
        concerns all items, and stops the run.
        """
        batch = send.batch
        if error.possibly_done:
            self._doubt(batch)
        self._waiting[batch.key] = batch
        del self._in_flight[batch.key]
        is_open = error.possibly_done and self._job.repeat == "ambiguous"
        found = None if is_open else self._job.on_error(error, batch.items)
        if found is not None:
            self._take_refusal(batch, error, found)
            return True
        if isinstance(error, MeisaBackOffError) and self._rate_limited < _MOST_RATE_LIMITED:
            self._rate_limited += 1
        elif self._stopped_by is None and not self._is_resent_after(batch, error):
            self._stopped_by = error
        return False

    def _take_refusal(
        self, batch: Batch, error: MeisaError, found: Sequence[Outcome] | Later | BadItems
    ) -> None:
        if isinstance(found, Later):
            if batch.key not in self._was_later and len(self._was_later) < _MOST_LATER:
                self._was_later.add(batch.key)
                self._later[batch.key] = self._waiting.pop(batch.key)
                return
            found = found.outcomes
        is_expected = self._has_accepted and self._is_expected and all(map(self._is_expected, batch.items))
        self._refusals += not is_expected
        if self._refusals >= MOST_REFUSALS:
            self._stopped_by = self._stopped_by or error
        elif isinstance(found, BadItems):
            self._part(batch, error, found)
        else:
            self._record_outcomes(batch, found)

    def _part(self, batch: Batch, error: MeisaError, found: BadItems) -> None:
        """Separate the bad items of a batch from the others, which are sent again."""
        search = self._searches.setdefault(batch.number, _Search())
        if found.outcomes and search.named < _MOST_NAMED:
            search.named += 1
            self._replace(batch, batch.leave_out(found.outcomes))
        elif found.alone is not None:
            search.found += 1
            self._record_outcomes(batch, [found.alone])
        elif search.found < _MOST_FOUND and len(batch.items) > 1:
            self._replace(batch, *batch.halves())
        else:
            failed = [self._job.address(item) for item in batch.items]
            reason = f"refused together with others, {search.found} of them bad: {error}"
            self._record_outcomes(
                batch, [Outcome(address, OutcomeStatus.FAILED, reason) for address in failed]
            )

    def _replace(self, batch: Batch, *pieces: Batch) -> None:
        """Queue the pieces of a batch in its place, before all others; if it is in doubt, so are they."""
        del self._waiting[batch.key]
        self._waiting = {**{piece.key: piece for piece in pieces}, **self._waiting}
        if batch.key in self._doubtful:
            self._doubtful.update(piece.key for piece in pieces)
            self._resend_at.update(dict.fromkeys([piece.key for piece in pieces], self._resend_at[batch.key]))
        for piece in pieces:
            if not piece.items:
                self._record_outcomes(piece, [])

    def checkpoint(self, *, complete: bool = False) -> Checkpoint:
        """Return the progress of the run."""
        in_flight = {*self._in_flight, *(self._waiting.keys() & self._doubtful)}
        left = {**self._waiting, **self._in_flight, **self._later}
        whole = {key for key, batch in left.items() if batch.bounds is None}
        return Checkpoint(
            next_batch=self._next,
            fingerprint=self._fingerprint,
            in_flight=_numbers(whole & in_flight),
            unsent=_numbers(whole - in_flight),
            pieces=tuple(
                Piece(batch.number, *batch.bounds, self._state(key, in_flight))
                for key, batch in sorted(left.items(), key=lambda pair: pair[0])
                if batch.bounds
            ),
            resend_at=0.0 if self._in_flight else max(self._resend_at.values(), default=0.0),
            resent=_numbers(self._resent & in_flight & whole),
            counts={status.value: count for status, count in self.counter.counts.items()},
            attention=tuple(self.counter.attention),
            reasons=self.counter.frequent_reasons(REASONS_IN_CHECKPOINT, REASON_IN_CHECKPOINT),
            complete=complete,
            possibly_twice=self.counter.doubts[TWICE],
            possibly_by_this_run=self.counter.doubts[BY_US],
        )

    def _state(self, key: Key, in_flight: set[Key]) -> PieceState:
        if key not in in_flight:
            return "unsent"
        return "resent" if key in self._resent else "in_flight"

    @property
    def _room(self) -> int:
        """Return how many batches may be sent now: only one at first, so that errors about all records show early."""
        return 1 if self._goes_alone else self._max_in_flight

    def _doubt(self, batch: Batch) -> None:
        self._become_doubtful(batch)
        if batch.key in self._doubtful:
            self._resend_at[batch.key] = self._clock() + (self._resend_after or 0.0)

    def _is_resent_after(self, batch: Batch, error: MeisaError) -> bool:
        """Return whether this attempt resends a batch whose response was lost: once, after a wait.

        If a retry is harmless, the client has done it already.
        """
        is_first_resend = batch.key in self._doubtful - self._resent
        may_wait = self._resend and self._resend_after is not None
        return is_first_resend and may_wait and error.possibly_done and may_be_resent(error)

    def _held(self) -> dict[Key, float]:
        """Return the batches that may not be sent again yet, and when they may be."""
        now = self._clock()
        return {key: moment for key in self._waiting if (moment := self._resend_at.get(key, 0.0)) > now}

    def _send_unless(self, held: Mapping[Key, float]) -> SendBatch | Wait | AwaitResponse | Finished:
        """Send the next batch, or wait for those that are held.

        Held batches count as in flight, and those in doubt are sent first: so no more are in doubt than may be in
        flight.
        """
        unheld = [batch for key, batch in self._waiting.items() if key not in held]
        ready = min(unheld, key=lambda batch: batch.key not in self._doubtful, default=None)
        if ready is not None and len(self._in_flight) + len(held) < self._room:
            return self._send(ready)
        if held and len(self._in_flight) < self._room:
            return AwaitResend(max(0.0, min(held.values()) - self._clock()))
        return AwaitResponse()

    def _send(self, batch: Batch) -> SendBatch | Wait | AwaitResponse | Finished:
        try:
            decision = self._reserve()
        except MeisaError as error:
            if not self._has_started:
                raise
            self._stopped_by = error
            return self.step()
        if isinstance(decision, Wait):
            if self._clock() + decision.seconds < self._stop_at:
                return decision
            self._is_out_of_time = True
            return self.step()
        self._has_started = True
        is_resend = batch.key in self._doubtful
        if is_resend:
            self._resent.add(batch.key)
        self._in_flight[batch.key] = batch
        del self._waiting[batch.key]
        return SendBatch(batch, decision, is_resend)

    def _take(self) -> Batch | None:
        """Take the next batch; an error of the source ends the batches, and stops the run after all responses."""
        try:
            batch = next(self._batches, None)
        except MeisaError as error:
            self._batches, batch = iter(()), None
            self._stopped_by = self._stopped_by or error
        if batch is None:
            return None
        self._next, self._fingerprint = batch.number + 1, chained(self._fingerprint, batch)
        return batch

    def _take_one_to_send(self) -> None:
        """Take the next batch that has items to send; record those that have none."""
        while (batch := self._take()) and not (left := self._wait_for_turn(batch)).items:
            self._record_outcomes(left, [])

    def _record_outcomes(self, batch: Batch, outcomes: Sequence[Outcome]) -> Counter[OutcomeStatus]:
        """Record a batch, count it, and only then drop it, so that an error in between does not lose it."""
        everyone = [*batch.unsent, *outcomes]
        if self._record:
            self._record(batch, everyone)
        counts = self.counter.add(everyone, batch.counted)
        for among in (self._in_flight, self._waiting, self._resend_at):
            among.pop(batch.key, None)
        for those in (self._doubtful, self._resent):
            those.discard(batch.key)
        if not any(number == batch.number for number, _ in (*self._waiting, *self._in_flight)):
            self._searches.pop(batch.number, None)
        return counts

    def _set_rest_aside(self) -> None:
        """Record a status of this attempt for items without one; they are left for a later attempt."""
        for batch in (*self._waiting.values(), *self._later.values()):
            doubtful = batch.key in self._doubtful
            status, reason = (
                (OutcomeStatus.UNREPORTED, "response lost") if doubtful else (OutcomeStatus.UNTRIED, "")
            )
            self._leave(batch, status, reason)
        try:
            for batch in self._batches:
                self._leave(batch, OutcomeStatus.UNTRIED, "")
        except MeisaError as error:
            if self._stopped_by is None:
                raise
            self._stopped_by.add_note(f"The remaining addresses could not be counted: {error}")

    def _leave(self, batch: Batch, status: OutcomeStatus, reason: str) -> None:
        addresses = map(self._job.address, batch.items)
        everyone = [*batch.unsent, *(Outcome(address, status, reason) for address in addresses)]
        if self._record:
            self._record(batch, everyone)
        # If only the time is over, this is their status in this run: the next one sends them.
        counter = self.unresolved if self._stopped_by else self.counter
        counter.add(everyone, batch.counted)


def _numbers(keys: Iterable[Key]) -> tuple[int, ...]:
    return tuple(sorted(number for number, _ in keys))
