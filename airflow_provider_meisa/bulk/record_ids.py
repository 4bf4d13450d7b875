"""A set of record ids that holds ten million in 128 MiB."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_meisa.bulk.job import Job

_FIRST_SLOTS = 1 << 12
_MOST_IN_SET = 1 << 17


class RecordIds:
    """A set of record ids as 64-bit hashes, in an open-addressing table of machine words.

    A ``set`` of ten million record ids takes more than a gigabyte. This one takes 16 MiB for one million and
    128 MiB for ten million (192 MiB while the table grows), and holds no address.

    Two different addresses with the same hash would make the second a *duplicate*. Python's keyed SipHash
    makes that as likely as chance: at most ``n² / 2⁶⁵``, which is one run in 36 million with a million
    addresses and one in 370,000 with ten million. Its key changes with the process, so it would not
    happen again in a rerun.
    """

    __slots__ = ("_count", "_limit", "_mask", "_table")

    def __init__(self) -> None:
        self._count = 0
        self._lay(_FIRST_SLOTS)

    def __len__(self) -> int:
        return self._count

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + sys.getsizeof(self._table)

    def add(self, key: str) -> bool:
        """Add a record id, and return whether it is new."""
        return self.add_hash(hash(key))

    def add_hash(self, key: int) -> bool:
        """Add the result of Python's ``hash`` for a record id, and return whether it is new."""
        # An empty slot is 0, so a hash of 0 is stored as 1.
        mark = key or 1
        table, mask = self._table, self._mask
        slot = mark & mask
        while found := table[slot]:
            if found == mark:
                return False
            slot = (slot + 1) & mask
        table[slot] = mark
        self._count += 1
        if self._count > self._limit:
            self._grow()
        return True

    def common_hashes(self, keys: Iterable[int]) -> set[int]:
        """Return those of these results of ``hash``, except 0, whose record ids were added."""
        if self._count <= _MOST_IN_SET:
            return set(filter(None, self._table)).intersection(keys)
        return set(filter(self._has, keys))

    def _has(self, mark: int) -> bool:
        slot = mark & self._mask
        while found := self._table[slot]:
            if found == mark:
                return True
            slot = (slot + 1) & self._mask
        return False

    def _lay(self, slots: int) -> None:
        self._table = array("q", (0,)) * slots
        self._mask = slots - 1
        # Two thirds full, a search for a new key looks at five slots on average (Knuth, vol. 3, 6.4).
        self._limit = slots * 2 // 3

    def _grow(self) -> None:
        marks = self._table
        self._lay(len(marks) * 2)
        table, mask = self._table, self._mask
        for mark in filter(None, marks):
            slot = mark & mask
            while table[slot]:
                slot = (slot + 1) & mask
            table[slot] = mark


class FirstOfEach:
    """Keeps the first row of each record; all others are duplicates."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._seen = RecordIds()

    def same_record(self, item: Any) -> Outcome | None:
        """Return the outcome ``duplicate`` if the record of an item came before."""
        if self._seen.add(self._job.record_id(item)):
            return None
        return Outcome(self._job.address(item), OutcomeStatus.DUPLICATE, "appears earlier in the input")

    def clash(self, _item: Any) -> Outcome | None:
        """Return ``None``: no record prevents another one."""
