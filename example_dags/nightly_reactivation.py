"""Every night: plan the enrollment, let a person approve it, enroll the contacts, and count the rejects.

The approved plan is sent, even if the table has changed since; only contacts who have unsubscribed are left out.

Each night selects the contacts whose 90th day without a visit fell into its data interval, and no others. Do not
select all lapsed contacts: Meisa refuses a contact only while active or paused in the sequence, so a contact who
has finished it is mailed again. A manual run selects the last full day again. A run without a logical date has no
data interval, and selects no one.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowOptionalProviderFeatureException,
    BaseOperator,
    ObjectStoragePath,
    Param,
    dag,
    task,
)
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator

REJECTS = "{{ params.folder }}/{{ run_id }}.jsonl"
# [START audience]
START = "data_interval_start | default(dag_run.run_after, true) | ds"
END = "data_interval_end | default(dag_run.run_after, true) | ds"
AUDIENCE: dict[str, Any] = {
    "sequence_slug": "reactivation",
    "conn_id": "warehouse",
    "sql": "SELECT email FROM contacts WHERE last_seen_on >= :first AND last_seen_on < :behind_last ORDER BY id",
    "parameters": {
        "first": f"{{{{ macros.ds_add({START}, -90) }}}}",
        "behind_last": f"{{{{ macros.ds_add({END}, -90) }}}}",
    },
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


@dag(
    # Not "@daily": on Airflow 3 its intervals have no length, and select no one.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["meisa", "example"],
    params={"folder": Param("rejects", type="string", description="Folder for the files of rejects")},
    doc_md=__doc__,
)
def nightly_reactivation() -> None:
    """Enroll the newly lapsed contacts of the connection ``warehouse`` into ``reactivation``."""
    # [START preview]
    preview = SqlToMeisaSequenceOperator(task_id="preview", preview=True, **AUDIENCE)
    # [END preview]

    # [START approval]
    approve = approval(
        "approve",
        "Mail {{ ti.xcom_pull('preview')['to_send'] }} contacts in {{ ti.xcom_pull('preview')['requests'] }} requests? "
        f"Their 90th day without a visit was from {{{{ {START} }}}} until before {{{{ {END} }}}}.",
    )
    # [END approval]

    # [START sql]
    enroll = SqlToMeisaSequenceOperator(
        task_id="enroll",
        **AUDIENCE,
        plan="{{ ti.xcom_pull('preview')['plan'] }}",
        skip_suppressed=True,
        max_contacts=1_000_000,
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
