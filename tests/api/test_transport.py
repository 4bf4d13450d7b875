from __future__ import annotations

import datetime as dt
import email.utils
import gzip
import json
import logging
import ssl
import threading
import time
import zlib

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.error_response import seconds_of
from airflow_provider_meisa.api.errors import (
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaKeyError,
    MeisaNotFoundError,
    MeisaRateLimitError,
    MeisaRedirectError,
    MeisaResponseLostError,
    MeisaScopeError,
    MeisaServerError,
    MeisaUnavailableError,
    MeisaUnreachableError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.models import MAX_RESPONSE_BYTES, Request
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.api.transport import Transport
from tests.support.raw_server import RawServer, respond_with

KEY = "meisa_live_RawKey123"
READ = Request("GET", "/things/", scope="things:read")
WRITE = Request("POST", "/things/", body={"email": "jane.doe@acme.example"}, safe=False)
NOW = 1_800_000_000.0


@pytest.fixture
def transport_to():
    """Make transports to a base URL."""
    made = []

    def make(base_url, **settings):
        made.append(Transport(Settings(api_key=KEY, base_url=base_url, **{"timeout": 5, **settings})))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def transport(raw, transport_to):
    return transport_to(raw.url)


def test_a_read_goes_out_with_key_query_and_nothing_else(raw, transport):
    raw.will(respond_with(200, {"fine": True}))
    found = transport.send(Request("GET", "/things/", query={"email": "jane+1@acme.example"}))
    assert (found.status, found.body) == (200, {"fine": True})
    [request] = raw.received
    assert (request.method, request.target) == ("GET", "/api/v1/things/?email=jane%2B1%40acme.example")
    assert request.headers["x-api-key"] == KEY
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("airflow-provider-meisa/")
    assert "content-type" not in request.headers
    assert request.body == b""


def test_a_write_goes_out_as_json(raw, transport):
    raw.will(respond_with(201, {}))
    transport.send(WRITE)
    [request] = raw.received
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"email": "jane.doe@acme.example"}


def test_a_user_and_password_of_netrc_do_not_travel_with_the_key(raw, transport, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login jane password pass-word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    raw.will(respond_with(200, {}))
    transport.send(READ)
    assert "authorization" not in raw.received[0].headers


def test_one_connection_carries_call_after_call(raw, transport):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    zipped = respond_with(200, gzip.compress(b"{}"), Content_Encoding="gzip")
    raw.will(respond_with(200, {}), chunked, zipped, respond_with(200, {}))
    assert [transport.send(READ).body for _ in range(4)] == [{}] * 4
    assert raw.connections == 1


def test_each_thread_has_a_connection_of_its_own_and_close_closes_them_all(raw, transport):
    raw.will(respond_with(200, {}))
    meeting = threading.Barrier(4)

    def call():
        meeting.wait(5)
        transport.send(READ)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raw.connections == len(transport._sessions) == 4
    transport.close()
    assert [len(session.get_adapter("http://").poolmanager.pools) for session in transport._sessions] == [
        0
    ] * 4


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(raw, transport):
    closed = threading.Event()

    def response_and_close(line):
        line.send(respond_with(200, {}))
        line.connection.close()
        closed.set()

    raw.will(response_and_close, respond_with(200, {}))
    transport.send(WRITE)
    assert closed.wait(5)
    transport.send(WRITE)
    assert (len(raw.received), raw.connections) == (2, 2)


# What the response says.


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (401, MeisaKeyError, "password field"),
        (403, MeisaScopeError, "It needs the scope things:read"),
        (402, MeisaInvalidRequestError, "does not accept the request (402)"),
        (413, MeisaInvalidRequestError, "is too large (413)"),
        (404, MeisaNotFoundError, "Check the Base URL"),
        (405, MeisaInvalidRequestError, "does not accept the request (405)"),
        (415, MeisaInvalidRequestError, "does not accept the request (415)"),
        (422, MeisaInvalidRequestError, "does not accept the request (422)"),
        (408, MeisaServerError, "Try again later"),
        (421, MeisaServerError, "Try again later"),
        (425, MeisaServerError, "Try again later"),
        (429, MeisaRateLimitError, "used up"),
        (500, MeisaServerError, "Try again later"),
        (503, MeisaUnavailableError, "is unavailable (503)"),
        (599, MeisaServerError, "Try again later"),
        (301, MeisaRedirectError, "not followed"),
        (304, MeisaRedirectError, "not followed"),
    ],
)
def test_each_status_has_its_error_and_its_advice(raw, transport, status, kind, advice):
    raw.will(respond_with(status, {"detail": "no"}))
    with pytest.raises(kind) as caught:
        transport.send(READ)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert str(caught.value).startswith("GET /things/: ")
    assert advice in str(caught.value)


