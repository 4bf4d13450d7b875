"""Write a ledger during a run: intents before requests, results after them, and one part at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from airflow_provider_meisa.api.errors import MeisaError, MeisaLedgerBusyError
from airflow_provider_meisa.bulk.ledger.contents import Contents
from airflow_provider_meisa.bulk.ledger.entry import (
    FORGOTTEN,
    Entry,
    State,
    later,
    minute_at,
    minute_of,
    unpack,
)
from airflow_provider_meisa.bulk.ledger.header import Header, Property, Span, WriterStatus, first_minute
from airflow_provider_meisa.bulk.ledger.index import Columns, GrowingIndex, empty_columns
from airflow_provider_meisa.bulk.ledger.subject import Hasher

Repeat = Literal["harmless", "ambiguous"]
"""May a request whose response was lost be sent again? As `Job.repeat` has it."""

COMPACT_FROM = 16
"""The number of parts at which a run compacts the ledger at its start."""
PUT_EVERY_RECORDS = 100
PUT_EVERY_SECONDS = 5.0
_SIGN_OF_LIFE = 600.0
_ACCEPTED = frozenset({State.PENDING, State.RECORDED, State.PRESENT, State.ACCEPTED})
_NO_INTENTS: Mapping[str, int] = {}


class LedgerWriter:
    """Writes the entries of one run. Get it from `Ledger.writer`, and use it in a ``with`` block.

    If a retry is ambiguous, `put` the intents of a batch before its request, and `add` its results after it: they are
    written with the next intents. If it is harmless, `add` results, and `put` the next intents when it `is_due`.
    Before a stop or a deferral, `withdraw` the intents whose requests certainly did nothing. All methods are
    thread-safe.

    :param run: the name of the run, over all attempts and deferrals, such as DAG, task, run id and map index.
    :param repeat: decides what `withdraw` writes.
    :param clock: returns the seconds since 1970.
    """

    def __init__(
        self,
        contents: Contents,
        hasher: Hasher,
        *,
        run: str,
        repeat: Repeat,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._contents = contents
        self._hasher = hasher
        self._run = run
        self._restores = repeat == "harmless"
        self._clock = clock
        self._lock = threading.RLock()
        self._unsaved = GrowingIndex()
        self._results = 0
        self._properties: dict[str, Property] = {}
        self._has_unsaved_properties = False
        # Of each intent without a result: the entry it replaced, and its own.
        self._replaced: dict[int, int] = {}
        self._intents: dict[int, int] = {}
        self._parts: list[str] = []
        self._span: Span = (0, 0)
        self._put_at = 0.0
        self._is_open = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def is_due(self) -> bool:
        """Return whether results should be written now: there are 100, or 5 s have passed."""
        waited = self._clock() - self._put_at
        return self._results >= PUT_EVERY_RECORDS or (self._results > 0 and waited >= PUT_EVERY_SECONDS)

    def start(self) -> None:
        """Write a part without entries, which blocks other runs, and compact the ledger if it has many parts.

        :raises MeisaLedgerBusyError: if another run writes this ledger; this one leaves nothing in it.
        :raises MeisaLedgerError: if a part is damaged, or belongs to another ledger.
        :raises MeisaUnreachableError: if the folder cannot be read or written.
        """
        with self._lock:
            self._contents.refresh()
            self._raise_if_busy()
            self._begin_span()
            self._write(empty_columns())
            # If two start at once, at least the one that lists last sees the other.
            self._contents.refresh()
            try:
                self._raise_if_busy()
            except MeisaLedgerBusyError:
                self._withdraw_start()
                raise
            self._contents.compact(at_least=COMPACT_FROM)
            self._is_open = True

    def add(self, record_id: str, state: State, values_hash: int = 0) -> None:
        """Store a result until the next `put`.

        :param state: `State.INTENT` for a record whose response was lost: it stays in doubt, whatever the result of
            a retry.
        :param values_hash: the result of `Ledger.hash_values` for the sent values; not used for `State.PENDING`, which
            keeps the last accepted hash.
        """
        record_hash = self._hasher.hash_record(record_id)
        with self._lock:
            self._results += 1
            known = self._contents.find(record_hash)
            replaced = self._replaced.pop(record_hash, 0)
            self._intents.pop(record_hash, None)
            if state is State.PENDING:
                values_hash = _accepted_hash(replaced or known)
            self._take(record_hash, state, values_hash)

    def put(self, intents: Mapping[str, int] = _NO_INTENTS) -> frozenset[str]:
        """Write the results since the last put, and the intents of the records to be sent next, in one part.

        :param intents: record id and hash of the values (0 if they do not count). Send them after this returns.
        :return: the records that were forgotten meanwhile: do not send them.
        :raises MeisaLedgerBusyError: if another run writes this ledger. The results are written, the intents are not:
            do not send them.
        :raises MeisaLedgerError: if a new part is damaged or belongs to another ledger. Send nothing.
        :raises MeisaUnreachableError: if the folder cannot be read or written. Send nothing.
        """
        with self._lock:
            self._refresh()
            if self._other_run():
                self._write_unsaved()
                self._raise_if_busy()
            hashes = {self._hasher.hash_record(each): each for each in intents}
            forgotten = {each for each in hashes if self._contents.find(each) == FORGOTTEN}
            marked = hashes.keys() - forgotten - self._replaced.keys()
            try:
                for record_hash, record_id in hashes.items():
                    if record_hash not in forgotten:
                        self._mark(record_hash, intents[record_id])
                self._write_unsaved()
            except BaseException:
                # It may have been written nevertheless: the next part records that these were not sent.
                self._take_back(marked)
                raise
            return frozenset(hashes[each] for each in forgotten)

    def withdraw(self, record_ids: Iterable[str]) -> None:
        """Write at once that the requests of these intents certainly did nothing.

        If a retry is ambiguous, they are cleared; else they get the entry that the intent replaced. Records that this
        run had in doubt before stay so. Records that have a result, no intent of this writer, or a later entry of
        another attempt are not changed.

        :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `put`.
        """
        with self._lock:
            try:
                self._contents.refresh()
            finally:
                self._take_back(map(self._hasher.hash_record, record_ids))
                self._write_unsaved()

    def replaced(self, record_id: str) -> Entry | None:
        """Return the entry that an intent without a result has replaced."""
        with self._lock:
            known = self._replaced.get(self._hasher.hash_record(record_id))
            return unpack(known) if known else None

    def set_property(self, name: str, value: Any) -> None:
        """Store a value in the header of the ledger, with the next `put`.

        :param value: plain JSON without personal data, because it is not hashed.
        """
        with self._lock:
            known = self._properties.get(name) or self._contents.header.properties.get(name)
            at = max(int(self._clock() * 1000), known.at + 1 if known else 0)
            self._properties[name] = Property(at, value)
            self._has_unsaved_properties = True

    def end(self) -> None:
        """Replace all parts of this stretch by one, which marks the run as ended.

        :raises MeisaLedgerError: and :raises MeisaUnreachableError: as `put`.
        """
        self._close(ended=True)

    def defer(self, until: float) -> None:
        """Replace the parts before a deferral: the new one has the end of the wait, and blocks other runs.

        :param until: the end of the wait, in seconds since 1970.
        """
        self._close(until=until)

    def _close(self, *, ended: bool = False, until: float = 0.0) -> None:
        with self._lock:
            if not self._is_open:
                return
            replaced = list(self._parts)
            try:
                self._contents.refresh()
            finally:
                # Sent records must be in the ledger, even if a part of another run is damaged.
                self._write(self._contents.written(), ended=ended, until=until)
            self._contents.remove(replaced)
            self._is_open = False

    def _refresh(self) -> None:
        try:
            self._contents.refresh()
        except MeisaError:
            self._write_unsaved()  # the run stops now, and the records it has sent must be in the ledger
            raise

    def _mark(self, record_hash: int, values_hash: int) -> None:
        """Add an intent, unless this writer has added the same one already.

        That of another attempt, or of a run long ago, does not do: it is not known later who has sent the record, and
        when.
        """
        known = self._contents.find(record_hash)
        self._replaced.setdefault(record_hash, known)
        if self._intents.get(record_hash) != known or unpack(known).values_hash != values_hash:
            self._intents[record_hash] = self._take(record_hash, State.INTENT, values_hash)

    def _take_back(self, record_hashes: Iterable[int]) -> None:
        for record_hash in record_hashes:
            known = self._replaced.pop(record_hash, None)
            intent = self._intents.pop(record_hash, None)
            if known is None or self._contents.find(record_hash) != intent:
                continue
            replaced = unpack(known) if known else None
            if replaced and (self._restores or self._is_in_doubt(replaced)):
                self._take(record_hash, replaced.state, replaced.values_hash)
            else:
                self._take(record_hash, State.CLEARED, 0)

    def _is_in_doubt(self, entry: Entry) -> bool:
        """Return whether a request of this run, of any attempt, may have been carried out.

        The doubt of an earlier run has expired, or its record would not be sent.
        """
        return entry.state is State.INTENT and self._contents.header.writers[self._run].has_written(
            entry.minute
        )

    def _take(self, record_hash: int, state: State, values_hash: int) -> int:
        minute = max(minute_at(self._clock()), self._span[0])
        entry = later(self._contents.find(record_hash), minute, state, values_hash)
        self._contents.add(record_hash, entry)
        self._unsaved.add(record_hash, entry)
        if entry != FORGOTTEN:
            self._span = (self._span[0], max(self._span[1], minute_of(entry)))
        return entry

    def _write_unsaved(self) -> None:
        is_silent = self._clock() - self._put_at >= _SIGN_OF_LIFE
        if self._unsaved or self._has_unsaved_properties or is_silent:
            self._write(self._unsaved.columns())

    def _write(self, columns: Columns, *, ended: bool = False, until: float = 0.0) -> None:
        known = self._contents.header.writers.get(self._run)
        now = self._clock()
        at = max(int(now * 1000), known.at + 1 if known else 0)
        status = WriterStatus(at, int(until), ended, (self._span,))
        header = Header(self._contents.header.subject, {self._run: status}, dict(self._properties))
        self._parts.append(self._contents.put(header, columns))
        self._unsaved = GrowingIndex()
        self._has_unsaved_properties = False
        self._results = 0
        self._put_at = now

    def _withdraw_start(self) -> None:
        """Record that this run has ended: another one may have read its start."""
        begun = list(self._parts)
        self._write(empty_columns(), ended=True)
        self._contents.remove(begun)

    def _begin_span(self) -> None:
        """Start a minute that no other run uses, so that `Ledger.clear_run` can keep runs apart."""
        begin = first_minute(self._contents.header.writers, self._run, minute_at(self._clock()))
        self._span = (begin, begin)

    def _other_run(self) -> str | None:
        now = self._clock()
        return next(
            (
                run
                for run, status in self._contents.header.writers.items()
                if run != self._run and status.keeps_others_away(now)
            ),
            None,
        )

    def _raise_if_busy(self) -> None:
        if other := self._other_run():
            raise MeisaLedgerBusyError(
                f"The run {other} writes the same ledger and has not ended: this one sends nothing. Put tasks that "
                "share a ledger into a pool with one slot, and let the pool count deferred tasks. A run that was "
                "killed keeps others away for an hour."
            )


def _accepted_hash(known: int) -> int:
    if not known:
        return 0
    entry = unpack(known)
    return entry.values_hash if entry.state in _ACCEPTED else 0
