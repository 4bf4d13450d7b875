"""The job of keeping contacts in step with a table: one request for each contact that is new or has changed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_meisa.api.endpoints import contacts
from airflow_provider_meisa.api.errors import (
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.nouns import CONTACT, Noun
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.job import FORGOTTEN, RECORDED, Alike, Later, PlanFacts, Turn
from airflow_provider_meisa.bulk.ledger.entry import LATEST_MINUTE, State, minute_at
from airflow_provider_meisa.bulk.ledger.value_sample import Differences
from airflow_provider_meisa.jobs.sync_contacts.changed_columns import (
    describe_differences,
    report_differences,
    values_by_name,
)
from airflow_provider_meisa.jobs.sync_contacts.comparison import Comparison
from airflow_provider_meisa.jobs.sync_contacts.duplicates import (
    ContactDuplicates,
    Contradicted,
    record_id_of,
)
from airflow_provider_meisa.jobs.sync_contacts.mapping import ContactMapping
from airflow_provider_meisa.jobs.sync_contacts.mapping_change import check_mapping
from airflow_provider_meisa.jobs.sync_contacts.reading import Contact, ContactReader
from airflow_provider_meisa.jobs.sync_contacts.values import encode

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.api.rate_limit.limiter import Reservation
    from airflow_provider_meisa.bulk.job import Duplicates, Exclusion, Planned
    from airflow_provider_meisa.bulk.ledger.entry import Entry
    from airflow_provider_meisa.bulk.ledger.ledger import Ledger
    from airflow_provider_meisa.bulk.ledger.snapshot import Snapshot

Resync = Literal["all", "record"]
OnOlderRun = Literal["fail", "send"]

FEWEST_CHANGES = 1_000
"""So many changes are never too many, whatever share of a small table they are."""

_ACCEPTED = frozenset({State.RECORDED, State.ACCEPTED})
# Meisa had the address already, at another contact. It may become free: the ledger of the run keeps for how long.
_CONFLICT = State.PRESENT
_IN_STEP = frozenset(
    {State.PENDING, State.INTENT, State.REFUSED, State.RECORDED, State.PRESENT, State.ACCEPTED}
)
_REFUSED_FOR = timedelta(days=7) // timedelta(minutes=1)
_ABOUT_ANOTHER_CONTACT = re.compile(
    r"\b(?:unique|already (?:exists?|in use|taken|used|has)|another contact|duplicate|conflict)\b",
    re.IGNORECASE,
)
_CONFLICT_REASON = "conflict: "
_NO_ID = "no id of the contact in the response"
_MAPPING, _LOGICAL_DATE = "mapping", "logical_date"


@dataclass(slots=True)
class _Planning:
    """What is counted while one plan is made."""

    reader: ContactReader
    duplicates: ContactDuplicates = field(default_factory=ContactDuplicates)
    known: int = 0
    """Records of the source that the ledger has."""
    changed: int = 0
    pending: int = 0
    refreshed: int = 0

    def counted(self, found: Iterable[Contact | Outcome | Alike]) -> Iterator[Contact | Outcome | Alike]:
        """Count the unchanged rows of those that are read."""
        for item in found:
            if isinstance(item, Alike):
                self.known += len(item.addresses)
            yield item


@dataclass(slots=True, kw_only=True)
class SyncContactsJob:
    """Creates or updates one contact for each row that is new or has changed. An item is what is sent.

    :param mapping: which column becomes what.
    :param sync_name: what one ledger is for.
    :param source: where the contacts come from, see `contacts.upsert`; Meisa keeps the first one.
    :param retry_refused: send rows again that Meisa refused within the last seven days.
    :param resync: what to do once the mapping has changed: send ``all`` rows; ``record`` the known ones as accepted; or
        send all rows if only these columns are mapped in another way.
    :param max_changes: most new and changed rows: a number, a share of the rows or of the ledger (of the larger), or
        ``None`` for no limit.
    :param resync_after: after how long a row is sent again although it has not changed; ``None`` for never.
    :param logical_date: of the run, in ISO 8601 and UTC; empty if it has none.
    :param on_older_run: whether a run with an older date than one before sends.
    :param what: what messages call the source.
    :param may_be_record: see `ContactMapping.bind`.
    """

    mapping: ContactMapping = field(default_factory=ContactMapping)
    sync_name: str = "contacts"
    source: str | None = None
    retry_refused: bool = False
    resync: Resync | Sequence[str] | None = None
    max_changes: float | None = None
    resync_after: timedelta | None = None
    logical_date: str = ""
    on_older_run: OnOlderRun = "fail"
    what: str = "The source"
    may_be_record: bool = False

    _kept: Mapping[str, Any] = field(default_factory=dict, init=False, repr=False)
    _states: Mapping[State, int] = field(default_factory=dict, init=False, repr=False)
    _snapshot: Snapshot | None = field(default=None, init=False, repr=False)
    _planning: _Planning | None = field(default=None, init=False, repr=False)
    _mapping: Mapping[str, Any] = field(default_factory=dict, init=False, repr=False)
    _contradicted: Contradicted = field(default_factory=lambda: Contradicted({}), init=False, repr=False)

    name: ClassVar[str] = "sync_contacts"
    noun: ClassVar[Noun] = CONTACT
    batch_size: ClassVar[int] = 1
    scopes: ClassVar[Sequence[str]] = ("contacts:write",)
    repeat: ClassVar[Literal["harmless"]] = "harmless"
    statuses: ClassVar[Sequence[OutcomeStatus]] = (
        OutcomeStatus.CREATED,
        OutcomeStatus.UPDATED,
        OutcomeStatus.UNCHANGED,
        OutcomeStatus.REFUSED_BEFORE,
        OutcomeStatus.SUPPRESSED,
        OutcomeStatus.INVALID,
        OutcomeStatus.DUPLICATE,
        OutcomeStatus.FAILED,
        OutcomeStatus.UNREPORTED,
        OutcomeStatus.UNTRIED,
    )
    sends_excluded: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """The name of the sync."""
        return self.sync_name

    @property
    def identity(self) -> Mapping[str, str]:
        """The name of the sync."""
        return {"sync_name": self.sync_name}

    @property
    def ledger_target(self) -> str:
        """The name of the sync."""
        return self.sync_name

    @property
    def record_id_kind(self) -> str:
        """What makes two rows the same contact."""
        fields = self.mapping.fields
        if fields is None:
            return "external_id, else address"
        return "external_id" if "external_id" in fields else "address"

    # Plan.

    def remember(self, ledger: Ledger, *, is_resumed: bool) -> None:
        """Take the mapping and the date of earlier runs, and the contacts that Meisa has.

        :raises MeisaInputError: if a later run has sent already.
        """
        self._kept, self._states = ledger.properties, ledger.count_by_state()
        newest = self._kept.get(_LOGICAL_DATE, "")
        if self.on_older_run == "fail" and self.logical_date and self.logical_date < newest:
            raise MeisaInputError(
                f"A run of {newest} has sent contacts already, and this one is of {self.logical_date}: it could write "
                "old values over newer ones. Nothing was sent. Clear the newest run instead, or set "
                "on_older_run='send' if the query does not depend on the date."
            )
        # What an earlier attempt has sent counts as sent by this run, not as unchanged.
        self._snapshot = None if is_resumed else ledger.snapshot(_ACCEPTED)

    def items(self, source: Iterable[object]) -> Iterator[Contact | Outcome | Alike]:
        """Read rows as contacts; what cannot be sent of them is ``invalid``.

        :raises MeisaInputError: if the rows do not fit the mapping.
        """
        known = self._kept.get(_MAPPING) if not isinstance(self.resync, str) else None
        comparison = self._comparison()
        reader = ContactReader(
            self.mapping,
            known=[*known["custom_fields"], *(self.resync or ())] if known else None,
            what=self.what,
            may_be_record=self.may_be_record,
            comparison=comparison,
        )
        self._planning = _Planning(reader, ContactDuplicates(comparison))
        return self._planning.counted(reader.read(source))

    def _comparison(self) -> Comparison | None:
        snapshot, self._snapshot = self._snapshot, None
        if not snapshot:
            return None
        now = minute_at(time.time())
        is_due = (lambda entry: self._is_due(entry, entry.values_hash, now)) if self.resync_after else None
        return Comparison(snapshot, is_due)

    def duplicates(self) -> Duplicates:
        """Send neither of two rows that contradict each other."""
        return self._planned().duplicates

    def decide(self, item: Contact, known: Entry, values_hash: int, now: int) -> Outcome | Turn | None:
        """Leave out a contact that Meisa has as it is now, has refused as it is now, or is never to be sent.

        What earlier runs have left comes first: the longer it waits, the earlier.
        """
        if self._planning:
            self._planning.known += known.state in _IN_STEP
        outcome = self._outcome_of(item, known, values_hash, now)
        if outcome is not None:
            return outcome
        if self._planning:
            self._count_known(self._planning, known, values_hash)
        if known.state is State.INTENT:
            return Turn(-2 * LATEST_MINUTE)
        return Turn(known.minute - LATEST_MINUTE) if known.state is State.PENDING else None

    def _outcome_of(self, item: Contact, known: Entry, values_hash: int, now: int) -> Outcome | None:
        if known.state is State.FORGOTTEN:
            return self._outcome(item, OutcomeStatus.SUPPRESSED, FORGOTTEN)
        is_same = known.values_hash == values_hash
        if known.state is State.REFUSED:
            is_refused = is_same and not self.retry_refused and now - known.minute < _REFUSED_FOR
            return self._outcome(item, OutcomeStatus.REFUSED_BEFORE) if is_refused else None
        if known.state in _ACCEPTED:
            if is_same and not self._is_due(known, values_hash, now):
                return self._outcome(item, OutcomeStatus.UNCHANGED)
            if not is_same and self._records_changes:
                return self._outcome(item, OutcomeStatus.UNCHANGED, RECORDED)
        return None

    def _is_due(self, known: Entry, values_hash: int, now: int) -> bool:
        """Return whether an unchanged contact is sent again: in each period once, at a time of its own."""
        period = self.resync_after // timedelta(minutes=1) if self.resync_after else 0
        if not period:
            return False
        offset = values_hash % period
        return (now + offset) // period != (known.minute + offset) // period

    @property
    def _records_changes(self) -> bool:
        """Whether rows that differ count as accepted: the mapping has changed, and so has each of them."""
        return self.resync == "record" and self._planning is not None and self._has_new_mapping

    @property
    def _has_new_mapping(self) -> bool:
        mapping, before = self._described(), self._kept.get(_MAPPING)
        return bool(mapping) and before is not None and before != mapping

    def _described(self) -> Mapping[str, Any]:
        """Return what the mapping means for the source; empty before its first rows are read."""
        if not self._mapping and self._planning and self._planning.reader.binding:
            self._mapping = self._planning.reader.binding.describe()
        return self._mapping

    @staticmethod
    def _count_known(planning: _Planning, known: Entry, values_hash: int) -> None:
        if known.state in (State.PENDING, State.INTENT):
            planning.pending += 1
        elif known.state in _ACCEPTED and known.values_hash == values_hash:
            planning.refreshed += 1
        elif known.state is not State.CLEARED:
            planning.changed += 1

    def recorded(self, item: Contact) -> Outcome:
        """Take the contact as accepted as it is now."""
        return self._outcome(item, OutcomeStatus.UNCHANGED, RECORDED)

    def conclude(self, planned: Planned) -> PlanFacts:
        """Check how much has changed, and keep the mapping.

        :raises MeisaInputError: if the mapping is another one, or too many rows have changed.
        """
        planning = self._planned()
        new = planned.to_send - planning.changed - planning.pending - planning.refreshed
        in_ledger = sum(number for state, number in self._states.items() if state in _IN_STEP)
        mapping = self._described()
        is_new = self._has_new_mapping
        if mapping and is_new:
            check_mapping(self._kept[_MAPPING], mapping, resync=self.resync)
        found = planned.differences or Differences()
        differences = report_differences(found, planning.changed, mapping)
        if in_ledger and not is_new:
            self._check_changes(
                new + planning.changed,
                total=planned.total,
                in_ledger=in_ledger,
                differences=describe_differences(differences, planning.changed),
            )
        self._planning = None
        report = {
            "new": new,
            "changed": planning.changed,
            **differences,
            "backlog": planning.pending,
            "gone": max(0, in_ledger - planning.known) if planned.total else 0,
        }
        keep: dict[str, Any] = {_MAPPING: mapping} if mapping else {}
        if self.logical_date > self._kept.get(_LOGICAL_DATE, ""):
            keep[_LOGICAL_DATE] = self.logical_date
        return PlanFacts(report=report, keep=keep, own=planning.duplicates.contradicted(planned.items))

    def _check_changes(self, changes: int, *, total: int, in_ledger: int, differences: str) -> None:
        most = self.max_changes
        if isinstance(most, float):
            most = max(FEWEST_CHANGES, int(most * max(total, in_ledger)))
        if most is not None and changes > most:
            raise MeisaInputError(
                f"{changes:,} rows are new or have changed, more than max_changes allows ({most:,}){differences}. "
                "Nothing was sent. Check the source: has a column another type, or the record id another form? If the "
                "changes are right, raise max_changes for this run."
            )

    def take_up(self, facts: PlanFacts) -> None:
        """Take which rows of the plan contradict others."""
        self._contradicted = Contradicted(facts.own)
        self._mapping = facts.keep.get(_MAPPING, {})

    def _planned(self) -> _Planning:
        if self._planning is None:
            self._planning = _Planning(ContactReader(self.mapping))
        return self._planning

    # Apply.

    def record_id(self, item: Contact) -> str:
        """Return your id of the contact, or else the address in lower case."""
        return record_id_of(item)

    def address(self, item: Contact) -> str:
        """Return the address."""
        address: str = item["email"]
        return address

    def values(self, item: Contact) -> bytes:
        """Return all that is sent of the contact."""
        return encode(item)

    def named_values(self, item: Contact) -> Mapping[str, bytes]:
        """Return the value of each field, each custom field and the tags."""
        mapping = self._described()
        return values_by_name(item, mapping) if mapping else {}

    def status_of(self, state: State) -> OutcomeStatus:
        """Return the status of a contact that this run has sent."""
        if state is State.ACCEPTED:
            return OutcomeStatus.UPDATED
        return OutcomeStatus.FAILED if state is _CONFLICT else OutcomeStatus.UNREPORTED

    def state_of(self, outcome: Outcome) -> State:
        """Keep what Meisa has accepted or refused; what it may have is sent again."""
        if outcome.status in (OutcomeStatus.CREATED, OutcomeStatus.UPDATED):
            return State.ACCEPTED
        if outcome.status is not OutcomeStatus.FAILED or outcome.reason == _NO_ID:
            return State.PENDING
        return _CONFLICT if outcome.reason.startswith(_CONFLICT_REASON) else State.REFUSED

    def check(self, client: MeisaClient, *, for_preview: bool = False) -> None:
        """Check nothing: the first request shows whether the key has ``contacts:write``."""

    def warn(self) -> None:
        """Warn of nothing: sending a contact mails no one by itself."""

    def exclusion(self, _client: MeisaClient, *, for_preview: bool = False) -> Exclusion:
        """Leave out rows that contradict others; who unsubscribed may still be kept up to date."""
        del for_preview
        return self._contradicted

    def send(
        self, client: MeisaClient, items: Sequence[Contact], reservation: Reservation
    ) -> Sequence[Outcome]:
        """Create or update one contact.

        :raises MeisaError: see `airflow_provider_meisa.api.endpoints.contacts.upsert`.
        """
        (item,) = items
        contact = contacts.upsert(client, **item, source=self.source, reservation=reservation)
        return [self._outcome(item, OutcomeStatus.CREATED if contact.created else OutcomeStatus.UPDATED)]

    def on_error(self, error: MeisaError, items: Sequence[Contact]) -> Sequence[Outcome] | Later | None:
        """Fail the one contact that Meisa refuses; everything else concerns all of them.

        An address that another contact has may become free by one of the other updates.
        """
        if isinstance(error, MeisaUnreadableResponseError) and error.possibly_done:
            return [self._outcome(item, OutcomeStatus.FAILED, _NO_ID) for item in items]
        if not isinstance(error, MeisaInvalidRequestError):
            return None
        reason = error.reason or f"the contact was refused ({error.status})"
        is_conflict = error.status == HTTPStatus.CONFLICT or _ABOUT_ANOTHER_CONTACT.search(error.reason)
        reason = f"{_CONFLICT_REASON}{reason}" if is_conflict else reason
        outcomes = [self._outcome(item, OutcomeStatus.FAILED, reason) for item in items]
        return Later(outcomes) if is_conflict else outcomes

    @staticmethod
    def _outcome(item: Contact, status: OutcomeStatus, reason: str = "") -> Outcome:
        return Outcome(item["email"], status, reason)
