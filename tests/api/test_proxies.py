"""What a proxy on the way does to a call, and what that says of it."""

from __future__ import annotations

import ssl
from importlib.util import find_spec

import pytest

from airflow_provider_meisa.api.errors import MeisaResponseLostError, MeisaUnreachableError
from airflow_provider_meisa.api.models import Request
from tests.support.raw_server import respond_with

WRITE = Request("POST", "/sequences/enroll/", body={"email": "ada@example.org"}, safe=False)


def used(client):
    """How many requests the rate limiter has recorded."""
    [(limit, left), *_] = client.rate_limiter.remaining().items()
    return int(limit.partition("/")[0]) - left


class Tunnel:
    """A play that opens a tunnel and is Meisa at its other end.

    :param plays: one responds to one request in the tunnel: bytes, or ``None`` to hang up.
    """

    def __init__(self, certificate, *plays):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._plays = list(plays)
        self.received = []

    def __call__(self, line):
        line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with self._context.wrap_socket(line.connection, server_side=True) as secure:
            while content := self._request(secure):
                self.received.append(content)
                play = self._plays.pop(0)
                if play is None:
                    return
                secure.sendall(play)

    def _request(self, secure):
        """Read one call to its end: headers and body may come in pieces. Nothing, if the client hangs up."""
        content = b""
        while not content.endswith(b"}"):
            if not (piece := secure.recv(65536)):
                return b""
            content += piece
        return content


@pytest.fixture
def http_client(raw, client_of, monkeypatch):
    """A client that sends everything through the raw server, in plain HTTP."""
    monkeypatch.setenv("http_proxy", raw.origin)
    return client_of("http://meisa.example/api/v1", allow_http=True)


@pytest.fixture
def tunnelled_client(raw, client_of, monkeypatch, certificate):
    """A client that asks the raw server for a tunnel."""
    monkeypatch.setenv("https_proxy", raw.origin)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    return client_of("https://127.0.0.1:9/api/v1")


def test_a_write_whose_response_a_proxy_lost_is_not_sent_again(raw, http_client):
    raw.will(lambda line: None)
    with pytest.raises(MeisaResponseLostError, match="may have carried the request out"):
        http_client.send(WRITE)
    assert len(raw.received) == used(http_client) == 1


def test_a_write_whose_response_was_lost_in_a_tunnel_is_not_sent_again(raw, tunnelled_client, certificate):
    tunnel = Tunnel(certificate, None)
    raw.will(tunnel)
    with pytest.raises(MeisaResponseLostError, match="may have carried the request out"):
        tunnelled_client.send(WRITE)
    assert b"POST /api/v1/sequences/enroll/" in tunnel.received[0]
    assert raw.connections == used(tunnelled_client) == 1


def test_a_tunnel_carries_call_after_call(raw, tunnelled_client, certificate):
    tunnel = Tunnel(certificate, respond_with(201, {}), respond_with(201, {}), None)
    raw.will(tunnel)
    assert [tunnelled_client.send(WRITE).status for _ in range(2)] == [201, 201]
    with pytest.raises(MeisaResponseLostError):
        tunnelled_client.send(WRITE)
    assert raw.connections == 1


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_tunnel_that_is_refused_means_that_nothing_was_sent(raw, tunnelled_client, status):
    raw.will(lambda line: line.send(respond_with(status)))
    with pytest.raises(MeisaUnreachableError, match="Nothing was sent"):
        tunnelled_client.send(WRITE)
    assert {request.method for request in raw.received} == {"CONNECT"}
    assert used(tunnelled_client) == 0


def test_a_proxy_that_hangs_up_before_the_tunnel_is_open_means_that_nothing_was_sent(raw, tunnelled_client):
    raw.will(lambda line: None)
    with pytest.raises(MeisaUnreachableError, match="Nothing was sent"):
        tunnelled_client.send(WRITE)
    assert {request.method for request in raw.received} == {"CONNECT"}
    assert used(tunnelled_client) == 0


def test_a_proxy_that_is_not_there_uses_no_rate_limit(client_of, closed_port, monkeypatch):
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port}")
    client = client_of("https://meisa.invalid/api/v1")
    with pytest.raises(MeisaUnreachableError, match="Nothing was sent"):
        client.send(WRITE)
    assert used(client) == 0


@pytest.mark.skipif(find_spec("socks") is not None, reason="with PySocks, requests speaks SOCKS")
def test_a_socks_proxy_without_pysocks_means_that_nothing_was_sent(raw, client_of, monkeypatch):
    monkeypatch.setenv("https_proxy", f"socks5://127.0.0.1:{raw.port}")
    client = client_of("https://meisa.invalid/api/v1")
    with pytest.raises(MeisaUnreachableError, match=r"the proxy.*Nothing was sent"):
        client.send(WRITE)
    assert raw.connections == used(client) == 0
