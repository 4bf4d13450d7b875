"""The sandbox's contacts: what an upsert creates, changes, keeps and refuses."""

import sqlite3

import pytest
import requests

from airflow_provider_meisa.sandbox.server import Sandbox


@pytest.fixture
def upsert(meisa_sandbox):
    def send(key=None, **fields):
        return requests.post(
            f"{meisa_sandbox.api_url}/contacts/upsert/",
            json=fields,
            headers={"X-API-Key": key or meisa_sandbox.key},
            timeout=10,
        )

    return send


def test_a_new_contact_has_every_field(upsert):
    response = upsert(
        email="Ada@Example.com",
        external_id="42",
        first_name="Ada",
        last_name="Lovelace",
        display_name="Ada L.",
        source="signup",
        custom_fields={"plan": "team"},
        tag_names=["trial"],
    )
    assert response.status_code == 201
    contact = response.json()
    assert contact.pop("id")
    assert contact.pop("created_at") == contact.pop("updated_at")
    (tag,) = contact.pop("tags")
    assert (tag["name"], bool(tag["id"])) == ("trial", True)
    assert contact == {
        "email": "ada@example.com",
        "external_id": "42",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "display_name": "Ada L.",
        "source": "signup",
        "custom_fields": {"plan": "team"},
        "status": "subscribed",
    }


def test_an_update_merges_fields_adds_tags_keeps_source(upsert, meisa_sandbox):
    upsert(email="ada@example.com", first_name="Ada", source="signup", custom_fields={"plan": "free", "n": 1})
    upsert(email="ada@example.com", tag_names=["b"])
    response = upsert(
        email="ada@example.com", last_name="L", source="api", custom_fields={"plan": "team"}, tag_names=["a"]
    )
    assert response.status_code == 200
    (contact,) = meisa_sandbox.contacts()
    assert contact["custom_fields"] == {"plan": "team", "n": 1}
    assert [tag["name"] for tag in contact["tags"]] == ["b", "a"]
    assert (contact["first_name"], contact["last_name"], contact["source"]) == ("Ada", "L", "signup")


def test_an_external_id_moves_the_contact_to_a_new_address(upsert, meisa_sandbox):
    first = upsert(email="old@example.com", external_id="42").json()
    meisa_sandbox.seed_enrollments("onboarding", ["old@example.com"])
    response = upsert(email="new@example.com", external_id="42")
    assert (response.status_code, response.json()["id"]) == (200, first["id"])
    assert [row["email"] for row in meisa_sandbox.enrollments("onboarding")] == ["new@example.com"]
    assert upsert(email="old@example.com").status_code == 201


def test_an_address_finds_the_contact_without_its_external_id(upsert):
    first = upsert(email="ada@example.com", external_id="42").json()
    second = upsert(email="ADA@example.com").json()
    assert (second["id"], second["external_id"]) == (first["id"], "42")
    assert upsert(email="ada@example.com", external_id="43").json()["id"] == first["id"]


def test_an_external_id_with_the_address_of_another_conflicts(upsert, meisa_sandbox):
    upsert(email="ada@example.com", external_id="42")
    upsert(email="kay@example.com", external_id="43")
    before = meisa_sandbox.contacts()
    assert upsert(email="kay@example.com", external_id="42", first_name="X").status_code == 409
    assert upsert(email="unsubscribed@example.com", external_id="42").status_code == 409
    assert meisa_sandbox.contacts() == before


def test_a_suppressed_contact_keeps_its_status(upsert):
    response = upsert(email="unsubscribed@example.com", first_name="U")
    assert (response.status_code, response.json()["status"]) == (200, "unsubscribed")


def test_a_test_key_touches_no_live_contact(upsert, meisa_sandbox):
    assert upsert(email="ada@example.com", external_id="42").status_code == 201
    assert upsert(key=meisa_sandbox.test_key, email="ada@example.com", external_id="42").status_code == 201
    assert [len(meisa_sandbox.contacts(name)) for name in ("live", "test")] == [1, 1]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "email"),
        ({"email": "no address"}, "email"),
        ({"email": "a@example.com", "external_id": 42}, "external_id"),
        ({"email": "a@example.com", "external_id": ""}, "external_id"),
        ({"email": "a@example.com", "source": "airflow"}, "source"),
        ({"email": "a@example.com", "custom_fields": []}, "custom_fields"),
        ({"email": "a@example.com", "tag_names": "trial"}, "tag_names"),
        ({"email": "a@example.com", "tag_names": [""]}, "tag_names"),
        ({"email": "a@example.com", "first_name": 1}, "first_name"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_kept(upsert, meisa_sandbox, fields, named):
    response = upsert(**fields)
    assert (response.status_code, list(response.json())) == (400, [named])
    assert meisa_sandbox.contacts() == []


def test_the_scope_is_contacts_write(upsert, meisa_sandbox):
    meisa_sandbox.add_key("meisa_live_reader", ["contacts:read", "sequences:enroll"])
    response = upsert(key="meisa_live_reader", email="ada@example.com")
    assert response.status_code == 403
    assert "contacts:write" in response.text


def test_the_journal_has_the_address_and_nothing_else(upsert, meisa_sandbox):
    upsert(email="ada@example.com", external_id="id-42", first_name="Ada", custom_fields={"plan": "secret"})
    (request,) = meisa_sandbox.requests()
    assert request["addresses"] == ["ada@example.com"]
    assert not {"id-42", "Ada", "secret"} & set(map(str, request.values()))


def test_the_control_api_lists_contacts(upsert, meisa_sandbox):
    upsert(email="ada@example.com", external_id="42")
    listed = requests.get(f"{meisa_sandbox.url}/_sandbox/contacts", timeout=10).json()
    assert listed == meisa_sandbox.contacts()


def test_a_database_of_an_earlier_version_gets_the_table(tmp_path):
    path = tmp_path / "sandbox.db"
    with Sandbox(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE profiles")
    with Sandbox(path) as sandbox:
        assert sandbox.contacts() == []
