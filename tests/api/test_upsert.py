"""Create and update a contact: what is sent, what comes back, what is sent again, what an error shows."""

import json

import pytest

from airflow_provider_meisa.api.endpoints import contacts
from airflow_provider_meisa.api.errors import (
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaRateLimitError,
    MeisaResponseLostError,
    MeisaScopeError,
    MeisaServerError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.rate_limit.limits import Limit

FULL = {
    "external_id": "42",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "display_name": "Ada L.",
    "source": "signup",
    "custom_fields": {"plan": "team", "seats": 3},
    "tag_names": ["trial", "eu"],
}


def http(status, body):
    content = json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)


def test_every_field_reaches_meisa_and_comes_back(client, meisa_sandbox):
    contact = contacts.upsert(client, "ada@example.com", **FULL)
    (kept,) = meisa_sandbox.contacts()
    assert contact.id == kept["id"]
    assert contact.created
    assert contact.tags == ("trial", "eu")
    for name in ("external_id", "first_name", "last_name", "display_name", "custom_fields"):
        assert getattr(contact, name) == kept[name] == FULL[name]
    assert kept["source"] == "signup"
    assert contact.status == "subscribed"
    assert contact.created_at == contact.updated_at != ""


def test_an_update_is_not_created_and_keeps_the_id(client):
    first = contacts.upsert(client, "ada@example.com", external_id="42")
    second = contacts.upsert(client, "ada@new.example.com", external_id="42")
    assert (first.created, second.created) == (True, False)
    assert (second.id, second.email) == (first.id, "ada@new.example.com")


def test_what_is_not_given_is_not_sent(raw, raw_client):
    raw.will(http(201, {"id": "1"}))
    contacts.upsert(raw_client, "ada@example.com", custom_fields={}, tag_names=[])
    assert json.loads(raw.received[0].body) == {"email": "ada@example.com"}


def test_an_empty_name_is_sent(client, meisa_sandbox):
    contacts.upsert(client, "ada@example.com", first_name="Ada")
    assert contacts.upsert(client, "ada@example.com", first_name="").first_name == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"email": ""}, "email is empty"),
        ({"email": None}, "email must be a text, not None"),
        ({"external_id": 42}, "external_id must be a text, not 42"),
        ({"external_id": " "}, "external_id is empty"),
        ({"first_name": ["Ada"]}, "first_name must be a text"),
        ({"last_name": 1.5}, "last_name must be a text"),
        ({"display_name": True}, "display_name must be a text"),
        ({"source": "airflow"}, "source must be one of: api, import, manual, signup, initial_sync"),
        ({"source": ""}, "source must be one of"),
        ({"source": "sign-up"}, "Did you mean 'signup'"),
        ({"custom_fields": [1]}, "custom_fields must be a dict"),
        ({"custom_fields": {"plan": {1, 2}}}, "custom_fields under 'plan' holds a value of type set"),
        ({"custom_fields": {"mrr": float("nan")}}, "holds nan"),
        ({"custom_fields": {3: "x"}}, "in JSON, keys are texts"),
        ({"tag_names": "trial"}, "tag_names must be a list of texts, not a text"),
        ({"tag_names": ["trial", 3]}, r"tag_names\[1\] must be a text, not 3"),
        ({"tag_names": [""]}, r"tag_names\[0\] is empty"),
        ({"tag_names": {"trial"}}, "tag_names must be a list of texts"),
    ],
)
def test_a_wrong_field_is_refused_before_sending(client, meisa_sandbox, given, message):
    with pytest.raises(MeisaInputError, match=message):
        contacts.upsert(client, **{"email": "ada@example.com", **given})
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize(
    "fault",
    [("reset_after", {}), ("status", {"status": 500}), ("html", {"status": 504}), ("late", {"seconds": 0.0})],
    ids=lambda fault: fault[0],
)
def test_a_lost_response_is_sent_again(client, meisa_sandbox, fault, clock):
    kind, params = fault
    meisa_sandbox.fault(kind, times=2, **params)
    contact = contacts.upsert(client, "ada@example.com", **FULL)
    (kept,) = meisa_sandbox.contacts()
    assert contact.id == kept["id"]
    assert len(meisa_sandbox.requests()) == 3
    assert client.stats.retries == 2


def test_a_response_that_stays_lost_is_an_error(client, meisa_sandbox):
    meisa_sandbox.fault("reset_after")
    with pytest.raises(MeisaResponseLostError) as raised:
        contacts.upsert(client, "ada@example.com")
    assert raised.value.possibly_done
    assert len(meisa_sandbox.contacts()) == 1
    meisa_sandbox.clear_faults()
    meisa_sandbox.fault("status", status=502)
    with pytest.raises(MeisaServerError):
        contacts.upsert(client, "ada@example.com")


