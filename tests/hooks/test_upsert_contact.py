"""The hook's upsert, through an Airflow Connection: what it returns, and which failures Airflow retries."""

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.hooks.meisa import MeisaHook


@pytest.fixture(autouse=True)
def _connected(meisa_connection, no_backoff):
    pass


def test_a_contact_is_created_and_then_updated(meisa_sandbox):
    hook = MeisaHook()
    first = hook.upsert_contact("ada@example.com", external_id="42", custom_fields={"plan": "free"})
    second = hook.upsert_contact("ada@new.example.com", external_id="42", tag_names=("trial",))
    assert (first.created, second.created, first.id) == (True, False, second.id)
    (kept,) = meisa_sandbox.contacts()
    assert (kept["email"], kept["custom_fields"]) == ("ada@new.example.com", {"plan": "free"})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_final(meisa_sandbox, status):
    meisa_sandbox.fault("status", status=status)
    with pytest.raises(AirflowFailException):
        MeisaHook().upsert_contact("ada@example.com")
    assert len(meisa_sandbox.requests()) == 1


@pytest.mark.parametrize(
    ("fault", "params", "requests"),
    [("status", {"status": 500}, 5), ("reset_after", {}, 5), ("html", {"status": 200}, 1)],
)
def test_other_failures_are_left_to_airflow(meisa_sandbox, fault, params, requests):
    meisa_sandbox.fault(fault, **params)
    with pytest.raises(AirflowException) as raised:
        MeisaHook().upsert_contact("ada@example.com")
    assert not isinstance(raised.value, AirflowFailException)
    assert len(meisa_sandbox.requests()) == requests


def test_nothing_of_the_contact_is_written_anywhere(meisa_sandbox, everything_written):
    hook = MeisaHook()
    hook.upsert_contact("jane@example.com", external_id="ext-7781", first_name="Jane")
    meisa_sandbox.fault("status", status=500, times=1)
    hook.upsert_contact("jane@example.com", external_id="ext-7781", custom_fields={"plan": "gold"})
    hook.upsert_contact("kay@example.com", external_id="ext-2")
    with pytest.raises(AirflowException) as raised:
        hook.upsert_contact("kay@example.com", external_id="ext-7781", last_name="Roe")
    written = everything_written() + str(raised.value)
    assert not any(word in written for word in ("jane", "Jane", "kay", "7781", "gold", "Roe"))
