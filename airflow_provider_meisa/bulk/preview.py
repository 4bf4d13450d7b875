"""What would happen: counted and asked, but nothing sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.endpoints import account, sequences
from airflow_provider_meisa.api.errors import MeisaScopeError
from airflow_provider_meisa.api.outcomes import Tally, Verdict
from airflow_provider_meisa.bulk.batching import batches, without
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.preflight import suppressed

if TYPE_CHECKING:
    from collections.abc import Container

    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.batching import Batch


def preview(
    client: MeisaClient,
    sequence_slug: str,
    source: Iterable[object],
    *,
    meisa_conn_id: str = "",
    override_unsubscribe: bool = False,
    start: Checkpoint | None = None,
) -> dict[str, Any]:
    """Say what an enrollment would send, and how long it would take.

    Asks ``/ping/``, the list of sequences and, where the key has ``contacts:read``, who unsubscribed.

    :param meisa_conn_id: only stands in the report.
    :param override_unsubscribe: whether the suppressed would be sent, too; the report then says how many they are.
    :param start: where an earlier try has come to: only what it has left is counted.
    :return: ``{"preview": True, "sequence_slug", "meisa_conn_id", "environment", "total", "counts": {"duplicate",
        "invalid", "suppressed" (None if the key may not ask)}, "to_send", "requests", "seconds" (for the requests)}``;
        with ``override_unsubscribe`` also ``"to_send_suppressed"`` (None if the key may not ask).
    :raises MeisaSequenceNotFoundError: if no sequence has this slug.
    :raises MeisaSequenceInactiveError: if it takes no contacts.
    :raises MeisaError: see `airflow_provider_meisa.api.errors`.
    """
    key = account.ping(client)
    sequences.check_active(client, sequence_slug)
    known = _suppressed(client)
    count = _Count(known or (), override_unsubscribe)
    for batch in batches(source):
        if _is_left(batch, start or Checkpoint()):
            count.add(batch)
    found = None if known is None else count.suppressed
    counts = {verdict.value: count.aside.counts[verdict] for verdict in (Verdict.DUPLICATE, Verdict.INVALID)}
    return {
        "preview": True,
        "sequence_slug": sequence_slug,
        "meisa_conn_id": meisa_conn_id,
        "environment": key.environment,
        "total": count.aside.total + count.to_send,
        "counts": {**counts, "suppressed": 0 if override_unsubscribe else found},
        "to_send": count.to_send,
        **({"to_send_suppressed": found} if override_unsubscribe else {}),
        "requests": count.requests,
        "seconds": round(client.quota.estimate(count.requests), 1) if count.requests else 0.0,
    }


@dataclass
class _Count:
    """Counts batches as they would be sent.

    :param known: keys of the suppressed, where they are known.
    :param override_unsubscribe: whether they would be sent, too.
    """

    known: Container[str]
    override_unsubscribe: bool
    aside: Tally = field(default_factory=Tally)
    to_send: int = 0
    suppressed: int = 0
    requests: int = 0

    def add(self, batch: Batch) -> None:
        """Count one more batch."""
        less = without(batch, self.known)
        self.suppressed += len(batch.addresses) - len(less.addresses)
        sent = batch if self.override_unsubscribe else less
        self.aside.add(sent.set_aside)
        self.to_send += len(sent.addresses)
        self.requests += bool(sent.addresses)


def _is_left(batch: Batch, start: Checkpoint) -> bool:
    return batch.number >= start.next_batch or batch.number in (*start.unsent, *start.in_flight)


def _suppressed(client: MeisaClient) -> frozenset[str] | None:
    try:
        return suppressed(client)
    except MeisaScopeError:
        return None
