"""A 503 was not carried out: all who use the key back off as after a 429, and it keeps its own name."""

from __future__ import annotations

import email.utils
import logging
import time

import pytest

from airflow_provider_meisa.api.client import TRIES, MeisaClient, RequestStats
from airflow_provider_meisa.api.endpoints.sequences import bulk_enroll, enroll, list_sequences
from airflow_provider_meisa.api.errors import (
    MeisaBackOffError,
    MeisaRateLimitError,
    MeisaServerError,
    MeisaUnavailableError,
)
from airflow_provider_meisa.api.models import Request
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from tests.support.raw_server import respond_with

READ = Request("GET", "/ping/")
WRITE = Request("POST", "/sequences/enroll/", body={"email": "ada@example.org"}, safe=False)
ADA = "ada@example.org"
NGINX = "<html><head><title>503 Service Temporarily Unavailable</title></head></html>"


@pytest.mark.parametrize("call", [READ, WRITE])
@pytest.mark.parametrize(
    ("header", "waited"),
    [("17", 17), ("1.5", 1.5), ("0", 60), ("-5", 60), ("soon", 60), (None, 60)],
)
def test_503_waits_as_long_as_asked(raw, raw_client, clock, call, header, waited):
    named = {"Retry_After": header} if header is not None else {}
    raw.will(respond_with(503, NGINX, **named), respond_with(200, {}))
    answered = raw_client.send(call)
    assert not answered.possibly_twice
    assert waited <= sum(clock.sleeps) <= waited + 1.1
    assert raw_client.stats == RequestStats(requests=2, retries=1, waited=sum(clock.sleeps))


def test_503_waits_until_an_http_date(raw, raw_client, clock):
    raw.will(
        respond_with(503, Retry_After=email.utils.formatdate(time.time() + 40, usegmt=True)),
        respond_with(200, {}),
    )
    raw_client.send(WRITE)
    assert 37 <= sum(clock.sleeps) <= 41.1


@pytest.mark.parametrize("header", ["1000000000", "Fri, 31 Dec 9999 23:59:59 GMT", "3600"])
def test_absurd_wait_of_503_is_cut_to_an_hour(raw, raw_client, clock, header):
    raw.will(respond_with(503, Retry_After=header))
    with pytest.raises(MeisaUnavailableError) as caught:
        raw_client.send(WRITE)
    assert caught.value.retry_after == 3600
    assert (clock.sleeps, len(raw.received)) == ([], 1)


@pytest.mark.parametrize("status", [429, 503])
def test_all_clients_of_a_key_wait(raw, client_of, clock, status):
    first = client_of(raw.url)
    second = MeisaClient(first.settings, rate_limiter=first.rate_limiter, sleep=clock.sleep, max_wait=10)
    raw.will(respond_with(status, Retry_After="50"))
    first.max_wait = 10
    with pytest.raises(MeisaBackOffError):
        first.send(WRITE)
    with pytest.raises(MeisaBackOffError) as caught:
        second.send(READ)
    assert 50 <= caught.value.retry_after <= 51.1
    assert len(raw.received) == 1


def test_503_after_503_is_given_up_as_429_is(raw, raw_client, clock):
    raw.will(respond_with(503, NGINX, Retry_After="1"))
    with pytest.raises(MeisaUnavailableError, match=r"unavailable \(503\).*not carried out") as caught:
        raw_client.send(WRITE)
    assert not caught.value.possibly_done
    assert len(raw.received) == TRIES
    assert raw_client.stats.rate_limited == 0


def test_wait_after_503_has_its_own_name(raw, client_of, clock, caplog):
    raw.will(respond_with(503, Retry_After="7"), respond_with(200, {}))
    with caplog.at_level(logging.INFO):
        client_of(raw.url).send(WRITE)
    assert "Meisa is unavailable (503) and takes no request: waiting 8.0 s" in caplog.text
    assert "Rate limit reached" not in caplog.text


def test_name_of_a_wait_is_that_of_the_last_response(raw, client_of, clock, caplog):
    raw.will(respond_with(503, Retry_After="2"), respond_with(429, Retry_After="3"), respond_with(200, {}))
    with caplog.at_level(logging.INFO):
        client_of(raw.url).send(WRITE)
    waits = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
    assert [("unavailable" in wait, "Rate limit reached" in wait) for wait in waits] == [
        (True, False),
        (False, True),
    ]


def test_too_long_wait_after_503_is_no_rate_limit(raw, client_of, clock):
    raw.will(respond_with(503))
    with pytest.raises(MeisaUnavailableError, match="longer than the 10 s that a call waits") as caught:
        client_of(raw.url, max_wait=10).send(WRITE)
    assert caught.value.retry_after == pytest.approx(60, abs=2)
    assert not isinstance(caught.value, MeisaRateLimitError | MeisaServerError)


@pytest.mark.parametrize("resend", [True, False])
def test_503_on_a_write_leaves_no_doubt(meisa_sandbox, client, clock, resend):
    meisa_sandbox.fault("html", status=503, headers={"Retry-After": "2"}, times=2)
    assert enroll(client, ADA, "onboarding", resend=resend) == Outcome(ADA, OutcomeStatus.ENROLLED)
    meisa_sandbox.fault("html", status=503, headers={"Retry-After": "2"}, times=2)
    response = bulk_enroll(client, ["grace@example.org"], "onboarding", resend=resend)
    assert [outcome.reason for outcome in response.outcomes] == [""]
    assert {row["times_enrolled"] for row in meisa_sandbox.enrollments("onboarding")} == {1}


def test_503_after_a_lost_response_keeps_the_doubt(raw, raw_client):
    raw.will(lambda line: None, respond_with(503, Retry_After="1000"))
    with pytest.raises(MeisaUnavailableError) as caught:
        raw_client.send(WRITE, resend=True)
    assert caught.value.possibly_done


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("body", [NGINX, "", b"\xff\xfe", "[" * 100_000])
def test_any_body_may_come_with_a_back_off(raw, raw_client, clock, status, body):
    raw.will(
        respond_with(status, body, Content_Type="text/html", Retry_After="3"),
        respond_with(200, {"results": []}),
    )
    assert list_sequences(raw_client) == []
    assert 3 <= sum(clock.sleeps) <= 4.1
