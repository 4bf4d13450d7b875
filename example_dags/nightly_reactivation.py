"""Every night: plan the enrollment, let a person approve it, enroll the contacts, and count the rejects.

The approved plan is sent, even if the table has changed since; only contacts who have unsubscribed are left out.

Each night selects all contacts without a visit for 90 days. The ledger leaves out those that an earlier night has
enrolled: Meisa would enroll a contact again who has finished the sequence. The first night enrolls all lapsed
contacts; set ``first_run="record"`` if they were mailed before.

When you unpause this DAG, its first run starts at once. With ``catchup=False`` it does not run for earlier days.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from airflow.providers.common.compat.sdk import (
    AirflowOptionalProviderFeatureException,
    BaseHook,
    BaseOperator,
    ObjectStoragePath,
    Param,
    dag,
    task,
)

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator

REJECTS = "{{ params.folder }}/{{ run_id }}.jsonl"
# [START audience]
TODAY = "data_interval_end | default(dag_run.run_after, true) | ds"
AUDIENCE: dict[str, Any] = {
    "sequence_slug": "reactivation",
    "conn_id": "warehouse",
    "sql": "SELECT email FROM contacts WHERE last_seen_on < :lapsed ORDER BY id",
    "parameters": {"lapsed": f"{{{{ macros.ds_add({TODAY}, -90) }}}}"},
    "ledger": "reactivation",
    "again_after": timedelta(days=365),
}
# [END audience]


def approval(task_id: str, subject: str) -> BaseOperator:
    """Return a task that waits for a person; before Airflow 3.1, one that does nothing."""
    try:
        from airflow.providers.standard.operators.hitl import ApprovalOperator
    except (ImportError, AirflowOptionalProviderFeatureException):  # no such module, or not for this Airflow
        from airflow.providers.standard.operators.empty import EmptyOperator

        return EmptyOperator(task_id=task_id)
    return ApprovalOperator(task_id=task_id, subject=subject, response_timeout=timedelta(hours=12))


# [START alert]
def alert(context: Any) -> None:
    """Post to Slack what has failed; the password of the connection ``slack`` is the URL of an incoming webhook."""
    ti = context["ti"]
    summary = ti.xcom_pull(task_ids=ti.task_id) or {}
    counts = {status: count for status, count in summary.get("counts", {}).items() if count}
    text = f"{ti.dag_id}.{ti.task_id} failed: {counts or 'no summary, see the log'}"
    requests.post(
        BaseHook.get_connection("slack").password, json={"text": text}, timeout=10
    ).raise_for_status()


# [END alert]


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"on_failure_callback": alert},
    tags=["meisa", "example"],
    params={"folder": Param("rejects", type="string", description="Folder for the files of rejects")},
    doc_md=__doc__,
)
def nightly_reactivation() -> None:
    """Enroll the lapsed contacts of the connection ``warehouse`` into ``reactivation``."""
    # [START preview]
    preview = SqlToMeisaSequenceOperator(task_id="preview", preview=True, **AUDIENCE)
    # [END preview]

    # [START approval]
    approve = approval(
        "approve",
        "Mail {{ ti.xcom_pull('preview')['to_send'] }} contacts? "
        "{{ ti.xcom_pull('preview')['counts']['enrolled_before'] }} were enrolled before.",
    )
    # [END approval]

    # [START sql]
    enroll = SqlToMeisaSequenceOperator(
        task_id="enroll",
        **AUDIENCE,
        plan="{{ ti.xcom_pull('preview')['plan'] }}",
        skip_suppressed=True,
        max_contacts=1_000_000,
        min_contacts=1,
        max_share_of_last=2.0,
        max_failed=0.01,
        outcomes_path=REJECTS,
        rejects_only=True,
        deferrable=True,
        retries=3,
    )
    # [END sql]

    # [START rejects]
    @task
    def rejects(path: str) -> dict[str, int]:
        """Count the rejects by reason; the file has their addresses."""
        file = ObjectStoragePath(path)
        if not file.exists():  # not approved, or an earlier task failed
            return {}
        found = map(json.loads, file.read_text().splitlines())
        return dict(Counter(f"{reject['status']}: {reject['reason']}" for reject in found))

    preview >> approve >> enroll >> rejects(REJECTS).as_teardown()
    # [END rejects]


nightly_reactivation()
