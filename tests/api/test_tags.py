"""Add and remove a tag: what is sent, what comes back, what is sent again, what an error shows."""

import json

import pytest

from airflow_provider_meisa.api.endpoints import contacts
from airflow_provider_meisa.api.errors import (
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaNotFoundError,
    MeisaResponseLostError,
    MeisaScopeError,
)

CHANGES = pytest.mark.parametrize("change", [contacts.add_tag, contacts.remove_tag], ids=["add", "remove"])


def http(status, content):
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)


@pytest.fixture
def contact(client):
    return contacts.upsert(client, "ada@example.com", tag_names=["a"]).id


def tags_of(sandbox):
    (found,) = sandbox.contacts()
    return [tag["name"] for tag in found["tags"]]


def test_tags_are_added_and_removed(client, meisa_sandbox, contact):
    assert contacts.add_tag(client, contact, tag_name="b").status == 200
    assert tags_of(meisa_sandbox) == ["a", "b"]
    contacts.remove_tag(client, contact, tag_name="a")
    assert tags_of(meisa_sandbox) == ["b"]
    (tag,) = meisa_sandbox.contacts()[0]["tags"]
    contacts.remove_tag(client, contact, tag_id=tag["id"])
    assert tags_of(meisa_sandbox) == []


@CHANGES
@pytest.mark.parametrize(
    ("given", "sent"),
    [({"tag_name": "vip"}, {"tag_name": "vip"}), ({"tag_id": "7"}, {"tag_id": "7"})],
)
@pytest.mark.parametrize("response", [b"", b"{}", b'"ok"', b'{"id": 3}'])
def test_any_response_of_success_will_do(raw, raw_client, change, given, sent, response):
    raw.will(http(200, response))
    change(raw_client, "c-1", **given)
    assert json.loads(raw.received[0].body) == sent
    assert raw.received[0].target.endswith(f"/contacts/c-1/{change.__name__}/")


@CHANGES
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs a tag: give tag_name or tag_id"),
        ({"tag_name": "a", "tag_id": "b"}, "and not both"),
        ({"tag_name": ""}, "tag_name is empty"),
        ({"tag_id": 3}, "tag_id must be a text"),
        ({"tag_name": "a", "contact_id": 3}, "contact_id must be a text"),
        ({"tag_name": "a", "contact_id": "ada@example.com"}, "contact_id is not an id of Meisa's"),
        ({"tag_name": "a", "contact_id": "../ping"}, "contact_id is not an id of Meisa's"),
        ({"tag_name": "a", "resend": "no"}, "resend must be True or False"),
    ],
)
def test_a_wrong_parameter_is_refused_before_sending(client, meisa_sandbox, change, given, message):
    with pytest.raises(MeisaInputError, match=message) as raised:
        change(client, **{"contact_id": "c-1", **given})
    assert meisa_sandbox.requests() == []
    assert "ada" not in str(raised.value)


@CHANGES
def test_a_lost_response_is_sent_again_once(client, meisa_sandbox, contact, change):
    meisa_sandbox.fault("reset_after", path="_tag", times=1)
    change(client, contact, tag_name="a")
    assert tags_of(meisa_sandbox) == (["a"] if change is contacts.add_tag else [])
    meisa_sandbox.fault("reset_after", path="_tag", times=1)
    with pytest.raises(MeisaResponseLostError):
        change(client, contact, tag_name="a", resend=False)
    assert len(meisa_sandbox.requests()) == 4


@CHANGES
def test_an_unknown_contact_is_not_found(client, change):
    with pytest.raises(MeisaNotFoundError, match="Contact not found"):
        change(client, "c-1", tag_name="a")


@CHANGES
def test_a_missing_scope_is_named(client_of, meisa_sandbox, change):
    meisa_sandbox.add_key("meisa_live_reader", ["contacts:read"])
    with pytest.raises(MeisaScopeError, match="contacts:write"):
        change(client_of(meisa_sandbox.api_url, "meisa_live_reader"), "c-1", tag_name="a")


@CHANGES
def test_a_refusal_shows_no_tag(raw, raw_client, change):
    raw.will(
        http(400, json.dumps({"error": "The tag Churn Risk is not allowed for jane@example.com."}).encode())
    )
    with pytest.raises(MeisaInvalidRequestError) as raised:
        change(raw_client, "c-1", tag_name="Churn Risk")
    assert not any(word in str(raised.value).lower() for word in ("churn", "jane"))


@CHANGES
def test_a_key_of_another_environment_changes_no_tag(client_of, meisa_sandbox, contact, change):
    wrong = client_of(meisa_sandbox.api_url, meisa_sandbox.test_key, environment="live")
    with pytest.raises(MeisaInputError, match="nothing was sent"):
        change(wrong, contact, tag_name="b")
    assert tags_of(meisa_sandbox) == ["a"]
