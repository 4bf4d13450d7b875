"""What every store of the rate limits promises, played on all of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.limits import Limit, parse_limits
from airflow_provider_meisa.api.rate_limit.operations import BackOff, Commit, Release, Reserve
from airflow_provider_meisa.api.rate_limit.state import expire
from airflow_provider_meisa.api.rate_limit.storage.factory import FileStorage, MemoryStorage, RedisStorage
from tests.support.clock import START, Clock
from tests.support.redis import redis_on_loopback

names = (f"contract-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with redis_on_loopback(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="module")
def stores(redis_url, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rate_limits")
    return {
        "memory": MemoryStorage,
        "file": lambda: FileStorage(next(names), folder),
        "redis": lambda: RedisStorage(redis_url, next(names), own_clock=True),
    }


@pytest.fixture(params=["memory", "file", "redis"])
def store(request, stores):
    return stores[request.param]()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limiter_of(store, clock):
    def make(text, **options):
        return RateLimiter(parse_limits(text), store, clock=clock, **options)

    return make


def use(rate_limiter, times=1):
    for _ in range(times):
        reservation = rate_limiter.reserve()
        assert isinstance(reservation, Reservation)
        rate_limiter.commit(reservation)


def wait_of(rate_limiter):
    decision = rate_limiter.reserve()
    assert isinstance(decision, Wait), "a slot was given"
    return pytest.approx(decision.seconds, abs=1e-5)


def test_a_window_gives_its_requests_and_then_says_when_the_next_slot_frees(limiter_of, clock):
    rate_limiter = limiter_of("3/minute")
    use(rate_limiter)
    clock.now += 10
    use(rate_limiter, 2)
    clock.now += 10
    assert wait_of(rate_limiter) == 40.015


def test_whoever_waits_as_long_as_told_gets_a_slot(limiter_of, clock):
    rate_limiter = limiter_of("2/minute")
    use(rate_limiter, 2)
    clock.now += rate_limiter.reserve().seconds + 1e-6
    use(rate_limiter)


def test_a_short_window_has_a_short_margin(limiter_of):
    rate_limiter = limiter_of("1/0.5s")
    use(rate_limiter)
    assert wait_of(rate_limiter) == 0.5025


def test_a_response_counts_from_when_it_came_not_from_when_its_request_left(limiter_of, clock):
    rate_limiter = limiter_of("1/minute")
    reservation = rate_limiter.reserve()
    clock.now += 5
    rate_limiter.commit(reservation)
    clock.now += 56
    assert wait_of(rate_limiter) == 4.015


def test_a_slot_that_is_out_fills_the_window(limiter_of):
    rate_limiter = limiter_of("2/minute")
    assert isinstance(rate_limiter.reserve(), Reservation)
    assert isinstance(rate_limiter.reserve(), Reservation)
    assert wait_of(rate_limiter) == 60.015


def test_a_slot_given_back_is_free_again(limiter_of):
    rate_limiter = limiter_of("1/minute")
    rate_limiter.release(rate_limiter.reserve())
    use(rate_limiter)


def test_all_windows_hold_at_once(limiter_of, clock):
    rate_limiter = limiter_of("2/minute, 3/hour")
    use(rate_limiter, 2)
    clock.now += 61
    use(rate_limiter)
    assert wait_of(rate_limiter) == 3600.015 - 61


def test_a_slot_never_heard_of_counts_as_a_response_when_its_time_is_over(limiter_of, clock):
    rate_limiter = limiter_of("1/minute", reservation_ttl=120)
    rate_limiter.reserve()
    clock.now += 150
    assert wait_of(rate_limiter) == 30.015
    clock.now += 30.1
    use(rate_limiter)


def test_a_response_later_than_its_slots_time_counts_again(limiter_of, clock):
    rate_limiter = limiter_of("2/minute", reservation_ttl=10)
    reservation = rate_limiter.reserve()
    clock.now += 15
    rate_limiter.commit(reservation)
    assert wait_of(rate_limiter) == 55.015


def test_a_slot_given_back_after_its_time_still_counts(limiter_of, clock):
    rate_limiter = limiter_of("1/minute", reservation_ttl=10)
    reservation = rate_limiter.reserve()
    clock.now += 15
    rate_limiter.release(reservation)
    assert wait_of(rate_limiter) == 55.015


def test_a_slot_asked_for_twice_is_given_once(store, clock):
    limits = (Limit(2, 60),)
    first, again = (store.run(Reserve("same", limits, 10**8), clock) for _ in range(2))
    assert first == again == Reservation("same")
    assert len(store.read(clock)[0].open) == 1


def test_a_429_holds_everyone_for_as_long_as_it_says_and_one_step_more(limiter_of, clock):
    rate_limiter, other = limiter_of("60/minute"), limiter_of("60/minute")
    use(rate_limiter)
    rate_limiter.back_off(7)
    assert wait_of(other) == 8
    clock.now += 8
    use(other)


def test_a_429_that_does_not_say_how_long_holds_for_the_shortest_window(limiter_of):
    rate_limiter = limiter_of("10/minute, 100/hour")
    use(rate_limiter)
    rate_limiter.back_off()
    assert wait_of(rate_limiter) == 60


@pytest.mark.parametrize("nonsense", [0, -5, float("nan"), float("inf")])
def test_a_wait_that_makes_no_sense_is_as_good_as_none(limiter_of, nonsense):
    rate_limiter = limiter_of("10/minute")
    use(rate_limiter)
    rate_limiter.back_off(nonsense)
    assert wait_of(rate_limiter) == 60


def test_a_hold_that_was_not_enough_is_doubled_up_to_the_longest_window(limiter_of, clock):
    rate_limiter = limiter_of("1000/minute, 2000/3m")
    waits = []
    for _ in range(4):
        use(rate_limiter)
        rate_limiter.back_off()
        waits.append(rate_limiter.reserve().seconds)
        clock.now += waits[-1]
    assert waits == pytest.approx([60, 120, 180, 180])


def test_a_hold_is_never_shortened(limiter_of):
    rate_limiter = limiter_of("10/minute")
    use(rate_limiter)
    rate_limiter.back_off(30)
    rate_limiter.back_off(2)
    assert wait_of(rate_limiter) == 36


def test_after_a_429_requests_are_spaced_evenly(limiter_of, clock):
    rate_limiter = limiter_of("10/minute, 100/hour")
    use(rate_limiter)
    rate_limiter.back_off(1)
    clock.now += 7
    use(rate_limiter)
    assert wait_of(rate_limiter) == 6.12
    clock.now += 6.12
    use(rate_limiter)


def test_429s_of_requests_in_flight_together_slow_down_once(limiter_of, clock):
    rate_limiter = limiter_of("10/minute")
    slots = [rate_limiter.reserve() for _ in range(4)]
    for reservation in slots:
        rate_limiter.commit(reservation)
        rate_limiter.back_off(1)
        clock.now += 0.1
    clock.now += 10
    use(rate_limiter)
    assert wait_of(rate_limiter) == 6.12


def test_every_further_429_slows_down_by_a_quarter_until_a_bound(limiter_of, clock):
    rate_limiter, gaps = limiter_of("10/minute"), []
    for _ in range(12):
        use(rate_limiter)
        rate_limiter.back_off(1)
        clock.now += 60
        use(rate_limiter)
        gaps.append(rate_limiter.reserve().seconds)
        clock.now += 60
    assert gaps[:3] == pytest.approx([6.12, 6.12 * 1.25, 6.12 * 1.25**2])
    assert gaps[-1] == pytest.approx(24)


def test_a_full_longer_window_is_blamed_for_a_429(limiter_of, clock):
    rate_limiter = limiter_of("100/minute, 20/hour")
    use(rate_limiter, 18)
    rate_limiter.back_off()
    clock.now += 400
    use(rate_limiter)
    assert wait_of(rate_limiter) == 183.6


def test_a_full_longer_window_is_not_blamed_where_the_wait_asked_for_is_shorter_than_its_pace(
    limiter_of, clock
):
    rate_limiter = limiter_of("10/minute, 11/hour")
    use(rate_limiter, 10)
    rate_limiter.back_off(2)
    clock.now += 70
    use(rate_limiter)
    assert rate_limiter.store.read(clock)[0].interval == 6_120_000


def test_after_a_quiet_hour_requests_need_not_be_spaced_any_more(limiter_of, clock):
    rate_limiter = limiter_of("10/minute")
    use(rate_limiter)
    rate_limiter.back_off(1)
    clock.now += 3599
    use(rate_limiter)
    assert isinstance(rate_limiter.reserve(), Wait)
    clock.now += 1
    use(rate_limiter, 9)


def test_a_clock_set_back_blocks_no_longer_than_a_window(limiter_of, clock):
    rate_limiter = limiter_of("2/minute", reservation_ttl=60)
    use(rate_limiter)
    rate_limiter.reserve()
    clock.now -= 86400
    assert wait_of(rate_limiter) == 60.015
    clock.now += 60
    assert wait_of(rate_limiter) == 0.015
    clock.now += 0.016
    use(rate_limiter)


def test_a_clock_set_back_does_not_lengthen_a_hold(limiter_of, clock):
    rate_limiter = limiter_of("10/minute")
    use(rate_limiter)
    rate_limiter.back_off(30)
    clock.now -= 86400
    assert wait_of(rate_limiter) == 36
    clock.now += 36
    use(rate_limiter)


def test_those_with_other_limits_share_what_was_used(limiter_of, clock):
    strict, generous = limiter_of("2/minute"), limiter_of("5/minute")
    use(generous, 3)
    use(strict, 0)
    assert wait_of(strict) == 60.015
    clock.now += 30
    use(generous, 2)
    strict.release(Reservation("unknown"))
    assert wait_of(generous) == 30.015


def test_what_is_remembered_is_no_more_than_the_largest_window_needs(limiter_of, store, clock):
    rate_limiter = limiter_of("3/s, 5/minute")
    for _ in range(4):
        use(rate_limiter, 3)
        clock.now += 1.1
        use(rate_limiter, 2)
        clock.now += 61
    assert len(store.read(clock)[0].log) == 5


def test_a_window_of_one_request_remembers_one(limiter_of, store, clock):
    rate_limiter = limiter_of("1/s")
    use(rate_limiter)
    clock.now += 2
    use(rate_limiter)
    assert len(store.read(clock)[0].log) == 1


def test_what_remains_is_told_for_each_window(limiter_of, clock):
    rate_limiter = limiter_of("3/minute, 5/hour")
    assert rate_limiter.remaining() == {"3/minute": 3, "5/hour": 5}
    use(rate_limiter, 2)
    clock.now += 61
    use(rate_limiter)
    rate_limiter.reserve()
    assert rate_limiter.remaining() == {"3/minute": 1, "5/hour": 1}


def test_the_estimate_is_what_the_requests_then_take(limiter_of, clock):
    rate_limiter = limiter_of("3/minute, 5/hour")
    use(rate_limiter)
    reported = [rate_limiter.estimate(requests) for requests in range(8)]
    took, begun = [0.0], clock.now
    while len(took) < 8:
        decision = rate_limiter.reserve()
        if isinstance(decision, Wait):
            clock.now += decision.seconds
        else:
            rate_limiter.commit(decision)
            took.append(clock.now - begun)
    assert reported == pytest.approx(took, abs=1e-3)


def test_the_estimate_knows_of_holds_and_spacing(limiter_of, clock):
    rate_limiter = limiter_of("10/minute")
    use(rate_limiter)
    rate_limiter.back_off(30)
    assert rate_limiter.estimate(3) == pytest.approx(36 + 2 * 6.12)


LIMITS = ((Limit(2, 1), Limit(5, 10)), (Limit(3, 2),))
TOKENS = st.sampled_from(["a", "b", "c", "d", "e"])
STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from([0, 1, 10_000, 500_000, 2_000_000, -3_000_000]), st.integers(0, 20_000_000)
        ),
        st.sampled_from(LIMITS),
        st.one_of(
            st.tuples(st.sampled_from([Reserve, Reserve, Commit, Release]), TOKENS),
            st.tuples(st.just(BackOff), st.sampled_from([0, 0, 300_000, 2_000_000, 5_000_000])),
        ),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_all_stores_decide_alike(stores, steps):
    clock, ttl = Clock(float(round(START))), 4_000_000
    all_three = [make() for make in stores.values()]
    for pause, limits, (kind, argument) in steps:
        clock.now += pause / 1e6
        decisions = [store.run(kind(argument, limits, ttl), clock) for store in all_three]
        assert decisions[0] == decisions[1] == decisions[2]
    states = [expire(state, now, ttl, 5) for state, now in (store.read(clock) for store in all_three)]
    shown = [(state.log, sorted(state.open), state.interval, state.back_off_for) for state in states]
    assert shown[0] == shown[1] == shown[2]
