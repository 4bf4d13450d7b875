"""Which store a connection's ``rate_limit_storage`` names, and what a limiter asks for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.limits import Limit, parse_limits
from airflow_provider_meisa.api.rate_limit.storage.factory import (
    FileStorage,
    MemoryStorage,
    RedisStorage,
    name_of,
    storage_for,
)

BASE, KEY = "https://api.meisa.test/api/v1", "meisa_live_0123456789"


@pytest.mark.parametrize("text", ["", " ", "file"])
def test_by_default_a_file_in_the_users_temporary_folder_keeps_the_rate_limit(text, tmp_path, mocker):
    mocker.patch("tempfile.gettempdir", return_value=str(tmp_path))
    store = storage_for(text, BASE, KEY)
    assert isinstance(store, FileStorage)
    RateLimiter(parse_limits("1/s"), store).reserve()
    (folder,) = tmp_path.iterdir()
    assert {file.stem for file in folder.iterdir()} == {name_of(BASE, KEY)}


@pytest.mark.parametrize("begin", ["file://", "file://localhost"])
def test_the_folder_of_the_file_can_be_said(begin, tmp_path):
    store = storage_for(f"{begin}{tmp_path}/a%20folder", BASE, KEY)
    RateLimiter(parse_limits("1/s"), store).reserve()
    assert (tmp_path / "a folder" / f"{name_of(BASE, KEY)}.json").exists()


def test_in_memory_two_clients_of_a_key_share_its_rate_limit():
    assert isinstance(storage_for("memory", BASE, KEY), MemoryStorage)
    assert storage_for("memory", BASE, KEY) is storage_for("memory", BASE + "/", KEY)
    assert storage_for("memory", BASE, KEY) is not storage_for("memory", BASE, "another")


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_is_not_asked_before_it_is_needed(scheme):
    assert isinstance(storage_for(f"{scheme}://127.0.0.1:1/0", BASE, KEY), RedisStorage)


@pytest.mark.parametrize(
    "text",
    [
        "disk",
        "http://secret@host",
        "file://",
        "file:///",
        "file://host/folder",
        "file://[x",
        "file://secret]/folder",
        "file:///a%00b",
        "file:///a%0ab",
        "/tmp/x",
        "redis:secret",
    ],
)
def test_any_other_text_is_answered_with_what_may_be_written(text):
    with pytest.raises(MeisaInputError, match=r"file:///folder, memory, or redis://") as caught:
        storage_for(text, BASE, KEY)
    assert "secret" not in str(caught.value)


def test_a_name_tells_keys_and_places_apart_and_holds_no_key():
    names = {name_of(BASE, KEY), name_of(BASE, "other"), name_of("https://elsewhere.test", KEY)}
    assert len(names) == 3
    assert all(len(name) == 64 and KEY not in name for name in names)


def test_a_rate_limit_without_limits_is_refused():
    with pytest.raises(MeisaInputError, match="at least one limit"):
        RateLimiter((), MemoryStorage())


@pytest.mark.parametrize("ttl", [0, -1, float("inf"), float("nan")])
def test_a_slots_time_is_above_zero_and_finite(ttl):
    with pytest.raises(MeisaInputError, match="reservation_ttl"):
        RateLimiter(parse_limits("1/s"), MemoryStorage(), reservation_ttl=ttl)


def test_limits_may_come_in_any_order():
    rate_limiter = RateLimiter((Limit(1000, 3600), Limit(60, 60)), MemoryStorage())
    rate_limiter.back_off()
    assert 30 < rate_limiter.reserve().seconds <= 60


def test_the_clock_is_the_hosts_by_default():
    rate_limiter = RateLimiter(parse_limits("1/minute"), MemoryStorage())
    reservation = rate_limiter.reserve()
    assert isinstance(reservation, Reservation)
    rate_limiter.commit(reservation)
    decision = rate_limiter.reserve()
    assert isinstance(decision, Wait)
    assert 30 < decision.seconds <= 60.015


def test_the_client_of_redis_is_loaded_only_where_it_is_used():
    program = (
        "import sys, airflow_provider_meisa.api.rate_limit.storage.factory; sys.exit('redis' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
