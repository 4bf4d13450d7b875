"""The connection between a run and its ledger, which it reads and writes only here."""

from __future__ import annotations

import logging
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaServerError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus, possibly_ours
from airflow_provider_meisa.bulk.job import FORGOTTEN, RECORDED, Turn
from airflow_provider_meisa.bulk.ledger.entry import Entry, State, minute_at
from airflow_provider_meisa.bulk.ledger.guard import check_not_lost
from airflow_provider_meisa.bulk.ledger.ledger import Ledger
from airflow_provider_meisa.bulk.ledger.subject import Subject
from airflow_provider_meisa.bulk.ledger.value_sample import Differences, ValueSample
from airflow_provider_meisa.bulk.ledger.writer import PUT_EVERY_RECORDS

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.job import Exclusion, Item, Job
    from airflow_provider_meisa.bulk.options import LedgerOptions

log = logging.getLogger("airflow.task.meisa")

_HELD_BACK, _CONFLICTS = "held_back", "conflicts"
_MOST_KEPT = 1_000
_LAST = Turn(1)
_CONFLICT_FOR = timedelta(days=3) // timedelta(minutes=1)
_SENT = frozenset({State.INTENT, State.PRESENT, State.ACCEPTED})
_ACCEPTED = frozenset({State.RECORDED, State.ACCEPTED})


