"""A connection that has been idle is not used for a write: the server may be closing it."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_meisa.api.models import Request
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.api.transport import Transport
from tests.support.raw_server import respond_with

READ = Request("GET", "/things/")
WRITE = Request("POST", "/things/", body={"email": "ada@example.com"}, safe=False)
UPSERT = Request("POST", "/things/", body={"email": "ada@example.com"}, safe=False, idempotent=True)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Clock()


@pytest.fixture
def transport(raw, time):
    raw.will(respond_with(200, {}))
    made = Transport(Settings(api_key="meisa_live_idle", base_url=raw.url), clock=time)
    yield made
    made.close()


@pytest.mark.parametrize("write", [WRITE, UPSERT])
@pytest.mark.parametrize("before", [READ, WRITE])
@pytest.mark.parametrize(("idle", "connections"), [(0.0, 1), (0.9, 1), (1.1, 2), (60.0, 2), (86_400.0, 2)])
def test_write_takes_only_a_fresh_connection(raw, transport, time, before, write, idle, connections):
    transport.send(before)
    time.now += idle
    transport.send(write)
    assert (len(raw.received), raw.connections) == (2, connections)


def test_read_may_take_an_idle_connection(raw, transport, time):
    for _ in range(3):
        transport.send(READ)
        time.now += 60
    assert (len(raw.received), raw.connections) == (3, 1)


def test_writes_in_a_row_share_a_connection(raw, transport, time):
    for _ in range(5):
        transport.send(WRITE)
        time.now += 0.5
    assert (len(raw.received), raw.connections) == (5, 1)


def test_idle_time_is_that_of_a_thread(raw, transport, time):
    transport.send(WRITE)
    other = threading.Thread(target=transport.send, args=(WRITE,))
    other.start()
    other.join()
    time.now += 5
    transport.send(WRITE)
    assert (len(raw.received), raw.connections) == (3, 3)
