"""Entries by record hash in sorted columns: 16 bytes per entry, found by bisection within a fan-out table."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TypeAlias

from airflow_provider_meisa.bulk.ledger.entry import Entry, unpack

Columns: TypeAlias = "tuple[array[int], array[int]]"
"""Unique hashes in ascending order, and a packed entry for each."""

_RANGE = 1 << 14
"""The approximate number of entries that are merged at once, in a dict."""
_HASHES_A_SLOT = 3
"""Each slot of the fan-out has about 2 to this power hashes, or down to half as many."""
_SPLICED_SHARE = 16
"""Parts that have together fewer than this share of the entries of the largest are spliced into it."""
_SLOTS_AT_ONCE = 64
_FEWEST_RECENT = 1 << 16
_RECENT_SHARE = 64


def empty_columns() -> Columns:
    """Return columns without entries."""
    return array("Q"), array("Q")


def merge(parts: Sequence[Columns]) -> Columns:
    """Merge columns; keep the largest entry of each hash.

    Order, repetition and grouping do not change the result.
    """
    parts = [part for part in parts if part[0]]
    if len(parts) <= 1:
        return parts[0] if parts else empty_columns()
    *smaller, largest = sorted(parts, key=lambda part: len(part[0]))
    if sum(len(hashes) for hashes, _ in smaller) < len(largest[0]) // _SPLICED_SHARE:
        return _spliced(largest, merge(smaller))
    total = sum(len(hashes) for hashes, _ in parts)
    ranges = max(1, total // _RANGE)
    merged = empty_columns()
    begins = [0] * len(parts)
    for number in range(1, ranges + 1):
        ends = [
            len(hashes) if number == ranges else bisect_left(hashes, (number << 64) // ranges, begin)
            for (hashes, _), begin in zip(parts, begins, strict=True)
        ]
        slices = [
            (hashes[begin:end], entries[begin:end])
            for (hashes, entries), begin, end in zip(parts, begins, ends, strict=True)
            if begin < end
        ]
        for column, more in zip(merged, _merge_range(slices), strict=True):
            column.extend(more)
        begins = ends
    return merged


def _spliced(columns: Columns, few: Columns) -> Columns:
    """Merge a few entries into many, which are copied in slices."""
    hashes, entries = columns
    merged = empty_columns()
    begin = 0
    for record_hash, entry in zip(*few, strict=True):
        place = bisect_left(hashes, record_hash, begin)
        merged[0].extend(hashes[begin:place])
        merged[1].extend(entries[begin:place])
        is_known = place < len(hashes) and hashes[place] == record_hash
        merged[0].append(record_hash)
        merged[1].append(max(entry, entries[place]) if is_known else entry)
        begin = place + is_known
    merged[0].extend(hashes[begin:])
    merged[1].extend(entries[begin:])
    return merged


def _merge_range(slices: Sequence[Columns]) -> Columns:
    if len(slices) == 1:
        return slices[0]
    merged: dict[int, int] = {}
    for hashes, entries in slices:
        more = dict(zip(hashes, entries, strict=True))
        for each in merged.keys() & more.keys():
            more[each] = max(more[each], merged[each])
        merged.update(more)
    hashes = array("Q", sorted(merged))
    return hashes, array("Q", map(merged.__getitem__, hashes))


class Index:
    """Sorted columns in which an entry is found in less than a microsecond.

    :ivar columns: the hashes and the entries.
    :ivar shift: what a hash is shifted by to get its slot.
    :ivar begins: the place at which each slot begins, and the end.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        hashes = columns[0]
        bits = max(1, len(hashes).bit_length() - _HASHES_A_SLOT)
        self.shift = 64 - bits
        self.begins = _fan_out(hashes, bits)

    def __len__(self) -> int:
        return len(self.columns[0])

    def find(self, record_hash: int) -> int:
        """Return the packed entry of a hash, 0 if there is none."""
        place = self.place_of(record_hash)
        return self.columns[1][place] if place >= 0 else 0

    def place_of(self, record_hash: int) -> int:
        """Return the place of a hash in the columns, -1 if there is none."""
        hashes, slot = self.columns[0], record_hash >> self.shift
        end = self.begins[slot + 1]
        place = bisect_left(hashes, record_hash, self.begins[slot], end)
        return place if place < end and hashes[place] == record_hash else -1

    def find_all(self, record_hashes: Iterable[int]) -> list[int]:
        """Return the packed entry of each hash, as `find` does, in half the time."""
        hashes, entries = self.columns
        count, begins, shift, bisect = len(hashes), self.begins, self.shift, bisect_left
        # After the slot comes a hash of another slot, or the end.
        return [
            entries[place]
            if (place := bisect(hashes, each, begins[slot := each >> shift], begins[slot + 1])) < count
            and hashes[place] == each
            else 0
            for each in record_hashes
        ]


def _fan_out(hashes: array[int], bits: int) -> array[int]:
    """Return the start of each slot, which has the hashes with the same highest bits, and the end."""
    shift, slots, begin = 64 - bits, 1 << bits, 0
    begins = array("I")
    for slot in range(0, slots, _SLOTS_AT_ONCE):
        # A bisection within few hashes is short: this takes two thirds of the time of a full one for each.
        behind = min(slot + _SLOTS_AT_ONCE, slots)
        end = bisect_left(hashes, behind << shift, begin)
        firsts = range(slot << shift, behind << shift, 1 << shift)
        begins.extend(map(bisect_left, repeat(hashes), firsts, repeat(begin), repeat(end)))
        begin = end
    begins.append(len(hashes))
    return begins


class GrowingIndex:
    """An index for new entries: the latest are in a dict, which is merged into columns from time to time."""

    def __init__(self) -> None:
        self._index = Index(empty_columns())
        self._recent: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._recent) or len(self._index) > 0

    def find(self, record_hash: int) -> int:
        """Return the packed entry of a hash, 0 if there is none."""
        return self._recent.get(record_hash) or self._index.find(record_hash)

    def add(self, record_hash: int, entry: int) -> None:
        """Add an entry, unless a larger one exists."""
        if entry > self.find(record_hash):
            self._recent[record_hash] = entry
            if len(self._recent) > max(_FEWEST_RECENT, len(self._index) // _RECENT_SHARE):
                self.columns()

    def columns(self) -> Columns:
        """Return all entries, sorted."""
        if self._recent:
            hashes = array("Q", sorted(self._recent))
            entries = array("Q", map(self._recent.__getitem__, hashes))
            self._index = Index(merge([self._index.columns, (hashes, entries)]))
            self._recent.clear()
        return self._index.columns


def entries_of(columns: Columns) -> Iterator[tuple[int, Entry]]:
    """Yield each hash and its entry."""
    return zip(columns[0], map(unpack, columns[1]), strict=True)