@pytest.mark.parametrize(
    "body",
    [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": ["7"]}, [], "ok", None, {"contact": {"id": "7"}}],
    ids=str,
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_response_without_id_is_unreadable(raw, raw_client, status, body):
    raw.will(http(status, body))
    with pytest.raises(MeisaUnreadableResponseError, match="has no id of the contact") as raised:
        contacts.upsert(raw_client, "ada@example.com")
    assert raised.value.status == status


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ({"id": "c-1"}, {}),
        ({"id": 7, "email": None, "tags": None, "custom_fields": None}, {}),
        ({"id": "c-1", "tags": ["a", {"name": "b"}, {"id": 3}, 4]}, {"tags": ("a", "b")}),
        ({"id": "c-1", "status": 3, "emails_opened": 12, "custom_fields": "none"}, {}),
        ({"id": "c-1", "first_name": {"de": "Ada"}, "status": "active"}, {"status": "active"}),
    ],
    ids=str,
)
def test_the_rest_of_the_response_may_be_anything(raw, raw_client, body, known):
    raw.will(http(200, body))
    contact = contacts.upsert(raw_client, "ada@example.com")
    assert contact == contacts.Contact(id=str(body["id"]), created=False, **known)


def test_a_repr_shows_nothing_personal(client):
    shown = repr(contacts.upsert(client, "ada@example.com", **FULL))
    assert not any(word in shown for word in ("ada", "Ada", "Lovelace", "42'", "team", "trial"))


def test_a_conflict_names_no_contact(client, meisa_sandbox):
    contacts.upsert(client, "ada@example.com", external_id="42")
    contacts.upsert(client, "kay@example.com", external_id="43")
    with pytest.raises(MeisaInvalidRequestError, match=r"\(409\).*Another contact has this email") as raised:
        contacts.upsert(client, "kay@example.com", external_id="42")
    assert raised.value.status == 409
    assert "kay" not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        {"detail": "Contact ext-7781 (Jane Roe, ROE Inc) has Gold, 9911 and vip already."},
        {"error": "ext-7781 Jane Roe: plan gold (9911) is not allowed with vip"},
        {"detail": {"custom_fields": {"plan": "gold"}, "message": "vip: 9911 for Jane Roe of Roe Inc"}},
        ["jane roe is taken", "ext-7781 is taken", "gold"],
    ],
    ids=lambda body: str(body)[:30],
)
def test_a_refusal_shows_nothing_that_was_sent(raw, raw_client, body):
    raw.will(http(400, body))
    with pytest.raises(MeisaInvalidRequestError) as raised:
        contacts.upsert(
            raw_client,
            "jane@example.com",
            external_id="ext-7781",
            first_name="Jane",
            last_name="Roe",
            display_name="Jane Roe",
            custom_fields={"plan": "gold", "deep": [{"company": "Roe Inc", "n": 9911}], "trial": True},
            tag_names=["vip"],
        )
    shown = f"{raised.value} {raised.value.reason} {raised.value.texts}".lower()
    assert not any(word in shown for word in ("7781", "jane", "roe", "gold", "9911", "vip", "inc"))


@pytest.mark.parametrize(
    "name", ["email", "external_id", "source", "custom_fields", "tag_names", "display_name"]
)
def test_a_refusal_names_the_field(raw, raw_client, name):
    raw.will(http(400, {name: ["Not valid: something."]}))
    with pytest.raises(MeisaInvalidRequestError, match=f"Fields it names: {name}"):
        contacts.upsert(raw_client, "ada@example.com")


def test_a_key_without_the_scope_is_told_which(client_of, meisa_sandbox):
    meisa_sandbox.add_key("meisa_live_reader", ["contacts:read"])
    with pytest.raises(MeisaScopeError, match="contacts:write"):
        contacts.upsert(client_of(meisa_sandbox.api_url, "meisa_live_reader"), "ada@example.com")
    assert meisa_sandbox.contacts() == []


def test_an_upsert_counts_against_the_limits(client_of, meisa_sandbox):
    limited = client_of(meisa_sandbox.api_url, meisa_sandbox.key, limits=(Limit(2, 3600),), max_wait=1)
    for number in range(2):
        contacts.upsert(limited, f"c{number}@example.com")
    with pytest.raises(MeisaRateLimitError):
        contacts.upsert(limited, "c2@example.com")
    assert len(meisa_sandbox.contacts()) == 2


def test_a_key_of_another_environment_changes_no_contact(client_of, meisa_sandbox):
    wrong = client_of(meisa_sandbox.api_url, meisa_sandbox.test_key, environment="live")
    with pytest.raises(MeisaInputError, match="nothing was sent"):
        contacts.upsert(wrong, "ada@example.com")
    assert meisa_sandbox.contacts("test") == meisa_sandbox.contacts() == []
