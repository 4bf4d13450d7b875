"""Every endpoint has one method of the hook, with the same parameters; and one method serves all others."""

import importlib
import inspect
import pkgutil
import re

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.api import endpoints
from airflow_provider_meisa.hooks.meisa import MeisaHook

CALL = re.compile(r"``((?:GET|POST) /\S+)``")
INTERNAL = {
    "client",
    "reservation",
}  # the hook's own client, and a slot of its rate limits that the caller has reserved


def functions():
    """Return the functions that are an endpoint: their docstring names the request."""
    for info in pkgutil.iter_modules(endpoints.__path__):
        module = importlib.import_module(f"{endpoints.__name__}.{info.name}")
        for name, function in vars(module).items():
            is_ours = inspect.isfunction(function) and function.__module__ == module.__name__
            if is_ours and not name.startswith("_") and CALL.search(function.__doc__ or ""):
                yield function


def methods():
    """Return the public methods of the hook by the request that their docstring names."""
    return [
        (CALL.search(inspect.getdoc(method))[1], method)
        for name, method in inspect.getmembers(MeisaHook, inspect.isfunction)
        if not name.startswith("_") and CALL.search(inspect.getdoc(method) or "")
    ]


FUNCTIONS = list(functions())


def parameters(function, *left_out):
    return {
        name: (parameter.kind, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in {*left_out, "self"}
    }


def test_every_endpoint_is_found():
    assert len(FUNCTIONS) == 9


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_each_endpoint_has_one_method_with_its_parameters(function):
    request = CALL.search(function.__doc__)[1]
    (method,) = [method for found, method in methods() if found == request]
    assert parameters(method) == parameters(function, *INTERNAL)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_each_method_hands_every_parameter_on(function, mocker, meisa_connection):
    request = CALL.search(function.__doc__)[1]
    (method,) = [method for found, method in methods() if found == request]
    called = mocker.patch.object(inspect.getmodule(function), function.__name__)
    given = {name: object() for name in parameters(method)}
    assert method(MeisaHook(), **given) is called.return_value
    arguments = inspect.signature(function).bind(*called.call_args.args, **called.call_args.kwargs).arguments
    assert {name: arguments[name] for name in given} == given


def test_each_request_has_one_method_only():
    assert sorted(found for found, _ in methods()) == sorted({found for found, _ in methods()})
    assert len(methods()) == len(FUNCTIONS)


def test_what_has_no_method_is_requested(meisa_connection, meisa_sandbox):
    response = MeisaHook().request("GET", "/sequences/api/list/", query={"status": "all"})
    assert response.status == 200
    assert len(response.body["results"]) == 4
    with pytest.raises(AirflowFailException, match="not found"):
        MeisaHook().request("POST", "/tags/", {"name": "trial"})


def test_a_lost_write_of_a_request_is_left_to_airflow(meisa_connection, meisa_sandbox):
    meisa_sandbox.fault("reset_after", times=1)
    with pytest.raises(AirflowException) as raised:
        MeisaHook().request("POST", "/contacts/upsert/", {"email": "ada@example.com"})
    assert not isinstance(raised.value, AirflowFailException)
    assert len(meisa_sandbox.requests()) == 1
    assert MeisaHook().request("POST", "/contacts/upsert/", {"email": "ada@example.com"}).status == 200


@pytest.mark.parametrize("resend", [True, False])
def test_an_enrollment_is_sent_again_as_resend_says(meisa_connection, meisa_sandbox, resend):
    hook = MeisaHook()
    meisa_sandbox.fault("reset_after", times=1)
    try:
        assert hook.enroll("ada@example.com", "onboarding", resend=resend).status == "already_enrolled"
    except AirflowException:
        assert not resend
    assert len(meisa_sandbox.requests()) == 1 + resend
    meisa_sandbox.fault("reset_after", times=1)
    try:
        hook.bulk_enroll(["kay@example.com"], "onboarding", resend=resend)
    except AirflowException:
        assert not resend
    assert len(meisa_sandbox.requests()) == 2 * (1 + resend)
    assert [row["times_enrolled"] for row in meisa_sandbox.enrollments("onboarding")] == [1, 1]


def test_stop_ends_a_hook_that_has_a_client(meisa_connection, meisa_sandbox):
    hook = MeisaHook()
    hook.stop()
    assert hook.ping().environment == "live"
    hook.stop()
    with pytest.raises(AirflowException, match="stopped before the request"):
        hook.ping()
    assert len(meisa_sandbox.requests()) == 1
