"""Rate limiters as services have them, and a client with some requests in flight, in simulated time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.limits import Limit
from airflow_provider_meisa.api.rate_limit.storage.factory import MemoryStorage
from tests.support.clock import START, Clock

Event: TypeAlias = tuple[float, int, Callable[[], None]]
"""When it happens, its place among those of the same moment, and what it does."""


class Limiter(Protocol):
    """A rate limiter of a service."""

    def wait(self, now: float) -> float:
        """Return the seconds until a request is let in; 0 where one is let in now."""

    def count(self, now: float) -> None:
        """Count a request that is let in."""


class Pacer(Protocol):
    """What the simulated client asks before it sends: `RateLimiter`, or another way to pace."""

    def reserve(self) -> Reservation | Wait:
        """Return a slot, or the time to wait for one."""

    def commit(self, reservation: Reservation) -> None:
        """Give a slot back: the response has come."""

    def back_off(self, seconds: float | None) -> None:
        """Back off after a 429, which may say for how long."""


class NoPacing:
    """Sends at once, whatever the service responds."""

    def reserve(self) -> Reservation | Wait:
        """Return a slot."""
        return Reservation("")

    def commit(self, reservation: Reservation) -> None:
        """Keep nothing."""

    def back_off(self, seconds: float | None) -> None:
        """Do not back off."""


class SlidingLog:
    """As in Django REST Framework: the times of the requests let in; refused ones are not counted."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.log: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Return the seconds until a request is let in."""
        while self.log and self.log[0] <= now - self.limit.seconds:
            self.log.popleft()
        return self.log[0] + self.limit.seconds - now if len(self.log) >= self.limit.requests else 0.0

    def count(self, now: float) -> None:
        """Count a request."""
        self.log.append(now)


class FixedWindow:
    """Counts from one full minute (or hour) to the next."""

    def __init__(self, limit: Limit, offset: float = 0.0) -> None:
        self.limit, self.offset = limit, offset
        self.window: float | None = None
        self.used = 0

    def wait(self, now: float) -> float:
        """Return the seconds until a request is let in."""
        window, into = divmod(now + self.offset, self.limit.seconds)
        if window != self.window:
            self.window, self.used = window, 0
        return self.limit.seconds - into if self.used >= self.limit.requests else 0.0

    def count(self, now: float) -> None:
        """Count a request."""
        self.used += 1


class WindowFromFirstHit:
    """As a counter in Redis with an expiry: the window begins with the first request in it."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.ends, self.used = -math.inf, 0

    def wait(self, now: float) -> float:
        """Return the seconds until a request is let in."""
        if now >= self.ends:
            self.ends, self.used = math.inf, 0
        return self.ends - now if self.used >= self.limit.requests else 0.0

    def count(self, now: float) -> None:
        """Count a request."""
        if self.used == 0:
            self.ends = now + self.limit.seconds
        self.used += 1


class TokenBucket:
    """Fills evenly up to a burst; every request takes one."""

    def __init__(self, limit: Limit, burst: int | None = None) -> None:
        self.rate = limit.requests / limit.seconds
        self.burst = burst or limit.requests
        self.tokens, self.at = float(self.burst), START

    def wait(self, now: float) -> float:
        """Return the seconds until a request is let in."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = max(now, self.at)
        return (1 - self.tokens) / self.rate if self.tokens < 1 - 1e-9 else 0.0

    def count(self, now: float) -> None:
        """Count a request."""
        self.tokens -= 1


class SlidingCounter:
    """As at Cloudflare: this window's count and the share of the last one's that still overlaps."""

    def __init__(self, limit: Limit, offset: float = 0.0) -> None:
        self.limit, self.offset = limit, offset
        self.window, self.used, self.before = -math.inf, 0, 0

    def wait(self, now: float) -> float:
        """Return the seconds until a request is let in."""
        window, into = divmod(now + self.offset, self.limit.seconds)
        if window != self.window:
            self.before = self.used if window == self.window + 1 else 0
            self.window, self.used = window, 0
        room = self.limit.requests - 1 - self.used
        if room < 0:
            return self.limit.seconds - into
        share = room / self.before if self.before else 1.0
        return max(0.0, (1 - share) * self.limit.seconds - into)

    def count(self, now: float) -> None:
        """Count a request."""
        self.used += 1


