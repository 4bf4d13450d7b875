"""How an audience is enrolled, step by step: decisions only, no threads, no Airflow, no clock."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from airflow_provider_meisa.api.audience import Batch
from airflow_provider_meisa.api.bulk_reply import BulkReply
from airflow_provider_meisa.api.errors import (
    MeisaAnswerLostError,
    MeisaError,
    MeisaInvalidRequestError,
    MeisaRateLimitError,
    MeisaServerError,
    MeisaUnreadableAnswerError,
)
from airflow_provider_meisa.api.outcomes import Outcome, Tally, Verdict
from airflow_provider_meisa.api.quota import Slot, Wait

_MOST_REFUSALS_FOR_RATE = 10
_IN_DOUBT = (MeisaAnswerLostError, MeisaServerError, MeisaUnreadableAnswerError)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this batch now, in this slot of the quota."""

    batch: Batch
    slot: Slot = field(repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to send.

    :param stopped_by: the failure that concerned every address and ended the run early, if one did.
    """

    stopped_by: MeisaError | None = None


class Enrollment:
    """Says what to do next until every address has a verdict.

    The performer asks `step`, does what it says, and reports with `answered` or `refused`.

    :param batches: the audience, cut into batches.
    :param reserve: asks the quota for a slot, or how long to wait for one.
    """

    def __init__(self, batches: Iterable[Batch], reserve: Callable[[], Slot | Wait]) -> None:
        self.tally = Tally()
        self._batches = iter(batches)
        self._reserve = reserve
        self._waiting: deque[Batch] = deque()
        self._accepted = 0
        self._rate_refusals = 0
        self._stopped_by: MeisaError | None = None

    def step(self) -> Send | Wait | Done:
        """Say what to do next."""
        if self._stopped_by is None and not self._waiting:
            self._waiting.extend(self._next_batch())
        if self._stopped_by is None and self._waiting:
            decision = self._reserve()
            return decision if isinstance(decision, Wait) else Send(self._waiting.popleft(), decision)
        self._set_rest_aside()
        return Done(self._stopped_by)

    def answered(self, reply: BulkReply) -> Counter[Verdict]:
        """Take in the answer to a batch, and return its counts."""
        self._accepted += 1
        self._rate_refusals = 0
        return self.tally.add(reply.outcomes)

    def refused(self, send: Send, error: MeisaError) -> None:
        """Take in the failure of a batch.

        A 429 puts the batch back. A refusal of the batch's fields fails its addresses, and stops the run only
        if no batch was accepted before it. Every other failure concerns all addresses: it stops the run.
        """
        if isinstance(error, MeisaRateLimitError) and self._rate_refusals < _MOST_REFUSALS_FOR_RATE:
            self._rate_refusals += 1
            self._waiting.appendleft(send.batch)
            return
        verdict, reason = _verdict_of_failure(error)
        self.tally.add(Outcome(address, verdict, reason) for address in send.batch.addresses)
        if not isinstance(error, MeisaInvalidRequestError) or not self._accepted:
            self._stopped_by = error

    def _next_batch(self) -> list[Batch]:
        """Take the next batch that has addresses to send; count what was set aside on the way."""
        for batch in self._batches:
            self.tally.add(batch.set_aside)
            if batch.addresses:
                return [replace(batch, set_aside=())]
        return []

    def _set_rest_aside(self) -> None:
        for batch in itertools.chain(self._waiting, self._batches):
            self.tally.add(batch.set_aside)
            self.tally.add(Outcome(address, Verdict.UNTRIED) for address in batch.addresses)
        self._waiting.clear()


def _verdict_of_failure(error: MeisaError) -> tuple[Verdict, str]:
    if isinstance(error, MeisaInvalidRequestError):
        return Verdict.FAILED, error.reason or f"the batch was refused ({error.status})"
    if isinstance(error, _IN_DOUBT):
        return Verdict.UNREPORTED, "the answer to its batch was lost"
    return Verdict.UNTRIED, ""
