"""What would happen: counted and asked, but nothing sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_meisa.api import account, sequences
from airflow_provider_meisa.api.audience import batches, without
from airflow_provider_meisa.api.errors import MeisaScopeError
from airflow_provider_meisa.api.outcomes import Tally, Verdict
from airflow_provider_meisa.operators.preflight import suppressed

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient


def preview(
    client: MeisaClient, sequence_slug: str, source: Iterable[object], *, meisa_conn_id: str = ""
) -> dict[str, object]:
    """Say what an enrollment would send, and how long it would take.

    Asks ``/ping/``, the list of sequences and, where the key has ``contacts:read``, who unsubscribed.

    :param meisa_conn_id: only stands in the report.
    :return: ``{"preview": True, "sequence_slug", "meisa_conn_id", "environment", "total", "counts": {"duplicate",
        "invalid", "suppressed" (None if the key may not ask)}, "to_send", "requests", "seconds" (for the requests)}``.
    :raises MeisaSequenceNotFoundError: if no sequence has this slug.
    :raises MeisaSequenceInactiveError: if it takes no contacts.
    :raises MeisaError: see `airflow_provider_meisa.api.errors`.
    """
    key = account.ping(client)
    sequences.check_active(client, sequence_slug)
    known = _suppressed(client)
    tally, to_send, requests = Tally(), 0, 0
    for batch in batches(source):
        sent = without(batch, known or ())
        tally.add(sent.set_aside)
        to_send += len(sent.addresses)
        requests += bool(sent.addresses)
    counts = {verdict.value: tally.counts[verdict] for verdict in (Verdict.DUPLICATE, Verdict.INVALID)}
    return {
        "preview": True,
        "sequence_slug": sequence_slug,
        "meisa_conn_id": meisa_conn_id,
        "environment": key.environment,
        "total": tally.total + to_send,
        "counts": {**counts, "suppressed": None if known is None else tally.counts[Verdict.SUPPRESSED]},
        "to_send": to_send,
        "requests": requests,
        "seconds": round(client.quota.estimate(requests), 1) if requests else 0.0,
    }


def _suppressed(client: MeisaClient) -> frozenset[str] | None:
    try:
        return suppressed(client)
    except MeisaScopeError:
        return None
