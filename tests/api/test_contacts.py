from __future__ import annotations

import json

import pytest

from airflow_provider_meisa.api.endpoints.contacts import Suppressions, unsubscribed_emails
from airflow_provider_meisa.api.errors import MeisaScopeError, MeisaUnreadableResponseError
from airflow_provider_meisa.api.models import MAX_RESPONSE_BYTES
from tests.support.raw_server import respond_with


def test_the_unsubscribed_the_bounced_and_the_complained_are_listed(client):
    found = unsubscribed_emails(client)
    assert set(found.emails) == {"unsubscribed@example.com", "bounced@example.com", "complained@example.com"}
    assert found.as_of.startswith("20")
    assert "@" not in repr(found)


def test_a_key_without_the_scope_is_told_which(meisa_sandbox, client_of):
    meisa_sandbox.add_key("meisa_live_enrolls", scopes=["sequences:enroll"])
    with pytest.raises(MeisaScopeError, match="contacts:read"):
        unsubscribed_emails(client_of(meisa_sandbox.api_url, "meisa_live_enrolls"))


def test_all_pages_are_read(raw, raw_client):
    raw.will(
        respond_with(200, {"as_of": "2026-11-01", "emails": ["a@x.example"], "next": "?page=2"}),
        respond_with(200, {"as_of": "2026-11-02", "emails": ["b@x.example", None, 7]}),
    )
    assert unsubscribed_emails(raw_client) == Suppressions("2026-11-01", ("a@x.example", "b@x.example"))


def test_an_empty_list_without_a_date_is_a_list(raw, raw_client):
    raw.will(respond_with(200, {"as_of": None, "emails": []}))
    assert unsubscribed_emails(raw_client) == Suppressions("", ())


def test_the_list_may_be_larger_than_other_responses(raw, raw_client):
    emails = ["a" * 1000 + "@x.example"] * (MAX_RESPONSE_BYTES // 1000)
    raw.will(respond_with(200, {"emails": emails}))
    assert len(unsubscribed_emails(raw_client).emails) == len(emails)


@pytest.mark.parametrize(
    "pages",
    [
        [{"count": 2, "emails": ["a@x.example"]}],
        [{"count": 2, "emails": ["a@x.example", None]}],
        [{"count": 3, "emails": ["a@x.example"], "next": "?page=2"}, {"count": 3, "emails": ["b@x.example"]}],
    ],
    ids=["cut off", "not an address", "a page is missing"],
)
def test_list_with_fewer_addresses_than_it_counts_is_refused(raw, raw_client, pages):
    raw.will(*(respond_with(200, page) for page in pages))
    with pytest.raises(MeisaUnreadableResponseError, match=r"has \d of \d addresses") as caught:
        unsubscribed_emails(raw_client)
    assert "a@x" not in str(caught.value)


@pytest.mark.parametrize("counts", [(2, 2), (2, 1), (1, 2), (None, "two"), (1, 1)])
def test_list_that_changes_between_pages_is_read(raw, raw_client, counts):
    raw.will(
        respond_with(200, {"count": counts[0], "emails": ["a@x.example"], "next": "?page=2"}),
        respond_with(200, {"count": counts[1], "emails": ["b@x.example"]}),
    )
    assert unsubscribed_emails(raw_client).emails == ("a@x.example", "b@x.example")


@pytest.mark.parametrize(
    "body", [{}, [], ["a@x.example"], {"emails": None}, {"emails": {"a@x.example": 1}}, "text"]
)
def test_a_response_without_a_list_is_unreadable(raw, raw_client, body):
    raw.will(respond_with(200, json.dumps(body)))
    with pytest.raises(MeisaUnreadableResponseError, match="no list 'emails'") as caught:
        unsubscribed_emails(raw_client)
    assert "a@x" not in str(caught.value)


def test_a_second_page_without_a_list_is_unreadable(raw, raw_client):
    raw.will(respond_with(200, {"emails": [], "next": "?page=2"}), respond_with(200, {"next": None}))
    with pytest.raises(MeisaUnreadableResponseError):
        unsubscribed_emails(raw_client)
