"""The hook's tags, through an Airflow Connection."""

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.hooks.meisa import MeisaHook


@pytest.fixture(autouse=True)
def _connected(meisa_connection, no_backoff):
    pass


def test_tags_of_an_upserted_contact_change(meisa_sandbox):
    hook = MeisaHook()
    contact = hook.upsert_contact("ada@example.com", tag_names=["trial"])
    hook.add_tag(contact.id, tag_name="customer")
    hook.remove_tag(contact.id, tag_name="trial")
    (kept,) = meisa_sandbox.contacts()
    assert [tag["name"] for tag in kept["tags"]] == ["customer"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_final(meisa_sandbox, status):
    meisa_sandbox.fault("status", status=status)
    with pytest.raises(AirflowFailException):
        MeisaHook().add_tag("c-1", tag_name="trial")
    assert len(meisa_sandbox.requests()) == 1


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_a_lost_response_is_left_to_airflow(meisa_sandbox, fault):
    meisa_sandbox.fault(fault)
    with pytest.raises(AirflowException) as raised:
        MeisaHook().remove_tag("c-1", tag_name="trial")
    assert not isinstance(raised.value, AirflowFailException)
    assert len(meisa_sandbox.requests()) == 2


def test_no_tag_is_written_anywhere(meisa_sandbox, everything_written):
    hook = MeisaHook()
    contact = hook.upsert_contact("jane@example.com")
    meisa_sandbox.fault("status", status=502, path="_tag", times=1)
    hook.add_tag(contact.id, tag_name="Churn Risk")
    assert not any(word in everything_written() for word in ("Churn", "jane"))
