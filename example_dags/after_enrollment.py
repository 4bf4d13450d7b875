"""Schedule a DAG on a sequence: one DAG enrolls contacts, and another one runs afterwards and reads the counts.

Run it once for each file. A second run mails contacts again who have finished the sequence: Meisa refuses a contact
only while active or paused in it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_meisa.assets import meisa_sequence
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator

# [START asset]
ONBOARDING = meisa_sequence("onboarding")
# [END asset]


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    params={"path": Param("/var/drop/signups.csv", type="string", description="A file of addresses")},
    doc_md=__doc__,
)
def enroll_signups() -> None:
    """Enroll the contacts of the run's file into ``onboarding``."""
    # [START outlet]
    FileToMeisaSequenceOperator(
        task_id="enroll",
        path="{{ params.path }}",
        sequence_slug="onboarding",
        outlets=[ONBOARDING],
    )
    # [END outlet]


# [START waits]
@dag(
    schedule=[ONBOARDING],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    doc_md=__doc__,
)
def after_enrollment() -> None:
    """Report how many contacts were enrolled since the last run."""

    @task
    def report(triggering_asset_events: Any = None) -> list[str]:
        """Return one line per event; a run that you trigger by hand has no event."""
        events = triggering_asset_events[ONBOARDING] if triggering_asset_events else []
        return [
            f"{event.extra['counts']['enrolled']:,} of {event.extra['total']:,} enrolled by {event.source_dag_id}"
            for event in events
        ]

    report()


# [END waits]


enroll_signups()
after_enrollment()
