"""The page reads a connection through the hook, within its rate limits, and seldom."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_meisa.api.endpoints.sequences import RecentSequences, SequenceInfo
from airflow_provider_meisa.plugins import sequence_cache
from airflow_provider_meisa.plugins.sequence_cache import KEEP, SequenceCache
from tests.support.known_sequences import forget_sequences

ASKED = {"connection": "meisa_default"}


def test_sequences_come_with_status_and_total(as_user, meisa_connection, meisa_sandbox):
    response = as_user().get("sequences", params=ASKED).json()
    first = response["sequences"][0]
    assert first == {"slug": "onboarding", "name": "Onboarding", "status": "active", "total_enrolled": 0}
    assert {sequence["status"] for sequence in response["sequences"]} > {"active"}
    assert response["problem"] == ""
    assert response["age_s"] < 5


def test_ten_open_pages_cost_one_request(as_user, meisa_connection, meisa_sandbox):
    admin = as_user()
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(lambda _: admin.get("sequences", params=ASKED).json(), range(10)))
    assert all(response["sequences"] for response in responses)
    assert len(meisa_sandbox.requests()) == 1


def test_the_page_spends_from_the_rate_limit_of_the_tasks_and_a_look_at_what_is_left_spends_nothing(
    as_user, meisa_connection
):
    meisa_connection(extra={"rate_limits": "5/minute, 100/hour"})
    admin = as_user()
    for left in (5, 5, 5):
        assert admin.get("rate_limits", params=ASKED).json()["windows"][0]["left"] == left
    admin.get("sequences", params=ASKED)
    assert admin.get("rate_limits", params=ASKED).json() == {
        "windows": [
            {"limit": "5/minute", "requests": 5, "left": 4},
            {"limit": "100/hour", "requests": 100, "left": 99},
        ],
        "next_s": 0.0,
        "problem": "",
    }


def test_a_429_holds_the_next_request_whatever_the_windows_have_left(
    as_user, meisa_connection, meisa_sandbox
):
    meisa_connection(extra={"rate_limits": "60/minute"})
    meisa_sandbox.fault("status", status=429, headers={"Retry-After": "50"}, times=1)
    admin = as_user()
    admin.get("sequences", params=ASKED)
    response = admin.get("rate_limits", params=ASKED).json()
    assert response["windows"] == [{"limit": "60/minute", "requests": 60, "left": 59}]
    assert 40 < response["next_s"] < 52


def test_when_meisa_can_be_asked_again_is_said(as_user, meisa_connection, meisa_sandbox):
    now = [0.0]
    looks = SequenceCache(sequence_cache.fetch_sequences, clock=lambda: now[0])
    assert looks.of("meisa_default")["refresh_in_s"] == KEEP
    now[0] = KEEP - 2
    assert looks.of("meisa_default")["refresh_in_s"] == 2
    now[0] = KEEP + 5
    assert looks.of("meisa_default")["refresh_in_s"] == KEEP


def test_what_is_wrong_is_said_and_the_last_figures_stay(as_user, meisa_connection, meisa_sandbox):
    now = [0.0]
    looks = SequenceCache(sequence_cache.fetch_sequences, clock=lambda: now[0])
    assert looks.of("meisa_default")["sequences"]
    meisa_sandbox.fault("status", status=403, times=5)
    forget_sequences()
    now[0] = KEEP + 1
    response = looks.of("meisa_default")
    assert "403" in response["problem"]
    assert response["sequences"]
    assert response["age_s"] == KEEP + 1


def test_a_failure_is_not_asked_for_again_at_once(as_user, meisa_connection, meisa_sandbox):
    meisa_connection(password="meisa_live_wrong")
    admin = as_user()
    first, second = (admin.get("sequences", params=ASKED).json() for _ in range(2))
    assert "401" in first["problem"]
    assert first["sequences"] is None
    assert "meisa_live_wrong" not in json.dumps(first)
    assert second.pop("refresh_in_s") <= first.pop("refresh_in_s")
    assert second == first
    assert len(meisa_sandbox.requests()) == 1


def test_where_the_rate_limit_leaves_no_room_the_page_does_not_wait_for_it(as_user, meisa_connection):
    meisa_connection(extra={"rate_limits": "1/hour"})
    now = [0.0]
    looks = SequenceCache(sequence_cache.fetch_sequences, clock=lambda: now[0])
    looks.of("meisa_default")
    forget_sequences()
    now[0] = KEEP + 1
    assert "rate limit is reached" in looks.of("meisa_default")["problem"]


def test_a_slow_meisa_holds_no_page_and_its_response_is_there_later(monkeypatch):
    monkeypatch.setattr(sequence_cache, "PATIENCE", 0.05)
    may_respond = threading.Event()

    def ask(conn_id):
        assert may_respond.wait(20)
        return RecentSequences([SequenceInfo("onboarding", "Onboarding", "active", 3)], 0.0, is_kept=False)

    looks = SequenceCache(ask)
    response = looks.of("slow")
    assert (response["sequences"], response["age_s"], response["problem"]) == (None, None, "")
    assert response["pending"] is True
    monkeypatch.setattr(sequence_cache, "PATIENCE", 20)
    may_respond.set()
    assert looks.of("slow")["sequences"][0]["total_enrolled"] == 3


def test_a_meisa_that_does_not_respond_is_given_up(meisa_connection, meisa_sandbox, monkeypatch, mocker):
    monkeypatch.setattr(sequence_cache, "GIVE_UP", 0.1)
    mocker.patch("airflow_provider_meisa.api.client._BACKOFF", return_value=5.0)
    meisa_sandbox.fault("status", status=502, times=50)
    problem = SequenceCache(sequence_cache.fetch_sequences).of("meisa_default")["problem"]
    assert problem == "Meisa did not respond within 0.1 seconds."


def test_unexpected_failure_is_logged_and_not_shown(caplog):
    def ask(conn_id):
        raise RuntimeError("a secret of the secrets backend")

    response = SequenceCache(ask).of("any")
    assert "secret" not in response["problem"]
    assert "log" in response["problem"]
    assert "could not be read" in caplog.text


def test_a_rate_limit_that_cannot_be_read_is_a_sentence(as_user, meisa_connection):
    meisa_connection(extra={"rate_limits": "nonsense"})
    response = as_user().get("rate_limits", params=ASKED).json()
    assert response["windows"] == []
    assert "nonsense" in response["problem"]


@pytest.fixture
def stored():
    """Keep a connection in Airflow's database, as the UI does."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    ids = []

    def store(conn_id, conn_type):
        ids.append(conn_id)
        with create_session() as session:
            session.add(Connection(conn_id=conn_id, conn_type=conn_type, password="a key"))

    yield store
    with create_session() as session:
        session.execute(delete(Connection).where(Connection.conn_id.in_(ids)))


def test_connections_of_the_database_and_of_the_environment_are_offered(as_user, stored, monkeypatch):
    stored("meisa_stored", "meisa")
    stored("other_stored", "http")
    for name, text in {"MEISA_URI": "meisa://:key@", "OTHER": "http://x", "BROKEN": "{"}.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", text)
    assert as_user().get("connections").json() == ["meisa_stored", "meisa_uri"]


def test_without_a_connection_there_is_an_empty_list(as_user):
    assert as_user().get("connections").json() == []
