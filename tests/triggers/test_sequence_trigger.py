import asyncio
import json

import pytest
from airflow.sdk.module_loading import import_string

from airflow_provider_meisa.api.client import TRIES
from airflow_provider_meisa.triggers import sequences as triggers
from airflow_provider_meisa.triggers.sequences import MeisaSequenceTrigger


@pytest.fixture(autouse=True)
def nothing_seen_yet():
    triggers._listings.clear()


def trigger(**arguments):
    defaults = {"meisa_conn_id": "meisa_default", "slugs": ["onboarding"], "status": "active"}
    return MeisaSequenceTrigger(**{**defaults, "on_missing": "fail", "poll_interval": 0.05, **arguments})


def first_event(watched):
    async def wait():
        return (await anext(watched.run())).payload

    return asyncio.run(asyncio.wait_for(wait(), 20))


def test_the_arguments_are_plain_json_and_make_the_same_trigger_again():
    path, arguments = trigger().serialize()
    again = import_string(path)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


def test_one_that_an_earlier_version_has_serialized_is_made_again():
    path, arguments = trigger().serialize()
    earlier = {
        "meisa_conn_id": "meisa_default",
        "slugs": ["onboarding"],
        "status": "active",
        "on_missing": "fail",
        "poll_interval": 0.05,
    }
    assert import_string(path)(**earlier).serialize() == (path, {**arguments, "silent_fail": False})


def test_it_fires_when_the_sequences_are_ready(meisa_connection):
    payload = first_event(trigger())
    assert json.loads(json.dumps(payload)) == payload
    assert payload["status"] == "ready"
    assert [sequence["slug"] for sequence in payload["sequences"]] == ["onboarding"]


def test_it_says_when_a_retry_cannot_mend_what_it_met(meisa_connection):
    assert first_event(trigger(slugs=["nowhere"]))["final"] is True
    meisa_connection(password="meisa_live_unknown")
    triggers._listings.clear()
    assert first_event(trigger())["final"] is True


def test_it_says_when_a_retry_may_mend_what_it_met(meisa_connection, meisa_sandbox):
    meisa_sandbox.fault("html", status=200, path="/list/", times=None)
    assert first_event(trigger())["final"] is False


def test_it_says_that_its_connection_is_gone():
    payload = first_event(trigger(meisa_conn_id="nobody_made_this"))
    assert payload["status"] == "error"
    assert "nobody_made_this" in payload["message"]


def test_it_looks_again_after_the_interval(meisa_connection, meisa_sandbox):
    async def wait():
        events = trigger(slugs=["winback"]).run()
        waiting = asyncio.ensure_future(anext(events))
        while len(meisa_sandbox.requests()) < 3:  # noqa: ASYNC110 - the sandbox is in another thread
            await asyncio.sleep(0.01)
        meisa_sandbox.put_sequence("winback", name="Win back", status="active")
        return (await waiting).payload

    assert asyncio.run(asyncio.wait_for(wait(), 20))["sequences"][0]["slug"] == "winback"


def test_those_that_waited_for_a_look_share_its_failure(meisa_connection, meisa_sandbox, no_backoff):
    meisa_sandbox.fault("status", status=502, path="/list/", times=None)

    async def wait():
        return [event.payload for event in await asyncio.gather(*(anext(trigger().run()) for _ in range(4)))]

    assert [event["final"] for event in asyncio.run(asyncio.wait_for(wait(), 20))] == [False] * 4
    assert len(meisa_sandbox.requests()) == TRIES


def test_whoever_comes_after_a_failure_looks_again(meisa_connection, meisa_sandbox, no_backoff):
    meisa_sandbox.fault("status", status=502, path="/list/", times=TRIES)
    assert first_event(trigger(poll_interval=3600))["status"] == "error"
    assert first_event(trigger(poll_interval=3600))["status"] == "ready"


def test_one_that_is_cancelled_sends_no_more(meisa_connection, meisa_sandbox, mocker):
    mocker.patch("airflow_provider_meisa.api.client._BACKOFF", return_value=3600.0)
    meisa_sandbox.fault("status", status=502, path="/list/", times=None)

    async def cancel():
        waiting = asyncio.ensure_future(anext(trigger().run()))
        while not meisa_sandbox.requests():  # noqa: ASYNC110 - the sandbox is in another thread
            await asyncio.sleep(0.01)
        waiting.cancel()

    asyncio.run(cancel())
    assert len(meisa_sandbox.requests()) == 1
