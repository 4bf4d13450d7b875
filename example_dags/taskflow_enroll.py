"""Enroll the contacts that a function yields, for selections that are easier in Python than in SQL.

Run it once for each folder. A second run mails contacts again who have finished the sequence: Meisa refuses a contact
only while active or paused in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    params={
        "folder": Param("/var/orders", type="string", description="A folder with one JSON file per order")
    },
    doc_md=__doc__,
)
def taskflow_enroll() -> None:
    """Enroll first-time buyers into ``onboarding``."""

    # [START decorator]
    @task.meisa_enroll(sequence_slug="onboarding", max_invalid=0.05, retries=3)
    def first_buyers(folder: str) -> Iterator[str]:
        """Yield the addresses to enroll; they go neither to XCom nor to the log."""
        for file in sorted(Path(folder).glob("*.json")):
            order = json.loads(file.read_text())
            if order["is_first"]:
                yield order["email"]

    # [END decorator]

    # [START summary]
    @task
    def report(summary: dict[str, Any]) -> str:
        """Return the counts as one line; the task's output is the summary."""
        return f"{summary['counts']['enrolled']:,} of {summary['total']:,} first buyers enrolled"

    report(first_buyers("{{ params.folder }}"))
    # [END summary]


taskflow_enroll()
