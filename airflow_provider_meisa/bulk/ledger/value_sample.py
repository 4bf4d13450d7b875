"""Hashes of the single values of some records, which show in what a changed record differs."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_meisa.api.errors import MeisaError
from airflow_provider_meisa.bulk.ledger.entry import State

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.ledger.ledger import Ledger

log = logging.getLogger("airflow.task.meisa")

MOST_RECORDS = 10_000
"""About so many records are in the sample of a larger ledger."""

_FOLDER = "values"
_NAMES = "names"
_COMPACT_FROM = 16
_Result = TypeVar("_Result")


@dataclass(slots=True)
class Differences:
    """In what changed records differ from what Meisa has accepted.

    :param compared: the number of changed records of the sample.
    :param by_name: how many of them have another value, by its name.
    """

    compared: int = 0
    by_name: Counter[str] = field(default_factory=Counter)


class ValueSample:
    """The single values of about 10,000 records of a ledger as Meisa has accepted them, chosen by their hash.

    They are entries of another ledger of the same subject, in a folder of the first one: one for each record and name.
    It explains changes and decides about none, so that a run continues without it if it cannot be used.

    :param ledger: the ledger of the records.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._kept: Ledger | None = None
        self._below = (1 << 64) * MOST_RECORDS // max(ledger.count, MOST_RECORDS)
        self._added: dict[int, array[int]] = {}
        self._names: set[str] = set()
        self._is_usable = True
        self.found = Differences()

    def covers(self, record_id: str) -> bool:
        """Return whether a record belongs to the sample."""
        return self._hash(record_id) < self._below

    def compare(self, record_id: str, values: Mapping[str, bytes]) -> None:
        """Count in which of its values a changed record differs, unless the sample does not have it yet.

        :param values: the values by name, in a canonical form.
        """
        differing = self._try(lambda kept: _differing(kept, self._hash(record_id), values))
        if differing is not None:
            self.found.compared += 1
            self.found.by_name.update(differing)

    def add(self, record_id: str, values: Mapping[str, bytes]) -> None:
        """Take the values that Meisa has accepted, until `write`."""
        record_hash = self._hash(record_id)
        keys = self._ledger.hash_records(_keys(record_hash, values))
        hashes = map(self._ledger.hash_values, values.values())
        pairs = array("Q", (number for pair in zip(keys, hashes, strict=True) for number in pair))
        self._added[record_hash] = pairs
        self._names.update(values)
        if len(self._added) > MOST_RECORDS:
            self._below //= 2
            self._added = {each: kept for each, kept in self._added.items() if each < self._below}

    def _hash(self, record_id: str) -> int:
        return self._ledger.hash_records((record_id,))[0]

    def write(self, *, by: str) -> None:
        """Write the values that were added.

        :param by: the run.
        """
        if not self._added:
            return
        pairs = ((kept[at], kept[at + 1]) for kept in self._added.values() for at in range(0, len(kept), 2))
        self._try(lambda kept: self._write(kept, pairs, by))
        self._added = {}

    def _write(self, kept: Ledger, pairs: Iterator[tuple[int, int]], by: str) -> None:
        names = sorted({*kept.properties.get(_NAMES, ()), *self._names})
        kept.write_hashed(pairs, State.ACCEPTED, by=by, properties={_NAMES: names})
        kept.compact(at_least=_COMPACT_FROM)

    def _try(self, use: Callable[[Ledger], _Result]) -> _Result | None:
        """Return what a function makes of the sample; ``None`` if it cannot be used, which is logged once."""
        if not self._is_usable:
            return None
        try:
            self._kept = self._kept or self._ledger.within(_FOLDER)
            return use(self._kept)
        except MeisaError:
            self._is_usable = False
            log.warning(
                "Ledger %s: which columns have changed is not known, because its folder values cannot be used. "
                "Remove that folder",
                self._ledger.name,
            )
            return None


def forget_values(ledger: Ledger, record_hashes: Iterable[int], *, by: str) -> None:
    """Remove the values of records from the sample of a ledger, for people who have the right to be forgotten.

    :param record_hashes: the results of `Ledger.hash_records`.
    :param by: the writer, see `Ledger.write`.
    :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `Ledger.open`.
    """
    kept = ledger.within(_FOLDER)
    names = kept.properties.get(_NAMES, ())
    keys = kept.hash_records([key for each in record_hashes for key in _keys(each, names)])
    in_sample = set(keys).intersection(record_hash for record_hash, _ in kept.entries())
    if in_sample:
        kept.write_hashed(((each, 0) for each in in_sample), State.FORGOTTEN, by=by)
        kept.compact()


def _differing(kept: Ledger, record_hash: int, values: Mapping[str, bytes]) -> list[str] | None:
    known = kept.known_all(_keys(record_hash, values))
    if not any(known):
        return None
    return [
        name
        for (name, value), entry in zip(values.items(), known, strict=True)
        if entry is None or entry.values_hash != kept.hash_values(value)
    ]


def _keys(record_hash: int, names: Iterable[str]) -> list[str]:
    return [f"{record_hash:016x} {name}" for name in names]
