"""Wait for a sequence that becomes active, and for a rate limit."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import dag

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False)
def waits() -> None:
    """Wait for ``slow-start``, then enroll more contacts than the limits of ``meisa_slow`` allow at once."""
    wait = MeisaSequenceSensor(
        task_id="wait",
        meisa_conn_id="meisa_slow",
        sequence_slug="slow-start",
        poke_interval=12,
        timeout=300,
    )
    enroll = MeisaBulkEnrollOperator(
        task_id="enroll",
        meisa_conn_id="meisa_slow",
        sequence_slug="slow-start",
        emails=[f"waiting{number}@example.com" for number in range(1600)],
        defer_after=10,
    )
    wait >> enroll


waits()
