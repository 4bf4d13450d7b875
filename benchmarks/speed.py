"""Measure the cost without rate limits: ``python benchmarks/speed.py``.

It sends a million addresses from a generator to a server with almost no cost, and the same million with loops around
`requests` that do less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contenders import BATCH, THREADS, run
from echo_server import echo_server
from figures import Spread, Table, over, status

COUNT = 1_000_000
COUNT_FAR = 100_000
FAR = 0.05
REPETITIONS = 3

_NAMES = {
    "bare": "bare loop: bodies prepared, responses read as bytes",
    "handwritten": "usual loop: `json=` and `.json()`, statuses counted",
    "ours": "our whole path",
    "ours_with_outcomes": "our whole path, outcomes in a JSON Lines file",
    "ours_with_rate_limit_file": "our whole path, rate limits in the default file",
}
_CPU_TARGET = 3.0
"""The most CPU time, in multiples of the usual loop's: the limits take 4,560 s, so less code is worth more."""

Took = dict[str, list[dict[str, Any]]]


def race(count: int, latency: float, names: Sequence[str], repetitions: int) -> Took:
    """Run all contenders in turn, several times."""
    took: Took = {name: [] for name in names}
    with echo_server(latency) as url:
        for _ in range(repetitions):
            for name in names:
                took[name].append(run(name, count, url))
    return took


def _spread(runs: Sequence[dict[str, Any]], field: str) -> Spread:
    return Spread([each[field] for each in runs])


def _row(name: str, took: Took, count: int) -> list[str]:
    wall, cpu = _spread(took[name], "wall"), _spread(took[name], "cpu")
    to_bare, to_usual = (over(wall, _spread(took[peer], "wall")) for peer in ("bare", "handwritten"))
    cpu_to_usual = over(cpu, _spread(took["handwritten"], "cpu"))
    target = status(cpu_to_usual.median, _CPU_TARGET) if name == "ours" else ""
    per_address = f"{wall.median / count * 1e6:.2f}"
    ratios = (to_bare.text(), to_usual.text(), cpu_to_usual.text())
    return [_NAMES[name], wall.text(), cpu.text(), per_address, *ratios, target]


_HEAD = (
    "",
    "wall s",
    "CPU s",
    "µs per address",
    "÷ bare loop",
    "÷ usual loop",
    "CPU ÷ usual loop",
    "target (CPU ÷ usual loop)",
)


def near(took: Took | None = None) -> Table:
    """Measure against a server that responds at once."""
    took = took or race(COUNT, 0.0, tuple(_NAMES), REPETITIONS)
    return Table(
        f"Speed without limits: {COUNT:,} addresses, a server that responds at once",
        f"{BATCH} addresses per request, {THREADS} threads, loopback; the server runs on uvloop if that is installed, "
        f"in a process of its own. {REPETITIONS} repetitions in turn: median and spread. Our whole path: normalise, "
        "check, drop duplicates, cut, post, read, count. The checkpoint is not kept here: Airflow 3.3's state store "
        "takes 14 ms for each of two writes per request.",
        _HEAD,
        [_row(name, took, COUNT) for name in took],
    )


def far() -> Table:
    """Measure against a server with the latency of the internet."""
    took = race(COUNT_FAR, FAR, ("bare", "handwritten", "ours", "ours_with_outcomes"), 1)
    return Table(
        f"Speed without limits: {COUNT_FAR:,} addresses, a server that takes {FAR * 1000:.0f} ms",
        "The same, once each, where a request takes as long as over the internet.",
        _HEAD,
        [_row(name, took, COUNT_FAR) for name in took],
    )


def tables() -> list[Table]:
    """Measure everything."""
    return [near(), far()]


if __name__ == "__main__":
    for table in tables():
        print(table.markdown())
