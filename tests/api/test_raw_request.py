"""A request to an endpoint that has no function of its own: what may be sent, what is sent again."""

import json

import pytest

from airflow_provider_meisa.api.errors import (
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaRedirectError,
    MeisaResponseLostError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.rate_limit.limits import Limit
from airflow_provider_meisa.api.raw_request import request

UPSERT = "/contacts/upsert/"


def http(status, body=b"{}"):
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def test_a_read_returns_status_and_json(client):
    response = request(client, "GET", "/sequences/api/list/", query={"status": "all", "search": "win"})
    assert response.status == 200
    assert [row["slug"] for row in response.body["results"]] == ["winback"]


def test_a_write_sends_its_body(client, meisa_sandbox):
    response = request(client, "POST", UPSERT, {"email": "ada@example.com", "custom_fields": {"n": (1, 2)}})
    assert (response.status, response.body["custom_fields"]) == (201, {"n": [1, 2]})
    assert len(meisa_sandbox.contacts()) == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_go_out_as_they_are(raw, raw_client, method):
    raw.will(http(200, b'["ok"]'))
    assert request(raw_client, method, "/tags/7/", json={"name": "x"}, query={"page": 2}).body == ["ok"]
    (received,) = raw.received
    assert (received.method, received.target) == (method, "/api/v1/tags/7/?page=2")
    assert json.loads(received.body) == {"name": "x"}


@pytest.mark.parametrize("response", [http(204, b""), http(200, b""), http(202, b" \n")])
def test_a_response_may_be_empty(raw, raw_client, response):
    raw.will(response)
    assert request(raw_client, "DELETE", "/tags/7/").body is None


def test_what_is_not_json_is_still_unreadable(raw, raw_client):
    raw.will(http(200, b"<html>"))
    with pytest.raises(MeisaUnreadableResponseError, match="is HTML"):
        request(raw_client, "GET", "/tags/")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tags/", "must begin and end with a slash"),
        ("/tags", "must begin and end with a slash"),
        ("", "path is empty"),
        (None, "path must be a text"),
        (7, "path must be a text"),
        ("https://api.meisa.io/api/v1/tags/", "not a URL"),
        ("//elsewhere.example/tags/", "not a URL"),
        ("/tags/?page=2", "pass what is behind the ?"),
        ("/tags/#top", "a query or a fragment"),
        ("/../tags/", "leads upwards"),
        ("/tags/%2e%2e/keys/", "leads upwards"),
        ("/tags/%252e%252e/keys/", "leads upwards"),
        ("/tags/..%2fkeys/", "leads upwards"),
        ("/./tags/", "leads upwards"),
        ("/tags\\..\\keys/", "cannot hold"),
        ("/tags/%5c..%5c/", "cannot hold"),
        ("/a tag/", "cannot hold"),
        ("/tags\r\nX-Evil: 1/", "cannot hold"),
        ("/t\u00e4gs/", "cannot hold"),
        ("/contacts//add_tag/", "two slashes in a row"),
        ("/contacts/ada@example.com/add_tag/", "holds an address or a key"),
        ("/contacts/ada%40example.com/add_tag/", "holds an address or a key"),
        ("/contacts/ada%2540example.com/add_tag/", "holds an address or a key"),
        ("/keys/meisa_live_Abc123/", "holds an address or a key"),
        ("/api/v1/tags/", "which the base URL has already"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(client, meisa_sandbox, path, message):
    with pytest.raises(MeisaInputError, match=message) as raised:
        request(client, "POST", path, {"a": 1})
    assert meisa_sandbox.requests() == []
    assert not any(word in str(raised.value) for word in ("ada", "Abc123", "Evil"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "get"}, "Did you mean|must be one of: GET, POST"),
        ({"method": "HEAD"}, "must be one of: GET, POST, PUT, PATCH, DELETE"),
        ({"method": None}, "must be one of"),
        ({"json": [1]}, "json must be a dict"),
        ({"json": '{"a": 1}'}, "json must be a dict"),
        ({"json": {"when": object()}}, "json under 'when' holds a value of type object"),
        ({"json": {"n": float("inf")}}, "holds inf"),
        ({"query": "a=1"}, "query must be a dict"),
        ({"query": {"a": None}}, "texts and whole numbers, not None"),
        ({"query": {"a": True}}, "texts and whole numbers, not True"),
        ({"query": {"a": ["x"]}}, "texts and whole numbers"),
        ({"query": {3: "x"}}, "query's name must be a text"),
        ({"resend": "yes"}, "resend must be True or False"),
        ({"resend": 1}, "resend must be True or False"),
        ({"method": "GET", "json": {}}, "pass query instead of json"),
        ({"json": {"override_unsubscribe": True}}, "would mail people who unsubscribed"),
        ({"json": {"override_unsubscribe": "true"}}, "would mail people who unsubscribed"),
        ({"json": {"override_unsubscribe": 1}}, "would mail people who unsubscribed"),
    ],
)
def test_what_cannot_be_sent_is_refused(client, meisa_sandbox, arguments, message):
    with pytest.raises(MeisaInputError, match=message):
        request(client, **{"method": "POST", "path": UPSERT, **arguments})
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize("kind", ["reset_after", "html", "status"])
def test_a_read_is_sent_again(client, meisa_sandbox, kind):
    meisa_sandbox.fault(kind, times=2)
    assert request(client, "GET", "/ping/").status == 200
    assert len(meisa_sandbox.requests()) == 3


