"""Fill several sequences, with one mapped task per sequence.

Run it once for each list of contacts. A second run mails contacts again who have finished the sequence: Meisa refuses a
contact only while active or paused in it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    doc_md=__doc__,
)
def mapped_sequences() -> None:
    """Enroll each segment into its sequence."""

    # [START mapped]
    @task
    def segments() -> list[dict[str, Any]]:
        """Return the arguments of each mapped task."""
        return [
            {"sequence_slug": "onboarding", "emails": ["ada@example.com", "grace@example.com"]},
            {"sequence_slug": "reactivation", "emails": ["edsger@example.com"]},
        ]

    enroll = MeisaBulkEnrollOperator.partial(task_id="enroll", max_failed=0.01).expand_kwargs(segments())
    # [END mapped]

    @task
    def total(summaries: list[dict[str, Any]]) -> int:
        """Add up the enrolled contacts."""
        return sum(summary["counts"]["enrolled"] for summary in summaries)

    total(enroll.output)  # the outputs of all mapped tasks, as a list


mapped_sequences()
