"""Find out whether a failed request was sent: until a connection is made, nothing was."""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
import threading
from typing import Any

import requests
import requests.adapters
import urllib3.exceptions

_UNSENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    ssl.SSLCertVerificationError,
    urllib3.exceptions.LocationValueError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,  # a SOCKS proxy without PySocks
)
_NEVER_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    socket.gaierror,
)
_BROKEN = (ssl.SSLError, ConnectionError, TimeoutError, urllib3.exceptions.TimeoutError)
# OpenSSL's reasons, by version, when the first bytes of a server are not TLS.
_NO_TLS = {
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
}
# In TLS 1.3 it arrives after the client has sent its request, which the server has not accepted.
_WANTS_CERTIFICATE = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
# How a TLS server begins its response to plain HTTP.
_TLS_ALERT = "\x15\x03"


class _Phase(threading.local):
    is_connecting = False


PHASE = _Phase()
"""Whether this thread is making a connection."""


class _Connecting:
    """Makes a connection, and keeps `PHASE` up to date.

    The error alone is not enough: a timeout or a reset during a handshake, or during the ``CONNECT`` to a proxy, is
    the same error as one after the request.
    """

    def connect(self) -> None:
        """Connect to the host or the proxy, through the tunnel, and with TLS."""
        PHASE.is_connecting = True
        super().connect()  # type: ignore[misc]  # a mixin for the connections of urllib3
        PHASE.is_connecting = False


class ConnectingAdapter(requests.adapters.HTTPAdapter):
    """Sends requests over connections that keep `PHASE` up to date."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the manager for connections without a proxy."""
        super().init_poolmanager(*args, **kwargs)
        _watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the manager for connections through a proxy."""
        return _watch(super().proxy_manager_for(proxy, **kwargs))


def _watch(manager: Any) -> Any:
    manager.pool_classes_by_scheme = {
        scheme: _watched(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager


@functools.cache
def _watched(pool: Any) -> Any:
    """Return the class of a pool whose connections keep `PHASE` up to date."""
    if issubclass(pool.ConnectionCls, _Connecting):
        return pool
    connection = type(pool.ConnectionCls.__name__, (_Connecting, pool.ConnectionCls), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def is_unsent(error: Exception, causes: list[BaseException]) -> bool:
    """Return whether an error alone proves that the request was not sent, or that the server has not read it."""
    # requests wraps network errors; a bare OSError is about a file that it needs before it connects.
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return True
    signs = (_is_refused_tunnel, _is_tls_alert, _wants_certificate)
    return any(isinstance(cause, _UNSENT) or any(sign(cause) for sign in signs) for cause in causes)


def advice_on(causes: list[BaseException], *, is_tls: bool, connection: str) -> str:
    """Return what to do about a connection that could not be made.

    :param causes: the exceptions of the failure.
    :param is_tls: whether the base URL begins with ``https://``.
    :param connection: the connection in words, see `Settings.connection`.
    """
    base_url = f"the Base URL (host field) of {connection}"
    for sign, advice in _ADVICE:
        if any(map(sign, causes)):
            return advice.format(base_url=base_url)
    if is_tls and _is_broken_handshake(causes):
        return (
            f"The connection broke during the TLS handshake: check https:// and the port in {base_url}, and the proxy "
            "or firewall in between."
        )
    return f"Check {base_url}, the network, the proxy and the CA certificates."


def causes_of(error: BaseException) -> list[BaseException]:
    """List an exception and those it wraps, as urllib3 and requests nest them.

    ``__context__`` is ignored: it may lead to an unrelated exception that the caller handles.
    """
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop()
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [getattr(item, "reason", None), item.__cause__, *item.args]
    return found


def kind_of(causes: list[BaseException]) -> str:
    """Name the innermost exception without its text, which may hold a URL."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return ", ".join(filter(None, (type(cause).__name__, _reason(cause))))
    return type(causes[-1]).__name__


def _reason(cause: BaseException) -> str:
    """Return OpenSSL's name for what is wrong."""
    return str(cause.reason or "") if isinstance(cause, ssl.SSLError) else ""


def _has_no_tls(cause: BaseException) -> bool:
    return _reason(cause) in _NO_TLS


def _wants_certificate(cause: BaseException) -> bool:
    return _reason(cause) == _WANTS_CERTIFICATE


def _is_tls_alert(cause: BaseException) -> bool:
    """Return whether a TLS server responded to plain HTTP; it has not read the request."""
    return isinstance(cause, http.client.BadStatusLine) and str(cause).strip("'\"").startswith(
        (_TLS_ALERT, repr(_TLS_ALERT).strip("'"))
    )


def _is_untrusted(cause: BaseException) -> bool:
    return isinstance(cause, ssl.SSLCertVerificationError)


def _is_refused_tunnel(cause: BaseException) -> bool:
    """Return whether a proxy refused ``CONNECT``, which http.client shows by the text of the error only.

    urllib3's ``ProxyError`` is not enough: it also wraps a connection through a proxy that broke after the request.
    """
    return type(cause) is OSError and str(cause).startswith("Tunnel connection failed")


def _is_broken_handshake(causes: list[BaseException]) -> bool:
    """Return whether a connection was made, and broke during the TLS handshake."""
    return any(isinstance(cause, _BROKEN) for cause in causes) and not any(
        isinstance(cause, _NEVER_CONNECTED) for cause in causes
    )


_ADVICE = (
    (
        _has_no_tls,
        "The server does not speak TLS on this port: check https:// and the port in {base_url}.",
    ),
    (_is_tls_alert, "The server speaks TLS on this port: write https:// in {base_url}."),
    (
        _is_untrusted,
        "The server's certificate is not trusted: check {base_url} and REQUESTS_CA_BUNDLE.",
    ),
    (
        _wants_certificate,
        "The server asks for a client certificate, which this package cannot send: check {base_url}.",
    ),
    (
        _is_refused_tunnel,
        "The proxy refused the connection: check HTTPS_PROXY, the user and password in it, and the proxy's rules.",
    ),
)
