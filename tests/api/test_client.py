from __future__ import annotations

import email.utils
import logging
import socket
import threading
import time
import traceback
from contextlib import ExitStack

import pytest

from airflow_provider_meisa.api import client as client_module
from airflow_provider_meisa.api.client import TRIES, MeisaClient, RequestStats, is_retryable
from airflow_provider_meisa.api.endpoints.account import confirm_environment, ping
from airflow_provider_meisa.api.endpoints.contacts import unsubscribed_emails
from airflow_provider_meisa.api.endpoints.sequences import (
    bulk_enroll,
    contact_enrollments,
    enroll,
    list_sequences,
)
from airflow_provider_meisa.api.errors import (
    MeisaError,
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaRateLimitError,
    MeisaResponseLostError,
    MeisaScopeError,
    MeisaServerError,
    MeisaStoppedError,
    MeisaUnreachableError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.models import Request
from airflow_provider_meisa.api.rate_limit.limiter import Reservation
from airflow_provider_meisa.api.rate_limit.limits import Limit, parse_limits
from airflow_provider_meisa.api.settings import Settings
from tests.support.raw_server import RawServer, respond_with

READ = Request("GET", "/ping/")
WRITE = Request(
    "POST", "/sequences/enroll/", body={"email": "ada@example.org", "sequence_slug": "onboarding"}, safe=False
)


def used(client):
    """How many requests the rate limiter has recorded."""
    [(limit, left), *_] = client.rate_limiter.remaining().items()
    return int(limit.partition("/")[0]) - left


def test_a_call_uses_one_slot_and_waits_for_nothing(client, clock):
    assert client.send(READ).status == 200
    assert client.stats == RequestStats(requests=1)
    assert used(client) == 1
    assert clock.sleeps == []


def test_without_a_rate_limit_of_ones_own_the_settings_name_one(meisa_sandbox):
    settings = Settings(
        api_key=meisa_sandbox.key, base_url=meisa_sandbox.api_url, rate_limit_storage="memory"
    )
    with MeisaClient(settings) as first, MeisaClient(settings) as second:
        ping(first)
        assert used(first) == used(second) == 1


# 429.


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        ("17", 17),
        ("1.5", 1.5),
        ("0", 60),
        ("-5", 60),
        ("soon", 60),
        (None, 60),
    ],
)
def test_after_a_429_a_call_waits_as_long_as_was_asked_or_for_the_shortest_window(
    raw, raw_client, clock, header, waited
):
    refused = respond_with(429, **({"Retry_After": header} if header is not None else {}))
    raw.will(refused, respond_with(200, {}))
    answered = raw_client.send(WRITE)
    assert not answered.possibly_twice
    assert waited <= sum(clock.sleeps) <= waited + 1.1
    assert raw_client.stats == RequestStats(requests=2, retries=1, rate_limited=1, waited=sum(clock.sleeps))


def test_after_a_429_with_a_date_a_call_waits_until_then(raw, raw_client, clock):
    raw.will(
        respond_with(429, Retry_After=email.utils.formatdate(time.time() + 40, usegmt=True)),
        respond_with(200, {}),
    )
    raw_client.send(READ)
    assert 20 <= sum(clock.sleeps) <= 41.1  # less on a slow machine: the date does not move


@pytest.mark.parametrize("header", ["1000000000", "Fri, 31 Dec 9999 23:59:59 GMT", "3600"])
def test_an_absurd_wait_is_cut_to_an_hour_and_raised(raw, raw_client, clock, header):
    raw.will(respond_with(429, Retry_After=header), respond_with(200, {}))
    with pytest.raises(MeisaRateLimitError) as caught:
        raw_client.send(READ)
    assert caught.value.retry_after == 3600
    assert clock.sleeps == []
    assert 3600 <= raw_client.rate_limiter.reserve().seconds <= 3601
    assert len(raw.received) == 1


