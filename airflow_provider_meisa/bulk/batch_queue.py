"""The batches of a run that have no result yet: in which order they are sent, and which ones are in flight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaError
from airflow_provider_meisa.bulk.checkpoint import chained

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.batching import Batch, Key
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.job import Exclusion

_MOST_LATER = 100  # they are in memory and in the checkpoint


class BatchQueue:
    """Takes batches from the plan one by one, and keeps each until it is dropped.

    :param batches: the batches, the same ones in each attempt.
    :param exclusion: see `BulkEngine`.
    :ivar next_batch: the number of the next batch to take.
    :ivar fingerprint: a hash of those before it.
    :ivar waiting: the batches to send, in this order.
    :ivar in_flight: the batches that were sent. One that moves is in both.
    :ivar later: the batches to send once more at the end.
    :ivar given_up: the batches that a later attempt sends again: Meisa has failed on each of them twice.
    :ivar error: the error of the source that ended the batches.
    """

    def __init__(self, batches: Iterable[Batch], exclusion: Exclusion | None) -> None:
        self._batches = iter(batches)
        self._exclusion = exclusion
        self._was_later: set[Key] = set()
        self.next_batch = 0
        self.fingerprint = ""
        self.waiting: dict[Key, Batch] = {}
        self.in_flight: dict[Key, Batch] = {}
        self.later: dict[Key, Batch] = {}
        self.given_up: dict[Key, Batch] = {}
        self.error: MeisaError | None = None

    def resume(self, start: Checkpoint) -> None:
        """Continue where an earlier attempt ended: the batches come from there on."""
        self.next_batch, self.fingerprint = start.next_batch, start.fingerprint

    def is_at(self, start: Checkpoint) -> bool:
        """Return whether the same batches were taken as in an earlier attempt."""
        return (self.next_batch, self.fingerprint) == (start.next_batch, start.fingerprint)

    def take(self) -> Batch | None:
        """Take the next batch; an error of the source ends the batches, and stops the run after all responses."""
        try:
            batch = next(self._batches, None)
        except MeisaError as error:
            self._batches, batch = iter(()), None
            self.error = self.error or error
        if batch is None:
            return None
        self.next_batch, self.fingerprint = batch.number + 1, chained(self.fingerprint, batch)
        return batch

    def add(self, batch: Batch) -> Batch:
        """Queue a batch, and return it without excluded items."""
        left = batch.without(self._exclusion) if self._exclusion else batch
        self.waiting[left.key] = left
        return left

    def start(self, batch: Batch) -> None:
        """Let a batch be in flight."""
        self.in_flight[batch.key] = batch
        del self.waiting[batch.key]

    def put_back(self, batch: Batch) -> None:
        """Queue a batch again that was in flight."""
        self.waiting[batch.key] = batch
        del self.in_flight[batch.key]

    def replace(self, batch: Batch, *pieces: Batch) -> None:
        """Queue the pieces of a batch in its place, before all others."""
        del self.waiting[batch.key]
        self.waiting = {**{piece.key: piece for piece in pieces}, **self.waiting}

    def postpone(self, batch: Batch) -> bool:
        """Send a batch once more at the end; return whether that is possible: once, and not for too many."""
        if batch.key in self._was_later or len(self._was_later) >= _MOST_LATER:
            return False
        self._was_later.add(batch.key)
        self.later[batch.key] = self.waiting.pop(batch.key)
        return True

    def give_up(self, batch: Batch) -> bool:
        """Leave a batch to a later attempt; return whether it was sent once more at the end."""
        if batch.key not in self._was_later:
            return False
        self.given_up[batch.key] = self.waiting.pop(batch.key)
        return True

    def take_later_ones(self) -> bool:
        """Queue what may be accepted now, the last one first: that frees the addresses that others wait for.

        :return: whether there were any.
        """
        self.waiting = dict(reversed(self.later.items()))
        self.later.clear()
        return bool(self.waiting)

    @property
    def is_at_later_ones(self) -> bool:
        """Whether the batches are sent that are sent once more at the end."""
        return bool(self._was_later) and not self.later

    def drop(self, batch: Batch) -> bool:
        """Drop a batch that has a result, and return whether no other piece of it is left."""
        self.in_flight.pop(batch.key, None)
        self.waiting.pop(batch.key, None)
        return not any(number == batch.number for number, _ in (*self.waiting, *self.in_flight))

    def unsent(self) -> tuple[Batch, ...]:
        """Return the batches that were taken, and are neither in flight nor given up."""
        return (*self.waiting.values(), *self.later.values())

    def all_taken(self) -> dict[Key, Batch]:
        """Return all batches that were taken."""
        return {**self.waiting, **self.in_flight, **self.later, **self.given_up}

    def rest(self) -> Iterator[Batch]:
        """Take the batches that are left in the plan, without queueing them."""
        return self._batches
