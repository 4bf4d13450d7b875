"""How far an enrollment has come: what a later try needs to resume exactly there."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal, NamedTuple, Self

import msgspec
from msgspec import Meta

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import BY_US, TWICE, OutcomeStatus
from airflow_provider_meisa.bulk.batching import Batch

VERSION = 4

_REASON_IN_CHECKPOINT = 40
_ATTENTION_IN_CHECKPOINT = 4
_MOST_BYTES = 1000
_ATTENTION = {"address", "status", "reason"}

Count = Annotated[int, Meta(ge=0)]
"""A whole number, not negative."""
Seconds = Annotated[float, Meta(ge=0, lt=1e12)]
"""A duration or a moment since the epoch; a trillion is longer than any run takes, and later than any begins."""

PieceState = Literal["unsent", "in_flight", "resent"]


class Piece(NamedTuple):
    """A part of a batch that was split because some of its items are bad; it has no outcomes yet.

    :param number: of the batch.
    :param start: the place of its first item in the batch.
    :param stop: the place behind its last item.
    :param state: ``unsent``; ``in_flight``, if its request may have been carried out; or ``resent``, if that was sent
        again by this try of Airflow's.
    """

    number: Count
    start: Count
    stop: Count
    state: PieceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far an enrollment has come. Under 1 KB as JSON, but for the pieces, and without an address in clear.

    :param plan: the id of the plan that the batches are read from; empty where there is none.
    :param next_batch: number of the first batch that was not taken from it yet.
    :param fingerprint: hash of all addresses of the batches before it.
    :param in_flight: those among them that were sent, or may have been, and whose answer is not noted.
    :param unsent: those among them that were surely not sent.
    :param resend_at: when those in flight may be sent again, in seconds since the epoch; 0 where that is not known,
        because some were on their way.
    :param resent: those in flight that this try of Airflow's has sent again.
    :param pieces: what is left of batches that were split.
    :param counts: statuses of all others among them.
    :param possibly_twice: and ``possibly_by_this_run``: how many of them have that reason (`outcomes.DOUBTS`).
    :param attention: a few of those that need a person's attention, with masked addresses.
    :param requests: and ``retries``, ``rate_limited``, ``waited``: what it took so far (`RequestStats`).
    :param started_at: when the first try began, in seconds since the epoch.
    :param stalled: how many stretches in a row could send nothing, because the rate limits left too little room.
    :param resumed: whether a later try has gone on from an earlier one.
    :param outside: how many of the counted are not in the plan: an earlier try has sent them, then the plan was lost,
        and the source no longer has them.
    :param complete: whether every address has its status.
    :param max_tries: Airflow's number of that name when it became complete. Clearing the task raises it; a retry of
        a task that was interrupted afterwards finds the same.
    """

    plan: str = ""
    next_batch: Count = 0
    fingerprint: str = ""
    in_flight: tuple[Count, ...] = ()
    unsent: tuple[Count, ...] = ()
    pieces: tuple[Piece, ...] = ()
    counts: Mapping[str, Count] = field(default_factory=dict)
    attention: tuple[Mapping[str, str], ...] = ()
    requests: Count = 0
    retries: Count = 0
    rate_limited: Count = 0
    waited: Seconds = 0.0
    started_at: Seconds = 0.0
    stalled: Count = 0
    resumed: bool = False
    outside: Count = 0
    complete: bool = False
    max_tries: Count = 0
    resend_at: Seconds = 0.0
    resent: tuple[Count, ...] = ()
    possibly_twice: Count = 0
    possibly_by_this_run: Count = 0

    @property
    def doubts(self) -> dict[str, int]:
        """How many addresses have each of the reasons `outcomes.DOUBTS`."""
        return {TWICE: self.possibly_twice, BY_US: self.possibly_by_this_run}

    @property
    def pending(self) -> frozenset[int]:
        """The numbers of all batches that were taken from the plan and have no outcomes yet, or not for all items."""
        return frozenset({*self.in_flight, *self.unsent, *(piece.number for piece in self.pieces)})

    @property
    def has_doubts(self) -> bool:
        """Whether a request of the run may have been carried out, and its outcomes are not recorded."""
        return bool(self.in_flight) or any(piece.state != "unsent" for piece in self.pieces)

    def for_next_try(self) -> Self:
        """Return where a later try of Airflow's resumes: it may send again what this one has sent again."""
        pieces = (
            piece if piece.state == "unsent" else piece._replace(state="in_flight") for piece in self.pieces
        )
        return replace(self, resumed=True, resent=(), pieces=tuple(pieces))

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        attention = [
            {**entry, "reason": entry["reason"][:_REASON_IN_CHECKPOINT]}
            for entry in self.attention[:_ATTENTION_IN_CHECKPOINT]
        ]
        written = {
            "version": VERSION,
            **values,
            "in_flight": list(self.in_flight),
            "unsent": list(self.unsent),
            "pieces": [list(piece) for piece in self.pieces],
            "resent": list(self.resent),
            "resend_at": math.ceil(self.resend_at),
            "counts": {status: count for status, count in self.counts.items() if count},
            "attention": attention,
            "waited": round(self.waited, 1),
        }
        most = _MOST_BYTES + len(json.dumps(written["pieces"]))
        while attention and len(json.dumps(written)) > most:
            attention.pop()
        return written

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read it back.

        :raises MeisaInputError: if it is not one that this version has written.
        """
        try:
            checkpoint = msgspec.convert(value, cls)
        except msgspec.ValidationError:
            raise _foreign() from None
        if not _is_whole(checkpoint, value):
            raise _foreign()
        return checkpoint


def seconds_until_resend(start: Checkpoint, resend_after: float, now: float | None = None) -> float:
    """Say in how many seconds what an earlier try has in doubt may be sent again.

    When it was sent is not known if that try was killed: then it is counted from now on, as where a clock was set back.

    :param resend_after: see `Settings.resend_after`.
    :param now: seconds since the epoch.
    """
    now = time.time() if now is None else now
    return max(0.0, min(start.resend_at or math.inf, now + resend_after) - now)


def chained(fingerprint: str, batch: Batch) -> str:
    """Extend a fingerprint by one batch: its items, and how many rows were set aside with them."""
    text = json.dumps((fingerprint, len(batch.set_aside), batch.items), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _is_whole(checkpoint: Checkpoint, value: Any) -> bool:
    """Return whether JSON that a checkpoint was read from is of this version, with each field and no other."""
    return (
        set(value) == {"version", *(each.name for each in fields(checkpoint))}
        and value["version"] == VERSION
        and set(checkpoint.counts) <= set(OutcomeStatus)
        and all(set(entry) == _ATTENTION for entry in checkpoint.attention)
    )


def _foreign() -> MeisaInputError:
    return MeisaInputError(
        "The checkpoint of an earlier try was written by another version of this provider, or by something "
        "else. Nothing was sent. To start from the first address, delete it: the task's state 'meisa' in the "
        "Airflow UI (Airflow before 3.3: the Variable whose name begins with meisa__)."
    )
