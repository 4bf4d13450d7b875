"""What an automation in Meisa would have seen of the sandbox's contacts."""

import sqlite3

import pytest
import requests

from airflow_provider_meisa.sandbox.server import Sandbox


@pytest.fixture
def upsert(meisa_sandbox):
    def send(key=None, **fields):
        requests.post(
            f"{meisa_sandbox.api_url}/contacts/upsert/",
            json=fields,
            headers={"X-API-Key": key or meisa_sandbox.key},
            timeout=10,
        ).raise_for_status()

    return send


def seen(sandbox, environment="live"):
    return [(each["name"], each["about"]) for each in sandbox.automation_events(environment)]


def test_the_first_upsert_creates_a_contact(upsert, meisa_sandbox):
    upsert(email="ada@example.com", first_name="Ada", tag_names=["trial", "eu"])
    assert seen(meisa_sandbox) == [
        ("contact_created", []),
        ("tag_added", ["trial"]),
        ("tag_added", ["eu"]),
    ]


def test_an_update_names_the_fields_that_differ(upsert, meisa_sandbox):
    upsert(email="ada@example.com", external_id="42", custom_fields={"plan": "free", "seats": 3, "old": 1})
    upsert(
        email="ada@new.example.com",
        external_id="42",
        first_name="Ada",
        custom_fields={"plan": "team", "seats": 3, "mrr": 5},
    )
    assert seen(meisa_sandbox)[1:] == [
        ("contact_updated", ["email", "first_name", "custom_fields.plan", "custom_fields.mrr"])
    ]


def test_an_upsert_without_a_change_sets_nothing_off(upsert, meisa_sandbox):
    for _ in range(2):
        upsert(email="ada@example.com", first_name="Ada", custom_fields={"plan": "team"}, tag_names=["trial"])
    assert len(seen(meisa_sandbox)) == 2


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), (1, 1.0), (None, ""), ("1", 1)])
def test_values_of_another_type_differ(upsert, meisa_sandbox, old, new):
    upsert(email="ada@example.com", custom_fields={"value": old})
    upsert(email="ada@example.com", custom_fields={"value": new})
    assert seen(meisa_sandbox)[1:] == [("contact_updated", ["custom_fields.value"])]


def test_a_known_contact_without_a_profile_is_updated(upsert, meisa_sandbox):
    upsert(email="unsubscribed@example.com", first_name="U")
    assert seen(meisa_sandbox) == [("contact_updated", ["first_name"])]


def test_environments_and_refusals_are_kept_apart(upsert, meisa_sandbox):
    upsert(key=meisa_sandbox.test_key, email="ada@example.com")
    with pytest.raises(requests.HTTPError):
        upsert(email="no address")
    assert (seen(meisa_sandbox), seen(meisa_sandbox, "test")) == ([], [("contact_created", [])])


def test_the_control_api_lists_them(upsert, meisa_sandbox):
    upsert(email="ada@example.com")
    listed = requests.get(f"{meisa_sandbox.url}/_sandbox/automation-events", timeout=10).json()
    assert listed == meisa_sandbox.automation_events()


def test_a_database_of_an_earlier_version_gets_the_table(tmp_path):
    path = tmp_path / "sandbox.db"
    with Sandbox(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE automation_events")
    with Sandbox(path) as sandbox:
        assert sandbox.automation_events() == []
