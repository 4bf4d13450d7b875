"""Rehearse with a test key, and then enroll with the live key: the same DAG for two connections.

``meisa_test`` has the test key and the extra ``environment`` ``test``; ``meisa_live`` has the live key and ``live``.
Each environment has its own DAG and its own ledger, so that a rehearsal does not count as an enrollment.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator

# [START environments]
for environment in ("test", "live"):
    with DAG(
        f"trial_users_{environment}",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        tags=["meisa", "example"],
        doc_md=__doc__,
    ) as dag:
        SqlToMeisaSequenceOperator(
            task_id="enroll",
            conn_id="warehouse",
            sql="SELECT email FROM users WHERE plan = 'trial' ORDER BY user_id",
            sequence_slug="onboarding",
            meisa_conn_id=f"meisa_{environment}",
            ledger=f"trial_users_{environment}",
            again_after="never",
        )
    globals()[dag.dag_id] = dag
# [END environments]
