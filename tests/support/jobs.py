"""The job that most tests do, and the batches that it makes of addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_provider_meisa.bulk.batching import Batch, batches
from airflow_provider_meisa.jobs.enroll import EnrollJob

ENROLL = EnrollJob("onboarding")


def enroll_batches(source: Iterable[object], size: int = 500) -> Iterator[Batch]:
    """Cut addresses into batches, as an enrollment does."""
    return batches(ENROLL, source, size)