@pytest.mark.parametrize(
    ("limits", "asked", "believed"),
    [
        ("60/minute", 1800, 1800),
        ("60/minute", 10**9, 3600),
        ("60/minute, 5000/day", 7200, 7200),
        ("60/minute, 5000/day", 10**9, 86400),
    ],
)
def test_a_wait_of_up_to_an_hour_is_believed_whatever_windows_are_configured(
    raw, client_of, clock, limits, asked, believed
):
    client = client_of(raw.url, limits=parse_limits(limits))
    raw.will(respond_with(429, Retry_After=str(asked)))
    with pytest.raises(MeisaRateLimitError) as caught:
        client.send(READ)
    assert caught.value.retry_after == believed
    assert clock.sleeps == []
    assert believed <= client.rate_limiter.reserve().seconds <= believed + 20
    assert len(raw.received) == 1


def test_the_longest_window_counts_in_whatever_order_the_limits_stand(raw, client_of):
    client = client_of(raw.url, limits=(Limit(1000, 3600), Limit(60, 60)))
    raw.will(respond_with(429, Retry_After="1000"))
    with pytest.raises(MeisaRateLimitError) as caught:
        client.send(READ)
    assert caught.value.retry_after == 1000


def test_a_wait_below_max_wait_is_sat_out_and_a_longer_one_is_raised(raw, client_of, clock):
    raw.will(respond_with(429, Retry_After="20"), respond_with(200, {}))
    client_of(raw.url, max_wait=30).send(READ)
    waited = sum(clock.sleeps)
    assert 20 <= waited <= 21
    raw.will(respond_with(429, Retry_After="31"))
    client = client_of(raw.url, max_wait=30)
    with pytest.raises(MeisaRateLimitError) as caught:
        client.send(READ)
    assert caught.value.retry_after == 31
    assert sum(clock.sleeps) == waited
    assert client.stats == RequestStats(requests=1, rate_limited=1)


def test_a_key_whose_limits_are_used_up_is_not_even_asked(raw, client_of, clock):
    raw.will(respond_with(200, {}))
    client = client_of(raw.url, limits=parse_limits("2/hour"), max_wait=10)
    client.send(READ)
    client.send(READ)
    with pytest.raises(MeisaRateLimitError, match="longer than the 10 s") as caught:
        client.send(READ)
    assert caught.value.retry_after == pytest.approx(3600, abs=40)
    assert len(raw.received) == 2
    assert clock.sleeps == []


def test_a_short_wait_for_the_limits_is_sat_out_and_logged(raw, client_of, clock, caplog):
    raw.will(respond_with(200, {}))
    client = client_of(raw.url, limits=parse_limits("2/20s"))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            client.send(READ)
    assert sum(clock.sleeps) == pytest.approx(20, abs=0.3)
    assert client.stats.waited == sum(clock.sleeps)
    assert "Rate limit reached: waiting 20.0 s" in caplog.text


def test_429_after_429_is_given_up_after_five_tries(raw, client_of, clock):
    raw.will(respond_with(429, Retry_After="1"))
    client = client_of(raw.url)
    with pytest.raises(MeisaRateLimitError, match="used up"):
        client.send(READ)
    assert len(raw.received) == client.stats.rate_limited == TRIES == 5
    assert client.stats.retries == 4


# 5xx.


@pytest.mark.parametrize("status", [408, 421, 425, 500, 502, 504])
def test_a_read_that_met_a_5xx_is_retried(meisa_sandbox, client, clock, status):
    meisa_sandbox.fault("status", status=status, times=2)
    answered = client.send(READ)
    assert (answered.status, answered.possibly_twice) == (200, False)
    assert client.stats == RequestStats(requests=3, retries=2, waited=sum(clock.sleeps))
    assert len(clock.sleeps) == 2
    assert all(0 <= pause <= 20 for pause in clock.sleeps)


