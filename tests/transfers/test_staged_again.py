"""When the copy of what a run has read still counts: as long as some of it was sent, and not longer."""

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.sdk import DAG

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.support.people import people
from tests.support.task import fake_context

PEOPLE = people(1100)
OTHERS = [f"other{number}@example.com" for number in range(3)]


@pytest.fixture
def context():
    return fake_context()


@pytest.fixture
def enroll(warehouse, meisa_connection, context):
    """Run one try of the task; each has an operator of its own."""

    def run(**arguments):
        operator = SqlToMeisaSequenceOperator(
            task_id="task",
            sql="SELECT email FROM contacts ORDER BY id",
            conn_id="warehouse",
            sequence_slug="onboarding",
            max_in_flight=1,
            **arguments,
        )
        return operator.execute(context)

    return run


@pytest.fixture
def begin(enroll, warehouse, meisa_sandbox):
    """Run a try whose key is refused after the first batch."""

    def run(**arguments):
        warehouse.fill(PEOPLE)
        meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1, times=1)
        with pytest.raises(AirflowFailException):
            enroll(**arguments)

    return run


def enrolled(sandbox):
    return {row["email"] for row in sandbox.enrollments("onboarding")}


def test_a_retry_reads_the_source_again_as_long_as_no_contact_was_sent(enroll, warehouse, meisa_sandbox):
    warehouse.fill(PEOPLE)
    meisa_sandbox.fault("status", status=502, path="list")
    with pytest.raises(AirflowException):
        enroll()
    meisa_sandbox.clear_faults()
    warehouse.fill(OTHERS)
    assert enroll()["total"] == 3
    assert enrolled(meisa_sandbox) == set(OTHERS)


def test_a_retry_reads_the_copy_once_a_contact_was_sent(begin, enroll, warehouse, meisa_sandbox):
    begin()
    warehouse.fill(OTHERS)
    assert enroll()["total"] == 1100
    assert enrolled(meisa_sandbox) == set(PEOPLE)


def test_a_run_whose_checkpoint_was_deleted_reads_the_source_again(begin, enroll, warehouse, context):
    begin()
    context["task_state_store"].values.clear()
    warehouse.fill(OTHERS)
    assert enroll()["total"] == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: text.index(b"\n") + 1],
        lambda text: b"",
        lambda text: text[:-9],
        lambda text: b"{}\n",
    ],
)
def test_a_damaged_copy_is_told_and_once_removed_asked_for_again(
    begin, enroll, meisa_sandbox, tmp_path, damage
):
    begin(staging_path=str(tmp_path))
    (copy,) = tmp_path.glob("*.jsonl")
    copy.write_bytes(damage(copy.read_bytes()))
    with pytest.raises(AirflowFailException, match=r"json is damaged\. Remove it and clear the task"):
        enroll(staging_path=str(tmp_path))
    assert len(enrolled(meisa_sandbox)) < 1100
    (note,) = tmp_path.glob("*.json")
    note.unlink()
    assert enroll(staging_path=str(tmp_path))["total"] == 1100
    assert enrolled(meisa_sandbox) == set(PEOPLE)


def test_a_preview_of_a_run_that_has_begun_leaves_its_copy_to_it(begin, enroll, warehouse, meisa_sandbox):
    begin()
    warehouse.fill(OTHERS)
    assert enroll(preview=True)["total"] == 1100
    assert enroll()["total"] == 1100
    assert enrolled(meisa_sandbox) == set(PEOPLE)


def test_a_run_that_is_retried_in_a_real_airflow_enrolls_who_is_in_the_source_then(
    run, warehouse, meisa_sandbox
):
    warehouse.fill(PEOPLE[:2])
    meisa_sandbox.fault("status", status=502, path="list", times=20)

    def on_retry(context):
        meisa_sandbox.clear_faults()
        warehouse.fill(OTHERS)

    with DAG("staged_again", schedule=None) as dag:
        SqlToMeisaSequenceOperator(
            task_id="task",
            sql="SELECT email FROM contacts ORDER BY id",
            conn_id="warehouse",
            sequence_slug="onboarding",
            retries=1,
            retry_delay=timedelta(0),
            on_retry_callback=on_retry,
        )
    assert run(dag).states == {"task": "success"}
    assert enrolled(meisa_sandbox) == set(OTHERS)
