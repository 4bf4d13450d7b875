"""Keep Meisa's contacts in step with a table: each hour, only the rows that are new or have changed.

The table may be one that dbt builds again each time: no column has to say when a row has changed. ``first_run`` is
``record`` for users that Meisa has already; the first run then sends nothing. Without it, the first run fails and asks.

When you unpause this DAG, its first run starts at once, and each later run sends what has changed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import dag

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaContactsOperator


@dag(
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["meisa", "example"],
    doc_md=__doc__,
)
def sync_contacts() -> None:
    """Sync the table ``users`` of the connection ``warehouse``."""
    # [START sync]
    SqlToMeisaContactsOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT user_id, email, first_name, plan, mrr FROM users",
        fields={"email": "email", "external_id": "user_id", "first_name": "first_name"},
        custom_fields=["plan", "mrr"],
        ledger="users",
        first_run="record",
    )
    # [END sync]


sync_contacts()