@pytest.mark.parametrize("status", [408, 421, 425, 502, 504])
def test_a_write_that_met_a_gateway_is_retried_only_if_told_so(meisa_sandbox, client, status):
    meisa_sandbox.fault("status", status=status, times=1)
    with pytest.raises(MeisaServerError) as caught:
        client.send(WRITE)
    assert caught.value.status == status
    assert client.stats.requests == 1
    meisa_sandbox.fault("status", status=status, times=1)
    answered = client.send(WRITE, resend=True)
    assert (answered.status, answered.possibly_twice) == (201, True)


@pytest.mark.parametrize("resend", [False, True])
def test_a_write_that_met_a_500_is_not_retried(meisa_sandbox, client, resend):
    meisa_sandbox.fault("status", status=500, times=1)
    with pytest.raises(MeisaServerError):
        client.send(WRITE, resend=resend)
    assert client.stats == RequestStats(requests=1)


def test_the_last_of_five_failures_is_raised(raw, raw_client, clock, caplog):
    raw.will(*(respond_with(status) for status in (500, 501, 502, 505, 504)))
    with pytest.raises(MeisaServerError) as caught:
        raw_client.send(READ)
    assert caught.value.status == 504
    assert len(raw.received) == 5
    assert len(clock.sleeps) == raw_client.stats.retries == 4
    assert used(raw_client) == 5
    assert "Meisa failed (500). Try again later. Attempt 2 of 5 follows in" in caplog.text


def test_what_a_repeat_cannot_mend_is_raised_at_once(meisa_sandbox, client_of, clock):
    meisa_sandbox.add_key("meisa_live_reads", scopes=["contacts:read"])
    client = client_of(meisa_sandbox.api_url, "meisa_live_reads")
    with pytest.raises(MeisaScopeError, match="sequences:read"):
        list_sequences(client)
    assert client.stats == RequestStats(requests=1)
    assert clock.sleeps == []


# No response.


@pytest.mark.parametrize("call", [READ, WRITE])
def test_a_refused_connection_is_tried_again_and_uses_no_rate_limit(client_of, closed_port, call):
    client = client_of(f"http://127.0.0.1:{closed_port}/api/v1")
    with pytest.raises(MeisaUnreachableError, match="Nothing was sent"):
        client.send(call)
    assert client.stats.retries == 4
    assert used(client) == 0


def test_a_write_goes_through_once_the_port_is_open_and_is_no_repeat(client_of, clock):
    with socket.socket() as bound, ExitStack() as opened:
        bound.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{bound.getsockname()[1]}/api/v1"
        client = client_of(base_url)

        def open_it(seconds):
            bound.listen()
            thread = threading.Thread(target=_response_one, args=(bound,))
            thread.start()
            opened.callback(thread.join)

        client._sleep = open_it
        answered = client.send(WRITE)
    assert (answered.status, answered.possibly_twice) == (201, False)
    assert used(client) == 1


def _response_one(listener):
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(respond_with(201, {}))


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_a_read_whose_connection_broke_is_retried(meisa_sandbox, client, fault):
    meisa_sandbox.fault(fault, times=1)
    answered = client.send(READ)
    assert (answered.status, answered.possibly_twice) == (200, False)
    assert len(meisa_sandbox.requests()) == used(client) == 2


@pytest.mark.parametrize(("fault", "enrolled"), [("reset_before", 0), ("reset_after", 1)])
def test_a_write_whose_connection_broke_is_not_retried_unasked(meisa_sandbox, client, fault, enrolled):
    meisa_sandbox.fault(fault, times=1)
    with pytest.raises(MeisaResponseLostError, match="may have carried the request out"):
        client.send(WRITE)
    assert len(meisa_sandbox.enrollments("onboarding")) == enrolled
    assert len(meisa_sandbox.requests()) == used(client) == 1


def test_a_write_whose_connection_broke_is_retried_if_told_so(meisa_sandbox, client):
    meisa_sandbox.fault("reset_before", times=1)
    answered = client.send(WRITE, resend=True)
    assert (answered.status, answered.possibly_twice) == (201, True)
    assert [row["times_enrolled"] for row in meisa_sandbox.enrollments("onboarding")] == [1]


