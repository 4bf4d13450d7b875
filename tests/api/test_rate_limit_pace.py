"""How fast the limiter sends, and what it provokes, against rate limiters of every kind in simulated time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter
from airflow_provider_meisa.api.rate_limit.limits import DEFAULT_LIMITS, Limit
from airflow_provider_meisa.api.rate_limit.storage.factory import MemoryStorage
from tests.support.clock import START, Clock
from tests.support.limiter_simulation import (
    FixedWindow,
    NoPacing,
    Server,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
    WindowFromFirstHit,
    fastest,
    run,
    sent_and_counted,
)

MINUTE, HOUR = DEFAULT_LIMITS


def both(limiter, *options):
    return lambda: [limiter(limit, *options) for limit in DEFAULT_LIMITS]


AS_GENEROUS_AS_WE_THINK = {
    "sliding log": both(SlidingLog),
    "fixed window": both(FixedWindow),
    "fixed window begun before": both(FixedWindow, 17),
    "window from the first hit": both(WindowFromFirstHit),
    "token bucket with a full burst": both(TokenBucket),
}
STRICTER = {
    # name: limiters, most 429s, slowest compared with the optimum, for 200 and for 1,900 requests
    "sliding counter": (both(SlidingCounter), (6, 1.03), (14, 1.06)),
    "sliding counter begun half an hour before": (both(SlidingCounter, 1800), (6, 1.03), (14, 1.06)),
    "token bucket with a small burst": (
        lambda: [TokenBucket(MINUTE, 10), SlidingLog(HOUR)],
        (6, 1.1),
        (10, 1.03),
    ),
    "token buckets with small bursts": (
        lambda: [TokenBucket(MINUTE, 10), TokenBucket(HOUR, 100)],
        (14, 1.08),
        (22, 1.08),
    ),
}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("requests", [200, 2000])
@pytest.mark.parametrize("limiter", AS_GENEROUS_AS_WE_THINK)
def test_a_server_as_generous_as_we_think_never_says_429_and_no_time_is_lost(limiter, requests, seed):
    server = Server(AS_GENEROUS_AS_WE_THINK[limiter]())
    took = run(server, DEFAULT_LIMITS, requests, seed=seed)
    assert not server.refused
    assert took <= 1.02 * fastest(both(SlidingLog)(), requests)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("which", [1, 2], ids=["200", "1900"])
@pytest.mark.parametrize("limiter", STRICTER)
def test_a_stricter_server_is_learnt_from_a_few_429s(limiter, which, seed):
    limiters, most, slowest = STRICTER[limiter][0], *STRICTER[limiter][which]
    requests, server = (200, 1900)[which - 1], Server(limiters())
    took = run(server, DEFAULT_LIMITS, requests, seed=seed)
    assert 0 < len(server.refused) <= most
    assert took <= slowest * fastest(limiters() + both(SlidingLog)(), requests)


@pytest.mark.parametrize("offset", range(0, 3600, 605))
def test_a_sliding_counter_is_learnt_wherever_its_windows_begin(offset):
    server = Server(both(SlidingCounter, offset)())
    took = run(server, DEFAULT_LIMITS, 1900)
    assert len(server.refused) <= 14
    assert took <= 1.15 * fastest(both(SlidingCounter, offset)() + both(SlidingLog)(), 1900)


@pytest.mark.parametrize("limiter", STRICTER)
def test_a_stricter_server_that_does_not_say_how_long_is_not_hammered(limiter):
    server = Server(STRICTER[limiter][0](), says_when=False)
    run(server, DEFAULT_LIMITS, 200)
    assert len(server.refused) <= 6


def test_after_a_quiet_hour_the_full_burst_is_used_again():
    clock = Clock()
    rate_limiter = RateLimiter(DEFAULT_LIMITS, MemoryStorage(), clock=clock)
    strict = Server([TokenBucket(MINUTE, 10), SlidingLog(HOUR)])
    assert run(strict, DEFAULT_LIMITS, 30, rate_limiter=rate_limiter, clock=clock) > 15
    assert strict.refused
    clock.now += 3600
    assert run(Server([SlidingLog(MINUTE)]), DEFAULT_LIMITS, 30, rate_limiter=rate_limiter, clock=clock) < 5


def test_another_program_that_uses_up_the_hour_provokes_few_429s():
    server = Server(both(SlidingLog)())
    for number in range(1000):
        server.limiters[1].count(START - 3000 + number)
    run(server, DEFAULT_LIMITS, 200)
    assert len(server.refused) <= 10


SENDS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "answered", "answered", "refused", "silent", "unsent"]),
        st.floats(0, 3),
        st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
        st.one_of(st.just(0.0), st.floats(0, 2)),
    ),
    min_size=1,
    max_size=60,
)
LIMITS = st.lists(
    st.builds(Limit, st.integers(1, 5), st.sampled_from([0.5, 1, 3, 10])), min_size=1, max_size=3
)


@settings(max_examples=300, deadline=None)
@given(limits=LIMITS, sends=SENDS)
def test_whenever_a_server_counts_no_window_ever_holds_more_than_its_limit(limits, sends):
    clock = Clock()
    rate_limiter = RateLimiter(tuple(limits), MemoryStorage(), clock=clock, reservation_ttl=5)
    counted = sorted(sent_and_counted(rate_limiter, clock, sends, ttl=5))
    assert counted or all(fate == "unsent" for fate, *_ in sends)
    for limit in limits:
        for first, beyond in zip(counted, counted[limit.requests :], strict=False):
            assert beyond - first >= limit.seconds


def test_the_simulated_servers_do_refuse_whoever_has_no_rate_limit():
    for limiters in [*AS_GENEROUS_AS_WE_THINK.values(), *(case[0] for case in STRICTER.values())]:
        server = Server(limiters())
        run(server, DEFAULT_LIMITS, 100, rate_limiter=NoPacing(), clock=Clock(START))
        assert len(server.refused) > 50
