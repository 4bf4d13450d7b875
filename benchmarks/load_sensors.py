"""Deferred sensors on one event loop: ``python load_sensors.py URL KEY SENSORS SECONDS`` prints its measurements."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from typing import Any

import requests
from contenders import status_mib

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="meisa-bench-")

SLUG = "winback"  # a draft
POLL = 10.0
_TICK = 0.05


async def watch(url: str, sensors: int, seconds: float) -> dict[str, Any]:
    """Let the sensors wait, then activate the sequence, and wait until each has fired."""
    from airflow_provider_meisa.triggers.sequences import MeisaSequenceTrigger

    triggers = [
        MeisaSequenceTrigger(
            meisa_conn_id="meisa_default",
            slugs=[SLUG],
            status="active",
            on_missing="fail",
            poll_interval=POLL,
        )
        for _ in range(sensors)
    ]
    ticks = asyncio.create_task(latest_tick())
    before, cpu = status_mib("VmRSS"), time.process_time()
    waiting = [asyncio.create_task(anext(trigger.run())) for trigger in triggers]
    await asyncio.sleep(seconds)
    took = {"cpu": time.process_time() - cpu, "memory": status_mib("VmHWM") - before, "requests": asked(url)}
    activated = time.monotonic()
    await asyncio.to_thread(activate, url)
    fired = await asyncio.gather(*waiting)
    ticks.cancel()
    ready = sum(event.payload["status"] == "ready" for event in fired)
    return {**took, "fired": ready, "late": time.monotonic() - activated, "lag": latest[0]}


latest = [0.0]


async def latest_tick() -> None:
    """Record the longest delay of the event loop."""
    while True:
        due = time.monotonic() + _TICK
        await asyncio.sleep(_TICK)
        latest[0] = max(latest[0], time.monotonic() - due)


def asked(url: str) -> int:
    """Return the number of requests that the sandbox has received."""
    return len(requests.get(f"{url}/_sandbox/requests", timeout=60).json())


def activate(url: str) -> None:
    """Activate the sequence."""
    sequence = {"slug": SLUG, "name": "Win-back", "status": "active"}
    response = requests.post(f"{url}/_sandbox/sequences", json=sequence, timeout=30)
    response.raise_for_status()


def main(url: str, key: str, sensors: str, seconds: str) -> None:
    """Measure, and print."""
    extra = {"rate_limit_storage": "memory"}
    os.environ["AIRFLOW_CONN_MEISA_DEFAULT"] = json.dumps(
        {"conn_type": "meisa", "host": url, "password": key, "extra": extra}
    )
    logging.disable(logging.INFO)
    print(json.dumps(asyncio.run(watch(url, int(sensors), float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