def test_a_doubt_is_told_also_where_the_repeat_is_refused(meisa_sandbox, client):
    meisa_sandbox.fault("reset_after", times=1)
    with pytest.raises(MeisaInvalidRequestError, match="409") as caught:
        client.send(WRITE, resend=True)
    assert caught.value.possibly_done
    with pytest.raises(MeisaInvalidRequestError, match="409") as caught:
        client.send(WRITE, resend=True)
    assert not caught.value.possibly_done


def break_off(line):
    """Take a request and hang up without a word."""


@pytest.fixture
def vanishing(client_of):
    """A server that takes one request, hangs up and is gone; and a client that knows it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take_one():
            connection, _ = listener.accept()
            listener.close()
            with connection:
                connection.recv(65536)

        thread = threading.Thread(target=take_one)
        thread.start()
        yield client_of(f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1")
        thread.join()


def test_write_that_was_lost_stays_in_doubt_if_retries_find_no_server(vanishing):
    with pytest.raises(MeisaResponseLostError, match="may have carried out") as caught:
        vanishing.send(WRITE, resend=True)
    assert isinstance(caught.value.__cause__, MeisaUnreachableError)
    assert "Nothing was sent" not in str(caught.value)
    assert vanishing.stats.requests == 5
    assert used(vanishing) == 1


def test_read_that_was_lost_is_unreachable_if_retries_find_no_server(vanishing):
    with pytest.raises(MeisaUnreachableError):
        vanishing.send(READ)


def test_a_write_whose_repeat_is_refused_for_the_rate_may_still_have_been_carried_out(raw, raw_client):
    raw.will(break_off, respond_with(429, Retry_After="1000"))
    with pytest.raises(MeisaRateLimitError) as caught:
        raw_client.send(WRITE, resend=True)
    assert caught.value.possibly_done


def test_a_client_that_was_stopped_sends_nothing_and_gives_its_slot_back(raw, raw_client):
    reservation = raw_client.rate_limiter.reserve()
    raw_client.stop()
    for held in (reservation, None):
        with pytest.raises(MeisaStoppedError):
            raw_client.send(READ, reservation=held)
    assert used(raw_client) == 0
    assert raw.connections == 0


def test_a_client_that_waits_stops_when_told_to(raw):
    raw.will(respond_with(503))
    settings = Settings(
        api_key=SECRET_KEY, base_url=raw.url, rate_limit_storage="memory", limits=parse_limits("1/hour")
    )
    with MeisaClient(settings, max_wait=4000) as client:
        client.rate_limiter.reserve()
        timer = threading.Timer(0.05, client.stop)
        timer.start()
        with pytest.raises(MeisaStoppedError):
            client.send(READ)
        timer.join()
    assert raw.connections == 0


def test_a_read_that_timed_out_is_retried(meisa_sandbox, client_of):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.key, timeout=0.3)
    meisa_sandbox.fault("slow", seconds=1, times=1)
    assert client.send(READ).status == 200
    assert client.stats.requests == 2


def test_a_write_that_timed_out_is_not_retried_unasked(meisa_sandbox, client_of):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.key, timeout=0.3)
    meisa_sandbox.fault("slow", seconds=1, times=1)
    with pytest.raises(MeisaResponseLostError):
        client.send(WRITE)
    assert client.stats.requests == 1


@pytest.mark.parametrize("fault", [("html", {"status": 200}), ("empty", {"status": 200}), ("huge", {})])
def test_an_unreadable_response_is_not_asked_for_again(meisa_sandbox, client, fault):
    kind, params = fault
    meisa_sandbox.fault(kind, **params)
    with pytest.raises(MeisaUnreadableResponseError):
        client.send(READ)
    assert client.stats.requests == 1


def test_html_from_a_gateway_is_a_server_error(meisa_sandbox, client):
    meisa_sandbox.fault("html", status=502, times=1)
    assert client.send(READ).status == 200
    assert client.stats.retries == 1


def test_an_interrupted_call_counts_as_used(raw, raw_client, mocker):
    mocker.patch("requests.Session.request", side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        raw_client.send(READ)
    assert used(raw_client) == 1


def test_a_call_that_cannot_be_sent_gives_its_slot_back(raw, raw_client):
    with pytest.raises(MeisaInputError):
        raw_client.send(Request("POST", "/things/", body={"metadata": object()}))
    assert used(raw_client) == 0
    assert raw.connections == 0


def test_a_slot_that_was_reserved_is_used_for_the_first_try_only(raw, raw_client):
    raw.will(respond_with(500), respond_with(200, {}))
    reservation = raw_client.rate_limiter.reserve()
    assert isinstance(reservation, Reservation)
    raw_client.send(READ, reservation=reservation)
    assert used(raw_client) == 2


@pytest.mark.parametrize(
    "error", [ValueError("x"), MeisaInputError("x"), MeisaUnreadableResponseError("x", status=200)]
)
def test_other_failures_are_never_retried(error):
    assert not is_retryable(READ, error, resend=True, max_wait=120)


# Pages.


def pages_of(client):
    return list(client.pages(Request("GET", "/sequences/api/list/", query={"status": "all"})))


@pytest.mark.parametrize(
    "link",
    [
        "{url}/sequences/api/list/?status=all&cursor=b%2Bc",
        "?status=all&cursor=b%2Bc",
        "/api/v1/sequences/api/list/?status=all&cursor=b%2Bc",
        "https://127.0.0.1/api/v1/sequences/api/list/?status=all&cursor=b%2Bc",
    ],
    ids=["whole", "query only", "path only", "another scheme and port, as behind a proxy"],
)
def test_a_link_to_the_next_page_is_followed_below_the_base_url(raw, raw_client, link):
    raw.will(
        respond_with(200, {"results": [1], "next": link.format(url=raw.url)}),
        respond_with(200, {"results": [2], "next": None}),
    )
    assert [page["results"] for page in pages_of(raw_client)] == [[1], [2]]
    assert [request.target for request in raw.received] == [
        "/api/v1/sequences/api/list/?status=all",
        "/api/v1/sequences/api/list/?status=all&cursor=b%2Bc",
    ]


@pytest.mark.parametrize(
    "link",
    [
        "{elsewhere}/api/v1/sequences/api/list/?page=2",
        "//elsewhere.example/api/v1/list/",
        "https://127.0.0.1.elsewhere.example/api/v1/list/",
        "https://elsewhere.example@[::1",
        "https://127.0.0.1:99999999/elsewhere/",
        "/elsewhere/",
        "../../../../elsewhere/",
        "/api/v1",
        "/api/v10/list/",
        "mailto:jane@acme.example",
        {"href": "/api/v1/sequences/api/list/?page=2"},
        ["/api/v1/"],
        7,
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(raw, raw_client, link):
    with RawServer(respond_with(200, {})) as elsewhere:
        origin = elsewhere.origin.replace("127.0.0.1", "localhost")
        link = link.format(elsewhere=origin) if isinstance(link, str) else link
        raw.will(respond_with(200, {"results": [1], "next": link}), respond_with(200, {"results": [2]}))
        assert [page["results"] for page in pages_of(raw_client)] == [[1], [2]]
        assert elsewhere.connections == 0
    following = "page=2" if "page=2" in str(link) and isinstance(link, str) else "offset=1"
    assert raw.received[1].target == f"/api/v1/sequences/api/list/?status=all&{following}"


def test_offset_of_thousands_of_digits_is_not_counted_from(raw, raw_client):
    raw.will(
        respond_with(200, {"results": [1], "next": f"?offset={'9' * 5000}"}),
        respond_with(200, {"results": [2], "next": "/elsewhere/"}),
        respond_with(200, {"results": [3]}),
    )
    assert [page["results"] for page in pages_of(raw_client)] == [[1], [2], [3]]
    assert raw.received[2].target.endswith("&offset=1")


def test_pages_in_a_circle_are_noticed(raw, raw_client):
    raw.will(
        respond_with(200, {"results": [], "next": "?page=1"}),
        respond_with(200, {"results": [], "next": "?page=2"}),
    )
    raw.will(*(respond_with(200, {"results": [], "next": f"?page={number % 2}"}) for number in range(9)))
    with pytest.raises(MeisaUnreadableResponseError, match="have no end"):
        pages_of(raw_client)
    assert len(raw.received) == 3


def test_pages_without_end_are_given_up(raw, raw_client, monkeypatch):
    monkeypatch.setattr(client_module, "_MOST_PAGES", 10)
    raw.will(*(respond_with(200, {"results": [], "next": f"?page={number}"}) for number in range(99)))
    with pytest.raises(MeisaUnreadableResponseError, match="have no end"):
        pages_of(raw_client)
    assert len(raw.received) == 11


# Threads.


@pytest.mark.meisa_sandbox(rate_limits="none")
def test_eight_threads_share_a_client(meisa_sandbox, client_of):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.key, limits=parse_limits("1000/minute"))
    meisa_sandbox.fault("status", status=503, headers={"Retry-After": "1"}, times=5)
    meeting, sessions, errors = threading.Barrier(8), set(), []

    def work(worker):
        try:
            meeting.wait(5)
            for number in range(10):
                enroll(client, f"ada{worker}.{number}@example.org", "onboarding")
            sessions.add(client._transport._session())
        except Exception as error:  # noqa: BLE001 - raised in the parent
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(sessions) == 8
    assert len(meisa_sandbox.enrollments("onboarding")) == 80
    assert client.stats.requests == used(client) == len(meisa_sandbox.requests()) == 85
    assert client.stats.retries == 5


# Privacy.

ADDRESS = "jane.doe@acme.example"
SECRET_KEY = "meisa_live_Secret42"
IN_THE_BODY = "Zanzibar"
TELLING = {"detail": f"No, {ADDRESS} {SECRET_KEY}", "first_name": [f"{IN_THE_BODY} {ADDRESS}"]}
LEAKS = ("jane", "acme", "%40", "@", "Secret42", IN_THE_BODY)

PLAYS = {
    **{
        f"status {status}": respond_with(status, TELLING)
        for status in (400, 401, 403, 404, 405, 408, 409, 421, 422, 425, 429)
    },
    **{f"status {status}": respond_with(status, TELLING) for status in (500, 502, 503, 504)},
    "429 with an absurd wait": respond_with(429, TELLING, Retry_After=f"9999999 {ADDRESS}"),
    "html": respond_with(200, f"<html>{TELLING}</html>"),
    "html from a gateway": respond_with(502, f"<html>{TELLING}</html>"),
    "text": respond_with(200, str(TELLING)),
    "half": respond_with(200, '{"email": "' + ADDRESS),
    "another list": respond_with(200, [TELLING]),
    "another shape": respond_with(200, {"results": TELLING, "next": f"https://{ADDRESS}/{IN_THE_BODY}"}),
    "a link elsewhere": respond_with(
        200, {"emails": [], "results": [], "next": f"https://x.example/{ADDRESS}"}
    ),
    "an odd link": respond_with(200, {"emails": [], "results": [], "next": [ADDRESS]}),
    "a broken link": respond_with(200, {"emails": [], "results": [], "next": f"https://[{ADDRESS}"}),
    "empty": respond_with(200),
    "redirect": respond_with(302, Location=f"https://elsewhere.example/?email={ADDRESS}"),
    "redirect to nowhere": respond_with(302, Location=f"http://[{ADDRESS}"),
    "truncated": lambda line: line.send(respond_with(200, TELLING, Content_Length=9999)),
    "no HTTP": lambda line: line.send(f"{IN_THE_BODY} {ADDRESS}\r\n\r\n".encode()),
    "bad header": lambda line: line.send(f"HTTP/1.1 200 OK\r\nContent-Length: {ADDRESS}\r\n\r\n".encode()),
    "bad gzip": respond_with(200, TELLING, Content_Encoding="gzip"),
    "hung up": lambda line: None,
    "silence": lambda line: line.hold(),
}


def attempts(client):
    """Call everything that takes or gives addresses, also with the arguments swapped."""
    yield lambda: enroll(client, ADDRESS, "onboarding", metadata={"note": f"{IN_THE_BODY} {ADDRESS}"})
    yield lambda: enroll(client, "onboarding", ADDRESS)
    yield lambda: bulk_enroll(client, [ADDRESS, f"2{ADDRESS}"], "onboarding")
    yield lambda: bulk_enroll(client, ["onboarding"], ADDRESS)
    yield lambda: contact_enrollments(client, ADDRESS)
    yield lambda: list_sequences(client, search=ADDRESS)
    yield lambda: unsubscribed_emails(client)
    yield lambda: confirm_environment(client)


def failures_of(client):
    """Gather all that a reader of the logs would see of the failures."""
    seen, found = [], 0
    for attempt in attempts(client):
        try:
            attempt()
        except MeisaError as error:
            found += 1
            seen += [*traceback.format_exception(error), repr(error), *map(repr, error.args)]
    assert found, "nothing failed"
    return "".join(seen)


def without_our_source(text):
    """Drop the lines of source that a traceback quotes."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


