"""Everything a DAG run writes is searched for addresses, keys and bodies of responses."""

import json

import pytest

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor

SECRET_BODY = "a-sentence-that-only-the-answer-holds"
PEOPLE = [f"someone{number}@private.example" for number in range(700)]
FAULTS = {
    "no fault": None,
    "500": {"kind": "status", "status": 500, "body": SECRET_BODY},
    "400": {"kind": "status", "status": 400, "body": json.dumps({"emails": [f"{SECRET_BODY} {PEOPLE[0]}"]})},
    "401": {"kind": "status", "status": 401, "body": json.dumps({"detail": SECRET_BODY})},
    "403": {"kind": "status", "status": 403, "body": json.dumps({"detail": SECRET_BODY})},
    "404": {"kind": "status", "status": 404, "body": json.dumps({"detail": SECRET_BODY})},
    "html": {"kind": "html", "status": 200},
    "empty": {"kind": "empty", "status": 200},
    "reset before": {"kind": "reset_before"},
    "reset after": {"kind": "reset_after"},
    "redirect": {"kind": "redirect", "location": f"http://127.0.0.1:9/?email={PEOPLE[0]}"},
    "unread shape": {"kind": "bulk_shape", "shape": "objects", "drop": 3, "extra": 2},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_address_no_key_and_no_body_is_written_by_a_run(
    run, meisa_sandbox, meisa_connection, everything_written, no_backoff, fault
):
    from airflow.sdk import DAG

    key = "meisa_live_topsecretkey"
    meisa_sandbox.add_key(key, ["sequences:read", "sequences:enroll", "contacts:read"])
    meisa_connection(password=key)
    if FAULTS[fault]:
        meisa_sandbox.fault(**FAULTS[fault], method="POST")
    with DAG(f"private_{fault.replace(' ', '_')}", schedule=None) as dag:
        MeisaSequenceSensor(task_id="wait", sequence_slug="onboarding")
        MeisaBulkEnrollOperator(
            task_id="many", sequence_slug="onboarding", emails=[*PEOPLE, "br oken@private.example"]
        )
        MeisaEnrollOperator(
            task_id="one", sequence_slug="onboarding", contact_email=PEOPLE[3], metadata={"friend": PEOPLE[4]}
        )
        look_up(PEOPLE[5])
    ran = run(dag)
    assert ran.states["many"] == ("failed" if FAULTS[fault] else "success")
    written = everything_written()
    assert "Batch 1" in written, "the task's own log was not collected"
    assert "contact-enrollments/?…" in written, "the debug lines of urllib3 were not collected"
    stored = json.dumps([ran.xcom("many"), ran.xcom("one"), rendered_fields(dag.dag_id)], default=str)
    for place in (written, stored):
        assert "private.example" not in place
        assert "topsecret" not in place
        assert "someone" not in place
    if fault == "500":  # the words of a refusal are shown, without addresses and what was sent
        assert SECRET_BODY not in written


def look_up(address):
    from airflow.sdk import task

    from airflow_provider_meisa.hooks.meisa import MeisaHook

    @task(task_id="look")
    def look() -> int:
        return len(MeisaHook().contact_enrollments(address).enrollments)

    look()


def rendered_fields(dag_id):
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(
            select(RenderedTaskInstanceFields).where(RenderedTaskInstanceFields.dag_id == dag_id)
        ).all()
        fields = [row.rendered_fields for row in rows]
    assert fields
    return fields
