"""Sync the contacts first, and then enroll those who qualify: their mails find the names and fields in Meisa.

When you unpause this DAG, its first run starts at once: it sends all contacts of the table, and enrolls all
trial users.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import dag

from airflow_provider_meisa.transfers.sql_to_meisa import (
    SqlToMeisaContactsOperator,
    SqlToMeisaSequenceOperator,
)


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["meisa", "example"],
    doc_md=__doc__,
)
def sync_then_enroll() -> None:
    """Read the table ``users`` of the connection ``warehouse`` twice."""
    # [START sync_then_enroll]
    sync = SqlToMeisaContactsOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT user_id, email, first_name, plan FROM users",
        fields={"email": "email", "external_id": "user_id", "first_name": "first_name"},
        custom_fields=["plan"],
        ledger="trial_users",
        first_run="send",
    )

    enroll = SqlToMeisaSequenceOperator(
        task_id="enroll",
        conn_id="warehouse",
        sql="SELECT email FROM users WHERE plan = 'trial' ORDER BY user_id",
        sequence_slug="onboarding",
        ledger="onboarding",
        again_after="never",
    )

    sync >> enroll
    # [END sync_then_enroll]


sync_then_enroll()