@dataclass
class Server:
    """Several limiters at once; a request refused by one is counted by none."""

    limiters: Sequence[Limiter]
    says_when: bool = True
    refused: list[float] = field(default_factory=list)

    def ask(self, now: float) -> int | None:
        """Return None where the request is let in, else what Retry-After says."""
        wait = max(limiter.wait(now) for limiter in self.limiters)
        if wait > 1e-6:
            self.refused.append(now)
            return math.ceil(wait)
        for limiter in self.limiters:
            limiter.count(now)
        return None


def fastest(limiters: Sequence[Limiter], requests: int) -> float:
    """Seconds that the requests take when sent, without latency, at the first moment they are let in."""
    now = START
    for _ in range(requests):
        while (wait := max(limiter.wait(now) for limiter in limiters)) > 1e-6:
            now += wait
        for limiter in limiters:
            limiter.count(now)
    return now - START


def run(
    server: Server,
    limits: tuple[Limit, ...],
    requests: int,
    *,
    seed: int = 1,
    in_flight: int = 4,
    rate_limiter: Pacer | None = None,
    clock: Clock | None = None,
) -> float:
    """Send the requests, some at a time, with 50 to 400 ms latency; return the seconds it took."""
    clock = clock or Clock()
    pacer = rate_limiter or RateLimiter(limits, MemoryStorage(), clock=clock)
    return _Client(server, pacer, clock, requests, seed).run(in_flight)


class _Client:
    """Sends a request as soon as the pacer lets it, and once more if the server refused it."""

    def __init__(self, server: Server, pacer: Pacer, clock: Clock, requests: int, seed: int) -> None:
        self._server, self._pacer, self._clock = server, pacer, clock
        self._to_send = requests
        self._random = random.Random(seed)
        self._events: list[Event] = []
        self._order = itertools.count()
        self._last_response = clock.now

    def run(self, in_flight: int) -> float:
        """Send all requests; return the seconds until the last response."""
        begun = self._clock.now
        for _ in range(in_flight):
            self._at(begun, self._send)
        while self._events:
            self._clock.now, _, act = heapq.heappop(self._events)
            act()
        return self._last_response - begun

    def _at(self, moment: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), act))

    def _send(self) -> None:
        if not self._to_send:
            return
        reservation = self._pacer.reserve()
        if isinstance(reservation, Wait):
            self._at(self._clock.now + reservation.seconds, self._send)
            return
        self._to_send -= 1
        latency = self._random.uniform(0.05, 0.4)
        arrival = self._clock.now + latency * self._random.random()
        self._at(arrival, partial(self._arrive, reservation, self._clock.now + latency))

    def _arrive(self, reservation: Reservation, response_at: float) -> None:
        retry_after = self._server.ask(self._clock.now)
        self._at(response_at, partial(self._receive, reservation, retry_after))

    def _receive(self, reservation: Reservation, retry_after: int | None) -> None:
        self._pacer.commit(reservation)
        if retry_after is not None:
            self._to_send += 1
            self._pacer.back_off(retry_after if self._server.says_when else None)
        self._last_response = self._clock.now
        self._at(self._clock.now, self._send)


def sent_and_counted(
    rate_limiter: RateLimiter, clock: Clock, sends: Iterable[tuple[str, float, float, float]], *, ttl: float
) -> list[float]:
    """Send one after the other as the limiter lets; return when an unkind server counted them.

    :param sends: fate, latency, share of the latency after which the server counts, and pause before.
    """
    pending: list[Event] = []
    order = itertools.count()
    counted: list[float] = []

    def at(moment: float, act: Callable[[], None]) -> None:
        heapq.heappush(pending, (moment, next(order), act))

    def settle(until: float) -> None:
        while pending and pending[0][0] <= until:
            clock.now, _, act = heapq.heappop(pending)
            act()
        clock.now = until

    for fate, latency, share, pause in sends:
        settle(clock.now + pause)
        while isinstance(reservation := rate_limiter.reserve(), Wait):
            settle(clock.now + reservation.seconds)
        response_at = clock.now + latency
        if fate == "unsent":
            at(response_at, partial(rate_limiter.release, reservation))
            continue
        counted.append(clock.now + share * (ttl if fate == "silent" else latency))
        if fate != "silent":
            at(response_at, partial(rate_limiter.commit, reservation))
        if fate == "refused":
            at(response_at, partial(rate_limiter.back_off, 1.0))
    return counted


if TYPE_CHECKING:
    _limiters: Iterable[type[Limiter]] = (
        SlidingLog,
        FixedWindow,
        WindowFromFirstHit,
        TokenBucket,
        SlidingCounter,
    )
    _pacers: Iterable[type[Pacer]] = (RateLimiter, NoPacing)
