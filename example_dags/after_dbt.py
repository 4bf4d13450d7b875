"""Enroll the contacts of a dbt model each time that the model was built.

The DAG has an asset as its schedule, so a run has no data interval: the query reads the whole model, and the ledger
leaves out contacts that an earlier run has enrolled.

When you unpause this DAG, the next build of the model enrolls all of its contacts. Set ``first_run="record"`` for the
first run if they were mailed before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import Asset, dag

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator

# [START model]
MODEL = Asset("postgres://warehouse.example.com:5432/analytics/marts/lapsed_contacts")
# [END model]


@dag(
    schedule=[MODEL],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["meisa", "example"],
    doc_md=__doc__,
)
def after_dbt() -> None:
    """Enroll the contacts of the model ``lapsed_contacts`` into ``reactivation``."""
    # [START enroll]
    SqlToMeisaSequenceOperator(
        task_id="enroll",
        conn_id="warehouse",
        sql="SELECT contact_id, email FROM lapsed_contacts ORDER BY contact_id",
        record_id="contact_id",
        sequence_slug="reactivation",
        ledger="lapsed_contacts",
        again_after=timedelta(days=365),
        skip_suppressed=True,
        max_contacts=50_000,
        on_empty="skip",
        deferrable=True,
        retries=3,
    )
    # [END enroll]


after_dbt()
