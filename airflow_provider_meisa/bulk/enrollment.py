"""How an audience is enrolled, step by step: decisions only, no threads, no Airflow."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_meisa.api.bulk_enroll_response.reader import BulkReply
from airflow_provider_meisa.api.errors import (
    MeisaAudienceChangedError,
    MeisaBackOffError,
    MeisaError,
    MeisaInputError,
    MeisaInvalidRequestError,
    may_be_resent,
)
from airflow_provider_meisa.api.outcomes import BY_US, TWICE, Outcome, Tally, Verdict, possibly_ours
from airflow_provider_meisa.api.rate_limit.limiter import Slot, Wait
from airflow_provider_meisa.bulk.batching import Batch, without
from airflow_provider_meisa.bulk.checkpoint import Checkpoint, chained, seconds_until_resend

_MOST_REFUSALS_FOR_RATE = 20
# In the counts of an earlier try these can only come from an answer; of the others, some are found without asking.
_ANSWERED = (Verdict.ENROLLED, Verdict.ALREADY_ENROLLED, Verdict.FAILED, Verdict.UNREPORTED)

Record = Callable[[int, Sequence[Outcome]], None]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this batch now, in this slot of the quota."""

    batch: Batch
    slot: Slot = field(repr=False)
    is_resend: bool = False


@dataclass(frozen=True, slots=True)
class Collect:
    """Nothing can be sent until the answer to a batch that was sent has come."""


@dataclass(frozen=True, slots=True)
class AwaitResend(Wait):
    """A batch in doubt may be sent again in so many seconds: until then Meisa may still be at work on it."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to send, and every answer has come.

    :param stopped_by: the failure that concerned every address and ended the run early, if one did.
    """

    stopped_by: MeisaError | None = None


