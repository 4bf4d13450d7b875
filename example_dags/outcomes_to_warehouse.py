"""Every night: copy who may not be mailed into the warehouse, enroll the others, and load the outcome of each contact.

The query leaves out unsubscribed contacts, so that the warehouse and Meisa agree. The ledger leaves out those that an
earlier night has enrolled. A cleared or repeated task writes no row twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_meisa.transfers.meisa_to_sql import (
    MeisaOutcomesToSqlOperator,
    MeisaUnsubscribedToSqlOperator,
)
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator

OUTCOMES = "{{ params.folder }}/{{ run_id }}.jsonl"


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["meisa", "example"],
    params={
        "folder": Param("/var/meisa/outcomes", type="string", description="Folder for the outcomes files")
    },
    doc_md=__doc__,
)
def outcomes_to_warehouse() -> None:
    """Enroll the lapsed contacts of the connection ``warehouse``, and write back what Meisa reports."""
    # [START unsubscribed]
    unsubscribed = MeisaUnsubscribedToSqlOperator(
        task_id="unsubscribed",
        conn_id="warehouse",
        table="meisa_unsubscribed",
        create_table=True,
    )
    # [END unsubscribed]

    # [START enroll]
    enroll = SqlToMeisaSequenceOperator(
        task_id="enroll",
        conn_id="warehouse",
        sql="""
            SELECT c.id AS contact_id, c.email FROM contacts c
            WHERE c.last_seen_days > 90 AND NOT EXISTS (
                SELECT 1 FROM meisa_unsubscribed u WHERE lower(u.email) = lower(c.email)
            )
            ORDER BY c.id
        """,
        sequence_slug="reactivation",
        ledger="reactivation",
        again_after=timedelta(days=365),
        outcomes_path=OUTCOMES,
        keep=["contact_id"],
    )
    # [END enroll]

    # [START outcomes]
    outcomes = MeisaOutcomesToSqlOperator(
        task_id="outcomes",
        conn_id="warehouse",
        table="meisa_outcomes",
        outcomes_path=OUTCOMES,
        create_table=True,
        trigger_rule="one_done",
    )
    # [END outcomes]

    # [START order]
    @task
    def report(loaded: dict[str, Any]) -> str:
        """Return what was loaded; it does not run after a failed enrollment, and so the run fails."""
        return f"{loaded['rows']:,} outcomes loaded into {loaded['table']}"

    unsubscribed >> enroll >> outcomes
    enroll >> report(outcomes.output)
    # [END order]


outcomes_to_warehouse()
