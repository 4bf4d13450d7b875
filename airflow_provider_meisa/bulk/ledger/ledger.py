"""The ledger of one task: the records that Meisa has accepted, over all runs."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaLedgerError
from airflow_provider_meisa.bulk.ledger.contents import Contents
from airflow_provider_meisa.bulk.ledger.entry import (
    FORGOTTEN,
    Entry,
    State,
    count_states,
    later,
    minute_at,
    minute_of,
)
from airflow_provider_meisa.bulk.ledger.header import (
    Header,
    Property,
    WriterStatus,
    exclusive_spans,
    first_minute,
)
from airflow_provider_meisa.bulk.ledger.index import GrowingIndex, entries_of
from airflow_provider_meisa.bulk.ledger.part import VERSION
from airflow_provider_meisa.bulk.ledger.snapshot import Snapshot
from airflow_provider_meisa.bulk.ledger.store import store_at
from airflow_provider_meisa.bulk.ledger.subject import Hasher, Subject, describe
from airflow_provider_meisa.bulk.ledger.writer import LedgerWriter, Repeat

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.location import Location

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_NOT_SENT = frozenset({State.CLEARED, State.FORGOTTEN})


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """The ledger in the summary of a run.

    :param entries: the number of its records, which never decreases unless entries are lost.
    """

    name: str
    entries: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


class RunRecords(NamedTuple):
    """The records that a run has written, except those cleared or forgotten since.

    :param hashes: their hashes.
    :param left_out: the number of records whose run is not known: another run has written in the same minutes.
    """

    hashes: list[int]
    left_out: int


class Ledger:
    """The records that Meisa has accepted. Open it with `Ledger.open`.

    It holds no address and no value in clear. Entries are never removed.
    """

    def __init__(
        self, folder: Location, contents: Contents, hasher: Hasher, clock: Callable[[], float] = time.time
    ) -> None:
        self.name = folder.name
        self._folder = folder
        self._contents = contents
        self._hasher = hasher
        self._clock = clock

    @classmethod
    def open(
        cls,
        root: Location,
        name: str,
        subject: Subject,
        *,
        secret: str = "",
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Read a ledger, which may not exist yet.

        :param root: the folder of all ledgers: a path on a disk that all workers share, or one in an object store.
        :param name: the name of the folder in it.
        :param subject: the subject of the ledger.
        :param secret: ``[meisa] ledger_key``.
        :param clock: returns the seconds since 1970.
        :raises MeisaInputError: if the name cannot be used.
        :raises MeisaLedgerError: if it has another subject, or a part is damaged.
        :raises MeisaUnreachableError: if the folder cannot be read.
        """
        folder = _folder_of(root, name)
        hasher = Hasher(subject, secret)
        contents = Contents(store_at(folder), str(folder), describe(subject, hasher, VERSION))
        contents.refresh()
        return cls(folder, contents, hasher, clock)

    @classmethod
    def open_existing(
        cls, root: Location, name: str, *, secret: str = "", clock: Callable[[], float] = time.time
    ) -> Self:
        """Read a ledger with an unknown subject, as the command line does.

        :raises MeisaInputError: if the name cannot be used.
        :raises MeisaLedgerError: if it does not exist, has another secret, or a part is damaged.
        :raises MeisaUnreachableError: if the folder cannot be read.
        """
        folder = _folder_of(root, name)
        contents = Contents(store_at(folder), str(folder), None)
        contents.refresh()
        found = contents.header.subject
        if not found:
            raise MeisaLedgerError(
                f"There is no ledger at {folder}. Check its name, and [meisa] ledger_path."
            )
        subject = Subject(**{key: found[key] for key in Subject.__slots__})
        hasher = Hasher(subject, secret)
        if found["hash_key"] != hasher.fingerprint:
            raise MeisaLedgerError(
                f"The ledger at {folder} was written with another [meisa] ledger_key. Set the one it was written with."
            )
        return cls(folder, contents, hasher, clock)

    def within(self, name: str) -> Self:
        """Read another ledger of the same subject, which may not exist yet: in a folder of this one.

        :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `open`.
        """
        folder = self._folder / name
        contents = Contents(store_at(folder), str(folder), self.subject)
        contents.refresh()
        return type(self)(folder, contents, self._hasher, self._clock)

    @property
    def count(self) -> int:
        """Return the number of its records; 0 before the first run."""
        return len(self._contents)

    def count_by_state(self) -> Counter[State]:
        """Count the records by state."""
        return count_states(self._contents.columns()[1])

    @property
    def subject(self) -> Mapping[str, Any]:
        """Return the subject in the header."""
        return self._contents.header.subject

    @property
    def properties(self) -> Mapping[str, Any]:
        """Return the properties by name: see `LedgerWriter.set_property`."""
        return {name: kept.value for name, kept in self._contents.header.properties.items()}

    @property
    def runs(self) -> Mapping[str, WriterStatus]:
        """Return the runs that have written it, at least the last 100."""
        return self._contents.header.writers

    @property
    def parts(self) -> int:
        """Return the number of its parts."""
        return self._contents.parts

    def summary(self) -> LedgerSummary:
        """Return its name and the number of its entries."""
        return LedgerSummary(self.name, self.count)

    def known(self, record_id: str) -> Entry | None:
        """Return the entry of a record."""
        return self.known_all((record_id,))[0]

    def known_all(self, record_ids: Iterable[str]) -> list[Entry | None]:
        """Return the entry of each record, faster than `known` for one after the other."""
        return self._contents.find_all(self._hasher.hash_records(record_ids))

    def snapshot(self, states: Iterable[State]) -> Snapshot:
        """Return all entries as they are now.

        :param states: those that `Snapshot.find_same` looks for.
        """
        return Snapshot(self._contents.index(), self._hasher, states)

    def hash_values(self, canonical: bytes) -> int:
        """Return the hash of a record's values, which is never 0.

        :param canonical: the values as they are sent, in a canonical form.
        """
        return self._hasher.hash_values(canonical)

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Yield the hash and the entry of each record, ordered by hash."""
        return entries_of(self._contents.columns())

    def refresh(self) -> None:
        """Read new entries of other writers.

        :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `open`.
        """
        self._contents.refresh()

    def compact(self, *, at_least: int = 2) -> bool:
        """Write all parts as one, then remove them. Safe at any time, also while runs write.

        :param at_least: with fewer parts, nothing is written.
        :return: whether a part was written.
        :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `open`.
        """
        return self._contents.compact(at_least)

    def writer(self, run: str, *, repeat: Repeat) -> LedgerWriter:
        """Return the writer of a run; see `LedgerWriter`."""
        return LedgerWriter(self._contents, self._hasher, run=run, repeat=repeat, clock=self._clock)

    def write(self, records: Iterable[tuple[str, int]], state: State, *, by: str) -> int:
        """Write the same state for many records in one part: all of them, or none if it fails.

        It does not wait for a run that writes the ledger, and blocks none.

        :param records: record ids, each with the hash of its values (0 if they do not count).
        :param by: the writer: a run, or a command such as ``airflow meisa ledger record``.
        :return: how many records were written.
        :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `open`.
        """
        return self._write_once(
            ((self._hasher.hash_record(each), values_hash) for each, values_hash in records), state, by
        )

    def hash_records(self, record_ids: Iterable[str]) -> Sequence[int]:
        """Return the hashes of records for `write_hashed`, eight bytes each."""
        return self._hasher.hash_records(record_ids)

    def write_hashed(
        self,
        records: Iterable[tuple[int, int]],
        state: State,
        *,
        by: str,
        properties: Mapping[str, Any] | None = None,
    ) -> int:
        """Write the same state for many records as `write` does, by the hashes of `hash_records`.

        :param properties: the properties to set, see `LedgerWriter.set_property`.
        """
        return self._write_once(records, state, by, properties)

    def forget(self, record_ids: Iterable[str], *, by: str) -> int:
        """Never send these records again: a person has the right to be forgotten.

        :return: how many records were written.
        """
        return self.write(((each, 0) for each in record_ids), State.FORGOTTEN, by=by)

    def records_of_run(self, run: str) -> RunRecords:
        """Return the records of a run. Those of a minute in which another run wrote as well are only counted.

        :raises MeisaInputError: if the ledger does not have the run.
        :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `open`.
        """
        self._contents.refresh()
        if run not in self.runs:
            raise MeisaInputError(
                f"The ledger {self.name} does not know the run {run}. It knows the last hundred; the newest is "
                f"{max(self.runs, key=lambda each: self.runs[each].at, default='none')}."
            )
        status, spans = self.runs[run], exclusive_spans(self.runs, run)
        hashes, left_out = [], 0
        for record_hash, entry in self.entries():
            if entry.state in _NOT_SENT or not status.has_written(entry.minute):
                continue
            if any(begin <= entry.minute <= end for begin, end in spans):
                hashes.append(record_hash)
            else:
                left_out += 1
        return RunRecords(hashes, left_out)

    def clear_run(self, run: str, *, by: str) -> int:
        """Clear all entries of a run, see `records_of_run`, so that they are sent again.

        :return: how many records were cleared.
        :raises MeisaInputError: if the ledger does not have the run.
        """
        return self._write_once(((each, 0) for each in self.records_of_run(run).hashes), State.CLEARED, by)

    def _write_once(
        self,
        hashes: Iterable[tuple[int, int]],
        state: State,
        by: str,
        properties: Mapping[str, Any] | None = None,
    ) -> int:
        self._contents.refresh()
        now = self._clock()
        begin = first_minute(self.runs, by, minute_at(now))
        changed, end = GrowingIndex(), begin
        for record_hash, values_hash in hashes:
            entry = later(self._contents.find(record_hash), begin, state, values_hash)
            changed.add(record_hash, entry)
            end = max(end, begin if entry == FORGOTTEN else minute_of(entry))
        columns = changed.columns()
        known = self.runs.get(by)
        at = max(int(now * 1000), known.at + 1 if known else 0)
        status = WriterStatus(at, ended=True, spans=((begin, end),))
        kept = {name: Property(at, value) for name, value in (properties or {}).items()}
        self._contents.put_apart(Header(self.subject, {by: status}, kept), columns)
        return len(columns[0])


def _folder_of(root: Location, name: str) -> Location:
    if not _NAME.fullmatch(name):
        raise MeisaInputError(
            "ledger must be a name of letters, digits, '_', '-' and '.', not a path; its folder is made in ledger_path."
        )
    return root / name