class Enrollment:
    """Says what to do next until every address has a verdict.

    The performer asks `step`, does what it says, and reports with `answered` or `refused`. What `checkpoint`
    returns after a `Send` is the intent, to be kept before the batch is sent; with it a later try goes on exactly.

    :param batches: the audience, cut into batches; the same ones in each try.
    :param reserve: asks the quota for a slot, or how long to wait for one. If it fails before the run has begun,
        `step` raises that, and there is nothing to account for; later it stops the run.
    :param checkpoint: where an earlier try has come to.
    :param record: told the number of each batch and the outcomes of all its addresses; told again if they change.
    :param max_in_flight: how many batches may be on their way at a time.
    :param resend: whether batches that may have been carried out are sent again.
    :param resend_after: seconds after which they are, see `Settings.resend_after`. A batch whose answer was lost is
        then sent again once; ``None`` leaves that to a later try, which does not wait.
    :param clock: a time in seconds since the epoch.
    :param suppressed: keys (`audience.key_of`) of addresses that are known to be suppressed and are not sent.
        They may differ from try to try: the fingerprint is taken before they are set aside.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        reserve: Callable[[], Slot | Wait],
        *,
        checkpoint: Checkpoint | None = None,
        record: Record | None = None,
        max_in_flight: int = 1,
        resend: bool = True,
        resend_after: float | None = None,
        suppressed: Container[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._from = checkpoint or Checkpoint()
        self.tally = Tally(self._from.counts, self._from.attention, self._from.doubts)
        self.unsettled = Tally()
        self._batches = iter(batches)
        self._reserve = reserve
        self._record = record
        self._max_in_flight = max_in_flight
        self._resend = resend
        self._resend_after = resend_after
        self._suppressed = suppressed
        self._clock = clock
        self._next = 0
        self._fingerprint = ""
        # A batch taken from the audience is in one of the two until it is counted; on its way between them, in both.
        self._waiting: dict[int, Batch] = {}
        self._in_flight: dict[int, Batch] = {}
        self._doubtful: set[int] = set()
        # Of those in doubt: when they may be sent again, and which were sent again by this try.
        self._resend_at: dict[int, float] = {}
        self._resent: set[int] = set(self._from.resent)
        self._has_begun = bool(self._from.next_batch)
        self._goes_alone = True
        self._was_accepted = any(self.tally.counts[verdict] for verdict in _ANSWERED)
        self._rate_refusals = 0
        self._stopped_by: MeisaError | None = None

    def catch_up(self, pending: Iterable[Batch] | None = None) -> None:
        """Take back what earlier tries have taken, and not settled.

        :param pending: these batches, where they are known to be the same. Else all batches are read from the first
            one on, to see that they are what they were.
        :raises MeisaAudienceChangedError: if it is not; nothing was sent by this try.
        :raises MeisaInputError: if a batch may have been carried out and is not to be sent again; likewise.
        """
        self._doubtful = set(self._from.in_flight)
        now = self._clock()
        first = now + seconds_until_resend(self._from, self._resend_after or 0.0, now)
        self._resend_at = dict.fromkeys(self._doubtful, first)
        if pending is None:
            self._read_up()
        else:
            self._waiting = {batch.number: without(batch, self._suppressed) for batch in pending}
            self._next, self._fingerprint = self._from.next_batch, self._from.fingerprint
        if (self._next, self._fingerprint) != (self._from.next_batch, self._from.fingerprint):
            raise MeisaAudienceChangedError(
                "The addresses are not those that an earlier try of this task has begun to send: the query, the file "
                "or the list has changed. Nothing was sent by this try. Give it the same addresses again, or set "
                "on_changed_audience='restart' to send all of them; those already in the sequence are then skipped "
                "by Meisa."
            )
        if self._doubtful and not self._resend:
            raise MeisaInputError(
                f"An earlier try ended while {len(self._doubtful)} batches were on their way: Meisa may have enrolled "
                "them. With on_ambiguous='fail' they are not sent again. Set on_ambiguous='resend' and clear the task."
            )
        # Meanwhile all addresses of a batch may have become known to be suppressed.
        for batch in [batch for batch in self._waiting.values() if not batch.addresses]:
            self._settle(batch, [])

    def _read_up(self) -> None:
        again = {*self._from.in_flight, *self._from.unsent}
        while self._next < self._from.next_batch and (batch := self._take()):
            if batch.number not in again:
                del self._waiting[batch.number]
        if self._stopped_by is not None:
            raise self._stopped_by

    def step(self) -> Send | Wait | Collect | Done:
        """Say what to do next."""
        if self._stopped_by is None:
            held = self._held()
            if len(self._waiting) == len(held):
                self._take_one_to_send()
        if self._stopped_by is None and self._waiting:
            return self._send_unless(held)
        if self._in_flight:
            return Collect()
        self._set_rest_aside()
        return Done(self._stopped_by)

    def answered(self, send: Send, reply: BulkReply) -> Counter[Verdict]:
        """Take in the answer to a batch, and return its counts.

        If the outcomes cannot be recorded, that is raised, and the batch stays one that may have been carried out.
        """
        self._goes_alone = False
        self._was_accepted = True
        self._rate_refusals = 0
        ours = send.batch.number in self._doubtful
        return self._settle(send.batch, [*map(possibly_ours, reply.outcomes)] if ours else reply.outcomes)

    def refused(self, send: Send, error: MeisaError) -> bool:
        """Take in the failure of a batch, and say whether its addresses have their verdicts with it.

        A 429 or 503 puts the batch back. So does a lost answer, if the batch may be sent again by this try: once, and
        after a while. A refusal of the batch's fields fails its addresses, and stops the run only
        if no batch was accepted before it, in this try or an earlier one. Every other failure concerns all
        addresses: it stops the run.
        """
        batch = send.batch
        is_first_resend = batch.number not in self._resent
        if error.possibly_done:
            self._doubt(batch.number)
        self._waiting[batch.number] = batch
        del self._in_flight[batch.number]
        if isinstance(error, MeisaInvalidRequestError) and self._was_accepted:
            reason = error.reason or f"the batch was refused ({error.status})"
            self._settle(batch, [Outcome(address, Verdict.FAILED, reason) for address in batch.addresses])
            return True
        if isinstance(error, MeisaBackOffError) and self._rate_refusals < _MOST_REFUSALS_FOR_RATE:
            self._rate_refusals += 1
        elif self._stopped_by is None and not (is_first_resend and self._is_resent_after(error)):
            self._stopped_by = error
        return False

    def checkpoint(self, *, complete: bool = False) -> Checkpoint:
        """Say how far the run has come."""
        in_flight = {*self._in_flight, *(self._waiting.keys() & self._doubtful)}
        return Checkpoint(
            next_batch=self._next,
            fingerprint=self._fingerprint,
            in_flight=tuple(sorted(in_flight)),
            unsent=tuple(sorted(self._waiting.keys() - in_flight)),
            resend_at=0.0 if self._in_flight else max(self._resend_at.values(), default=0.0),
            resent=tuple(sorted(self._resent & in_flight)),
            counts={verdict.value: count for verdict, count in self.tally.counts.items()},
            attention=tuple(self.tally.attention),
            complete=complete,
            possibly_twice=self.tally.doubts[TWICE],
            possibly_by_this_run=self.tally.doubts[BY_US],
        )

    @property
    def _room(self) -> int:
        """The first batch goes alone: what concerns every address then shows before a second is sent."""
        return 1 if self._goes_alone else self._max_in_flight

    def _doubt(self, number: int) -> None:
        self._doubtful.add(number)
        self._resend_at[number] = self._clock() + (self._resend_after or 0.0)

    def _is_resent_after(self, error: MeisaError) -> bool:
        may_wait = self._resend and self._resend_after is not None
        return may_wait and error.possibly_done and may_be_resent(error)

    def _held(self) -> dict[int, float]:
        """Find the batches that may not be sent again yet, and when they may."""
        now = self._clock()
        return {
            number: moment for number in self._waiting if (moment := self._resend_at.get(number, 0.0)) > now
        }

    def _send_unless(self, held: Mapping[int, float]) -> Send | Wait | Collect | Done:
        """Send the next batch, or wait for those that are held.

        These take up room as well, and those in doubt go first: no more are ever in doubt than may be on their way.
        """
        unheld = [batch for number, batch in self._waiting.items() if number not in held]
        ready = min(unheld, key=lambda batch: batch.number not in self._doubtful, default=None)
        if ready is not None and len(self._in_flight) + len(held) < self._room:
            return self._send(ready)
        if held and len(self._in_flight) < self._room:
            return AwaitResend(max(0.0, min(held.values()) - self._clock()))
        return Collect()

    def _send(self, batch: Batch) -> Send | Wait | Collect | Done:
        try:
            decision = self._reserve()
        except MeisaError as error:
            if not self._has_begun:
                raise
            self._stopped_by = error
            return self.step()
        if isinstance(decision, Wait):
            return decision
        self._has_begun = True
        is_resend = batch.number in self._doubtful
        if is_resend:
            self._resent.add(batch.number)
        self._in_flight[batch.number] = batch
        del self._waiting[batch.number]
        return Send(batch, decision, is_resend)

    def _take(self) -> Batch | None:
        """Take the next batch; a source that fails ends here, and stops the run once every answer has come."""
        try:
            batch = next(self._batches, None)
        except MeisaError as error:
            self._batches, batch = iter(()), None
            self._stopped_by = self._stopped_by or error
        if batch is None:
            return None
        fingerprint = chained(self._fingerprint, batch)
        self._waiting[batch.number] = taken = without(batch, self._suppressed)
        self._next, self._fingerprint = batch.number + 1, fingerprint
        return taken

    def _take_one_to_send(self) -> None:
        """Take the next batch that has addresses to send; settle those that have none on the way."""
        while (batch := self._take()) and not batch.addresses:
            self._settle(batch, [])

    def _settle(self, batch: Batch, outcomes: Sequence[Outcome]) -> Counter[Verdict]:
        """Record a batch, count it, and only then let go of it: no failure in between makes it vanish."""
        everyone = [*batch.set_aside, *outcomes]
        if self._record:
            self._record(batch.number, everyone)
        counts = self.tally.add(everyone)
        for among in (self._in_flight, self._waiting):
            among.pop(batch.number, None)
        self._doubtful.discard(batch.number)
        self._resent.discard(batch.number)
        self._resend_at.pop(batch.number, None)
        return counts

    def _set_rest_aside(self) -> None:
        """Give those that have no verdict yet one for this try; they are left for a later one."""
        for batch in self._waiting.values():
            doubtful = batch.number in self._doubtful
            verdict, reason = (
                (Verdict.UNREPORTED, "the answer was lost") if doubtful else (Verdict.UNTRIED, "")
            )
            self._leave(batch, verdict, reason)
        try:
            for batch in self._batches:
                self._leave(batch, Verdict.UNTRIED, "")
        except MeisaError as error:
            if self._stopped_by is None:
                raise
            self._stopped_by.add_note(f"The rest of the addresses could not be counted: {error}")

    def _leave(self, batch: Batch, verdict: Verdict, reason: str) -> None:
        everyone = [*batch.set_aside, *(Outcome(address, verdict, reason) for address in batch.addresses)]
        if self._record:
            self._record(batch.number, everyone)
        self.unsettled.add(everyone)
