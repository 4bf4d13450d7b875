"""The batches in a checkpoint: written from the queue of a run, and queued again by a later attempt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.bulk.checkpoint import Piece

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.batch_queue import BatchQueue
    from airflow_provider_meisa.bulk.batching import Batch, Key
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.doubts import Doubts


def batch_fields(queue: BatchQueue, doubts: Doubts) -> dict[str, Any]:
    """Return the fields of a checkpoint about batches without a result."""
    left = queue.all_taken()
    in_flight = {*queue.in_flight, *doubts.among(queue.waiting)}
    whole = {key for key, batch in left.items() if batch.bounds is None}
    return {
        "next_batch": queue.next_batch,
        "fingerprint": queue.fingerprint,
        "in_flight": _numbers(whole & in_flight),
        "unsent": _numbers(whole - in_flight),
        "pieces": tuple(
            Piece(batch.number, *batch.bounds, doubts.state_of(key, in_flight))
            for key, batch in sorted(left.items(), key=lambda pair: pair[0])
            if batch.bounds
        ),
        "resend_at": 0.0 if queue.in_flight else doubts.last_resend_at,
        "resent": _numbers(doubts.resent_among(in_flight & whole)),
    }


def queue_again(
    queue: BatchQueue, doubts: Doubts, start: Checkpoint, pending: Iterable[Batch] | None
) -> None:
    """Queue the batches, or pieces of them, that an earlier attempt has taken but not completed.

    :param pending: these batches, if they are known; else all batches are read from the first one on.
    :raises MeisaError: if the source cannot be read.
    """
    if pending is None:
        pending = _read_up(queue, start)
    else:
        queue.resume(start)
    for batch in pending:
        _take_back(queue, doubts, start, batch)


def _read_up(queue: BatchQueue, start: Checkpoint) -> list[Batch]:
    """Read all batches that an earlier attempt has taken, and return those that it has not completed."""
    pending, numbers = [], start.pending
    while queue.next_batch < start.next_batch and (batch := queue.take()):
        if batch.number in numbers:
            pending.append(batch)
    if queue.error is not None:
        raise queue.error
    return pending


def _take_back(queue: BatchQueue, doubts: Doubts, start: Checkpoint, batch: Batch) -> None:
    """Queue a batch again, or its pieces from an earlier attempt."""
    pieces = [piece for piece in start.pieces if piece.number == batch.number]
    for piece in pieces:
        left = queue.add(batch.piece(piece.start, piece.stop))
        if piece.state != "unsent":
            doubts.take_back(left.key, was_resent=piece.state == "resent")
    if not pieces:
        queue.add(batch)
        if batch.number in start.in_flight:
            doubts.take_back(batch.key)


def _numbers(keys: Iterable[Key]) -> tuple[int, ...]:
    return tuple(sorted(number for number, _ in keys))
