"""What fails before a request has left is reported so, with what to do, and may be sent again."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress

import pytest

from airflow_provider_meisa.api.endpoints.account import ping
from airflow_provider_meisa.api.endpoints.sequences import bulk_enroll, enroll
from airflow_provider_meisa.api.errors import MeisaError, MeisaResponseLostError, MeisaUnreachableError
from airflow_provider_meisa.api.models import Request
from tests.support.raw_server import RawServer, respond_with

WRITE = Request("POST", "/sequences/enroll/", body={"email": "ada@example.org"}, safe=False)
ADDRESSES = ["ada@example.org", "grace@example.org"]


def used(client):
    """How many requests the rate limiter has recorded."""
    [(limit, left), *_] = client.rate_limiter.remaining().items()
    return int(limit.partition("/")[0]) - left


class Listener:
    """Accepts connections on loopback and lets a play deal with each, before any HTTP."""

    def __init__(self, play):
        self._play = play
        self.connections = 0

    def __enter__(self):
        self._server = RawServer(b"")
        self._server._serve = self._serve
        self._server.__enter__()
        self.port = self._server.port
        return self

    def __exit__(self, *exception):
        self._server.__exit__(*exception)

    def _serve(self, connection):
        self.connections += 1
        with connection:
            self._play(connection, self._server._over)


def reset(connection, _over):
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(connection, _over):
    connection.recv(65536)


def stay_silent(_connection, over):
    over.wait()


def speak(content):
    def play(connection, _over):
        connection.recv(65536)
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while connection.recv(65536):  # closed with something unread, the connection would be reset
                pass

    return play


PLAIN = "does not speak TLS"
BROKE = "broke during the TLS handshake"
HANDSHAKES = {
    "plain HTTP": (speak(respond_with(400, "<html>The plain HTTP request</html>")), PLAIN),
    "HTTP without a status": (speak(b"<html>400 Bad Request</html>\r\n"), PLAIN),
    "SSH": (speak(b"SSH-2.0-OpenSSH_9.9\r\n"), PLAIN),
    "Redis": (speak(b"-ERR unknown command\r\n"), PLAIN),
    "PostgreSQL": (speak(b"E\x00\x00\x00\x20SFATAL\x00"), PLAIN),
    "an alert": (speak(b"\x15\x03\x01\x00\x02\x02\x28"), BROKE),
    "half a record": (speak(b"\x16\x03\x03\x40"), BROKE),
    "a reset": (reset, BROKE),
    "a hang-up": (hang_up, BROKE),
    "silence": (stay_silent, BROKE),
}


@pytest.mark.parametrize("kind", HANDSHAKES)
def test_failed_handshake_was_never_sent(client_of, kind):
    play, advice = HANDSHAKES[kind]
    with Listener(play) as listener:
        client = client_of(
            f"https://127.0.0.1:{listener.port}/api/v1", timeout=0.1 if kind == "silence" else 5
        )
        with pytest.raises(MeisaUnreachableError, match=f"{advice}.*Nothing was sent") as caught:
            client.send(WRITE)
    assert used(client) == 0
    assert listener.connections == 5
    assert "ada@" not in str(caught.value)


@pytest.mark.parametrize("call", [ping, lambda c: enroll(c, "ada@example.org", "onboarding")])
def test_failed_handshake_names_cure_for_every_call(raw, client_of, call):
    raw.will(respond_with(400, ""))
    with pytest.raises(MeisaUnreachableError, match="check https:// and the port"):
        call(client_of(raw.url.replace("http:", "https:")))


def test_server_with_tls_that_gets_plain_http(client_of):
    with Listener(speak(b"\x15\x03\x03\x00\x02\x02\x46")) as listener:
        client = client_of(f"http://127.0.0.1:{listener.port}/api/v1")
        with pytest.raises(MeisaUnreachableError, match=r"speaks TLS on this port: write https://"):
            client.send(WRITE)
    assert used(client) == 0


def test_old_tls_version_is_refused_before_sending(certificate, client_of, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with RawServer(respond_with(201, {}), tls=context) as server:
        client = client_of(server.url)
        with pytest.raises(MeisaUnreachableError, match="Nothing was sent"):
            client.send(WRITE)
        assert server.received == []
    assert used(client) == 0


def test_server_that_wants_a_client_certificate(certificate, client_of, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with RawServer(respond_with(201, {}), tls=context) as server:
        client = client_of(server.url)
        with pytest.raises(MeisaError) as caught:
            client.send(WRITE)
        assert server.received == []
    # A reset may overtake the alert; then nothing shows that the server did not read the request.
    assert "client certificate" in str(caught.value) or isinstance(caught.value, MeisaResponseLostError)


def test_certificate_of_another_host_names_the_cure(certificate, client_of, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with RawServer(respond_with(201, {}), tls=context) as server:
        client = client_of(server.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(MeisaUnreachableError, match="certificate is not trusted: check the"):
            client.send(WRITE)
        assert server.received == []


@pytest.mark.parametrize("status", [403, 407, 502, 503])
def test_refused_tunnel_names_the_proxy(raw, client_of, monkeypatch, status):
    monkeypatch.setenv("https_proxy", raw.origin)
    raw.will(lambda line: line.send(respond_with(status)))
    client = client_of("https://127.0.0.1:9/api/v1")
    with pytest.raises(MeisaUnreachableError, match="proxy refused the connection: check HTTPS_PROXY"):
        client.send(WRITE)
    assert used(client) == 0


@pytest.mark.parametrize("content", [None, b"", b"SSH-2.0-OpenSSH_9.9\r\n"])
def test_tunnel_that_breaks_was_never_sent(raw, client_of, monkeypatch, content):
    monkeypatch.setenv("https_proxy", raw.origin)

    def play(line):
        if content is not None:
            line.send(b"HTTP/1.1 200 Connection established\r\n\r\n" + content)

    raw.will(play)
    client = client_of("https://127.0.0.1:9/api/v1")
    with pytest.raises(MeisaUnreachableError, match="Nothing was sent"):
        bulk_enroll(client, ADDRESSES, "onboarding")
    assert {request.method for request in raw.received} == {"CONNECT"}
    assert used(client) == 0


def test_connection_that_breaks_after_a_handshake_is_lost(certificate, client_of, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with RawServer(lambda line: None, tls=context) as server:
        client = client_of(server.url)
        with pytest.raises(MeisaResponseLostError, match="may have carried the request out"):
            client.send(WRITE)
        assert len(server.received) == 1
    assert used(client) == 1


def test_second_request_of_a_connection_is_lost_when_it_breaks(raw, client_of):
    raw.will(respond_with(200, {}), lambda line: None)
    client = client_of(raw.url)
    client.send(WRITE)
    with pytest.raises(MeisaResponseLostError):
        client.send(WRITE)
    assert raw.connections == 1
