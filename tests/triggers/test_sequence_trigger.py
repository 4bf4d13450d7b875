import asyncio
import json

import pytest
from airflow.sdk.module_loading import import_string

from airflow_provider_meisa.triggers import sequences as triggers
from airflow_provider_meisa.triggers.sequences import MeisaSequenceTrigger


@pytest.fixture(autouse=True)
def nothing_seen_yet():
    triggers._seen.clear()


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


def test_it_fires_when_the_sequences_are_ready(meisa_connection):
    payload = first_event(trigger())
    assert json.loads(json.dumps(payload)) == payload
    assert payload["status"] == "ready"
    assert [sequence["slug"] for sequence in payload["sequences"]] == ["onboarding"]


def test_it_says_when_a_retry_cannot_mend_what_it_met(meisa_connection):
    assert first_event(trigger(slugs=["nowhere"]))["final"] is True
    meisa_connection(password="meisa_live_unknown")
    triggers._seen.clear()
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
