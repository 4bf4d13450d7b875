"""Which rows the ledger has as they are, found for many rows at once."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import compress
from typing import TYPE_CHECKING

from airflow_provider_meisa.bulk.ledger.snapshot import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_meisa.bulk.ledger.entry import Entry
    from airflow_provider_meisa.bulk.ledger.snapshot import Snapshot
    from airflow_provider_meisa.bulk.record_ids import RecordIds

_UNCHANGED, _OTHER = 1, 2


class Comparison:
    """Finds the first row of each contact that Meisa has as it is, and remembers which contacts came.

    Memory grows by one byte for each entry of the ledger, and by eight for each unchanged row.

    :param ledger: the entries before this run.
    :param is_due: whether an unchanged contact is sent again; ``None`` for never.
    """

    def __init__(self, ledger: Snapshot, is_due: Callable[[Entry], bool] | None = None) -> None:
        self._ledger = ledger
        self._is_due = is_due
        self._seen = bytearray(len(ledger))
        self._addresses = array("q")

    def unchanged(
        self, record_ids: Sequence[str], values: Iterable[bytes], addresses: Sequence[str]
    ) -> list[bool]:
        """Return for each row whether it is left out, because Meisa has it, and it is the first of its contact.

        :param values: what would be sent of each.
        :param addresses: the address of each.
        """
        seen = self._seen
        found = self._ledger.find_same(record_ids, values)
        if self._is_due:
            found = [NONE if self._is_due_at(place) else place for place in found]
        is_unchanged = []
        for place in found:
            if place >= 0 and not seen[place]:
                seen[place] = _UNCHANGED
                is_unchanged.append(True)
            else:
                is_unchanged.append(False)
        self._addresses.extend(map(hash, map(str.lower, compress(addresses, is_unchanged))))
        return is_unchanged

    def _is_due_at(self, place: int) -> bool:
        return place >= 0 and self._is_due is not None and self._is_due(self._ledger.entry_at(place))

    def came_unchanged(self, record_id: str) -> int | None:
        """Return the hash of the values of a contact whose first row was left out; ``None`` for others."""
        place = self._ledger.find(record_id)
        if place == NONE or self._seen[place] != _UNCHANGED:
            return None
        return self._ledger.entry_at(place).values_hash

    def hash_values(self, values: bytes) -> int:
        """Return the hash of what would be sent, as the ledger has it."""
        return self._ledger.hash_values(values)

    def take(self, record_id: str) -> None:
        """Remember that a contact came, so that a later row of it is not taken as its first."""
        place = self._ledger.find(record_id)
        if place != NONE:
            self._seen[place] = self._seen[place] or _OTHER

    def shared_addresses(self, sent: RecordIds) -> set[int]:
        """Return the hashes of those addresses of unchanged contacts that others are sent with.

        :param sent: the addresses, in lower case, of contacts that are sent.
        """
        return sent.common_hashes(self._addresses)
