"""Operators for one contact call methods of the hook, which is made once a task."""

import ast
import importlib
import inspect

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException

from airflow_provider_meisa.api.errors import MeisaKeyError, MeisaResponseLostError, MeisaServerError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.hooks.meisa import MeisaHook, meisa_error, raise_airflow_errors
from airflow_provider_meisa.operators.sequences import MeisaEnrollOperator
from tests.support.provider import modules_of_provider


@pytest.mark.parametrize("name", modules_of_provider("operators"))
def test_no_operator_imports_an_endpoint(name):
    module = importlib.import_module(name)
    imported = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert imported
    # Classes, such as what a call returns, are for annotations.
    assert not [name for place, name in imported if "api.endpoints" in place and name.islower()]


def test_the_hook_is_made_when_it_is_first_asked_for():
    task = MeisaEnrollOperator(
        task_id="t", contact_email="a@example.com", sequence_slug="s", meisa_conn_id="other"
    )
    assert "hook" not in vars(task)
    assert task.hook is task.hook
    assert task.hook.meisa_conn_id == "other"


def test_a_template_in_the_connection_reaches_the_hook(run_task, meisa_connection, meisa_sandbox):
    meisa_connection("second")
    ran = run_task(
        MeisaEnrollOperator,
        contact_email="ada@example.com",
        sequence_slug="onboarding",
        meisa_conn_id="{{ params.conn }}",
        params={"conn": "second"},
    )
    assert (ran.state, ran.xcom("task")["meisa_conn_id"]) == ("success", "second")


def test_the_enrollment_goes_through_the_hook(run_task, mocker):
    call = mocker.patch.object(
        MeisaHook, "enroll", return_value=Outcome("ada@example.com", OutcomeStatus.ENROLLED), autospec=True
    )
    ran = run_task(
        MeisaEnrollOperator,
        contact_email="ada@example.com",
        sequence_slug="onboarding",
        metadata={"plan": "team"},
        on_ambiguous="fail",
    )
    assert ran.state == "success"
    assert call.call_args.args[1:] == ("ada@example.com", "onboarding")
    assert call.call_args.kwargs == {
        "metadata": {"plan": "team"},
        "trigger_source": "airflow",
        "override_unsubscribe": False,
        "resend": False,
    }


def test_a_task_that_is_killed_stops_its_hook(meisa_connection, meisa_sandbox):
    task = MeisaEnrollOperator(task_id="t", contact_email="ada@example.com", sequence_slug="onboarding")
    task.on_kill()
    task.hook.get_conn()
    task.on_kill()
    with pytest.raises(AirflowException, match="stopped before the request"):
        task.hook.ping()
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize(
    ("error", "inner", "outer"),
    [
        (MeisaResponseLostError("lost"), AirflowException, AirflowFailException),
        (MeisaServerError("down", status=500), AirflowException, AirflowFailException),
        (MeisaKeyError("no", status=401), AirflowFailException, AirflowFailException),
    ],
)
def test_what_the_hook_raised_is_decided_on_again(error, inner, outer):
    with pytest.raises(inner) as first, raise_airflow_errors():
        raise error
    assert type(first.value) is inner
    with pytest.raises(outer) as second, raise_airflow_errors(ambiguous_is_final=True):
        raise first.value
    assert type(second.value) is outer
    assert (meisa_error(second.value), str(second.value)) == (error, str(error))


@pytest.mark.parametrize(
    "raised", [AirflowSkipException("skip"), AirflowFailException("fail"), KeyError("x")]
)
def test_what_is_not_of_meisa_passes(raised):
    with pytest.raises(type(raised)) as passed, raise_airflow_errors(ambiguous_is_final=True):
        raise raised
    assert passed.value is raised
    assert meisa_error(raised) is None
