"""Clients for the sandbox and for raw servers, in a time that passes only during sleeps."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket

import pytest

from airflow_provider_meisa.api.client import MAX_WAIT, MeisaClient
from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter
from airflow_provider_meisa.api.rate_limit.storage.factory import MemoryStorage
from airflow_provider_meisa.api.settings import Settings
from tests.support.clock import Clock
from tests.support.raw_server import RawServer

KEY = "meisa_live_RawKey123"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client_of(clock):
    """Make clients; arguments are those of `Settings`, and ``max_wait``."""
    made = []

    def make(base_url, api_key=KEY, *, max_wait=MAX_WAIT, **settings):
        known = Settings(api_key=api_key, base_url=base_url, **{"timeout": 5, **settings})
        rate_limiter = RateLimiter(known.limits, MemoryStorage(), clock=clock)
        made.append(MeisaClient(known, rate_limiter=rate_limiter, sleep=clock.sleep, max_wait=max_wait))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(meisa_sandbox, client_of):
    """A client of the sandbox."""
    return client_of(meisa_sandbox.api_url, meisa_sandbox.key)


@pytest.fixture
def raw():
    """A raw server; a test sets its responses."""
    with RawServer() as server:
        yield server


@pytest.fixture
def raw_client(raw, client_of):
    return client_of(raw.url)


@pytest.fixture
def closed_port():
    """A port of loopback on which no process listens, reserved by a socket that is only bound."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that only itself vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path
