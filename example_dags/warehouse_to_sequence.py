"""Enroll the contacts of a warehouse: wait for the sequence, run a query, enroll its rows, and report the counts.

Run it once for each query. A second run mails contacts again who have finished the sequence: Meisa refuses a contact
only while active or paused in it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor

# [START sequence]
SEQUENCE = "reactivation"
# [END sequence]


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    params={
        "outcomes_path": Param(
            None, type=["null", "string"], description="File for the status of each address"
        )
    },
    doc_md=__doc__,
)
def warehouse_to_sequence() -> None:
    """Read lapsed contacts from the connection ``warehouse`` and enroll them into ``reactivation``."""
    # [START sensor]
    sequence_is_active = MeisaSequenceSensor(
        task_id="sequence_is_active",
        sequence_slug=SEQUENCE,
        mode="reschedule",
        poke_interval=300,
        timeout=6 * 3600,
    )
    # [END sensor]

    # [START bulk_enroll]
    contacts = SQLExecuteQueryOperator(
        task_id="contacts",
        conn_id="warehouse",
        sql="SELECT email FROM contacts WHERE last_seen_days > 90 ORDER BY id",
    )

    enroll = MeisaBulkEnrollOperator(
        task_id="enroll",
        sequence_slug=SEQUENCE,
        emails=contacts.output,
        max_invalid=0.05,
        outcomes_path="{{ params.outcomes_path or '' }}",
    )
    # [END bulk_enroll]

    # [START summary]
    @task
    def report(summary: dict[str, Any]) -> str:
        """Return the counts as one line."""
        counts = summary["counts"]
        return (
            f"{counts['enrolled']:,} of {summary['total']:,} enrolled with {summary['requests']} requests; "
            f"{counts['suppressed']:,} suppressed, {counts['already_enrolled']:,} in the sequence already"
        )

    # [END summary]

    sequence_is_active >> contacts
    report(enroll.output)


warehouse_to_sequence()