@pytest.mark.parametrize("kind", ["reset_after", "html", "status"])
def test_a_write_is_not_sent_again(client, meisa_sandbox, kind):
    meisa_sandbox.fault(kind, times=1)
    with pytest.raises(Exception, match=f"POST {UPSERT}") as raised:
        request(client, "POST", UPSERT, {"email": "ada@example.com"})
    assert raised.value.possibly_done
    assert len(meisa_sandbox.requests()) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_method_that_writes_is_sent_again(raw, raw_client, method):
    raw.will(lambda _line: None)
    with pytest.raises(MeisaResponseLostError):
        request(raw_client, method, "/tags/7/")
    assert len(raw.received) == 1


def test_a_write_is_sent_again_only_once_with_resend(client, meisa_sandbox):
    meisa_sandbox.fault("reset_after", times=1)
    response = request(client, "POST", UPSERT, {"email": "ada@example.com"}, resend=True)
    assert (response.status, response.possibly_twice) == (200, True)
    meisa_sandbox.fault("reset_after")
    with pytest.raises(MeisaResponseLostError):
        request(client, "POST", UPSERT, {"email": "ada@example.com"}, resend=True)
    assert len(meisa_sandbox.requests()) == 4


def test_a_write_refused_with_429_is_sent_again(client, meisa_sandbox):
    meisa_sandbox.fault("status", status=429, headers={"Retry-After": "1"}, times=1)
    assert request(client, "POST", UPSERT, {"email": "ada@example.com"}).status == 201


def test_requests_keep_to_the_rate_limits(client_of, meisa_sandbox, clock):
    limited = client_of(meisa_sandbox.api_url, meisa_sandbox.key, limits=(Limit(2, 60),))
    for _ in range(3):
        request(limited, "GET", "/ping/")
    assert clock.sleeps


def test_a_redirect_is_not_followed(client, meisa_sandbox):
    meisa_sandbox.fault("redirect", location="https://elsewhere.example/")
    with pytest.raises(MeisaRedirectError):
        request(client, "POST", UPSERT, {"email": "ada@example.com"})


def test_a_write_needs_the_environment_of_the_connection(client_of, meisa_sandbox):
    wrong = client_of(meisa_sandbox.api_url, meisa_sandbox.test_key, environment="live")
    with pytest.raises(MeisaInputError, match="nothing was sent"):
        request(wrong, "DELETE", "/tags/7/")
    assert [entry["path"] for entry in meisa_sandbox.requests()] == ["/api/v1/ping/"]


def test_the_override_goes_where_the_connection_allows_it(client_of, meisa_sandbox):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.key, allow_override_unsubscribe=True)
    body = {"email": "bounced@example.com", "sequence_slug": "onboarding", "override_unsubscribe": True}
    assert request(client, "POST", "/sequences/enroll/", body).status == 201


def test_a_refusal_shows_nothing_that_was_sent(raw, raw_client):
    raw.will(http(400, b'{"detail": "No Jane Roe with gold and u-77 (9911), jane@example.com."}'))
    body = {"event_name": "Upgrade", "properties": {"plan": "gold", "n": [9911]}, "external_id": "u-77"}
    with pytest.raises(MeisaInvalidRequestError) as raised:
        request(raw_client, "POST", "/events/track/", body, {"name": "Jane Roe"})
    shown = f"{raised.value} {raised.value.reason} {raised.value.texts}"
    assert not any(word in shown for word in ("Jane", "Roe", "gold", "77", "9911", "jane"))
    assert "POST /events/track/" in shown
