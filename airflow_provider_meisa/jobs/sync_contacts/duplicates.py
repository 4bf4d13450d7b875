"""Rows that contradict each other: differing rows of one record id, and two record ids with one address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.record_ids import RecordIds
from airflow_provider_meisa.jobs.addresses import key_of
from airflow_provider_meisa.jobs.sync_contacts.values import encode

if TYPE_CHECKING:
    from airflow_provider_meisa.jobs.sync_contacts.comparison import Comparison

DIFFERING = "another row of the same record id differs"
SHARED_ADDRESS = "another record id has the same address"

_MOST = 10_000


def record_id_of(item: Mapping[str, Any]) -> str:
    """Return your id of the contact, or else the address in lower case."""
    external_id: str | None = item.get("external_id")
    return external_id or key_of(item["email"])


class ContactDuplicates:
    """Finds rows of one record id, and record ids of one address, in one pass.

    Which of two such rows comes first is another one each night, so neither is sent. The one that came first may be in
    the plan already: `contradicted` names it.

    Memory grows by about 40 bytes for each row that was not found to be unchanged.

    :param comparison: has found some rows to be unchanged; ``None`` if none was looked for.
    """

    def __init__(self, comparison: Comparison | None = None) -> None:
        self._comparison = comparison
        self._ids = RecordIds()
        self._rows = RecordIds()
        self._addresses = RecordIds()
        self._differing: set[str] = set()
        self._shared: set[str] = set()

    def same_record(self, item: Mapping[str, Any]) -> Outcome | None:
        """Return the outcome of an item whose record id came before: the same row again, or another one."""
        record_id, values = record_id_of(item), encode(item)
        is_first, is_same = self._ids.add(record_id), not self._rows.add_hash(hash(values))
        if self._comparison:
            unchanged = self._comparison.came_unchanged(record_id)
            if unchanged is not None:
                is_first, is_same = False, self._comparison.hash_values(values) == unchanged
            self._comparison.take(record_id)
        if is_first:
            return None
        if is_same and not (self._differing and digest(record_id) in self._differing):
            return Outcome(item["email"], OutcomeStatus.DUPLICATE, "appears earlier in the input")
        self._add(self._differing, record_id)
        return Outcome(item["email"], OutcomeStatus.INVALID, DIFFERING)

    def clash(self, item: Mapping[str, Any]) -> Outcome | None:
        """Return the outcome of an item whose address came before with another record id."""
        if not item.get("external_id") or self._addresses.add(key_of(item["email"])):
            return None
        self._add(self._shared, key_of(item["email"]))
        return Outcome(item["email"], OutcomeStatus.INVALID, SHARED_ADDRESS)

    def contradicted(self, items: Callable[[], Iterator[Mapping[str, Any]]]) -> dict[str, list[str]]:
        """Return digests of the record ids and of the addresses that are not sent; empty if there are none.

        Call it after the last row.

        :param items: reads the items of the plan.
        """
        shared = self._comparison.shared_addresses(self._addresses) if self._comparison else ()
        if shared:
            for item in items():
                if hash(key_of(item["email"])) in shared and item.get("external_id"):
                    self._add(self._shared, key_of(item["email"]))
        found = {"ids": sorted(self._differing), "addresses": sorted(self._shared)}
        return {name: digests for name, digests in found.items() if digests}

    def _add(self, among: set[str], text: str) -> None:
        among.add(digest(text))
        if len(among) > _MOST:
            raise MeisaInputError(
                f"More than {_MOST:,} record ids have rows that differ, or share an address with another one. Nothing "
                "was sent. See that the column of external_id is the right one, and that the query gives one row for "
                "each."
            )


class Contradicted:
    """Gives the items of a plan that a later row has contradicted the outcome ``invalid``."""

    def __init__(self, found: Mapping[str, Collection[str]]) -> None:
        self._ids = frozenset(found.get("ids", ()))
        self._addresses = frozenset(found.get("addresses", ()))

    def __call__(self, item: Mapping[str, Any]) -> Outcome | None:
        """Return the outcome of an item that is not sent."""
        if self._ids and digest(record_id_of(item)) in self._ids:
            return Outcome(item["email"], OutcomeStatus.INVALID, DIFFERING)
        if self._addresses and digest(key_of(item["email"])) in self._addresses:
            return Outcome(item["email"], OutcomeStatus.INVALID, SHARED_ADDRESS)
        return None


def digest(text: str) -> str:
    """Return a short hash of a record id or an address, for the plan, which has them in clear anyway."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
