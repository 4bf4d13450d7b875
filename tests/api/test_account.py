from __future__ import annotations

import json

import pytest

from airflow_provider_meisa.api.endpoints.account import KeyInfo, confirm_environment, ping
from airflow_provider_meisa.api.endpoints.sequences import bulk_enroll
from airflow_provider_meisa.api.errors import MeisaInputError, MeisaKeyError, MeisaUnreadableResponseError
from tests.support.raw_server import respond_with


def test_ping_says_what_the_key_is_and_may_do(meisa_sandbox, client_of):
    meisa_sandbox.add_key("meisa_test_reads", scopes=["sequences:read", "contacts:read"], environment="test")
    assert ping(client_of(meisa_sandbox.api_url, "meisa_test_reads")) == KeyInfo(
        "test", "Sandbox", frozenset({"sequences:read", "contacts:read"})
    )


def test_ping_with_an_unknown_key_is_refused(meisa_sandbox, client_of):
    with pytest.raises(MeisaKeyError):
        ping(client_of(meisa_sandbox.api_url, "meisa_live_unknown"))


@pytest.mark.parametrize(
    ("body", "info"),
    [
        ({}, KeyInfo("", "", frozenset())),
        ({"environment": None, "product": 7, "scopes": 7}, KeyInfo("", "", frozenset())),
        (
            {"environment": "LIVE", "scopes": "a:b, c:d e:f"},
            KeyInfo("live", "", frozenset({"a:b", "c:d", "e:f"})),
        ),
        ({"environment": {"name": "test"}, "product": {"id": 1}}, KeyInfo("test", "", frozenset())),
        ({"product": {"name": "Shop"}, "scopes": ["a:b", None, 7]}, KeyInfo("", "Shop", frozenset({"a:b"}))),
    ],
)
def test_odd_responses_to_ping_are_read_as_far_as_they_go(raw, raw_client, body, info):
    raw.will(respond_with(200, body))
    assert ping(raw_client) == info


@pytest.mark.parametrize("body", [[], "pong", 1, None])
def test_a_response_to_ping_that_is_no_object_is_unreadable(raw, raw_client, body):
    raw.will(respond_with(200, json.dumps(body)))
    with pytest.raises(MeisaUnreadableResponseError, match="not a JSON object") as caught:
        ping(raw_client)
    assert not caught.value.possibly_done


def test_without_an_environment_nothing_is_sent(raw, raw_client):
    confirm_environment(raw_client)
    assert raw.connections == 0


def test_an_environment_that_agrees_is_asked_for_once(raw, client_of):
    client = client_of(raw.url, environment="test")
    raw.will(respond_with(200, {"environment": "Test"}))
    confirm_environment(client)
    confirm_environment(client)
    assert len(raw.received) == 1


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("test", "'test'"),
        (None, "'an unknown one'"),
        ("of ada@example.org " + "x" * 1000, "'of <address>"),
    ],
)
def test_an_environment_that_does_not_agree_is_refused_each_time(raw, client_of, message, named):
    client = client_of(raw.url, environment="live")
    raw.will(respond_with(200, {"environment": message}))
    for _ in range(2):
        with pytest.raises(MeisaInputError, match="nothing was sent") as caught:
            confirm_environment(client)
        assert named in str(caught.value)
        assert len(str(caught.value)) < 400
    assert len(raw.received) == 1


def test_no_batch_is_in_doubt_if_the_environment_cannot_be_read(raw, client_of):
    raw.will(respond_with(200, []))
    with pytest.raises(MeisaUnreadableResponseError) as caught:
        bulk_enroll(client_of(raw.url, environment="live"), ["ada@example.org"], "onboarding")
    assert not caught.value.possibly_done
    assert len(raw.received) == 1
