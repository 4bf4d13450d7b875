"""Measure the pace under a key's rate limits, and the number of 429s: ``python benchmarks/pace.py [--full]``."""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from figures import Spread, Table, status
from pace_process import together
from redis_process import redis_on_loopback
from sandbox_process import add_key, received, sandbox

from airflow_provider_meisa.api.rate_limit.limiter import Reservation, Wait
from airflow_provider_meisa.api.rate_limit.limits import DEFAULT_LIMITS, Limit, parse_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support import limiter_simulation as simulation

LIMITS = "60/2s, 1000/120s"
TARGET = 1.02
REPETITIONS = 3
SEEDS = range(1, 6)

_HEAD = ("what sends", "requests", "429", "seconds", "optimum", "÷ optimum", "target")
_numbers = itertools.count(1000)


def optimum(limits: tuple[Limit, ...], requests: int) -> float:
    """Return the seconds for the requests if each is admitted as early as possible, with an immediate response."""
    return float(simulation.fastest([simulation.SlidingLog(limit) for limit in limits], requests))


# Peers in simulated time, with the interface of `RateLimiter`.


class Obedient:
    """No limits of its own; after a 429 it waits for its Retry-After."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = -math.inf

    def reserve(self) -> Reservation | Wait:
        """Allow a request, except after a 429."""
        wait = self._until - self._clock()
        return Wait(wait) if wait > 0 else Reservation("")

    def commit(self, reservation: Reservation) -> None:
        """Record nothing."""

    def back_off(self, seconds: float) -> None:
        """Allow no request for this many seconds."""
        self._until = max(self._until, self._clock() + seconds)


class TokenBuckets(Obedient):
    """One token bucket per limit, full at first and refilled evenly."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._buckets = [simulation.TokenBucket(limit) for limit in DEFAULT_LIMITS]

    def reserve(self) -> Reservation | Wait:
        """Allow a request if every bucket has a token."""
        decision = super().reserve()
        wait = max(bucket.wait(self._clock()) for bucket in self._buckets)
        if isinstance(decision, Wait) or wait > 0:
            return decision if isinstance(decision, Wait) else Wait(wait)
        for bucket in self._buckets:
            bucket.count(self._clock())
        return decision


class Evenly(Obedient):
    """One request every 3.6 s, which respects every limit: 1,000 an hour, evenly."""

    _next = -math.inf

    def reserve(self) -> Reservation | Wait:
        """Allow a request if the last one is old enough."""
        now, pause = self._clock(), max(limit.seconds / limit.requests for limit in DEFAULT_LIMITS)
        if now < self._next:
            return Wait(self._next - now)
        self._next = now + pause
        return super().reserve()


def simulated() -> Table:
    """Measure at the default limits, against the limiter of Django REST Framework, in simulated time."""
    ways: dict[str, Callable[..., Any] | None] = {
        "our rate limiter": None,
        "token buckets": TokenBuckets,
        "no limiter, obeys Retry-After": Obedient,
        "one every 3.6 s": Evenly,
    }
    rows = [_simulate(name, way, requests) for requests in (200, 2000, 5000) for name, way in ways.items()]
    return Table(
        "Pace at 60/minute, 1000/hour, in simulated time",
        "Against a sliding log such as Django REST Framework's; 50–400 ms latency, four requests in flight, "
        f"median and spread of {len(SEEDS)} runs with different latencies. The optimum has no latency.",
        _HEAD,
        rows,
    )


def _simulate(name: str, way: Callable[..., Any] | None, requests: int) -> list[str]:
    refused, seconds = [], []
    for seed in SEEDS:
        clock = simulation.Clock()
        server = simulation.Server([simulation.SlidingLog(limit) for limit in DEFAULT_LIMITS])
        rate_limiter = {"rate_limiter": way(clock), "clock": clock} if way else {}
        seconds.append(simulation.run(server, DEFAULT_LIMITS, requests, seed=seed, **rate_limiter))
        refused.append(len(server.refused))
    return _row(name, requests, refused, seconds, optimum(DEFAULT_LIMITS, requests), is_ours=way is None)


def real(requests: int, repetitions: int) -> Table:
    """Measure against the sandbox in real time."""
    best = optimum(parse_limits(LIMITS), requests)
    rows = []
    with sandbox(LIMITS) as url, _stores() as stores:
        for name, processes, way, store in _contests(stores):
            runs = [_send(url, way, processes, requests, store) for _ in range(repetitions)]
            refused, seconds = [run["refused"] for run in runs], [run["seconds"] for run in runs]
            rows.append(_row(name, requests, refused, seconds, best, is_ours=way == "paced"))
    return Table(
        f"Pace at {LIMITS}, in real time",
        "The runner and the client, up to four requests in flight per process, against the sandbox over "
        f"a socket. {repetitions} repetitions: median and spread. 429s are counted in the sandbox's journal. The "
        "optimum has no latency; the rate limiter's margin adds 10 ms per short window, and 15 ms per long one.",
        _HEAD,
        rows,
    )


@contextmanager
def _stores() -> Iterator[dict[str, str]]:
    with redis_on_loopback() as redis, tempfile.TemporaryDirectory() as folder:
        yield {"file": (Path(folder) / "rate_limits").as_uri(), **({"Redis": redis} if redis else {})}


def _contests(stores: dict[str, str]) -> Iterator[tuple[str, int, str, str]]:
    yield "one process, rate limits in memory", 1, "paced", "memory"
    for name, store in stores.items():
        yield (
            f"four processes, one key, rate limits in {'a file' if name == 'file' else name}",
            4,
            "paced",
            store,
        )
    yield "one `requests` loop that obeys Retry-After", 1, "obedient", ""
    yield "four such loops, one key", 4, "obedient", ""


def _send(url: str, way: str, processes: int, requests: int, store: str) -> dict[str, float]:
    key = add_key(url, f"meisa_live_bench{next(_numbers)}")
    took = together(way, processes, requests, url, key, LIMITS, store)
    statuses = [entry["status"] for entry in received(url, key)]
    if took["done"] != requests or statuses.count(200) != requests:
        raise SystemExit(
            f"{way}: {took['done']} of {requests} addresses, {statuses.count(200)} requests taken"
        )
    return {**took, "refused": statuses.count(429)}


def _row(
    name: str,
    requests: int,
    refused: Sequence[float],
    seconds: Sequence[float],
    best: float,
    *,
    is_ours: bool,
) -> list[str]:
    ratio = Spread([each / best for each in seconds])
    target = status(ratio.median, TARGET) if is_ours else ""
    if is_ours and any(refused):
        target = "no 429: **missed**"
    return [
        name,
        f"{requests:,}",
        Spread(refused).text(0),
        Spread(seconds).text(),
        f"{best:,.1f}",
        ratio.text(3),
        target,
    ]


def tables(*, full: bool = False) -> list[Table]:
    """Measure everything; ``full`` adds 2,000 requests in real time, which takes 10 minutes."""
    return [simulated(), real(200, REPETITIONS), *([real(2000, 1)] if full else [])]


if __name__ == "__main__":
    for table in tables(full="--full" in sys.argv):
        print(table.markdown())
