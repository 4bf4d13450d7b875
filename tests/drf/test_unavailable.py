"""A service that is not to be had: maintenance, a proxy's limits, a wrong port, a connection that was closed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from airflow_provider_meisa.hooks.meisa import MeisaHook
from tests.support.drf_server import RETRY_AFTER, DrfServer
from tests.support.people import people

ANN = "ann@example.com"
PEOPLE = people(700)


@pytest.fixture
def maintain(drf: DrfServer, nginx: None) -> Iterator[Callable[..., None]]:
    """Let nginx refuse requests with these methods, until it has refused one."""
    before = len(drf.proxied())
    threads: list[threading.Thread] = []

    def end() -> None:
        refused = lambda: any(status == 503 for status, _path in drf.proxied()[before:])  # noqa: E731
        drf.wait_until(refused, "nginx to refuse a request")
        drf.end_maintenance()

    def begin(*methods: str) -> None:
        drf.maintain(*methods)
        threads.append(threading.Thread(target=end))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("methods", [("POST",), ("GET", "POST")], ids="-".join)
def test_batch_waits_out_the_maintenance(
    drf, maintain, meisa_connection, bulk_enroll, assert_agreement, methods
):
    meisa_connection(host=drf.url("plain"))
    maintain(*methods)
    report = bulk_enroll(PEOPLE[:30])
    assert report.state == "success"
    assert drf.enrollments() == Counter(PEOPLE[:30])
    assert_agreement(report)
    assert report.summary["waited_s"] >= RETRY_AFTER - 0.5
    assert not any("possibly" in line["reason"] for line in report.outcomes)


def test_contact_waits_out_the_maintenance(drf, maintain, meisa_connection, enroll, assert_agreement):
    meisa_connection(host=drf.url("plain"))
    maintain("POST")
    report = enroll(ANN)
    assert report.state == "success"
    assert drf.enrollments() == Counter([ANN])
    assert report.summary["reason"] == ""
    assert_agreement(report)


@pytest.mark.parametrize("way", ["limit_503", "limit_429"])
def test_batches_keep_to_the_limit_of_the_proxy(
    drf, nginx, meisa_connection, bulk_enroll, assert_agreement, way
):
    """One request a second, and an HTML page without `Retry-After` above it."""
    meisa_connection(host=drf.url(way))
    before = len(drf.proxied())
    report = bulk_enroll(PEOPLE)
    assert report.state == "success"
    assert drf.enrollments() == Counter(PEOPLE)
    assert_agreement(report)
    assert any(status == int(way[-3:]) for status, _path in drf.proxied()[before:])
    assert not any("possibly" in line["reason"] for line in report.outcomes)


def test_throttle_of_the_service_is_waited_out(drf, bulk_enroll, assert_agreement):
    drf.set(minute_rate="1/s")
    report = bulk_enroll(people(1501))
    assert report.state == "success"
    assert report.summary["rate_limited"] >= 1
    assert set(drf.enrollments().values()) == {1}
    assert_agreement(report)


def test_tls_to_a_port_without_tls_sends_nothing(drf, meisa_connection, enroll, everything_written):
    meisa_connection(host=drf.url().replace("http:", "https:"))
    assert enroll(ANN).state == "failed"
    assert "Nothing was sent" in everything_written()
    assert not drf.requests()


def test_connection_closed_while_idle_loses_no_write(drf, meisa_connection):
    hook = MeisaHook()
    assert hook.enroll(ANN, "onboarding").status == "enrolled"
    drf.wait_until(lambda: _has_closed_connection(drf.port), "gunicorn to close the idle connection")
    assert hook.enroll("bob@example.com", "onboarding").status == "enrolled"
    assert drf.enrollments() == Counter([ANN, "bob@example.com"])
    assert hook.get_conn().stats.retries == 0


def _has_closed_connection(port: int) -> bool:
    connections = psutil.Process().net_connections(kind="tcp")
    return any(
        found.raddr and found.raddr.port == port and found.status == psutil.CONN_CLOSE_WAIT
        for found in connections
    )


def test_wrong_key_is_named_whatever_the_status(drf, meisa_connection):
    for status in (401, 403):
        drf.set(wrong_key_status=status)
        meisa_connection(password="meisa_live_wrong")
        works, message = MeisaHook().test_connection()
        assert not works
        assert "key" in message


def test_list_behind_a_proxy_is_read_to_its_end(drf, nginx, meisa_connection):
    """`next` names the port of gunicorn, which is not the one that we know."""
    for number in range(44):
        drf.add_sequence(f"flow-{number}")
    meisa_connection(host=drf.url("plain"))
    before = len(drf.proxied())
    assert len(MeisaHook().list_sequences()) == 45
    pages = len(drf.requests("/list/"))
    drf.wait_until(lambda: len(drf.proxied()) == before + pages, "nginx to log each page")


def test_batch_too_large_for_the_proxy_is_sent_in_halves(
    drf, nginx, meisa_connection, bulk_enroll, assert_agreement
):
    """nginx refuses the body with 413 and an HTML page; Django sees the halves, which are small enough."""
    meisa_connection(host=drf.url("plain"))
    report = bulk_enroll([f"{'p' * 40}{number}@example.com" for number in range(500)])
    assert report.state == "success"
    assert len(report.of("enrolled")) == 500
    assert set(drf.enrollments().values()) == {1}
    assert_agreement(report)
