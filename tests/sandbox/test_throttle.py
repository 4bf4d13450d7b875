"""How often a key may call."""

from __future__ import annotations

import pytest

from airflow_provider_meisa.sandbox.server import Sandbox
from airflow_provider_meisa.sandbox.throttle import Throttle, Window, parse_rate_limits
from tests.support.clock import Clock


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("60/minute, 1000/hour", [(60, 60), (1000, 3600)]),
        ("60/2s", [(60, 2)]),
        ("5 / 10 seconds,1/day", [(5, 10), (1, 86400)]),
        ("3/0.5s", [(3, 0.5)]),
        ("1/sec,2/m,3/min,4/h,5/d,6/days", [(1, 1), (2, 60), (3, 60), (4, 3600), (5, 86400), (6, 86400)]),
        ("", []),
        (" None ", []),
    ],
)
def test_rate_limits_are_read(text, windows):
    assert parse_rate_limits(text) == tuple(Window(*window) for window in windows)


@pytest.mark.parametrize(
    "text", ["60", "0/minute", "60/fortnight", "60/0s", "60/minute,", "-1/s", "60/minutely"]
)
def test_rate_limits_that_cannot_be_read_say_how_to_write_them(text):
    with pytest.raises(ValueError, match="write it like 60/minute"):
        parse_rate_limits(text)


def test_a_window_slides():
    clock = Clock()
    throttle = Throttle([Window(2, 10)], clock)
    assert throttle.admit("k") == 0
    clock.now += 4
    assert throttle.admit("k") == 0
    assert throttle.admit("k") == 6
    clock.now += 6
    assert throttle.admit("k") == 0
    assert throttle.admit("k") == 4


def test_a_window_does_not_count_the_calls_it_refuses():
    clock = Clock()
    throttle = Throttle([Window(1, 10)], clock)
    throttle.admit("k")
    for _ in range(9):
        clock.now += 1
        assert throttle.admit("k") > 0
    clock.now += 1
    assert throttle.admit("k") == 0


def test_all_windows_hold_at_once_and_the_longest_wait_is_told():
    clock = Clock()
    throttle = Throttle([Window(2, 10), Window(3, 100)], clock)
    assert [throttle.admit("k") for _ in range(2)] == [0, 0]
    clock.now += 10
    assert [throttle.admit("k") for _ in range(2)] == [0, 90]


def test_a_call_that_one_window_refuses_is_counted_by_the_others():
    clock = Clock()
    throttle = Throttle([Window(2, 10), Window(3, 100)], clock)
    assert [throttle.admit("k") for _ in range(3)] == [0, 0, 10]
    clock.now += 10
    assert throttle.admit("k") == 90


def test_each_key_has_its_own_log():
    throttle = Throttle([Window(1, 10)], Clock())
    assert [throttle.admit("a"), throttle.admit("b")] == [0, 0]


def test_without_windows_nothing_is_refused_or_remembered():
    clock = Clock()
    throttle = Throttle([], clock)
    assert {throttle.admit("k") for _ in range(100)} == {0}
    assert not throttle._logs


def test_over_the_limit_the_response_says_when_to_come_back(tmp_path, caller_of):
    clock = Clock()
    with Sandbox(tmp_path / "s.db", rate_limits="2/minute", clock=clock) as sandbox:
        live = caller_of(sandbox)
        assert [live.get("/ping/").status_code for _ in range(2)] == [200, 200]
        clock.now += 0.5
        refused = live.get("/ping/")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "60"
        assert refused.json()["detail"].endswith("available in 60 seconds.")
        clock.now += 58.6
        assert live.get("/ping/").json()["detail"].endswith("available in 1 second.")
        assert caller_of(sandbox, "unknown").get("/ping/").status_code == 401
        clock.now += 1
        assert live.get("/ping/").status_code == 200
        assert sandbox.summary()["requests"] == {"200": 3, "401": 1, "429": 2}