class RunLedger:
    """The ledger of one run: finds the records to leave out, and stores the results of the others.

    :param since: when an earlier attempt of the run began, in seconds since 1970; ``None`` if there was none.
    """

    def __init__(
        self, options: LedgerOptions, job: Job, client: MeisaClient, *, since: float | None = None
    ) -> None:
        self._options = options
        self._job = job
        self._ledger = ledger = _open(options, job, client)
        self._writer = ledger.writer(options.run, repeat=job.repeat)
        self._sample = ValueSample(ledger)
        self._since = None if since is None else minute_at(since)
        self._records_all = False
        self._to_record = array("Q"), array("Q")
        self._in_doubt: set[str] = set()
        self._announced: dict[str, None] = {}
        self._forgotten: set[str] = set()
        self._held_back: set[int] = set(ledger.properties.get(_HELD_BACK, ()))
        self._left_back = set(self._held_back)
        self._refused: dict[str, None] = {}
        self._conflicts: dict[str, int] = dict(ledger.properties.get(_CONFLICTS, {}))
        self._postponed = 0
        self._oldest: float | None = None
        self._seen: Counter[State] = Counter()
        check_not_lost(
            ledger.summary(),
            options.last,
            accepted=options.accept_lost_ledger,
            has_earlier_runs=options.has_earlier_runs,
            has_first_run=options.is_first_run_given,
        )
        job.remember(ledger, is_resumed=since is not None)
        if ledger.count == 0:
            self._begin_first()

    def _begin_first(self) -> None:
        if self._options.first_run == "fail":
            raise MeisaInputError(
                f"The ledger {self._options.name} has no entries: this is a first run, and first_run is 'fail'. "
                "Nothing was sent. Set first_run='send' to send all records of the source, or 'record' to count them "
                "as accepted without a request."
            )
        self._records_all = self._options.first_run == "record"

    @property
    def records_first_run(self) -> bool:
        """Return whether this run records the rows of the source, and sends nothing."""
        return self._records_all

    @property
    def summary(self) -> dict[str, object]:
        """Return the name of the ledger, the number of its entries, and the time of that count (UTC)."""
        return _summary_of(self._ledger)

    # Plan.

    def decide_all(self, items: Sequence[Item]) -> list[Outcome | Turn | None]:
        """Return the outcome of each item that is not sent, and ``None`` or a turn for the others."""
        ids = [self._job.record_id(item) for item in items]
        if self._records_all:
            for item, record_id in zip(items, ids, strict=True):
                self._record(item, record_id, self._hash_of(item))
            return [self._job.recorded(item) for item in items]
        now = minute_at(time.time())
        known = self._ledger.known_all(ids)
        return [
            None if entry is None else self._decide(item, record_id, entry, now)
            for item, record_id, entry in zip(items, ids, known, strict=True)
        ]

    def keep_facts(self, kept: Mapping[str, Any]) -> None:
        """Keep what a job knows for later runs: it is written before the first request, or with the end of the run."""
        for name, value in kept.items():
            if self._ledger.properties.get(name) != value:
                self._writer.set_property(name, value)

    def exclude(self, item: Item) -> Outcome | None:
        """Return the outcome of an item of a plan that is left out; else ``None``."""
        found = self.decide_all((item,))[0]
        return found if isinstance(found, Outcome) else None

    def decide(self, item: Item) -> Outcome | None:
        """Return the outcome of the only item of a run if it is left out; write the record of a first run."""
        outcome = self.exclude(item)
        self.write_recorded()
        return outcome

    def write_recorded(self) -> None:
        """Write the records of a new plan that count as accepted without a request, in one part."""
        if self._records_all or self._to_record[0]:
            records = zip(*self._to_record, strict=True)
            self._ledger.write_hashed(records, State.RECORDED, by=self._options.run)
            self._sample.write(by=self._options.run)
            log.info(
                "Ledger %s: %s recorded as accepted%s; they are not sent",
                self._options.name,
                f"{len(self._to_record[0]):,}",
                " (first_run='record')" if self._records_all else "",
            )
        self._records_all = False
        self._to_record = array("Q"), array("Q")

    def _record(self, item: Item, record_id: str, values_hash: int) -> None:
        self._to_record[0].extend(self._ledger.hash_records((record_id,)))
        self._to_record[1].append(values_hash)
        self._take_values(item, record_id)

    def _take_values(self, item: Item, record_id: str) -> None:
        """Let the sample have the values that Meisa has accepted."""
        if self._sample.covers(record_id) and (values := self._job.named_values(item)):
            self._sample.add(record_id, values)

    @property
    def differences(self) -> Differences:
        """Return in which of their values the changed records differ that were decided so far."""
        return self._sample.found

    def gone(self) -> dict[str, int]:
        """Count by status the records that earlier attempts have sent and the new plan does not have.

        Call it after that plan is complete.
        """
        sent = Counter(entry.state for _, entry in self._ledger.entries() if self._is_ours(entry))
        left = sent - self._seen
        return {self._job.status_of(state).value: count for state, count in left.items()}

    def _decide(self, item: Item, record_id: str, entry: Entry, now: int) -> Outcome | Turn | None:
        if not self._is_ours(entry):
            values_hash = self._hash_of(item)
            found = self._job.decide(item, entry, values_hash, now)
            if isinstance(found, Outcome):
                if found.reason == RECORDED:
                    self._record(item, record_id, values_hash)
            elif (
                entry.state in _ACCEPTED
                and entry.values_hash != values_hash
                and self._sample.covers(record_id)
            ):
                self._sample.compare(record_id, self._job.named_values(item))
            return _LAST if isinstance(found, Turn) and self.was_held_back(item) else found
        self._seen[entry.state] += 1
        if entry.state is State.INTENT:
            return None
        return Outcome(self._job.address(item), self._job.status_of(entry.state), "")

    def _is_ours(self, entry: Entry) -> bool:
        """Return whether an earlier attempt of this run has sent the record.

        No other run writes in the minutes of this one.
        """
        if self._since is None or entry.minute < self._since or entry.state not in _SENT:
            return False
        writer = self._ledger.runs.get(self._options.run)
        return writer is not None and writer.has_written(entry.minute)

    def _hash_of(self, item: Item) -> int:
        values = self._job.values(item)
        return self._ledger.hash_values(values) if values else 0

    # Apply.

    def begin(self) -> None:
        """Block other runs from now on.

        :raises MeisaLedgerBusyError: if another run writes the ledger.
        """
        self._writer.start()

    def announced(
        self, batches: Iterable[Batch], exclusion: Exclusion | None, *, is_over: Callable[[], bool]
    ) -> Iterator[Batch]:
        """Yield batches, and write the intents of the next 100 records before them.

        Only if a retry is harmless: else `intend` writes those of each request.

        :param exclusion: finds items that are not sent: an intent would hide what the ledger knows of them.
        :param is_over: whether nothing more is sent, so that no intents are due.
        """
        rest = iter(batches)
        while ahead := list(islice(rest, PUT_EVERY_RECORDS)):
            if not is_over():
                left = [batch.without(exclusion) if exclusion else batch for batch in ahead]
                items = [item for batch in left for item in batch.items]
                self._announced.update(dict.fromkeys(map(self._job.record_id, items)))
                self._put(items)
            yield from ahead

    def intend(self, items: Sequence[Item]) -> dict[int, Outcome]:
        """Write the intents of a request, with the results since the last one. Send it after this returns.

        :return: the outcomes of items to leave out, by their place.
        :raises MeisaError: if it cannot be written, or another run writes the ledger. Then send nothing.
        """
        if self._job.repeat == "harmless":
            return {}
        ids = [self._job.record_id(item) for item in items]
        known = self._ledger.known_all(ids) if self._since is not None else []
        self._in_doubt.update(
            each
            for each, entry in zip(ids, known, strict=False)
            if entry and entry.state is State.INTENT and self._is_ours(entry)
        )
        self._put(items)
        return {place: outcome for place, item in enumerate(items) if (outcome := self.forgotten(item))}

    def forgotten(self, item: Item) -> Outcome | None:
        """Return the outcome of an item whose record was forgotten after the plan was made; else ``None``."""
        if self._job.record_id(item) not in self._forgotten:
            return None
        return Outcome(self._job.address(item), OutcomeStatus.SUPPRESSED, FORGOTTEN)

    def _put(self, items: Iterable[Item]) -> None:
        self._forgotten |= self._writer.put(
            {self._job.record_id(item): self._hash_of(item) for item in items}
        )

    def marked(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Mark the outcomes of items that an earlier attempt may have sent as well."""
        if not self._in_doubt:
            return list(outcomes)
        return [
            possibly_ours(outcome) if self._job.record_id(item) in self._in_doubt else outcome
            for item, outcome in zip(items, outcomes, strict=True)
        ]

    def keep(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        """Store the results of items until the next part is written, except those without a request."""
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome.status is not OutcomeStatus.UNTRIED:
                record_id = self._job.record_id(item)
                self._announced.pop(record_id, None)
                state = self._state_of(record_id, outcome)
                self._writer.add(record_id, state, self._hash_of(item))
                if self._left_back and state is not State.PENDING:
                    self._left_back.discard(self._hash(record_id))
                if state is State.REFUSED:
                    self._refused[record_id] = None
                elif state is State.ACCEPTED:
                    self._refused.clear()
                    self._take_values(item, record_id)

    def _state_of(self, record_id: str, outcome: Outcome) -> State:
        """Return the state of a record; one that conflicts with another for three days counts as refused."""
        state = self._job.state_of(outcome)
        if self._job.repeat == "ambiguous":
            return state
        key = f"{self._hash(record_id):x}"
        if state is not State.PRESENT:
            self._conflicts.pop(key, None)
            return state
        now = minute_at(time.time())
        if now - self._conflicts.setdefault(key, now) < _CONFLICT_FOR:
            return state
        del self._conflicts[key]
        return State.REFUSED

    def hold_back(self, items: Sequence[Item]) -> None:
        """Send these items, and those that were refused just before them, after all others in the next run.

        Their refusals have stopped this run, and perhaps it is not their fault.
        """
        for record_id in [*self._refused, *map(self._job.record_id, items)]:
            self._announced.pop(record_id, None)
            self._writer.add(record_id, State.PENDING)
            self._left_back.add(self._hash(record_id))
        self._refused.clear()

    def was_held_back(self, item: Item) -> bool:
        """Return whether the refusal of an item has stopped the run before."""
        return bool(self._held_back) and self._hash(self._job.record_id(item)) in self._held_back

    def postpone(self, items: Iterable[Item]) -> None:
        """Leave items to the next run, which sends them first: the longer they wait, the earlier."""
        now = time.time()
        for item in items:
            record_id = self._job.record_id(item)
            known = self._ledger.known(record_id)
            # An entry that is written again would be a younger one.
            if known is None or known.state not in (State.PENDING, State.INTENT):
                self._writer.add(record_id, State.PENDING)
            before = self._writer.replaced(record_id) or known
            since = before.written_at if before and before.state is State.PENDING else now
            self._oldest = min(since, self._oldest or since)
            self._postponed += 1

    @property
    def backlog(self) -> dict[str, object]:
        """Return the number of items that this run has left to the next one, and since when the first one waits."""
        since = None if self._oldest is None else datetime.fromtimestamp(self._oldest, UTC)
        return {"backlog": self._postponed, "backlog_since": since and f"{since:%Y-%m-%dT%H:%MZ}"}

    def _hash(self, record_id: str) -> int:
        return self._ledger.hash_records((record_id,))[0]

    def refused(self, items: Sequence[Item], error: MeisaError) -> None:
        """Record that a request did nothing, if that is certain; items with a result keep it.

        If the response was lost, the items stay in doubt, also if a later request for them is refused. After a 5xx,
        the next run sends them last, if it may send them again.
        """
        ids = [self._job.record_id(item) for item in items]
        if self._job.repeat == "harmless" and isinstance(error, MeisaServerError):
            self._left_back.update(map(self._hash, ids))
        if error.possibly_done:
            for each, item in zip(ids, items, strict=True):
                self._writer.add(each, State.INTENT, self._hash_of(item))
        else:
            self._writer.withdraw(ids)
        for each in ids:
            self._announced.pop(each, None)

    def save(self) -> None:
        """Write the stored results: at once if a retry is ambiguous, else every 100 records or five seconds."""
        if self._job.repeat == "ambiguous" or self._writer.is_due:
            self._writer.put()

    def pause(self, until: float) -> None:
        """Write one part before a deferral.

        :param until: when the run resumes, in seconds since 1970.
        """
        self._withdraw_announced()
        self._keep_lists()
        self._writer.defer(until)
        self._write_sample()

    def end(self) -> None:
        """Replace the parts of this stretch by one, which marks the run as ended."""
        if not self._postponed:
            self._withdraw_announced()
        self._keep_lists()
        self._writer.end()
        self._write_sample()

    def _write_sample(self) -> None:
        if not self._to_record[0]:  # else the plan was refused, and its records are not accepted
            self._sample.write(by=self._options.run)

    def _keep_lists(self) -> None:
        """Keep the hashes of records that are treated in their own way, the latest ones if there are many."""
        lists = {
            _HELD_BACK: sorted(self._left_back)[-_MOST_KEPT:],
            _CONFLICTS: dict(list(self._conflicts.items())[-_MOST_KEPT:]),
        }
        self.keep_facts(
            {name: kept for name, kept in lists.items() if kept or name in self._ledger.properties}
        )

    def _withdraw_announced(self) -> None:
        if self._announced:
            self._writer.withdraw(self._announced)
            self._announced.clear()


def summary_of_ended_run(options: LedgerOptions, job: Job, client: MeisaClient) -> dict[str, object]:
    """Return what a run that has ended reports of its ledger, as `RunLedger.summary`."""
    return _summary_of(_open(options, job, client))


def _summary_of(ledger: Ledger) -> dict[str, object]:
    return {**ledger.summary().as_json(), "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}


def subject_of(job: Job, client: MeisaClient) -> Subject:
    """Return the subject of the ledgers of a job, with the environment and the product of the API key.

    :raises MeisaError: if Meisa does not respond to ``GET /ping/``.
    """
    from airflow_provider_meisa.api.endpoints import account

    key = account.known_key(client)
    return Subject(
        base_url=client.settings.base_url,
        environment=key.environment,
        product=key.product,
        job=job.name,
        target=job.ledger_target,
        record_id=job.record_id_kind,
    )


def _open(options: LedgerOptions, job: Job, client: MeisaClient) -> Ledger:
    ledger = Ledger.open(options.root, options.name, subject_of(job, client), secret=options.secret)
    log.info("Ledger %s: %s entries", options.name, f"{ledger.count:,}")
    return ledger
