"""Send as fast as the rate limits allow: ``python pace_process.py HOW URL KEY LIMITS RATE_LIMIT_STORAGE REQUESTS``.

It prints ``ready``, waits for a line, sends, and prints as JSON when it began, when it ended and what it received.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contenders import SLUG, people, runner_of


def paced(url: str, key: str, limits: str, rate_limit_storage: str, count: int) -> dict[str, Any]:
    """Send batches of one address through the runner and the client."""
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.rate_limit.limits import parse_limits
    from airflow_provider_meisa.api.settings import Settings

    settings = Settings(
        api_key=key,
        base_url=f"{url}/api/v1",
        limits=parse_limits(limits),
        rate_limit_storage=rate_limit_storage,
    )
    with MeisaClient(settings) as client:
        runner = runner_of(client, people(count), size=1, longest_wait=math.inf)
        _wait_for_the_word()
        begun = time.time()
        runner.run()
        ended = time.time()
    summary = runner.summary(complete=True)
    return {"begun": begun, "ended": ended, "refused": summary["rate_limited"], "done": summary["total"]}


def obedient(url: str, key: str, _limits: str, _rate_limit_storage: str, count: int) -> dict[str, Any]:
    """Send one after the other until a 429, then wait for its Retry-After: the usual loop."""
    import requests

    session = requests.Session()
    session.headers["X-API-Key"] = key
    refused = 0
    _wait_for_the_word()
    begun = time.time()
    for address in people(count):
        while True:
            body = {"sequence_slug": SLUG, "emails": [address]}
            response = session.post(f"{url}/api/v1/sequences/api/bulk-enroll/", json=body, timeout=30)
            if response.status_code != requests.codes.too_many_requests:
                break
            refused += 1
            time.sleep(float(response.headers["Retry-After"]))
        response.raise_for_status()
    return {"begun": begun, "ended": time.time(), "refused": refused, "done": count}


WAYS: dict[str, Callable[..., dict[str, Any]]] = {"paced": paced, "obedient": obedient}


def _wait_for_the_word() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def together(way: str, processes: int, requests: int, *where: str) -> dict[str, float]:
    """Share the requests among processes, start them together, and add up their results."""
    command = [sys.executable, str(Path(__file__)), way, *where, str(requests // processes)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout
        process.stdout.readline()
    outputs = _let_go(running)
    took = [json.loads(output) for output in outputs]
    return {
        "seconds": max(each["ended"] for each in took) - min(each["begun"] for each in took),
        "refused": sum(each["refused"] for each in took),
        "done": sum(each["done"] for each in took),
    }


def _let_go(running: list[subprocess.Popen[str]]) -> list[str]:
    for process in running:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate()[0] for process in running]


if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](*sys.argv[2:6], int(sys.argv[6]))))
