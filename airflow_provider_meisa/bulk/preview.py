"""The preview of a run, which sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.endpoints import account
from airflow_provider_meisa.api.outcomes import OutcomeCounter, OutcomeStatus
from airflow_provider_meisa.bulk.checkpoint import Checkpoint

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.job import Exclusion, Job

_BY_LEDGER = (OutcomeStatus.ENROLLED_BEFORE, OutcomeStatus.UNCHANGED, OutcomeStatus.REFUSED_BEFORE)


def preview(
    client: MeisaClient,
    job: Job,
    batches: Iterable[Batch],
    *,
    meisa_conn_id: str = "",
    start: Checkpoint | None = None,
    ledger: Mapping[str, object] | None = None,
    found: Mapping[str, object] | None = None,
    is_checked: bool = False,
) -> dict[str, Any]:
    """Return what a run would send, and how long it would take.

    Calls ``/ping/``, runs the checks of the job, and finds the items to leave out, if the key has the scope.

    :param meisa_conn_id: the connection, for the report.
    :param start: the progress of an earlier attempt: only the rest is counted.
    :param ledger: the ledger in the summary of the run, if it has one.
    :param found: what the job knows of the plan beyond its counts.
    :param is_checked: whether the checks of the job have run already.
    :return: ``{"preview": True, "job", the job's identity, "meisa_conn_id", "environment", "total", "counts":
        {"duplicate", "invalid", "suppressed" (None if the key lacks the scope)}, "to_send", "requests", "seconds"
        (for the requests), "ends_at" (UTC, if they are sent now)}``; if suppressed addresses are sent, also
        ``"to_send_suppressed"`` (or None); with a ledger, also the counts of what it leaves out, such as
        ``"enrolled_before"``, and ``"ledger"``.
    :raises MeisaError: see `airflow_provider_meisa.api.errors`, and the errors of the job's check.
    """
    key = account.known_key(client)
    if not is_checked:
        job.check(client, for_preview=True)
    exclusion = job.exclusion(client, for_preview=True)
    count = _Count(exclusion, sends_excluded=job.sends_excluded)
    for batch in batches:
        if (
            batch.number >= (start or Checkpoint()).next_batch
            or batch.number in (start or Checkpoint()).pending
        ):
            count.add(batch)
    excluded = None if exclusion is None else count.excluded
    by_ledger = [status for status in job.statuses if status in _BY_LEDGER] if ledger else []
    counts = {
        status.value: count.unsent.counts[status]
        for status in (OutcomeStatus.DUPLICATE, OutcomeStatus.INVALID, *by_ledger)
    }
    seconds = round(client.rate_limiter.estimate(count.requests), 1) if count.requests else 0.0
    suppressed = None if excluded is None else count.unsent.counts[OutcomeStatus.SUPPRESSED]
    return {
        "preview": True,
        "job": job.name,
        **job.identity,
        "meisa_conn_id": meisa_conn_id,
        "environment": key.environment,
        "total": count.unsent.total + count.to_send,
        "counts": {**counts, "suppressed": suppressed},
        "to_send": count.to_send,
        **(found or {}),
        **({"to_send_suppressed": excluded} if job.sends_excluded else {}),
        "requests": count.requests,
        "seconds": seconds,
        "ends_at": f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}",
        **({"ledger": dict(ledger)} if ledger else {}),
    }


@dataclass
class _Count:
    """Counts batches as they would be sent.

    :param exclusion: finds the items to leave out; ``None`` if not known.
    :param sends_excluded: whether they would be sent nevertheless.
    """

    exclusion: Exclusion | None
    sends_excluded: bool
    unsent: OutcomeCounter = field(default_factory=OutcomeCounter)
    to_send: int = 0
    excluded: int = 0
    requests: int = 0

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        less = batch.without(self.exclusion) if self.exclusion else batch
        self.excluded += len(batch.items) - len(less.items)
        sent = batch if self.sends_excluded else less
        self.unsent.add(sent.unsent, sent.counted)
        self.to_send += len(sent.items)
        self.requests += bool(sent.items)
