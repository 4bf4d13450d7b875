"""Rate limits as a person writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.rate_limit.limits import DEFAULT_LIMITS, Limit, parse_limits

limits = st.builds(
    Limit,
    requests=st.integers(1, 1_000_000),
    seconds=st.one_of(st.integers(1, 31 * 86400).map(float), st.floats(0.001, 31 * 86400.0)),
)


@given(st.sets(limits, min_size=1, max_size=5))
def test_what_is_written_reads_back_as_the_same_limits(some):
    assert set(parse_limits(", ".join(map(str, some)))) == some


@pytest.mark.parametrize(
    ("text", "requests", "seconds"),
    [
        ("60/minute", 60, 60),
        ("60/m", 60, 60),
        ("60/min", 60, 60),
        ("60/2minutes", 60, 120),
        (" 60 / 2 Minutes ", 60, 120),
        ("5/s", 5, 1),
        ("5/sec", 5, 1),
        ("5/10second", 5, 10),
        ("5/10 seconds", 5, 10),
        ("20/0.5s", 20, 0.5),
        ("20/.5s", 20, 0.5),
        ("7/h", 7, 3600),
        ("7/hour", 7, 3600),
        ("7/2hours", 7, 7200),
        ("9/d", 9, 86400),
        ("9/day", 9, 86400),
        ("9/1.5days", 9, 129600),
    ],
)
def test_a_limit_can_be_written_with_any_common_unit(text, requests, seconds):
    assert parse_limits(text) == (Limit(requests, seconds),)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Limit(60, 60), "60/minute"),
        (Limit(1000, 3600), "1000/hour"),
        (Limit(2, 1), "2/second"),
        (Limit(3, 86400), "3/day"),
        (Limit(60, 2), "60/2s"),
        (Limit(60, 0.5), "60/0.5s"),
        (Limit(60, 60.5), "60/60.5s"),
    ],
)
def test_a_limit_shows_as_it_would_be_written(limit, text):
    assert str(limit) == text


def test_the_shortest_window_comes_first():
    assert parse_limits("1000/hour, 60/minute, 9/day, 50/minute") == (
        Limit(50, 60),
        Limit(60, 60),
        Limit(1000, 3600),
        Limit(9, 86400),
    )


def test_the_same_limit_written_twice_counts_once():
    assert parse_limits("60/minute,60/60s") == (Limit(60, 60),)


def test_the_defaults_are_what_the_vendor_documents():
    assert parse_limits("60/minute, 1000/hour") == DEFAULT_LIMITS


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_an_empty_text_is_answered_with_what_to_write(text):
    with pytest.raises(MeisaInputError, match=r"No rate limits are given: write .* 60/minute, 1000/hour"):
        parse_limits(text)


@pytest.mark.parametrize(
    "piece",
    ["60", "60/", "60/60", "/minute", "-1/minute", "a/minute", "60/1e3s", "60 minute", "٣/minute", "1/.s"],
)
def test_a_piece_that_cannot_be_read_is_named_in_the_error(piece):
    with pytest.raises(MeisaInputError) as caught:
        parse_limits(f"60/minute, {piece}")
    assert f"{piece!r} cannot be read: write " in str(caught.value)


def test_a_forgotten_piece_is_an_error():
    with pytest.raises(MeisaInputError, match="'' cannot be read"):
        parse_limits("60/minute,")


def test_an_unknown_unit_is_named_in_the_error():
    with pytest.raises(MeisaInputError, match="'60/fortnight' has no known unit"):
        parse_limits("60/fortnight")


@pytest.mark.parametrize("text", ["0/minute", "1000001/minute"])
def test_a_number_of_requests_out_of_range_is_an_error(text):
    with pytest.raises(MeisaInputError, match="1 to 1,000,000 requests"):
        parse_limits(text)


@pytest.mark.parametrize("text", ["1/0s", "1/0.0001s", "1/32days"])
def test_a_time_out_of_range_is_an_error(text):
    with pytest.raises(MeisaInputError, match="1 millisecond to 31 days"):
        parse_limits(text)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_window_has_a_finite_length(seconds):
    with pytest.raises(MeisaInputError, match="1 millisecond to 31 days"):
        Limit(1, seconds)
