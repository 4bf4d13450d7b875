"""Sequences that one task has listed serve all others for a short while, and no longer."""

from __future__ import annotations

import json

import pytest

from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.endpoints.sequences import (
    check_active,
    find_sequences,
    list_sequences,
    recent_sequences,
)
from airflow_provider_meisa.api.errors import (
    MeisaSequenceInactiveError,
    MeisaSequenceNotFoundError,
    MeisaUnreachableError,
)
from airflow_provider_meisa.api.known_sequences import KnownSequence, KnownSequences
from airflow_provider_meisa.api.rate_limit.storage.factory import FileStorage, MemoryStorage, RedisStorage
from airflow_provider_meisa.api.settings import Settings
from tests.support.clock import Clock
from tests.support.paging_server import KEY, paging_server
from tests.support.redis import redis_on_loopback


@pytest.fixture
def server():
    with paging_server() as running:
        yield running


@pytest.fixture
def client(server, tmp_path):
    """Make a client, as each process does."""
    made = []

    def make(**changes):
        storage = {"rate_limit_storage": f"file://{tmp_path}/limits", **changes}
        made.append(MeisaClient(Settings(**{"api_key": KEY, "base_url": server.url, **storage})))
        return made[-1]

    yield make
    for one in made:
        one.close()


def rows(*slugs, at, status="active"):
    return [KnownSequence(at, slug, slug.title(), status, None) for slug in slugs]


def test_forty_preflights_and_pokes_need_one_request(server, client):
    for place in range(20):
        assert check_active(client(), f"sequence-{place}", max_age=30).status == "active"
        assert find_sequences(client(), [f"sequence-{place + 70}"], max_age=30)
    assert len(server.asked) == 1


def test_list_of_150_sequences_needs_two_requests_for_all(server, client):
    for _ in range(5):
        assert len(recent_sequences(client(), max_age=30).sequences) == 150
        assert find_sequences(client(), ["sequence-149", "sequence-3"], max_age=30)
    assert len(server.asked) == 2


def test_next_page_is_asked_only_for_what_is_missing(server, client):
    find_sequences(client(), ["sequence-5"], max_age=30)
    find_sequences(client(), ["sequence-99"], max_age=30)
    assert len(server.asked) == 1
    find_sequences(client(), ["sequence-100"], max_age=30)
    find_sequences(client(), ["sequence-5", "sequence-149"], max_age=30)
    assert len(server.asked) == 3


def test_part_of_the_list_is_not_taken_for_all(server, client):
    find_sequences(client(), ["sequence-5"], max_age=30)
    assert len(recent_sequences(client(), max_age=30).sequences) == 150
    assert len(server.asked) == 3


def test_without_an_age_meisa_is_asked(server, client):
    for _ in range(3):
        find_sequences(client(), ["sequence-5"])
        check_active(client(), "sequence-5")
        list_sequences(client(), status="all")
    assert len(server.asked) == 12


def test_inactive_sequence_is_asked_for_again(server, client):
    server.rows[5]["status"] = "draft"
    with pytest.raises(MeisaSequenceInactiveError):
        check_active(client(), "sequence-5", max_age=30)
    assert len(server.asked) == 1
    server.rows[5]["status"] = "active"
    assert check_active(client(), "sequence-5", max_age=30).status == "active"
    assert len(server.asked) == 2


def test_missing_sequence_is_asked_for_again(server, client):
    for asked in (2, 4):
        with pytest.raises(MeisaSequenceNotFoundError, match="Close ones: sequence-149"):
            check_active(client(), "sequence-1499", max_age=30)
        assert len(server.asked) == asked
    server.rows.append({"slug": "sequence-1499", "name": "New", "status": "active"})
    assert check_active(client(), "sequence-1499", max_age=30).name == "New"


@pytest.mark.parametrize("change", [{"api_key": "meisa_live_other"}, {"rate_limit_storage": "memory"}])
def test_other_keys_and_storages_share_nothing(server, client, change):
    find_sequences(client(), ["sequence-5"], max_age=30)
    find_sequences(client(**change), ["sequence-5"], max_age=30)
    assert len(server.asked) == 2


@pytest.fixture(params=["memory", "file", "redis"])
def storage(request, tmp_path):
    if request.param == "redis":
        with redis_on_loopback(tmp_path) as url:
            yield RedisStorage(url, "k")
    else:
        yield MemoryStorage() if request.param == "memory" else FileStorage("k", tmp_path / "limits")


def test_age_counts_from_the_request(storage):
    clock = Clock()
    known = KnownSequences(storage, clock)
    known.keep(rows("onboarding", at=clock.now), is_all=False)
    clock.sleep(30)
    assert known.find(["onboarding"], 30) == rows("onboarding", at=clock.now - 30)
    clock.sleep(1)
    assert known.find(["onboarding"], 30) is None
    assert known.find(["onboarding"], 60)


def test_newer_rows_replace_older_ones_and_keep_the_rest(storage):
    clock = Clock()
    known = KnownSequences(storage, clock)
    known.keep(rows("onboarding", "winback", at=clock.now), is_all=True)
    clock.sleep(20)
    known.keep(rows("onboarding", at=clock.now, status="paused"), is_all=False)
    assert known.find(["winback", "onboarding"], 30) == [
        *rows("winback", at=clock.now - 20),
        *rows("onboarding", at=clock.now, status="paused"),
    ]
    assert [row.slug for row in known.find(None, 30)] == ["onboarding", "winback"]
    assert known.find(None, 19) is None
    known.keep(rows("winback", at=clock.now), is_all=True)
    assert known.find(["onboarding"], 300) is None


def test_sequence_from_the_future_is_not_used(storage):
    clock = Clock()
    known = KnownSequences(storage, clock)
    known.keep(rows("onboarding", at=clock.now + 5), is_all=True)
    assert known.find(["onboarding"], 30) is None
    assert known.find(None, 30) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        json.dumps({"v": 2, "all_at": 0.0, "rows": []}),
        json.dumps({"v": 1, "all_at": 0.0, "rows": [["now", "onboarding", "", "active", None]]}),
        json.dumps({"v": 1, "all_at": 0.0, "rows": [[1.0, "onboarding"]]}),
        json.dumps({"v": 1, "all_at": None, "rows": [5]}),
        "[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_as_good_as_nothing(storage, text):
    storage.put_note("sequences", text, 60)
    known = KnownSequences(storage, Clock(1.0))
    assert known.find(["onboarding"], 30) is None
    known.keep(rows("onboarding", at=1.0), is_all=True)
    assert known.find(["onboarding"], 30)


def test_note_of_a_storage_ends(storage):
    storage.put_note("sequences", "text", 0.001)
    storage.put_note("others", "text\nwith lines ü", 60)
    assert storage.get_note("others") == "text\nwith lines ü"
    while storage.get_note("sequences") is not None:
        pass
    assert storage.get_note("nothing") is None


class BrokenStorage(MemoryStorage):
    """Keeps the rate limits, and no notes."""

    def get_note(self, name):
        raise MeisaUnreachableError("away")

    def put_note(self, name, text, seconds):
        raise MeisaUnreachableError("away")


def test_storage_that_fails_keeps_nothing():
    known = KnownSequences(BrokenStorage())
    known.keep(rows("onboarding", at=1.0), is_all=True)
    assert known.find(["onboarding"], 30) is None


def test_file_is_for_its_user_alone(tmp_path):
    KnownSequences(FileStorage("k", tmp_path / "limits")).keep(rows("onboarding", at=1.0), is_all=True)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "limits").iterdir()} == {
        "k.sequences": "0o600",
        "k.lock": "0o600",
    }
