"""Send the counts of an enrollment to Slack when it succeeds, and to Slack and by e-mail when it fails.

The callbacks take the summary from XCom. It is there after a failure, too, and holds no address in clear.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any

import requests
from airflow.providers.common.compat.sdk import BaseHook, Param, dag

from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator


# [START line]
def summary_line(context: Any) -> str:
    """Return the summary of the task as one line."""
    ti = context["ti"]
    name = f"{ti.dag_id}.{ti.task_id} {ti.run_id}"
    summary = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
    if not summary:
        return f"{name}: no summary, see the log"
    counts = ", ".join(f"{count:,} {status}" for status, count in summary["counts"].items() if count)
    stopped = f" (stopped: {summary['stopped_by']})" if summary["stopped_by"] else ""
    return f"{name}: {summary['total']:,} in {summary['sequence_slug']}: {counts}{stopped}"


# [END line]


# [START slack]
def to_slack(context: Any) -> None:
    """Post the line; the password of the connection ``slack`` is the URL of an incoming webhook."""
    url = BaseHook.get_connection("slack").password or ""
    requests.post(url, json={"text": summary_line(context)}, timeout=10).raise_for_status()


# [END slack]


# [START mail]
def by_email(context: Any) -> None:
    """Send the line over the connection ``smtp_default``, whose extra ``from_email`` is the sender."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook() as smtp:
        smtp.send_email_smtp(
            to="data-oncall@example.com",
            subject="Enrollment failed",
            html_content=escape(summary_line(context)),
        )


# [END mail]


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    params={"path": Param("/var/drop/signups.csv", type="string", description="A file of addresses")},
    doc_md=__doc__,
)
def alerts() -> None:
    """Enroll the contacts of the run's file into ``onboarding``."""
    # [START callbacks]
    FileToMeisaSequenceOperator(
        task_id="enroll",
        path="{{ params.path }}",
        sequence_slug="onboarding",
        max_invalid=0.05,
        on_success_callback=to_slack,
        on_failure_callback=[to_slack, by_email],
    )
    # [END callbacks]


alerts()
