"""The service itself, asked without the provider: what its page says, and what Django does by itself."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.drf_server import DrfServer

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(drf: DrfServer) -> Ask:
    """Send a request and return the status and the JSON body."""

    def send(path: str, body: object = None, *, key: str = "") -> tuple[int, Any]:
        headers = {"X-API-Key": key or drf.key, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(drf.url() + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return send


def test_ping_names_scopes_and_environment(ask: Ask):
    status, body = ask("/ping/")
    assert (status, body["environment"]) == (200, "live")
    assert "sequences:enroll" in body["scopes"]


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_key_has_one_of_two_statuses(drf: DrfServer, ask: Ask, status: int):
    drf.set(wrong_key_status=status)
    assert ask("/ping/", key="meisa_live_wrong") == (status, {"detail": "Invalid API key."})


def test_scope_that_lacks_is_403(drf: DrfServer, ask: Ask):
    drf.set_scopes("sequences:enroll")
    assert ask("/sequences/api/list/")[0] == 403


def test_throttle_lets_so_many_requests_pass(drf: DrfServer, ask: Ask):
    drf.set(minute_rate="2/minute")
    assert [ask("/ping/")[0] for _ in range(3)] == [200, 200, 429]


def test_list_comes_in_pages(drf: DrfServer, ask: Ask):
    for number in range(24):
        drf.add_sequence(f"flow-{number}")
    _status, body = ask("/sequences/api/list/?limit=10&offset=20")
    assert (body["count"], len(body["results"]), body["next"]) == (25, 5, None)
    assert body["previous"].startswith(drf.url())


def test_bad_address_refuses_the_whole_batch(drf: DrfServer, ask: Ask):
    emails = ["ann@example.com", "bob@example", "eve@example.com"]
    status, body = ask("/sequences/api/bulk-enroll/", {"sequence_slug": "onboarding", "emails": emails})
    assert (status, body) == (400, {"emails": {"1": ["Enter a valid email address."]}})
    assert not drf.enrollments()


def test_upsert_creates_then_updates(ask: Ask):
    created, contact = ask(
        "/contacts/upsert/", {"email": "ann@example.com", "custom_fields": {"plan": "pro"}}
    )
    updated, again = ask("/contacts/upsert/", {"email": "ann@example.com", "custom_fields": {"seats": 3}})
    assert (created, updated) == (201, 200)
    assert again["custom_fields"] == {"plan": "pro", "seats": 3}
    assert again["id"] == contact["id"]


def test_upsert_refuses_address_of_another_contact(ask: Ask):
    ask("/contacts/upsert/", {"email": "ann@example.com", "external_id": "1"})
    ask("/contacts/upsert/", {"email": "bob@example.com", "external_id": "2"})
    status, body = ask("/contacts/upsert/", {"email": "ann@example.com", "external_id": "2"})
    assert (status, list(body)) == (400, ["email"])


def test_tags_are_added_and_removed(ask: Ask):
    _status, contact = ask("/contacts/upsert/", {"email": "ann@example.com", "tag_names": ["trial"]})
    _status, added = ask(f"/contacts/{contact['id']}/add_tag/", {"tag_name": "vip"})
    _status, removed = ask(f"/contacts/{contact['id']}/remove_tag/", {"tag_name": "trial"})
    assert {tag["name"] for tag in added["tags"]} == {"trial", "vip"}
    assert [tag["name"] for tag in removed["tags"]] == ["vip"]


def test_unsubscribed_contacts_are_listed(drf: DrfServer, ask: Ask):
    drf.add_contacts(["ann@example.com"])
    drf.add_contacts(["bob@example.com"], status="unsubscribed")
    assert ask("/contacts/api/unsubscribed-emails/")[1]["emails"] == ["bob@example.com"]
