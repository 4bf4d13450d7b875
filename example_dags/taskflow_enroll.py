"""A function says who, and its task enrolls them: for what is easier said in Python than in SQL.

Run it once for each audience: a second run mails contacts again who have finished the sequence in the meantime, since
Meisa refuses a contact only while active or paused in it.
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
    params={"folder": Param("/var/orders", type="string", description="A folder with a JSON file an order")},
    doc_md=__doc__,
)
def taskflow_enroll() -> None:
    """Enroll into ``onboarding`` who has bought for the first time."""

    # [START decorator]
    @task.meisa_enroll(sequence_slug="onboarding", max_invalid=0.05, retries=3)
    def first_buyers(folder: str) -> Iterator[str]:
        """Yield the addresses; what this yields is enrolled, and never seen by XCom or the log."""
        for file in sorted(Path(folder).glob("*.json")):
            order = json.loads(file.read_text())
            if order["is_first"]:
                yield order["email"]

    # [END decorator]

    # [START summary]
    @task
    def report(summary: dict[str, Any]) -> str:
        """Say in one line what became of them; the task's output is the summary, not what the function gave."""
        return f"{summary['counts']['enrolled']:,} of {summary['total']:,} first buyers enrolled"

    report(first_buyers("{{ params.folder }}"))
    # [END summary]


taskflow_enroll()
