"""The job that enrolls contacts into a sequence, 500 addresses per request."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_meisa.api.endpoints import contacts, sequences
from airflow_provider_meisa.api.enroll_response import status_of
from airflow_provider_meisa.api.errors import MeisaError, MeisaInvalidRequestError, MeisaScopeError
from airflow_provider_meisa.api.nouns import ADDRESS, Noun, count
from airflow_provider_meisa.api.outcomes import ENROLL_STATUSES, Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.input_shapes import readable
from airflow_provider_meisa.bulk.job import FORGOTTEN, BadItems, Exclusion, PlanFacts, Planned
from airflow_provider_meisa.bulk.ledger.entry import State
from airflow_provider_meisa.bulk.record_ids import FirstOfEach
from airflow_provider_meisa.jobs.addresses import check_all, key_of, normalise
from airflow_provider_meisa.jobs.enroll_records import EMAIL, ID, OneOfEachRecord, read_emails, read_records

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.rate_limit.limiter import Reservation
    from airflow_provider_meisa.bulk.job import Duplicates
    from airflow_provider_meisa.bulk.ledger.entry import Entry
    from airflow_provider_meisa.bulk.ledger.ledger import Ledger

log = logging.getLogger("airflow.task.meisa")

# Seconds since any task has seen the sequence to be active: half the interval of a sensor. If that has changed since,
# Meisa refuses the batch.
_ACTIVE_FOR = 30.0
_ENROLLED = frozenset({State.INTENT, State.RECORDED, State.PRESENT, State.ACCEPTED})
_ABOUT_ADDRESSES = {"email", "emails"}
# An error with these words is about the sequence, the key or the account, unless it names addresses.
_ABOUT_ALL = re.compile(
    r"\b(?:sequences?|slug|inactive|draft|paused|archived|environment|scopes?|permissions?|api key|plan|quota|"
    r"subscription|billing|account|workspace|override)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class EnrollJob:
    """Enrolls addresses into one sequence. An item is an address.

    :param sequence_slug: an active sequence.
    :param override_unsubscribe: enroll even suppressed contacts.
    :param skip_suppressed: ask Meisa for the suppressed addresses, and leave them out.
    :param again_after: with a ledger, when a contact may be enrolled again.
    :param id_column: the column of the record id, if that is not the address. An item is then ``{"email", "id"}``, and
        the source gives rows or records.
    :param email_column: the column of the address in these.
    :param reads_rows: the source gives rows or records.
    """

    sequence_slug: str
    override_unsubscribe: bool = False
    skip_suppressed: bool = False
    again_after: timedelta | Literal["never"] = "never"
    id_column: str | None = None
    email_column: str | int | None = None
    reads_rows: bool = False

    name: ClassVar[str] = "enroll"
    noun: ClassVar[Noun] = ADDRESS
    batch_size: ClassVar[int] = sequences.MAX_BATCH
    repeat: ClassVar[Literal["ambiguous"]] = "ambiguous"
    statuses: ClassVar[Sequence[OutcomeStatus]] = ENROLL_STATUSES

    @property
    def scopes(self) -> Sequence[str]:
        """Return the scope to enroll, and that of the list of suppressed addresses if it is read."""
        return ("sequences:enroll", "contacts:read") if self.skip_suppressed else ("sequences:enroll",)

    @property
    def title(self) -> str:
        """The sequence."""
        return self.sequence_slug

    @property
    def identity(self) -> Mapping[str, str]:
        """The sequence."""
        return {"sequence_slug": self.sequence_slug}

    @property
    def sends_excluded(self) -> bool:
        """Return whether suppressed addresses are sent."""
        return self.override_unsubscribe

    def items(self, source: Iterable[object]) -> Iterator[Any]:
        """Trim and check each address; a bad one is ``invalid``.

        :raises MeisaInputError: if the source is not a list of addresses; while reading, if a value is not a text.
        """
        if self.id_column is not None:
            return read_records(source, self.email_column, self.id_column)
        return self._checked(read_emails(source, self.email_column) if self.reads_rows else readable(source))

    def _checked(self, source: Iterable[object]) -> Iterator[str | Outcome]:
        foreign = 0

        def on_foreign() -> None:
            nonlocal foreign
            foreign += 1

        yield from check_all(source, first_row=1, on_foreign=on_foreign)
        if foreign:
            log.warning(
                "%s with letters beyond ASCII before the @: sent as they are. Meisa may refuse them as invalid.",
                count(foreign, ADDRESS),
            )

    def record_id(self, item: Any) -> str:
        """Return the record id: by default the address in lower case."""
        record_id: str = item.lower() if isinstance(item, str) else item[ID]
        return record_id

    def duplicates(self) -> Duplicates:
        """Enroll each record once, and each address once."""
        return FirstOfEach(self) if self.id_column is None else OneOfEachRecord(self)

    def remember(self, ledger: Ledger, *, is_resumed: bool) -> None:
        """Keep nothing in a ledger but its entries."""

    def conclude(self, _planned: Planned) -> PlanFacts:
        """Know no more of a plan than its counts."""
        return PlanFacts()

    def take_up(self, facts: PlanFacts) -> None:
        """Take nothing from a plan but its addresses."""

    def address(self, item: Any) -> str:
        """Return the address."""
        address: str = item if isinstance(item, str) else item[EMAIL]
        return address

    @property
    def ledger_target(self) -> str:
        """The sequence."""
        return self.sequence_slug

    @property
    def record_id_kind(self) -> str:
        """Return the type of the record id."""
        return "address" if self.id_column is None else f"column {self.id_column.strip().lower()}"

    def values(self, _item: Any) -> bytes:
        """Return an empty value: only the day of the enrollment counts."""
        return b""

    def named_values(self, _item: Any) -> Mapping[str, bytes]:
        """Return no values."""
        return {}

    def decide(self, item: Any, known: Entry, values_hash: int, now: int) -> Outcome | None:
        """Leave out contacts that an earlier run has enrolled within ``again_after``, or may have enrolled."""
        if known.state is State.FORGOTTEN:
            return Outcome(self.address(item), OutcomeStatus.SUPPRESSED, FORGOTTEN)
        if known.state not in _ENROLLED or self._may_be_enrolled_again(known, now):
            return None
        day = f"{datetime.fromtimestamp(known.written_at, UTC):%Y-%m-%d}"
        reason = f"possibly on {day}: response lost" if known.state is State.INTENT else f"on {day}"
        return Outcome(self.address(item), OutcomeStatus.ENROLLED_BEFORE, reason)

    def _may_be_enrolled_again(self, known: Entry, now: int) -> bool:
        return self.again_after != "never" and now - known.minute >= self.again_after // timedelta(minutes=1)

    def recorded(self, item: Any) -> Outcome:
        """Return the outcome of a contact that is recorded as enrolled."""
        return Outcome(self.address(item), OutcomeStatus.ENROLLED_BEFORE, "recorded by first_run")

    def status_of(self, state: State) -> OutcomeStatus:
        """Return the status of a contact that this run has sent."""
        return {State.ACCEPTED: OutcomeStatus.ENROLLED, State.PRESENT: OutcomeStatus.ALREADY_ENROLLED}.get(
            state, OutcomeStatus.UNREPORTED
        )

    def state_of(self, outcome: Outcome) -> State:
        """Record contacts that are enrolled or may be; a later run may send all others."""
        return {
            OutcomeStatus.ENROLLED: State.ACCEPTED,
            OutcomeStatus.ALREADY_ENROLLED: State.PRESENT,
            OutcomeStatus.UNREPORTED: State.INTENT,
        }.get(outcome.status, State.CLEARED)

    def check(self, client: MeisaClient, *, for_preview: bool = False) -> None:
        """Check that the sequence takes contacts, if the key has the scope; a preview needs such a key.

        :raises MeisaInputError: if the connection does not allow ``override_unsubscribe``.
        :raises MeisaError: see `airflow_provider_meisa.api.endpoints.sequences.check_active`.
        """
        sequences.check_override(client, override_unsubscribe=self.override_unsubscribe)
        try:
            found = sequences.check_active(client, self.sequence_slug, max_age=_ACTIVE_FOR)
            log.info("The sequence %s is %s", found.slug, found.status)
        except MeisaScopeError as error:
            if for_preview:
                raise
            why = f"The key lacks {error.scope}." if error.scope else str(error)
            log.info("%s The first batch shows whether the sequence is active.", why)

    def warn(self) -> None:
        """Warn if people who unsubscribed will be mailed."""
        if self.override_unsubscribe:
            log.warning("override_unsubscribe is set: people who have unsubscribed will be mailed.")

    def exclusion(self, client: MeisaClient, *, for_preview: bool = False) -> Exclusion | None:
        """Ask for the suppressed addresses, if they are to be left out.

        :return: ``None`` for a preview with a key without ``contacts:read``.
        :raises MeisaError: see `airflow_provider_meisa.api.endpoints.contacts.unsubscribed_emails`.
        """
        if not (self.skip_suppressed or for_preview):
            return _no_one
        try:
            emails = contacts.unsubscribed_emails(client).emails
        except MeisaScopeError:
            if for_preview:
                return None
            raise
        log.info("Meisa's list of unsubscribed addresses has %s entries", f"{len(emails):,}")
        suppressed = _Suppressed(key_of(normalise(email)) for email in emails)
        return lambda item: suppressed(self.address(item))

    def send(self, client: MeisaClient, items: Sequence[Any], reservation: Reservation) -> Sequence[Outcome]:
        """Enroll up to 500 addresses.

        :raises MeisaError: see `airflow_provider_meisa.api.endpoints.sequences.bulk_enroll`.
        """
        response = sequences.bulk_enroll(
            client,
            list(map(self.address, items)),
            self.sequence_slug,
            override_unsubscribe=self.override_unsubscribe,
            resend=False,  # the runner does, and records when
            reservation=reservation,
        )
        if response.unread:
            log.warning("Not understood in the response: %s", "; ".join(response.unread))
        return response.outcomes

    def on_error(self, error: MeisaError, items: Sequence[Any]) -> BadItems | None:
        """Return what an error means for single addresses; ``None`` if it concerns all of them."""
        if not isinstance(error, MeisaInvalidRequestError) or not _may_be_about_addresses(error):
            return None
        named = {
            place: Outcome(self.address(items[place]), OutcomeStatus.INVALID, reason)
            for place, reason in error.places.items()
        }
        return BadItems(named, _alone(error, self.address(items[0])) if len(items) == 1 else None)


class _Suppressed:
    """Returns the outcome ``suppressed`` for addresses on Meisa's list."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = frozenset(keys)

    def __call__(self, address: str) -> Outcome | None:
        if key_of(address) not in self._keys:
            return None
        return Outcome(address, OutcomeStatus.SUPPRESSED, "on Meisa's list of unsubscribed addresses")


def _no_one(_item: Any) -> None:
    return None


def _may_be_about_addresses(error: MeisaInvalidRequestError) -> bool:
    if error.places or error.fields:
        return _ABOUT_ADDRESSES.issuperset(error.fields)
    return status_of(error) is not None or not _ABOUT_ALL.search(error.reason)


def _alone(error: MeisaInvalidRequestError, address: str) -> Outcome:
    """Return the outcome of an address whose request was refused, although it had no other address."""
    reason = error.reason or f"the request was refused ({error.status})"
    about_address = OutcomeStatus.INVALID if error.fields else OutcomeStatus.FAILED
    return Outcome(address, status_of(error) or about_address, reason)