def test_a_403_names_the_scope_or_says_that_the_key_may_not(raw, transport):
    raw.will(respond_with(403, {"detail": "You do not have permission to perform this action."}))
    with pytest.raises(MeisaScopeError) as caught:
        transport.send(READ)
    assert caught.value.scope == "things:read"
    with pytest.raises(MeisaScopeError, match="not allowed to do this") as caught:
        transport.send(Request("GET", "/ping/"))
    assert caught.value.scope is None


@pytest.mark.parametrize("body", ["", "<html>Access denied</html>", "Forbidden", "[" * 100_000])
def test_a_403_that_is_no_json_is_not_laid_to_the_key(raw, transport, body):
    raw.will(respond_with(403, body))
    with pytest.raises(MeisaUnreadableResponseError, match="firewall or proxy") as caught:
        transport.send(WRITE)
    assert (caught.value.status, caught.value.possibly_done) == (403, False)
    assert "scope" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "fields", "reason"),
    [
        ({"email": ["Enter a valid email address."]}, ("email",), "Enter a valid email address."),
        ({"detail": "jane.doe@acme.example is in it"}, (), "<address> is in it"),
        ({"errors": {"email": ["bad"], "other": [{"deep": "worse"}]}}, (), "bad; worse"),
        (["one", "two", 3, None], (), "one; two"),
        ("plain", (), "plain"),
        ('{"detail": ', (), ""),
        ("[" * 100_000, (), ""),
        ("<html>no</html>", (), ""),
        (b"\xff\xfe\x00", (), ""),
        ("", (), ""),
    ],
)
def test_a_refusal_keeps_the_fields_it_names_and_a_clean_reason(raw, transport, body, fields, reason):
    raw.will(respond_with(400, json.dumps(body) if body == "plain" else body))
    with pytest.raises(MeisaInvalidRequestError) as caught:
        transport.send(WRITE)
    assert caught.value.fields == fields
    assert caught.value.reason == reason
    assert "jane" not in caught.value.reason
    assert ("Fields it names: email." in str(caught.value)) is bool(fields)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b" <!doctype html><html>", "is HTML"),
        (b"fine", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": "\xff"}', "is not JSON"),
        (b"9" * 10_000, "is not JSON"),
    ],
)
def test_a_response_that_is_no_json_is_unreadable(raw, transport, content, says):
    raw.will(respond_with(200, content))
    with pytest.raises(MeisaUnreadableResponseError, match=says) as caught:
        transport.send(READ)
    assert caught.value.status == 200


def test_a_status_without_a_body_is_unreadable(raw, transport):
    raw.will(b"HTTP/1.1 204 No Content\r\n\r\n")
    with pytest.raises(MeisaUnreadableResponseError, match=r"\(204\) is empty"):
        transport.send(READ)


# How much of it, and for how long.


def test_a_too_large_response_is_refused_before_it_is_read_whole(raw, transport):
    written = []

    def pour(line):
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while len(written) < 1000:
            line.send(b"x" * 1_000_000)
            written.append(1)

    raw.will(pour)
    with pytest.raises(MeisaUnreadableResponseError, match="larger than 8,388,608 bytes"):
        transport.send(READ)
    assert len(written) < 100


def test_a_call_may_take_a_larger_response(raw, transport):
    body = "x" * (MAX_RESPONSE_BYTES + 1)
    raw.will(respond_with(200, body=json.dumps(body)))
    assert transport.send(Request("GET", "/things/", max_bytes=2 * MAX_RESPONSE_BYTES)).body == body


