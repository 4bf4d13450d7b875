"""It waits, and hands back what it was given."""

import asyncio
import json
import time

import pytest
from airflow.sdk.module_loading import import_string

from airflow_provider_meisa.triggers.rate_limit import MeisaRateLimitTrigger

CURSOR = {"version": 1, "next_batch": 7, "in_flight": [], "counts": {"enrolled": 3500}}


def events_of(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(asyncio.wait_for(collect(), 20))


def test_the_arguments_are_plain_json_and_make_the_same_trigger_again():
    path, arguments = MeisaRateLimitTrigger(moment=1234.5, cursor=CURSOR).serialize()
    again = import_string(path)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


def test_it_fires_once_at_the_moment_and_hands_the_cursor_back():
    moment = time.time() + 0.3
    (event,) = events_of(MeisaRateLimitTrigger(moment=moment, cursor=CURSOR))
    assert event == {"status": "go", "cursor": CURSOR, "moment": moment}
    assert moment <= time.time()


def test_after_the_moment_it_fires_at_once():
    assert len(events_of(MeisaRateLimitTrigger(moment=time.time() - 3600, cursor=CURSOR))) == 1


def test_a_triggerer_that_takes_over_waits_for_the_same_moment():
    path, arguments = MeisaRateLimitTrigger(moment=time.time() + 0.5, cursor=CURSOR).serialize()

    async def abandoned_and_taken_over():
        first = asyncio.ensure_future(anext(import_string(path)(**arguments).run()))
        await asyncio.sleep(0.2)
        first.cancel()
        return (await anext(import_string(path)(**arguments).run())).payload

    assert asyncio.run(asyncio.wait_for(abandoned_and_taken_over(), 20))["cursor"] == CURSOR
    assert arguments["moment"] <= time.time()


def test_a_cursor_that_changes_afterwards_does_not_change_the_event():
    cursor = dict(CURSOR)
    trigger = MeisaRateLimitTrigger(moment=0, cursor=cursor)
    cursor["next_batch"] = 99
    assert events_of(trigger)[0]["cursor"]["next_batch"] == 7


@pytest.mark.parametrize("triggers", [200])
def test_many_wait_beside_each_other_without_blocking_the_loop(triggers):
    async def all_of_them():
        moment = time.time() + 0.3
        waiting = [
            anext(MeisaRateLimitTrigger(moment=moment, cursor={"n": n}).run()) for n in range(triggers)
        ]
        return await asyncio.gather(*waiting)

    fired = asyncio.run(asyncio.wait_for(all_of_them(), 20))
    assert [event.payload["cursor"]["n"] for event in fired] == list(range(triggers))
