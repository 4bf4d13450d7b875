"""The entries of a ledger at one moment, for the comparison of many rows with them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from airflow_provider_meisa.bulk.ledger.entry import VALUES_MASK, Entry, State, low_bits, unpack
from airflow_provider_meisa.bulk.ledger.index import Index
from airflow_provider_meisa.bulk.ledger.subject import VALUES_SHIFT, Hasher

NONE = -1
"""The place of a record that has no entry."""


class Snapshot:
    """The entries of a ledger at one moment. Each has a place, from 0 to before the length.

    :param states: the states that `find_same` looks for.
    """

    def __init__(self, index: Index, hasher: Hasher, states: Iterable[State]) -> None:
        self._index = index
        self._hasher = hasher
        self._states = frozenset(low_bits(state) for state in states)

    def __len__(self) -> int:
        return len(self._index)

    def find(self, record_id: str) -> int:
        """Return the place of a record, `NONE` if it has no entry."""
        return self._index.place_of(self._hasher.hash_record(record_id))

    def entry_at(self, place: int) -> Entry:
        """Return the entry at a place."""
        return unpack(self._index.columns[1][place])

    def hash_values(self, values: bytes) -> int:
        """Return the hash of a record's values, as `Ledger.hash_values`."""
        return self._hasher.hash_values(values)

    def find_same(self, record_ids: Sequence[str], values: Iterable[bytes]) -> list[int]:
        """Return the place of each record whose entry has the same values, and one of the states; else `NONE`.

        :param values: the values of each record, in a canonical form.
        """
        # One pass for all of it, because it runs for each row of a source.
        (hashes, entries), states = self._index.columns, self._states
        count, begins, shift, bisect = len(hashes), self._index.begins, self._index.shift, bisect_left
        ids, wanted = self._hasher.hash_records(record_ids), self._hasher.hash_all_values(values)
        return [
            place
            if (place := bisect(hashes, each, begins[slot := each >> shift], begins[slot + 1])) < count
            and hashes[place] == each
            # A hash of 0 is stored as 1: here it is not found, once in 69 billion.
            and (entries[place] & VALUES_MASK) ^ (values_hash >> VALUES_SHIFT) in states
            else NONE
            for each, values_hash in zip(ids, wanted, strict=True)
        ]
