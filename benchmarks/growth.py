"""How memory and time grow with the audience: ``python benchmarks/growth.py [--full]``."""

from __future__ import annotations

import sys
from typing import Any

from contenders import run
from echo_server import echo_server
from figures import Table, status

_MILLION = 1_000_000
_MOST_MIB = {_MILLION: 80.0, 10 * _MILLION: 400.0}
_LINE = 1.25


def memory() -> Table:
    """Measure the peak memory of a process, above that of an idle interpreter."""
    with echo_server() as url:
        rows = [_memory_row("our whole path", run("ours", _MILLION, url), _MILLION, is_ours=True)]
    rows += [
        _memory_row(
            "our whole path, no network", run("ours_unsent", 10 * _MILLION), 10 * _MILLION, is_ours=True
        ),
        *(_memory_row("a `set` of strings", run("deduplicated", n), n, is_ours=False) for n in _MOST_MIB),
    ]
    return Table(
        "Memory: addresses from a stream, duplicates dropped",
        "The peak resident set of the process (VmHWM), less that of the same interpreter before it imports anything "
        "of this package. The chance of a false duplicate is n² / 2⁶⁵: one run in 36 million with a million addresses, "
        "one in 370,000 with ten million.",
        ("", "addresses", "peak MiB", "of it for imports", "target"),
        rows,
    )


def _memory_row(name: str, took: dict[str, Any], count: int, *, is_ours: bool) -> list[str]:
    peak = took["peak"] - took["bare_interpreter"]
    imports = took["before"] - took["bare_interpreter"]
    target = status(peak, _MOST_MIB[count]) if is_ours else ""
    return [name, f"{count:,}", f"{peak:,.0f}", f"{imports:,.0f}", target]


def linear(*, full: bool = False) -> Table:
    """Measure the time per address for larger and larger audiences."""
    counts = [10_000, 100_000, _MILLION, *([10 * _MILLION] if full else [])]
    micros: dict[str, list[float]] = {}
    with echo_server() as url:
        for what, *where in (("ours", url), ("ours_unsent",), ("reading",)):
            micros[what] = [_cheapest(what, count, *where) for count in counts]
    return Table(
        "Growth: µs of CPU per address",
        "The best of three runs (of one above a hundred thousand). The last column is the highest over the lowest "
        "from 100,000 on: 1 is a straight line.",
        ("", *(f"{count:,}" for count in counts), "highest ÷ lowest", "target"),
        [_linear_row(name, micros[what]) for what, name in _LINES.items()],
    )


_LINES = {
    "ours": "our whole path",
    "ours_unsent": "our whole path, no network",
    "reading": "reading the audience again, as a retry does",
}


def _cheapest(what: str, count: int, *where: str) -> float:
    times = 3 if count < _MILLION else 1
    return min(float(run(what, count, *where)["cpu"]) for _ in range(times)) / count * 1e6


def _linear_row(name: str, micros: list[float]) -> list[str]:
    spread = max(micros[1:]) / min(micros[1:])
    return [name, *(f"{each:.2f}" for each in micros), f"{spread:.2f}", status(spread, _LINE)]


def tables(*, full: bool = False) -> list[Table]:
    """Measure everything; ``full`` adds ten million addresses to the line."""
    return [memory(), linear(full=full)]


if __name__ == "__main__":
    for table in tables(full="--full" in sys.argv):
        print(table.markdown())