@pytest.mark.parametrize("play", PLAYS)
def test_no_failure_shows_an_address_a_key_or_a_body(raw, client_of, caplog, play):
    raw.will(PLAYS[play])
    client = client_of(raw.url, SECRET_KEY, timeout=0.02 if play == "silence" else 5, environment="live")
    client.environment_confirmed = True
    caplog.set_level(1)
    caplog.set_level(1, "urllib3")
    shown = without_our_source(failures_of(client))
    client.environment_confirmed = False
    shown += without_our_source(failures_of(client))
    assert "urllib3" in caplog.text
    assert [leak for leak in LEAKS if leak in shown + caplog.text] == []


def test_no_connection_shows_an_address_or_a_key(client_of, closed_port, caplog):
    caplog.set_level(1)
    caplog.set_level(1, "urllib3")
    for base_url in (
        f"http://127.0.0.1:{closed_port}/api/v1",
        "http://a..invalid/api/v1",
    ):
        shown = without_our_source(failures_of(client_of(base_url, SECRET_KEY, allow_http=True)))
        assert [leak for leak in LEAKS if leak in shown + caplog.text] == []


def test_what_cannot_be_sent_shows_no_address_either(client_of, closed_port):
    client = client_of(f"http://127.0.0.1:{closed_port}/api/v1", SECRET_KEY)
    shown = []
    for attempt in (
        lambda: enroll(client, ADDRESS, "onboarding", metadata={ADDRESS: object()}),
        lambda: enroll(client, ADDRESS, ""),
        lambda: enroll(client, ADDRESS, ADDRESS, override_unsubscribe=True),
        lambda: bulk_enroll(client, ADDRESS, "onboarding"),
        lambda: bulk_enroll(client, [ADDRESS, None], "onboarding"),
        lambda: bulk_enroll(client, [ADDRESS] * 501, "onboarding"),
    ):
        with pytest.raises(MeisaInputError) as caught:
            attempt()
        shown += traceback.format_exception(caught.value)
    text = without_our_source("".join(shown))
    assert [leak for leak in LEAKS if leak in text] == []


def chain_of(error):
    """An exception and what it came from, and where that comes round again."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain, error


def test_no_failure_is_its_own_cause(raw, raw_client):
    raw.will(respond_with(400, TELLING))
    failures = []
    for attempt in attempts(raw_client):
        try:
            attempt()
        except MeisaError as error:
            failures.append(error)
    assert failures
    assert [chain_of(failure)[1] for failure in failures] == [None] * len(failures)