def test_a_small_response_that_unpacks_to_a_huge_one_is_refused(raw, transport):
    pack = zlib.compressobj(wbits=31)
    bomb = b"".join(pack.compress(b" " * 1_000_000) for _ in range(64)) + pack.flush()
    raw.will(respond_with(200, bomb, Content_Encoding="gzip"))
    with pytest.raises(MeisaUnreadableResponseError, match="larger than"):
        transport.send(READ)
    assert len(bomb) < 100_000


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (CHUNKED, b"1\r\n \r\n"),
        (CHUNKED + b"1000\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    ],
    ids=["chunk by chunk", "inside a chunk", "inside a known length", "until the end"],
)
@pytest.mark.timeout(45)  # all that drips would take 50 s
def test_a_response_that_drips_is_given_up_when_its_time_is_over(raw, transport_to, head, piece):
    def drip(line):
        line.send(head)
        line.drip([piece] * 1000, every=0.05)

    raw.will(drip)
    with pytest.raises(MeisaResponseLostError, match=r"took longer than 0.3 s"):
        transport_to(raw.url, timeout=0.3).send(READ)


@pytest.mark.parametrize(
    "beginning", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_response_that_never_comes_is_given_up(raw, transport_to, beginning):
    def fall_silent(line):
        line.send(beginning)
        line.hold()

    raw.will(fall_silent)
    with pytest.raises(MeisaResponseLostError, match="may have carried the request out"):
        transport_to(raw.url, timeout=0.2).send(READ)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        CHUNKED + b"ff\r\n{}",
        CHUNKED + b"no number\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
    ids=["nothing", "truncated", "truncated chunk", "bad chunk", "two lengths", "no HTTP", "endless header"],
)
def test_a_response_that_breaks_off_or_is_no_http_is_lost(raw, transport, content):
    raw.will(lambda line: line.send(content))
    with pytest.raises(MeisaResponseLostError):
        transport.send(READ)


def test_a_response_that_cannot_be_unpacked_is_lost(raw, transport):
    raw.will(respond_with(200, b"no gzip at all", Content_Encoding="gzip"))
    with pytest.raises(MeisaResponseLostError, match="cannot be decompressed"):
        transport.send(READ)


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(raw, transport, status):
    with RawServer(respond_with(200, {})) as elsewhere:
        raw.will(respond_with(status, Location=f"{elsewhere.origin}/api/v1/things/"))
        for call in (READ, WRITE):
            with pytest.raises(MeisaRedirectError, match="would send the key there"):
                transport.send(call)
        assert (elsewhere.connections, elsewhere.received) == (0, [])


def test_a_redirect_on_the_same_host_is_not_followed_either(raw, transport):
    raw.will(respond_with(301, Location="/api/v1/things/"), respond_with(200, {}))
    with pytest.raises(MeisaRedirectError):
        transport.send(WRITE)
    assert len(raw.received) == 1


@pytest.mark.parametrize(
    "location", ["http://", "http://[::1", "mailto:jane@acme.example", "//", "http://a..b/", "%zz"]
)
def test_a_redirect_to_nowhere_is_a_redirect(raw, transport, location):
    raw.will(respond_with(302, Location=location))
    with pytest.raises(MeisaRedirectError):
        transport.send(WRITE)


