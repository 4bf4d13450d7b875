"""The progress of a run, from which a later attempt resumes."""

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

VERSION = 6

REASON_IN_CHECKPOINT = 40
_ATTENTION_IN_CHECKPOINT = 4
REASONS_IN_CHECKPOINT = 6
_MOST_BYTES = 1000
_ATTENTION = {"address", "status", "reason"}

Count = Annotated[int, Meta(ge=0)]
"""A whole number, 0 or more."""
Seconds = Annotated[float, Meta(ge=0, lt=1e12)]
"""A duration, or a time since the epoch; below a trillion, so that a damaged value is found."""

PieceState = Literal["unsent", "in_flight", "resent"]


class Piece(NamedTuple):
    """A piece of a split batch without outcomes.

    :param number: the number of the batch.
    :param start: the place of its first item in the batch.
    :param stop: the place after its last item.
    :param state: ``unsent``; ``in_flight``, if its request may have been carried out; or ``resent``, if this attempt
        has sent it again.
    """

    number: Count
    start: Count
    stop: Count
    state: PieceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The progress of a run. Under 1 KB as JSON, except for the pieces, and without an address in clear.

    :param plan: the id of the plan of the batches; empty if there is none.
    :param next_batch: the number of the next batch to take from the plan.
    :param fingerprint: a hash of all addresses in the batches before that.
    :param in_flight: numbers of batches that were sent, or may have been, without a recorded response.
    :param unsent: numbers of batches that were certainly not sent.
    :param resend_at: when those in flight may be sent again, in seconds since the epoch; 0 if not known, because
        requests are in flight.
    :param resent: numbers of batches in flight that this attempt has sent again.
    :param pieces: the remaining pieces of split batches.
    :param counts: the statuses of all other batches before ``next_batch``.
    :param possibly_twice: and ``possibly_by_this_run``: the addresses with that reason (`outcomes.DOUBTS`).
    :param attention: a few outcomes that need attention, with masked addresses.
    :param reasons: the most frequent reasons, ``{status: {reason: count}}``, cut to 40 characters.
    :param requests: and ``retries``, ``rate_limited``, ``waited``: the counts so far (`RequestStats`).
    :param started_at: when the first attempt began, in seconds since the epoch.
    :param stalled: how many stretches in a row could send nothing, because the rate limits were reached.
    :param resumed: whether a later attempt has resumed from an earlier one.
    :param outside: the counted records that are not in the plan: an earlier attempt has sent them, then the plan was
        lost, and the source no longer has them.
    :param outcomes: a hash of the outcomes file, if it has the place of its parts; empty while they exist.
    :param complete: whether every address has its status.
    :param max_tries: Airflow's number of that name when the run was complete. Clearing the task increases it; a retry
        of a task that was interrupted afterwards does not.
    """

    plan: str = ""
    next_batch: Count = 0
    fingerprint: str = ""
    in_flight: tuple[Count, ...] = ()
    unsent: tuple[Count, ...] = ()
    pieces: tuple[Piece, ...] = ()
    counts: Mapping[str, Count] = field(default_factory=dict)
    attention: tuple[Mapping[str, str], ...] = ()
    reasons: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    requests: Count = 0
    retries: Count = 0
    rate_limited: Count = 0
    waited: Seconds = 0.0
    started_at: Seconds = 0.0
    stalled: Count = 0
    resumed: bool = False
    outside: Count = 0
    outcomes: str = ""
    complete: bool = False
    max_tries: Count = 0
    resend_at: Seconds = 0.0
    resent: tuple[Count, ...] = ()
    possibly_twice: Count = 0
    possibly_by_this_run: Count = 0

    @property
    def doubts(self) -> dict[str, int]:
        """Return the number of addresses with each of the reasons `outcomes.DOUBTS`."""
        return {TWICE: self.possibly_twice, BY_US: self.possibly_by_this_run}

    @property
    def pending(self) -> frozenset[int]:
        """Return the numbers of all batches that were taken from the plan and lack outcomes of some items."""
        return frozenset({*self.in_flight, *self.unsent, *(piece.number for piece in self.pieces)})

    @property
    def has_doubts(self) -> bool:
        """Return whether a request may have been carried out without recorded outcomes."""
        return bool(self.in_flight) or any(piece.state != "unsent" for piece in self.pieces)

    def for_next_try(self) -> Self:
        """Return the checkpoint for a later attempt, which may resend what this one has resent."""
        pieces = (
            piece if piece.state == "unsent" else piece._replace(state="in_flight") for piece in self.pieces
        )
        return replace(self, resumed=True, resent=(), pieces=tuple(pieces))

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        attention = [
            {**entry, "reason": entry["reason"][:REASON_IN_CHECKPOINT]}
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
        if len(json.dumps(written)) > most:
            written["reasons"] = {}
        return written

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Decode a checkpoint.

        :raises MeisaInputError: if this version has not written it.
        """
        try:
            checkpoint = msgspec.convert(value, cls)
        except msgspec.ValidationError:
            raise _foreign() from None
        if not _is_whole(checkpoint, value):
            raise _foreign()
        return checkpoint


def seconds_until_resend(start: Checkpoint, resend_after: float, now: float | None = None) -> float:
    """Return the seconds until batches in doubt of an earlier attempt may be sent again.

    If that attempt was killed, the time of its requests is not known: the wait then starts now, as after a clock was
    set back.

    :param resend_after: see `Settings.resend_after`.
    :param now: seconds since the epoch.
    """
    now = time.time() if now is None else now
    return max(0.0, min(start.resend_at or math.inf, now + resend_after) - now)


def chained(fingerprint: str, batch: Batch) -> str:
    """Extend a fingerprint by one batch: by its items, and the number of rows that were set aside."""
    text = json.dumps((fingerprint, len(batch.set_aside), batch.items), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _is_whole(checkpoint: Checkpoint, value: Any) -> bool:
    """Return whether the JSON of a checkpoint has this version and exactly its fields."""
    return (
        set(value) == {"version", *(each.name for each in fields(checkpoint))}
        and value["version"] == VERSION
        and set(checkpoint.counts) <= set(OutcomeStatus)
        and all(set(entry) == _ATTENTION for entry in checkpoint.attention)
    )


def _foreign() -> MeisaInputError:
    return MeisaInputError(
        "The checkpoint of an earlier attempt was written by another version of this provider, or by something "
        "else. Nothing was sent. To start from the first address, delete it: the task's state 'meisa' in the "
        "Airflow UI (Airflow before 3.3: the Variable whose name begins with meisa__)."
    )
