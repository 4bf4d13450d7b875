"""Rate limiters as services have them, and a client with some requests in flight, in simulated time."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

from airflow_provider_meisa.api.limits import Limit
from airflow_provider_meisa.api.quota import Quota, Wait
from airflow_provider_meisa.api.quota_stores import MemoryStore
from tests.support.clock import START, Clock


class SlidingLog:
    """As in Django REST Framework: the times of the requests let in; refused ones are not counted."""

    def __init__(self, limit):
        self.limit = limit
        self.log = deque()

    def wait(self, now):
        while self.log and self.log[0] <= now - self.limit.seconds:
            self.log.popleft()
        return self.log[0] + self.limit.seconds - now if len(self.log) >= self.limit.requests else 0.0

    def count(self, now):
        self.log.append(now)


class FixedWindow:
    """Counts from one full minute (or hour) to the next."""

    def __init__(self, limit, offset=0.0):
        self.limit, self.offset = limit, offset
        self.window, self.used = None, 0

    def wait(self, now):
        window, into = divmod(now + self.offset, self.limit.seconds)
        if window != self.window:
            self.window, self.used = window, 0
        return self.limit.seconds - into if self.used >= self.limit.requests else 0.0

    def count(self, now):
        self.used += 1


class WindowFromFirstHit:
    """As a counter in Redis with an expiry: the window begins with the first request in it."""

    def __init__(self, limit):
        self.limit = limit
        self.ends, self.used = -math.inf, 0

    def wait(self, now):
        if now >= self.ends:
            self.ends, self.used = math.inf, 0
        return self.ends - now if self.used >= self.limit.requests else 0.0

    def count(self, now):
        if self.used == 0:
            self.ends = now + self.limit.seconds
        self.used += 1


class TokenBucket:
    """Fills evenly up to a burst; every request takes one."""

    def __init__(self, limit, burst=None):
        self.rate = limit.requests / limit.seconds
        self.burst = burst or limit.requests
        self.tokens, self.at = float(self.burst), START

    def wait(self, now):
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = max(now, self.at)
        return (1 - self.tokens) / self.rate if self.tokens < 1 - 1e-9 else 0.0

    def count(self, now):
        self.tokens -= 1


class SlidingCounter:
    """As at Cloudflare: this window's count and the share of the last one's that still overlaps."""

    def __init__(self, limit, offset=0.0):
        self.limit, self.offset = limit, offset
        self.window, self.used, self.before = -math.inf, 0, 0

    def wait(self, now):
        window, into = divmod(now + self.offset, self.limit.seconds)
        if window != self.window:
            self.before = self.used if window == self.window + 1 else 0
            self.window, self.used = window, 0
        room = self.limit.requests - 1 - self.used
        if room < 0:
            return self.limit.seconds - into
        share = room / self.before if self.before else 1.0
        return max(0.0, (1 - share) * self.limit.seconds - into)

    def count(self, now):
        self.used += 1


@dataclass
class Server:
    """Several limiters at once; a request refused by one is counted by none."""

    limiters: list
    says_when: bool = True
    refused: list = field(default_factory=list)

    def ask(self, now):
        """Return None where the request is let in, else what Retry-After says."""
        wait = max(limiter.wait(now) for limiter in self.limiters)
        if wait > 1e-6:
            self.refused.append(now)
            return math.ceil(wait)
        for limiter in self.limiters:
            limiter.count(now)
        return None


def fastest(limiters, requests):
    """Seconds that the requests take when sent, without latency, at the first moment they are let in."""
    now = START
    for _ in range(requests):
        while (wait := max(limiter.wait(now) for limiter in limiters)) > 1e-6:
            now += wait
        for limiter in limiters:
            limiter.count(now)
    return now - START


def run(
    server, limits: tuple[Limit, ...], requests, *, seed=1, in_flight=4, quota=None, clock=None, begin=START
):
    """Send the requests, some at a time, with 50 to 400 ms latency; return the seconds it took."""
    clock = clock or Clock()
    quota = quota or Quota(limits, MemoryStore(), clock=clock)
    chance, order = random.Random(seed), iter(range(10**9))
    events = [(clock.now, next(order), "ask", None) for _ in range(in_flight)]
    begun, to_send, last = clock.now, requests, clock.now
    while events:
        clock.now, _, event, slot = heapq.heappop(events)
        if event == "ask" and to_send:
            decision = quota.reserve()
            if isinstance(decision, Wait):
                heapq.heappush(events, (clock.now + decision.seconds, next(order), "ask", None))
                continue
            to_send -= 1
            latency = chance.uniform(0.05, 0.4)
            arrives = clock.now + latency * chance.random()
            heapq.heappush(events, (arrives, next(order), "arrive", (decision, clock.now + latency)))
        elif event == "arrive":
            decision, answers = slot
            heapq.heappush(events, (answers, next(order), "answer", (decision, server.ask(clock.now))))
        elif event == "answer":
            decision, retry_after = slot
            quota.stamp(decision)
            if retry_after is not None:
                to_send += 1
                quota.hold(retry_after if server.says_when else None)
            last = clock.now
            heapq.heappush(events, (clock.now, next(order), "ask", None))
    return last - begun


def sent_and_counted(quota, clock, sends, *, ttl):
    """Send one after the other as the quota lets; return when an unkind server counted them.

    :param sends: fate, latency, share of the latency after which the server counts, and pause before.
    """
    pending, order, counted = [], iter(range(10**9)), []

    def settle(until):
        while pending and pending[0][0] <= until:
            clock.now, _, act = heapq.heappop(pending)
            act()
        clock.now = until

    for fate, latency, share, pause in sends:
        settle(clock.now + pause)
        while isinstance(slot := quota.reserve(), Wait):
            settle(clock.now + slot.seconds)
        if fate == "unsent":
            heapq.heappush(pending, (clock.now + latency, next(order), lambda slot=slot: quota.release(slot)))
            continue
        counted.append(clock.now + share * (ttl if fate == "silent" else latency))
        if fate != "silent":
            stamp = (clock.now + latency, next(order), lambda slot=slot: quota.stamp(slot))
            heapq.heappush(pending, stamp)
        if fate == "refused":
            hold = (clock.now + latency, next(order), lambda: quota.hold(1.0))
            heapq.heappush(pending, hold)
    return counted
