"""Enroll a contact at sign-up, with the plan attached; a task before it reads which sequences the contact is in."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_meisa.hooks.meisa import MeisaHook
from airflow_provider_meisa.operators.sequences import MeisaEnrollOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    params={
        "email": Param("ada@example.com", type="string", description="Address of the contact"),
        "plan": Param("team", type="string", description="The plan that the contact signed up for"),
    },
    doc_md=__doc__,
)
def enroll_one() -> None:
    """Enroll the contact of the run's parameters into ``onboarding``."""

    # [START hook]
    @task
    def sequences_before(params: dict[str, str] | None = None) -> list[str]:
        """Return the sequences the contact is in already."""
        contact = MeisaHook().contact_enrollments((params or {})["email"])
        return [enrollment.sequence_slug for enrollment in contact.enrollments]

    # [END hook]

    # [START enroll]
    enroll = MeisaEnrollOperator(
        task_id="enroll",
        contact_email="{{ params.email }}",
        sequence_slug="onboarding",
        metadata={"plan": "{{ params.plan }}"},
        on_already_enrolled="skip",
    )
    # [END enroll]

    sequences_before() >> enroll


enroll_one()
