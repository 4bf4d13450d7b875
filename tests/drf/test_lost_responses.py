"""A write whose response is lost: what the database holds afterwards, next to what the task reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.settings import Settings
from tests.support.drf_server import DrfServer
from tests.support.people import people

PEOPLE = people(40)
ENROLL, BULK = "enroll", "bulk-enroll"
SHORTEST = 0.5  # seconds between a lost response and a resend, which are 10 outside these tests


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait before a resend."""
    monkeypatch.setattr(Settings, "resend_after", SHORTEST)


@pytest.fixture
def waits(drf: DrfServer, in_a_hurry: None, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the service complete its work while the client waits for that; return the waits."""
    waited: list[float] = []
    wait_for_real = MeisaClient.wait

    def wait(client: MeisaClient, seconds: float) -> None:
        waited.append(seconds)
        if sum(waited) >= SHORTEST / 2:
            drf.release()
            drf.wait_until_idle()
        wait_for_real(client, seconds)

    monkeypatch.setattr(MeisaClient, "wait", wait)
    return waited


@pytest.fixture
def lose(drf: DrfServer, meisa_connection: Callable[..., None]) -> Callable[..., None]:
    """Let the service lose its next responses, with nothing that guards against a second insert."""

    def arrange(way: str, endpoint: str, *, uses: int = 1) -> None:
        drf.set(guarded=False)
        if way == "timeout":
            meisa_connection(extra={"timeout": 1})
            drf.fault("hold", endpoint, "between", uses=uses)
        else:
            drf.fault("drop" if way == "reset" else "fail", endpoint, "after", uses=uses)

    return arrange


def posts(drf: DrfServer, endpoint: str) -> int:
    return len(drf.requests(f"/{endpoint}/"))


def assert_resent_once_after_the_work(drf: DrfServer, endpoint: str) -> None:
    first, second = drf.requests(f"/{endpoint}/")
    assert second.received_at > first.finished_at


def test_slow_batch_behind_proxy_is_enrolled_once(
    drf, nginx, meisa_connection, bulk_enroll, assert_agreement
):
    """In real time: nginx gives up after 1 s, the work takes 3 s, and nothing guards against a second insert."""
    drf.set(guarded=False)
    drf.fault("slow", BULK, "between", seconds=3)
    meisa_connection(host=drf.url("plain"))
    report = bulk_enroll(PEOPLE)
    assert report.state == "success"
    assert drf.enrollments() == Counter(PEOPLE)
    assert_agreement(report)
    assert_resent_once_after_the_work(drf, BULK)
    assert {line["reason"] for line in report.outcomes} == {"possibly by this run"}


@pytest.mark.parametrize("way", ["timeout", "reset"])
def test_batch_waits_for_work_before_resend(drf, waits, lose, bulk_enroll, assert_agreement, way):
    lose(way, BULK)
    report = bulk_enroll(PEOPLE)
    assert report.state == "success"
    assert drf.enrollments() == Counter(PEOPLE)
    assert_agreement(report)
    assert_resent_once_after_the_work(drf, BULK)


@pytest.mark.parametrize("way", ["timeout", "reset"])
def test_contact_waits_for_work_before_resend(drf, waits, lose, enroll, assert_agreement, way):
    lose(way, ENROLL)
    report = enroll("ann@example.com")
    assert report.state == "success"
    assert drf.enrollments() == Counter(["ann@example.com"])
    assert_agreement(report)
    assert_resent_once_after_the_work(drf, ENROLL)


@pytest.mark.parametrize("way", ["timeout", "reset", "error"])
@pytest.mark.parametrize("endpoint", [ENROLL, BULK])
def test_attempt_sends_a_write_twice_at_most(
    drf, waits, lose, enroll, bulk_enroll, assert_agreement, way, endpoint
):
    """The mail goes out at once, so nothing but the client can keep a contact from the next one."""
    drf.change_sequence(ends_at_once=True)
    lose(way, endpoint, uses=50)
    report = enroll("ann@example.com") if endpoint == ENROLL else bulk_enroll(PEOPLE)
    drf.end_faults()
    assert report.state == "failed"
    assert posts(drf, endpoint) <= 2
    assert_agreement(report)
    assert max(drf.enrollments().values()) <= 2


@pytest.mark.parametrize("way", ["timeout", "reset"])
@pytest.mark.parametrize("endpoint", [ENROLL, BULK])
def test_second_mail_of_a_resend_is_reported(
    drf, waits, lose, enroll, bulk_enroll, assert_agreement, way, endpoint
):
    """The contact is through when the resend comes: the service enrolls it again."""
    drf.change_sequence(ends_at_once=True)
    lose(way, endpoint)
    report = enroll("ann@example.com") if endpoint == ENROLL else bulk_enroll(PEOPLE)
    assert_agreement(report)
    assert report.state == "success"
    assert set(drf.enrollments().values()) == {2}
    assert {line["status"] for line in report.outcomes} == {"enrolled"}
    assert all("possibly twice" in line["reason"] for line in report.outcomes)


@pytest.mark.parametrize("endpoint", [ENROLL, BULK])
def test_double_enrollment_by_slow_work_is_reported(
    drf, in_a_hurry, meisa_connection, enroll, bulk_enroll, assert_agreement, endpoint
):
    """The work outlasts the wait and nothing guards it: no client can prevent that, but it must be reported."""
    drf.set(guarded=False)
    meisa_connection(extra={"timeout": 1})
    drf.fault("hold", endpoint, "between")
    report = enroll("ann@example.com") if endpoint == ENROLL else bulk_enroll(PEOPLE)
    drf.release()
    assert_agreement(report)
    assert report.state == "success"
    assert set(drf.enrollments().values()) == {2}
    assert all("possibly twice" in line["reason"] for line in report.outcomes)


@pytest.mark.parametrize("way", ["timeout", "reset", "error"])
@pytest.mark.parametrize("endpoint", [ENROLL, BULK])
def test_on_ambiguous_fail_sends_once(drf, waits, lose, enroll, bulk_enroll, assert_agreement, way, endpoint):
    drf.change_sequence(ends_at_once=True)
    lose(way, endpoint)
    arguments = {"on_ambiguous": "fail", "retries": 2, "retry_delay": timedelta(0)}
    report = (
        enroll("ann@example.com", **arguments) if endpoint == ENROLL else bulk_enroll(PEOPLE, **arguments)
    )
    drf.end_faults()
    assert report.state == "failed"
    assert posts(drf, endpoint) == 1
    assert_agreement(report)
    assert set(drf.enrollments().values()) == {1}


def test_airflow_retry_sends_twice_at_most_again(drf, waits, lose, bulk_enroll, assert_agreement):
    drf.change_sequence(ends_at_once=True)
    lose("reset", BULK, uses=50)
    report = bulk_enroll(PEOPLE, retries=1, retry_delay=timedelta(0))
    assert report.state == "failed"
    assert posts(drf, BULK) <= 4
    assert_agreement(report)


def test_retry_after_lost_batches_reports_doubt(drf, waits, lose, bulk_enroll, assert_agreement):
    lose("reset", BULK, uses=2)
    report = bulk_enroll(PEOPLE, retries=1, retry_delay=timedelta(0))
    assert report.state == "success"
    assert drf.enrollments() == Counter(PEOPLE)
    assert_agreement(report)
    assert {line["reason"] for line in report.outcomes} == {"possibly by this run"}


def test_other_batches_are_enrolled_once(drf, waits, lose, bulk_enroll, assert_agreement):
    everyone = people(1300)
    lose("reset", BULK)
    report = bulk_enroll(everyone)
    assert report.state == "success"
    assert drf.enrollments() == Counter(everyone)
    assert_agreement(report)
    assert sum("possibly" in line["reason"] for line in report.outcomes) in {300, 500}
