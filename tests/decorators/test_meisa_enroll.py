"""`@task.meisa_enroll` in a real Airflow, against the sandbox."""

import itertools
import json
from collections import Counter
from datetime import timedelta

import pytest
from airflow.sdk import DAG, task
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_meisa.operators import audience
from tests.support.people import people
from tests.support.requests_sent import addresses_sent

PEOPLE = people(1200)
AGAIN = {"retries": 1, "retry_delay": timedelta(0)}
numbers = itertools.count()


@pytest.fixture(autouse=True)
def staging(tmp_path, monkeypatch):
    """The default folder for staged copies, of this test alone: what is left in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return lambda: list(tmp_path.glob("airflow-provider-meisa-staged-*/*"))


@pytest.fixture
def enroll(run):
    """Run a function as the only task of a DAG."""

    def run_function(function, *args, dag=None, **arguments):
        with DAG(f"decorated_{next(numbers)}", schedule=None, **(dag or {})) as made:
            task.meisa_enroll(task_id="task", sequence_slug="onboarding", **arguments)(function)(*args)
        return run(made)

    return run_function


def shown(dag_id):
    """Return all that Airflow keeps to show of a DAG and its tasks."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        rendered = session.query(RenderedTaskInstanceFields).filter_by(dag_id=dag_id, task_id="task")
        stored = session.query(SerializedDagModel).filter_by(dag_id=dag_id)
        xcoms = session.query(XComModel).filter_by(dag_id=dag_id, task_id="task")
        found = [[row.rendered_fields for row in rendered], [row.data for row in stored]]
        found.append([row.value for row in xcoms])
    assert all(found)
    return json.dumps(found, default=str)


def returns_a_list():
    return PEOPLE


def returns_rows_of_one_column():
    return [(address,) for address in PEOPLE]


def gives_no_contact():
    return []


def yields():
    yield from PEOPLE


@pytest.mark.parametrize("function", [returns_a_list, returns_rows_of_one_column, yields])
def test_every_contact_a_function_gives_is_enrolled_in_its_order(enroll, meisa_sandbox, staging, function):
    ran = enroll(function)
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 1200}
    assert addresses_sent(meisa_sandbox) == PEOPLE
    assert staging() == []


def test_the_output_of_the_task_is_the_summary(run):
    with DAG("decorated_output", schedule=None) as dag:

        @task.meisa_enroll(sequence_slug="onboarding")
        def customers():
            return [*PEOPLE[:3], "broken"]

        @task
        def report(summary):
            return summary["counts"]["invalid"]

        report(customers())
    assert run(dag).xcom("report") == 1


def test_all_parameters_of_an_audience_can_be_given(enroll, meisa_sandbox, tmp_path):
    ran = enroll(
        returns_a_list,
        preview=True,
        outcomes_path=str(tmp_path / "outcomes.jsonl"),
        max_in_flight=2,
        staging_path=str(tmp_path / "{{ dag.dag_id }}"),
    )
    assert ran.xcom("task")["to_send"] == 1200
    assert addresses_sent(meisa_sandbox) == []
    assert (tmp_path / ran.dag_id).exists()
    assert enroll(gives_no_contact, on_empty="skip").state == "skipped"


def test_arguments_are_rendered_and_those_of_the_context_are_given(enroll, meisa_sandbox):
    def customers(domain, *, params, ti):
        return [f"{params['who']}@{domain}", f"{ti.task_id}@{domain}"]

    ran = enroll(customers, "{{ params.domain }}", dag={"params": {"who": "ada", "domain": "example.com"}})
    assert ran.state == "success"
    assert addresses_sent(meisa_sandbox) == ["ada@example.com", "task@example.com"]


def some_of(addresses, *, more=()):
    yield from [*addresses, *more]


def test_the_output_of_other_tasks_can_be_an_argument(run, meisa_sandbox):
    with DAG("decorated_xcom", schedule=None) as dag:

        @task(show_return_value_in_logs=False)
        def first():
            return PEOPLE[:2]

        @task(show_return_value_in_logs=False)
        def second():
            return ["{{1}}@example.com", *PEOPLE[2:4]]

        enrolled = task.meisa_enroll(task_id="task", sequence_slug="onboarding")(some_of)
        enrolled(first(), more=second())
    assert dag.get_task("task").upstream_task_ids == {"first", "second"}
    ran = run(dag)
    assert set(ran.states.values()) == {"success"}
    # A value in a warehouse row is not a template.
    assert addresses_sent(meisa_sandbox) == [*PEOPLE[:2], "{{1}}@example.com", *PEOPLE[2:4]]


