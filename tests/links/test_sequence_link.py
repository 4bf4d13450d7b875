"""The link from a task to its sequence, as the page of a task instance asks for it."""

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.sdk import DAG
from airflow.serialization.definitions.operatorlink import XComOperatorLink

from airflow_provider_meisa.hooks.meisa import MeisaHook
from airflow_provider_meisa.links.meisa import MeisaSequenceLink, push_dashboard_link
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from tests.support.task import FakeTaskInstance

SHOWN = "Sequence in Meisa"


@pytest.fixture(autouse=True)
def dashboard(meisa_connection):
    meisa_connection(extra={"dashboard_url": "https://app.example.com/s/{slug}"})


def link_of(ran):
    """Return what the page shows of the newest run: it has the DAG from the database, not from its file."""
    from airflow.models.dagrun import DagRun
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        dag_run = session.query(DagRun).filter_by(dag_id=ran.dag_id).one()
        key = dag_run.get_task_instance("task", session=session).key
    task = SerializedDagModel.get_dag(ran.dag_id).get_task("task")
    assert task.extra_links == [SHOWN]
    return task.get_extra_links(type("Ti", (), {"key": key, "task": task}), SHOWN)


@pytest.mark.parametrize(
    ("operator", "arguments", "state"),
    [
        (MeisaBulkEnrollOperator, {"emails": ["ada@example.com"]}, "success"),
        (MeisaBulkEnrollOperator, {"emails": ["broken"], "max_invalid": 0}, "failed"),
        (MeisaBulkEnrollOperator, {"emails": "no list"}, "failed"),
        (MeisaBulkEnrollOperator, {"emails": [], "on_empty": "skip"}, "skipped"),
        (MeisaBulkEnrollOperator, {"emails": [], "max_in_flight": 0}, "failed"),
        (MeisaEnrollOperator, {"contact_email": "ada@example.com"}, "success"),
        (MeisaEnrollOperator, {"contact_email": "broken"}, "failed"),
        (MeisaSequenceSensor, {}, "success"),
        (MeisaSequenceSensor, {"on_missing": "hope"}, "failed"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else getattr(value, "__name__", value),
)
def test_a_task_leads_to_its_sequence_however_it_ended(run_task, operator, arguments, state):
    ran = run_task(operator, sequence_slug="onboarding", **arguments)
    assert ran.state == state
    assert ran.xcom("task", key="meisa_dashboard") == "https://app.example.com/s/onboarding"
    assert link_of(ran) == "https://app.example.com/s/onboarding"


def test_a_sequence_that_does_not_exist_has_its_link_all_the_same(run_task):
    ran = run_task(MeisaBulkEnrollOperator, emails=["ada@example.com"], sequence_slug="onbording")
    assert ran.state == "failed"
    assert link_of(ran) == "https://app.example.com/s/onbording"


def test_where_there_are_several_sequences_it_leads_to_the_dashboard(run_task, meisa_connection):
    meisa_connection()
    ran = run_task(MeisaSequenceSensor, sequence_slug=["onboarding", "reactivation"])
    assert link_of(ran) == "https://app.meisa.io"


def test_a_task_that_is_running_or_killed_has_left_its_link_where_the_page_looks():
    ti = FakeTaskInstance()
    push_dashboard_link({"ti": ti}, MeisaHook(), "onboarding")
    assert ti.xcoms[MeisaSequenceLink().xcom_key] == "https://app.example.com/s/onboarding"


def test_a_task_that_has_not_run_has_none(airflow_database):
    with DAG("not_run", schedule=None):
        task = MeisaEnrollOperator(task_id="task", contact_email="a@example.com", sequence_slug="onboarding")
    key = TaskInstanceKey("not_run", "task", "manual", 1)
    assert XComOperatorLink(SHOWN, MeisaSequenceLink().xcom_key).get_link(task, ti_key=key) == ""
