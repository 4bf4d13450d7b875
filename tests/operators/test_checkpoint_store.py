"""Where a checkpoint is kept: the task's state on Airflow 3.3, a Variable before it."""

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import Variable
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from airflow_provider_meisa.bulk.checkpoint import VERSION
from airflow_provider_meisa.operators import bulk as bulk_operator
from airflow_provider_meisa.operators.checkpoint_store import StateStore, VariableStore, store_of
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from tests.support.people import people
from tests.support.requests_sent import bulk_requests
from tests.support.task import FakeTaskInstance, FakeTaskState

PEOPLE = people(1600)


def variables():
    """Return the Variables of checkpoints that are in the database."""
    from airflow.models.variable import Variable as Row
    from airflow.utils.session import create_session

    with create_session() as session:
        return [row.key for row in session.query(Row).filter(Row.key.like("meisa!_!_%", escape="!"))]


@pytest.fixture
def in_variables(mocker):
    """Let tasks find no state of their own, as before Airflow 3.3; return the names they keep theirs under."""
    names = []

    def without_state(context):
        store = store_of({"ti": context["ti"]})
        names.append(store._name)
        return store

    mocker.patch.object(bulk_operator, "store_of", without_state)
    return names


@pytest.fixture
def bulk(run_task):
    def run(emails=PEOPLE, **arguments):
        return run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug="onboarding", **arguments)

    return run


def test_a_task_that_has_a_state_keeps_its_checkpoint_there():
    assert isinstance(store_of({"ti": FakeTaskInstance(), "task_state_store": FakeTaskState()}), StateStore)


@pytest.mark.parametrize(
    "context", [{"ti": FakeTaskInstance()}, {"ti": FakeTaskInstance(), "task_state_store": None}]
)
def test_a_task_without_a_state_keeps_it_in_a_variable(context):
    assert isinstance(store_of(context), VariableStore)


def test_the_state_keeps_it_for_good_and_says_at_the_end_that_it_is_complete(mocker):
    state = FakeTaskState()
    written = mocker.spy(state, "set")
    store = StateStore(state)
    assert store.load() is None
    store.save({"next_batch": 1})
    assert store.load() == {"next_batch": 1}
    store.save({"complete": True})
    store.end()
    assert store.load() == {"complete": True}
    assert {call.kwargs["retention"] for call in written.call_args_list} == {NEVER_EXPIRE}


def test_each_task_instance_has_a_variable_of_its_own():
    names = {
        VariableStore(SimpleNamespace(dag_id=dag, run_id=run, task_id=task, map_index=index))._name
        for dag in ("a", "b")
        for run in ("one", "two")
        for task in ("t", "u")
        for index in (-1, 0, 1)
    }
    assert len(names) == 24
    assert all(name.startswith("meisa__") for name in names)
    assert "one" not in "".join(names)


@pytest.mark.parametrize(
    "error", [KeyError("Variable meisa__x does not exist"), RuntimeError("VARIABLE_NOT_FOUND: {}")]
)
def test_a_variable_that_is_not_there_is_nothing_kept(mocker, error):
    mocker.patch.object(Variable, "get", side_effect=error)
    assert VariableStore(FakeTaskInstance()).load() is None


def test_a_store_that_cannot_be_asked_is_not_an_empty_one(mocker):
    mocker.patch.object(Variable, "get", side_effect=RuntimeError("API_SERVER_ERROR: 500"))
    with pytest.raises(RuntimeError, match="API_SERVER_ERROR"):
        VariableStore(FakeTaskInstance()).load()


# In a real Airflow, without the state of 3.3.


def test_a_retry_goes_on_from_the_variable_and_leaves_none_behind(bulk, meisa_sandbox, in_variables, mocker):
    kept = mocker.spy(Variable, "set")
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=2, times=1)
    ran = bulk(retries=1, retry_delay=timedelta(0), max_in_flight=1)
    assert ran.state == "success"
    assert ran.xcom("task")["resumed"] is True
    assert ran.xcom("task")["counts"]["enrolled"] == 1600
    assert {row["times_enrolled"] for row in meisa_sandbox.enrollments("onboarding")} == {1}
    assert len(set(in_variables)) == 1
    assert {json.loads(call.args[1])["version"] for call in kept.call_args_list} == {VERSION}
    assert variables() == []


def test_a_task_that_fails_for_good_leaves_its_variable_for_who_clears_it(bulk, meisa_sandbox, in_variables):
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1, times=1)
    assert bulk(max_in_flight=1).state == "failed"
    (left,) = variables()
    assert left == in_variables[0]
    remove(left)


def test_a_task_that_has_kept_nothing_ends_well(bulk, in_variables):
    ran = bulk([])
    assert ran.state == "success"
    assert variables() == []


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_deferrals_go_on_from_the_variable(
    bulk, meisa_sandbox, meisa_connection, in_variables, short_deferrals
):
    meisa_connection(extra={"rate_limits": "2/2s"})
    ran = bulk(**short_deferrals)
    assert ran.xcom("task")["counts"]["enrolled"] == 1600
    assert sum(len(request["addresses"]) for request in bulk_requests(meisa_sandbox)) == 1600
    assert len(in_variables) >= 2
    assert variables() == []


def test_the_tasks_of_a_mapped_operator_do_not_share_a_variable(run, in_variables):
    with DAG("mapped_in_variables", schedule=None) as dag:
        MeisaBulkEnrollOperator.partial(task_id="task", sequence_slug="onboarding").expand(
            emails=[PEOPLE[:10], PEOPLE[10:20]]
        )
    assert set(run(dag).states.values()) == {"success"}
    assert len(set(in_variables)) == 2


def remove(name):
    from airflow.models.variable import Variable as Row

    Row.delete(name)
