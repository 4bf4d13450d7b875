"""Enroll the contacts of a file, and report the counts.

Run it once for each file. A second run mails contacts again who have finished the sequence: Meisa refuses a contact
only while active or paused in it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    params={
        "path": Param("/var/drop/contacts.csv.gz", type="string", description="A local path, s3://…, gs://…"),
    },
    doc_md=__doc__,
)
def file_drop() -> None:
    """Enroll the contacts of the run's file into ``onboarding``."""
    # [START file]
    enroll = FileToMeisaSequenceOperator(
        task_id="enroll",
        path="{{ params.path }}",
        email_column="email",
        sequence_slug="onboarding",
        on_empty="skip",
        max_invalid=0.05,
    )
    # [END file]

    # [START summary]
    @task
    def report(summary: dict[str, Any]) -> str:
        """Return the counts as one line."""
        counts = summary["counts"]
        return (
            f"{counts['enrolled']:,} of {summary['total']:,} enrolled, {counts['invalid']:,} not an address"
        )

    # [END summary]

    report(enroll.output)


file_drop()