def test_the_body_of_a_redirect_is_not_read(raw, transport_to):
    def redirect_and_hold(line):
        line.send(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere/\r\nContent-Length: 1000000000\r\n\r\n")
        line.hold()

    raw.will(redirect_and_hold)
    with pytest.raises(MeisaRedirectError):
        transport_to(raw.url, timeout=0.5).send(READ)


# No connection.


def test_a_refused_connection_means_that_nothing_was_sent(transport_to, closed_port):
    with pytest.raises(MeisaUnreachableError, match=r"ConnectionRefusedError.*Nothing was sent"):
        transport_to(f"http://127.0.0.1:{closed_port}/api/v1").send(WRITE)


@pytest.mark.parametrize(
    "host", ["meisa.invalid", "a..invalid", f"{'a' * 70}.invalid", "meisa invalid", ".invalid"]
)
def test_a_name_that_does_not_resolve_means_that_nothing_was_sent(transport_to, host):
    with pytest.raises(MeisaUnreachableError, match="Nothing was sent"):
        transport_to(f"https://{host}/api/v1").send(WRITE)


def test_a_proxy_that_is_not_there_means_that_nothing_was_sent(transport_to, closed_port, monkeypatch):
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(MeisaUnreachableError, match="Nothing was sent"):
        transport_to("https://meisa.invalid/api/v1").send(WRITE)


def test_what_the_caller_has_just_met_says_nothing_of_this_call(raw, transport, closed_port):
    raw.will(lambda line: None)  # it takes the call and hangs up
    try:
        requests.get(f"http://127.0.0.1:{closed_port}/", timeout=5)
    except requests.ConnectionError:
        with pytest.raises(MeisaResponseLostError, match="may have carried the request out"):
            transport.send(WRITE)
    assert len(raw.received) == 1


def test_a_ca_bundle_that_is_not_there_means_that_nothing_was_sent(raw, transport_to, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(MeisaUnreachableError, match=r"Nothing was sent"):
        transport_to(raw.url.replace("http:", "https:")).send(WRITE)
    assert raw.connections == 0


def test_https_to_a_port_that_speaks_plain_http_sends_nothing(raw, transport_to):
    raw.will(respond_with(400, "<html>plain HTTP was sent to an HTTPS port</html>"))
    with pytest.raises(MeisaUnreachableError, match=r"SSLError.*does not speak TLS.*Nothing was sent"):
        transport_to(raw.url.replace("http:", "https:")).send(WRITE)
    assert KEY not in str(raw.received)
    assert "jane" not in str(raw.received)


@pytest.fixture
def tls_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with RawServer(respond_with(200, {"fine": True}), tls=context) as server:
        yield server


def test_an_untrusted_certificate_means_that_nothing_was_sent(tls_server, transport_to):
    with pytest.raises(MeisaUnreachableError, match=r"SSLCertVerificationError.*Nothing was sent"):
        transport_to(tls_server.url).send(WRITE)
    assert tls_server.received == []


def test_a_certificate_of_the_given_authority_is_accepted(tls_server, transport_to, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert transport_to(tls_server.url).send(READ).body == {"fine": True}


# What cannot be sent.


@pytest.mark.parametrize(
    "value",
    [dt.datetime(2026, 11, 1, tzinfo=dt.UTC), float("nan"), float("inf"), {1, 2}, b"x", object()],
)
def test_what_is_no_json_is_not_sent(raw, transport, value):
    with pytest.raises(MeisaInputError, match="not plain JSON"):
        transport.send(Request("POST", "/things/", body={"metadata": value}))
    assert raw.connections == 0


def test_what_contains_itself_is_not_sent(transport):
    endless = []
    endless.append(endless)
    with pytest.raises(MeisaInputError, match="not plain JSON"):
        transport.send(Request("POST", "/things/", body={"metadata": endless}))


# Words.


def test_calls_and_responses_show_no_content():
    assert "jane" not in repr(WRITE)
    assert "jane" not in repr(Request("GET", "/things/", query={"email": "jane.doe@acme.example"}))
    assert str(WRITE) == "POST /things/"


def test_the_log_of_urllib3_shows_paths_without_queries(raw, transport, transport_to, caplog):
    raw.will(respond_with(200, {}))
    with caplog.at_level(logging.DEBUG):
        for carrier in (transport, transport_to(raw.url)):
            carrier.send(Request("GET", "/things/", query={"email": "jane.doe@acme.example"}))
    lines = [record.getMessage() for record in caplog.records if "/things/" in record.getMessage()]
    assert len(lines) == 2
    assert all("/api/v1/things/?…" in line for line in lines)
    assert "jane" not in caplog.text


def test_the_log_of_urllib3_is_otherwise_left_as_it_is(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("urllib3.connectionpool").debug("retries: %(left)d", {"left": 3})
    assert "retries: 3" in caplog.text


# Retry-After.


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17.0),
        (" 17 ", 17.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("1000000000", 1e9),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0.0),
        ("Fri, 15 Jan 2027 08:01:30 -0000", 90.0),
        ("Friday, 15-Jan-27 08:01:30 GMT", 90.0),
        ("Fri Jan 15 08:01:30 2027", 90.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_602_300_800 - 1 + 0.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
        ("٣", None),
        ("9" * 400, None),
        ("Fri, 99 Jan 2027 08:01:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header, seconds, monkeypatch):
    # A date without a zone is UTC, wherever the worker stands.
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert seconds_of(header, NOW) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


DATE_PARTS = [
    "Sun,",
    "06",
    "Nov",
    "1994",
    "08:49:37",
    "GMT",
    "-0000",
    "+9999",
    "99:99",
    "-1",
    "1e9",
    "(",
    ")",
    ";",
    "Z",
    "0",
]


@given(st.text() | st.lists(st.sampled_from(DATE_PARTS)).map(" ".join))
def test_no_retry_after_breaks_the_client(header):
    seconds = seconds_of(header, NOW)
    assert seconds is None or seconds >= 0