def test_it_can_be_mapped(run, meisa_sandbox):
    with DAG("decorated_mapped", schedule=None) as dag:

        @task(show_return_value_in_logs=False)
        def segments():
            return [PEOPLE[:2], PEOPLE[2:3]]

        enrolled = task.meisa_enroll(task_id="task", sequence_slug="onboarding")(some_of)

        @task
        def more():
            return ["ada@example.com"]

        enrolled.partial(more=more()).expand(addresses=segments())
    assert dag.get_task("task").upstream_task_ids == {"segments", "more"}
    ran = run(dag)
    assert set(ran.states.values()) == {"success"}
    # Which of the two enrolls Ada, and which finds her there, Airflow leaves open.
    both = Counter(ran.counts(map_index=0)) + Counter(ran.counts(map_index=1))
    assert both == {"enrolled": 4, "already_enrolled": 1}
    assert set(addresses_sent(meisa_sandbox)) == {*PEOPLE[:3], "ada@example.com"}
    assert "person1" not in shown(dag.dag_id)


def test_no_address_is_shown_logged_or_in_xcom(run, everything_written):
    with DAG("decorated_private", schedule=None) as dag:

        @task(show_return_value_in_logs=False)
        def those():
            return PEOPLE[:600]

        enrolled = task.meisa_enroll(task_id="task", sequence_slug="onboarding")(some_of)
        enrolled(those(), more=["secret@example.com", "no secret address"])
    assert run(dag).states["task"] == "success"
    text = shown(dag.dag_id) + everything_written()
    assert "1 hidden value" in text
    assert (text.count("person"), text.count("secret")) == (0, 0)


def test_a_serialized_dag_holds_no_argument():
    with DAG("decorated_serialized", schedule=None) as dag:
        task.meisa_enroll(sequence_slug="onboarding")(some_of)(["ada@example.com"], more=["eve@example.com"])
    stored = json.dumps(DagSerialization.to_dict(dag))
    assert "example.com" not in stored
    assert "@task.meisa_enroll" in stored


def counted(calls, given):
    """Return a function that records its calls in a file, because each stretch is a process of its own."""

    def customers():
        with calls.open("a") as file:
            file.write("called\n")
        return given.read_text().split()

    return customers


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_the_function_is_called_once_however_often_the_task_is_deferred(
    enroll, meisa_sandbox, meisa_connection, mocker, short_deferrals, tmp_path, staging
):
    deferred = mocker.spy(audience.AudienceOperator, "resume")
    meisa_connection(extra={"rate_limits": "2/2s"})
    calls, given = tmp_path / "calls", tmp_path / "given"
    given.write_text(" ".join(PEOPLE))
    ran = enroll(counted(calls, given), **short_deferrals)
    assert ran.counts() == {"enrolled": 1200}
    assert deferred.call_count >= 1
    assert calls.read_text() == "called\n"
    assert addresses_sent(meisa_sandbox) == PEOPLE
    assert staging() == []


def test_a_retry_enrolls_those_of_the_first_try_although_the_function_would_give_others(
    enroll, meisa_sandbox, tmp_path, everything_written
):
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=1, times=1)
    calls, given = tmp_path / "calls", tmp_path / "given"
    given.write_text(" ".join(PEOPLE))
    ran = enroll(
        counted(calls, given), on_retry_callback=lambda _: given.write_text("new@example.com"), **AGAIN
    )
    assert ran.state == "success"
    assert set(addresses_sent(meisa_sandbox)) == set(PEOPLE)
    assert calls.read_text() == "called\n"
    assert "1,200 rows (source not read again)" in everything_written()


async def asynchronous():
    yield PEOPLE[0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: PEOPLE[0], "a string"),
        (lambda: {"email": PEOPLE[0]}, "a dict"),
        (lambda: None, "NoneType"),
        (lambda: set(PEOPLE), "a set"),
        (asynchronous, "async_generator"),
    ],
    ids=["string", "dict", "nothing", "set", "async"],
)
def test_a_function_that_gives_no_list_of_addresses_fails_at_once(
    enroll, meisa_sandbox, everything_written, function, message
):
    assert enroll(function, **AGAIN).state == "failed"
    assert addresses_sent(meisa_sandbox) == []
    written = everything_written()
    assert "What the function returned cannot be enrolled" in written
    assert message in written
    assert "person0" not in written


def test_a_function_may_skip_or_fail_its_task(enroll, meisa_sandbox):
    from airflow.providers.common.compat.sdk import AirflowSkipException

    def skips():
        yield from PEOPLE[:3]
        raise AirflowSkipException

    assert enroll(skips).state == "skipped"
    assert enroll(lambda: [PEOPLE[0], 1 / 0]).state == "failed"
    assert addresses_sent(meisa_sandbox) == []


def test_a_decorator_without_a_sequence_is_an_error_of_the_dag_file():
    with DAG("decorated_lacking", schedule=None), pytest.raises(Exception, match="sequence_slug"):
        task.meisa_enroll(returns_a_list)()
