"""The job of creating and updating contacts, one a request. It sends every row; no operator offers it yet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_meisa.api.endpoints import contacts
from airflow_provider_meisa.api.errors import MeisaInputError, MeisaInvalidRequestError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.ledger.entry import State
from airflow_provider_meisa.jobs.addresses import check

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.api.rate_limit.limiter import Reservation
    from airflow_provider_meisa.bulk.job import Exclusion
    from airflow_provider_meisa.bulk.ledger.entry import Entry

FIELDS = ("email", "external_id", "first_name", "last_name", "display_name", "custom_fields", "tag_names")

_ACCEPTED = frozenset({State.RECORDED, State.ACCEPTED})


@dataclass(frozen=True, slots=True)
class SyncContactsJob:
    """Creates or updates one contact for each record. An item is a mapping of `FIELDS`.

    :param source: where the contacts come from, see `contacts.upsert`; Meisa keeps the first one.
    """

    source: str | None = None

    name: ClassVar[str] = "sync_contacts"
    title: ClassVar[str] = "contacts"
    batch_size: ClassVar[int] = 1
    repeat: ClassVar[Literal["harmless"]] = "harmless"
    statuses: ClassVar[Sequence[OutcomeStatus]] = (
        OutcomeStatus.CREATED,
        OutcomeStatus.UPDATED,
        OutcomeStatus.UNCHANGED,
        OutcomeStatus.INVALID,
        OutcomeStatus.DUPLICATE,
        OutcomeStatus.FAILED,
        OutcomeStatus.UNTRIED,
    )
    sends_excluded: ClassVar[bool] = False

    @property
    def identity(self) -> Mapping[str, str]:
        """Nothing: a key has one list of contacts."""
        return {}

    def items(self, source: Iterable[object]) -> Iterator[dict[str, Any] | Outcome]:
        """Read records; one whose address is not one is ``invalid``.

        :raises MeisaInputError: if a row is not a record, or has a field that no contact has.
        """
        for row in source:
            yield _item(row)

    def record_id(self, item: Mapping[str, Any]) -> str:
        """Return your id of the contact, or else the address in lower case."""
        external_id: str = item.get("external_id") or item["email"].lower()
        return external_id

    def address(self, item: Mapping[str, Any]) -> str:
        """Return the address."""
        address: str = item["email"]
        return address

    @property
    def ledger_target(self) -> str:
        """Nothing: no operator gives this job a ledger yet."""
        return ""

    @property
    def record_id_kind(self) -> str:
        """What makes two contacts the same."""
        return "external_id or address"

    def values(self, item: Mapping[str, Any]) -> bytes:
        """Return what is sent, with sorted keys."""
        return json.dumps(item, sort_keys=True, separators=(",", ":")).encode()

    def decide(self, item: Mapping[str, Any], known: Entry, values_hash: int, now: int) -> Outcome | None:
        """Leave out a contact that Meisa has accepted as it is now."""
        del now
        is_known = known.state in _ACCEPTED and known.values_hash == values_hash
        return Outcome(self.address(item), OutcomeStatus.UNCHANGED) if is_known else None

    def recorded(self, item: Mapping[str, Any]) -> Outcome:
        """Take the contact as accepted as it is now."""
        return Outcome(self.address(item), OutcomeStatus.UNCHANGED, "recorded by first_run")

    def status_of(self, state: State) -> OutcomeStatus:
        """Return the status of a contact that this run has sent."""
        return OutcomeStatus.UPDATED if state is State.ACCEPTED else OutcomeStatus.UNREPORTED

    def state_of(self, outcome: Outcome) -> State:
        """Keep what Meisa has accepted."""
        is_accepted = outcome.status in (OutcomeStatus.CREATED, OutcomeStatus.UPDATED)
        return State.ACCEPTED if is_accepted else State.REFUSED

    def check(self, client: MeisaClient, *, for_preview: bool = False) -> None:
        """Check nothing: the first request shows whether the key has ``contacts:write``."""

    def warn(self) -> None:
        """Warn of nothing: sending a contact mails no one by itself."""

    def exclusion(self, _client: MeisaClient, *, for_preview: bool = False) -> Exclusion:
        """Leave no contact out: one who unsubscribed may still be kept up to date."""
        del for_preview
        return lambda _item: None

    def send(
        self, client: MeisaClient, items: Sequence[Mapping[str, Any]], reservation: Reservation
    ) -> Sequence[Outcome]:
        """Create or update one contact.

        :raises MeisaError: see `airflow_provider_meisa.api.endpoints.contacts.upsert`.
        """
        (item,) = items
        contact = contacts.upsert(client, **item, source=self.source, reservation=reservation)
        return [
            Outcome(self.address(item), OutcomeStatus.CREATED if contact.created else OutcomeStatus.UPDATED)
        ]

    def on_error(self, error: MeisaError, items: Sequence[Mapping[str, Any]]) -> Sequence[Outcome] | None:
        """Fail the one contact that Meisa refuses; everything else concerns all of them."""
        if not isinstance(error, MeisaInvalidRequestError):
            return None
        reason = error.reason or f"the contact was refused ({error.status})"
        return [Outcome(self.address(item), OutcomeStatus.FAILED, reason) for item in items]


def _item(row: object) -> dict[str, Any] | Outcome:
    if not isinstance(row, Mapping):
        raise MeisaInputError(f"A contact is a mapping of fields, not a {type(row).__name__}.")
    if unknown := sorted(map(str, row.keys() - set(FIELDS))):
        raise MeisaInputError(f"A contact has no field {unknown[0]!r}; it has: {', '.join(FIELDS)}.")
    address = check(row.get("email"))
    if isinstance(address, Outcome):
        return address
    return {**{name: value for name, value in row.items() if value is not None}, "email": address}
