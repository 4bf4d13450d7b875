"""The merged content of all parts of a ledger, refreshed by listing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from airflow_provider_meisa.api.errors import MeisaLedgerError, MeisaUnreachableError
from airflow_provider_meisa.bulk.ledger.entry import Entry, unpack_all
from airflow_provider_meisa.bulk.ledger.header import Header
from airflow_provider_meisa.bulk.ledger.index import Columns, GrowingIndex, Index, empty_columns, merge
from airflow_provider_meisa.bulk.ledger.part import VERSION, DamagedPartError, Part, decode, encode
from airflow_provider_meisa.bulk.ledger.store import Store
from airflow_provider_meisa.bulk.ledger.subject import differences

_MOST_LISTINGS = 50


class Contents:
    """All entries of a ledger. The entry of a record is the largest one in any part.

    :param store: the store of the parts.
    :param place: the folder, for messages.
    :param subject: the result of `subject.describe`; ``None`` takes that of the parts.
    """

    def __init__(self, store: Store, place: str, subject: Mapping[str, Any] | None) -> None:
        self._store = store
        self._place = place
        self._subject = subject
        self._names: set[str] = set()
        self._read = Index(empty_columns())
        self._written = GrowingIndex()
        self.header = Header(subject or {})

    def __len__(self) -> int:
        hashes, _ = self._written.columns()
        return len(self._read) + sum(not self._read.find(each) for each in hashes)

    @property
    def parts(self) -> int:
        """Return the number of parts at the last listing."""
        return len(self._names)

    def find(self, record_hash: int) -> int:
        """Return the packed entry of a record, 0 if there is none."""
        return max(self._written.find(record_hash), self._read.find(record_hash))

    def find_all(self, record_hashes: Sequence[int]) -> list[Entry | None]:
        """Return the entry of each record."""
        found = self._read.find_all(record_hashes)
        if self._written:
            found = list(map(max, found, map(self._written.find, record_hashes)))
        return unpack_all(found)

    def columns(self) -> Columns:
        """Return all entries, sorted by hash."""
        return merge([self._read.columns, self._written.columns()])

    def index(self) -> Index:
        """Return an index of all entries."""
        return Index(self.columns()) if self._written else self._read

    def written(self) -> Columns:
        """Return the entries that were added here since the ledger was opened or compacted."""
        return self._written.columns()

    def add(self, record_hash: int, entry: int) -> None:
        """Add an entry in memory; `put` writes it."""
        self._written.add(record_hash, entry)

    def refresh(self) -> None:
        """Read new parts.

        A run that compacts writes a part and removes the ones it has read. A listing at that moment may have neither.
        So the listing is repeated until it has no new part, and lacks no known one.

        :raises MeisaLedgerError: if a part is damaged or belongs to another ledger.
        :raises MeisaUnreachableError: if the folder cannot be read.
        """
        for _ in range(_MOST_LISTINGS):
            names = self._store.names()
            if names == self._names:
                return
            read = self._read_parts(sorted(names - self._names))
            self._names = self._names & names | read
        raise MeisaUnreachableError(
            f"The ledger at {self._place} is compacted too often to be read: try again."
        )

    def put(self, header: Header, columns: Columns) -> str:
        """Write a part; return its name.

        :raises MeisaUnreachableError: if it cannot be written.
        """
        name = self._store.put(encode(Part(header.as_json(), *columns)))
        self._names.add(name)
        self.header = self.header.merged(header)
        return name

    def put_apart(self, header: Header, columns: Columns) -> None:
        """Write a part that stays: its entries are not among those of `written`.

        :raises MeisaUnreachableError: if it cannot be written.
        """
        self.put(header, columns)
        self._read = Index(merge([self._read.columns, columns]))

    def remove(self, names: Iterable[str]) -> None:
        """Remove parts whose entries are in another part.

        :raises MeisaUnreachableError: if they cannot be removed.
        """
        names = set(names)
        self._store.remove(names)
        self._names -= names

    def compact(self, at_least: int) -> bool:
        """Write one part with all entries, then remove the parts with the same entries.

        :param at_least: with fewer parts, nothing is written.
        :return: whether a part was written.
        :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `refresh` and `put`.
        """
        self.refresh()
        if len(self._names) < at_least:
            return False
        replaced = set(self._names)
        columns = self.columns()
        self.put(self.header, columns)
        self.remove(replaced)
        self._read, self._written = Index(columns), GrowingIndex()
        return True

    def _read_parts(self, names: Sequence[str]) -> set[str]:
        """Read parts and add their entries; return the names of those that still existed."""
        read: dict[str, Part] = {}
        # A missing part was compacted meanwhile: the next listing has its replacement.
        with suppress(FileNotFoundError):
            for name, reading in self._store.open(names):
                read[name] = self._decoded(name, reading)
        columns = [(part.hashes, part.entries) for part in read.values() if part.hashes]
        names_read = set(read)
        read.clear()
        if columns:
            self._read = Index(merge([self._read.columns, *columns]))
        return names_read

    def _decoded(self, name: str, reading: Any) -> Part:
        try:
            part = decode(reading)
        except DamagedPartError as error:
            raise MeisaLedgerError(
                f"The part {name} of the ledger at {self._place} cannot be used: {error}. Nothing was sent, because "
                "without it contacts would be sent again. Restore it from a copy of the folder."
            ) from None
        self._check(part.header["subject"])
        self.header = self.header.merged(Header.from_json(part.header))
        return part

    def _check(self, subject: Mapping[str, Any]) -> None:
        if not 0 < subject["format"] <= VERSION:
            raise MeisaLedgerError(
                f"The ledger at {self._place} was written in format {subject['format']}, and this version of the "
                f"provider reads up to {VERSION}: nothing was sent. Install the version that wrote it, or a later one."
            )
        if self._subject is None:
            self._subject = subject
            self.header = Header(subject, self.header.writers, self.header.properties)
        if differs := differences(subject, self._subject):
            raise MeisaLedgerError(
                f"The ledger at {self._place} is not this task's: {'; '.join(differs)}. Nothing was sent. Give the "
                "task a ledger of its own, or correct what differs."
            )
