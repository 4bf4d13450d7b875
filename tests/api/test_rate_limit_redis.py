"""The rate limits in Redis: its own clock, its keys, and what happens when it is away."""

from __future__ import annotations

import logging
import sys
import time

import pytest
import redis

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.limits import parse_limits
from airflow_provider_meisa.api.rate_limit.storage.factory import RedisStorage, name_of, storage_for
from tests.support.redis import redis_on_loopback
from tests.support.threads import run_in_threads

NOWHERE = "redis://:secret-word@127.0.0.1:1/0"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with redis_on_loopback(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushdb()
        yield client


def wrong_clock():
    return 0.0


def test_several_hosts_go_by_the_clock_of_redis(redis_url, client):
    limits = parse_limits("2/minute")
    one, other = (
        RateLimiter(limits, RedisStorage(redis_url, "k"), clock=clock) for clock in (wrong_clock, time.time)
    )
    one.commit(one.reserve())
    other.commit(other.reserve())
    assert 30 < one.reserve().seconds <= 60.015
    assert one.remaining() == other.remaining() == {"2/minute": 0}
    assert 90 < one.estimate(4) <= 120.03


def test_many_threads_never_get_more_than_a_window_holds(redis_url, client):
    rate_limiter, given = RateLimiter(parse_limits("10/minute"), RedisStorage(redis_url, "k")), []
    run_in_threads(lambda: given.extend(rate_limiter.reserve() for _ in range(5)))
    assert sum(isinstance(decision, Reservation) for decision in given) == 10


def test_in_real_time_no_window_ever_holds_more_than_its_limit(redis_url, client):
    counted = []

    def spend():
        rate_limiter = RateLimiter(parse_limits("20/0.5s"), RedisStorage(redis_url, "k"))
        for _ in range(15):
            while isinstance(decision := rate_limiter.reserve(), Wait):
                time.sleep(decision.seconds)
            counted.append(time.time())
            rate_limiter.commit(decision)

    run_in_threads(spend)
    counted.sort()
    assert min(beyond - first for first, beyond in zip(counted, counted[20:], strict=False)) >= 0.5


def test_keys_are_named_by_a_hash_and_expire(redis_url, client):
    rate_limiter = RateLimiter(
        parse_limits("2/minute, 9/2h"), storage_for(redis_url, "https://meisa.test", "meisa_live_abc")
    )
    rate_limiter.commit(rate_limiter.reserve())
    rate_limiter.reserve()
    name = name_of("https://meisa.test", "meisa_live_abc")
    assert sorted(client.keys()) == [
        f"meisa:rate_limit:{{{name}}}:{part}" for part in ("log", "open", "state")
    ]
    for key in client.scan_iter():
        assert 7200 + 3600 < client.ttl(key) <= 7200 + 3600 + 120


def test_those_with_shorter_windows_do_not_shorten_the_memory(redis_url, client):
    for limits in ("2/day", "2/minute"):
        RateLimiter(parse_limits(limits), RedisStorage(redis_url, "k")).reserve()
    assert client.ttl("meisa:rate_limit:{k}:open") > 86400


def test_a_redis_that_forgot_the_script_is_given_it_again(redis_url, client):
    rate_limiter = RateLimiter(parse_limits("2/minute"), RedisStorage(redis_url, "k"))
    rate_limiter.reserve()
    client.script_flush()
    assert isinstance(rate_limiter.reserve(), Reservation)


def test_a_redis_that_is_away_stops_the_sending_and_its_password_is_not_told():
    rate_limiter = RateLimiter(parse_limits("2/minute"), RedisStorage(NOWHERE, "k"))
    for ask in (rate_limiter.reserve, rate_limiter.remaining):
        with pytest.raises(MeisaUnreachableError, match=r"ConnectionError.*Nothing was sent") as caught:
            ask()
        assert "secret-word" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_response_is_not_lost_because_redis_is_away(caplog):
    rate_limiter = RateLimiter(parse_limits("2/minute"), RedisStorage(NOWHERE, "k"))
    with caplog.at_level(logging.WARNING):
        rate_limiter.commit(Reservation("token"))
    assert "could not be updated" in caplog.text
    assert "secret-word" not in caplog.text


def test_a_url_that_cannot_be_read_is_not_quoted():
    with pytest.raises(MeisaInputError, match="Redis URL") as caught:
        RedisStorage("redis://:secret/word@host:6379/0", "k")
    assert "secret" not in str(caught.value)


def test_without_the_client_of_redis_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MeisaInputError, match=r"pip install 'airflow-provider-meisa\[redis\]'"):
        storage_for("redis://127.0.0.1/0", "https://meisa.test", "key")
