"""Measure the load of a busy installation: ``python benchmarks/load.py``, about four minutes.

It runs a thousand deferred sensors, ten million addresses in one task, and the sandbox at five hundred requests per
second.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contenders import KEY, people
from echo_server import echo_server
from figures import Table, status
from sandbox_process import sandbox

SENSORS = 1_000
MANY = 10_000_000
RATE = 500
SECONDS = 60
_THREADS = 8
_HERE = Path(__file__).resolve().parent


def tables(**_: object) -> list[Table]:
    """Measure everything."""
    return [sensors(), file(), sandbox_itself()]


def sensors() -> Table:
    """Let sensors wait for a sequence that becomes active after a minute."""
    with sandbox("60/minute, 1000/hour") as url:
        took = _apart("load_sensors.py", url, KEY, str(SENSORS), str(SECONDS))
    return Table(
        f"Load: {SENSORS:,} deferred sensors in one triggerer",
        f"As many `MeisaSequenceTrigger` of one connection on one event loop, as a triggerer runs them, for "
        f"{SECONDS} s with `poll_interval=10`; then the sequence becomes active. Airflow's own work for a "
        "trigger, which is in its database, is not in the figures. The last column has the requests if each sensor "
        "sent its own.",
        ("", "all fired", "requests", "CPU s", "MiB more", "latest tick of the loop, s", "each for itself"),
        [
            [
                f"{SENSORS:,} sensors",
                f"{took['fired']:,}, within {took['late']:.1f} s",
                f"{took['requests']:,}",
                f"{took['cpu']:.1f}",
                f"{took['memory']:.0f}",
                f"{took['lag']:.2f}",
                f"{SENSORS * SECONDS // 10:,}",
            ]
        ],
    )


def file() -> Table:
    """Enroll a large file in one task."""
    with tempfile.TemporaryDirectory() as folder, echo_server() as url:
        path = Path(folder) / "addresses.txt"
        with path.open("w") as lines:
            lines.writelines(f"{address}\n" for address in people(MANY))
        took = _apart("load_file.py", url, KEY, str(path))
        size = path.stat().st_size / 2**20
    if took["counts"]["enrolled"] != MANY:
        raise SystemExit(f"Not all contacts were enrolled: {took}")
    return Table(
        f"Load: {MANY:,} addresses of one file in one task",
        f"`FileToMeisaSequenceOperator` reads a file of {size:,.0f} MiB, without rate limits, against the server that "
        "responds at once; the task's state is kept in this process. Memory is the peak resident set (VmHWM) less "
        "that before the task begins, Airflow being loaded.",
        ("", "wall s", "CPU s", "requests", "peak MiB", "target"),
        [
            [
                f"{MANY:,} addresses",
                f"{took['wall']:.0f}",
                f"{took['cpu']:.0f}",
                f"{took['requests']:,}",
                f"{took['memory']:.0f}",
                status(took["memory"], 400),
            ]
        ],
    )


def sandbox_itself() -> Table:
    """Send the sandbox as many requests as a busy test suite would, half of them writes."""
    with sandbox("none") as url:
        clients = [_Client(url, number) for number in range(_THREADS)]
        begun = time.monotonic()
        threads = [threading.Thread(target=client.run, args=(begun,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begun
    took = sorted(each for client in clients for each in client.took)
    statuses = sum((client.statuses for client in clients), Counter[int]())
    return Table(
        f"Load: the sandbox at {RATE} requests a second",
        f"Every other request enrolls a contact, the others list the sequences; {_THREADS} connections, {SECONDS} s, "
        "no rate limits. A latency includes the time that a request waited for a late one before it.",
        ("", "requests", "a second", "not 200", "median ms", "99th percentile ms", "target"),
        [
            [
                "sandbox",
                f"{len(took):,}",
                f"{len(took) / seconds:.0f}",
                f"{len(took) - statuses[200] - statuses[201]:,}",
                f"{statistics.median(took) * 1000:.1f}",
                f"{took[len(took) * 99 // 100] * 1000:.1f}",
                status(len(took) / seconds, RATE * 0.98, at_least=True),
            ]
        ],
    )


class _Client:
    """Sends its share of the requests, each at its scheduled time."""

    def __init__(self, url: str, number: int) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port)
        self._base = f"{parts.path}/api/v1"
        self._number = number
        self.took: list[float] = []
        self.statuses: Counter[int] = Counter()

    def run(self, begun: float) -> None:
        for place in range(RATE * SECONDS // _THREADS):
            due = begun + (place * _THREADS + self._number) / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            self.statuses[self._enroll(place) if place % 2 else self._list()] += 1
            self.took.append(time.monotonic() - due)

    def _list(self) -> int:
        return self._ask("GET", "/sequences/api/list/", None)

    def _enroll(self, place: int) -> int:
        who = f"load{self._number}.{place}@example.com"
        return self._ask("POST", "/sequences/enroll/", {"email": who, "sequence_slug": "onboarding"})

    def _ask(self, method: str, path: str, body: object) -> int:
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        self._connection.request(method, self._base + path, json.dumps(body) if body else None, headers)
        response = self._connection.getresponse()
        response.read()
        return response.status


def _apart(program: str, *arguments: str) -> dict[str, Any]:
    """Run a program of this folder in a process of its own, and return its measurements."""
    command = [sys.executable, str(_HERE / program), *arguments]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    took: dict[str, Any] = json.loads(output.splitlines()[-1])
    return took


if __name__ == "__main__":
    measure: Callable[[], Table]
    for measure in (sensors, file, sandbox_itself):
        print(measure().markdown(), flush=True)
