"""Every day: enroll the sign-ups of the day before, so that a backfill can run any day again.

Each run selects the sign-ups of its data interval, and the ledger leaves out contacts that another run has enrolled.

When you unpause this DAG, it runs at once for the last day, and enrolls its sign-ups. With ``catchup=False`` it does
not run for the days before.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    doc_md=__doc__,
)
def backfill() -> None:
    """Enroll the sign-ups of one day of the connection ``warehouse`` into ``onboarding``."""
    # [START backfill]
    SqlToMeisaSequenceOperator(
        task_id="enroll",
        conn_id="warehouse",
        sql="SELECT email FROM users WHERE signed_up_on >= :first AND signed_up_on < :next ORDER BY id",
        parameters={"first": "{{ data_interval_start | ds }}", "next": "{{ data_interval_end | ds }}"},
        sequence_slug="onboarding",
        ledger="onboarding",
        again_after="never",
        skip_suppressed=True,
        max_contacts=10_000,
        deferrable=True,
        retries=3,
    )
    # [END backfill]


backfill()
