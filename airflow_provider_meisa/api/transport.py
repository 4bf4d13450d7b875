"""Send one request to Meisa once, and return the response or raise an error."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from airflow_provider_meisa import __version__
from airflow_provider_meisa.api.connecting import (
    PHASE,
    ConnectingAdapter,
    advice_on,
    causes_of,
    is_unsent,
    kind_of,
)
from airflow_provider_meisa.api.error_response import error_from_response
from airflow_provider_meisa.api.errors import (
    MeisaError,
    MeisaInputError,
    MeisaRedirectError,
    MeisaResponseLostError,
    MeisaUnreachableError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.models import Request, Response

if TYPE_CHECKING:
    from airflow_provider_meisa.api.settings import Settings

_LONGEST_CONNECT = 10.0
_CHUNK = 64 * 1024
# Servers close idle connections, some after 2 seconds: a request sent at that moment is lost.
_LONGEST_IDLE = 1.0


class Transport:
    """Sends requests to one base URL with one key, from any number of threads.

    :param settings: base URL, key and timeout.
    :param clock: a monotonic clock, in seconds.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        _hide_queries_from_logs()

    def send(self, request: Request) -> Response:
        """Send a request once.

        :raises MeisaError: a leaf of the tree in `errors`. It is not raised from an exception of ``requests``, whose
            text has the URL with the address in it.
        """
        failure: MeisaError
        content = _encode(request)
        PHASE.is_connecting = False
        try:
            with self._session_for(request).request(
                request.method,
                self._settings.base_url + request.path,
                params=request.query,
                data=content,
                headers={"Content-Type": "application/json"} if content else None,
                timeout=(min(self._settings.timeout, _LONGEST_CONNECT), self._settings.timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                return self._read(request, response)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            failure = self._no_response(request, error)
        finally:
            self._local.used_at = self._clock()
        raise failure

    def close(self) -> None:
        """Close every connection this transport has opened."""
        for session in self._sessions:
            session.close()

    def _session_for(self, request: Request) -> requests.Session:
        """Return this thread's session; for a write, close idle connections first."""
        session = self._session()
        if not request.safe and self._clock() - getattr(self._local, "used_at", 0.0) > _LONGEST_IDLE:
            session.close()  # closes its connections; the session itself stays usable
        return session

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = _Session()
            for scheme in ("https://", "http://"):
                session.mount(scheme, ConnectingAdapter())
            session.headers.update(
                {
                    "X-API-Key": self._settings.api_key,
                    "Accept": "application/json",
                    "User-Agent": f"airflow-provider-meisa/{__version__}",
                }
            )
            self._apply_environment(session)
            self._sessions.append(session)
        return session

    def _apply_environment(self, session: requests.Session) -> None:
        """Look up the environment's proxies and CA bundle once: for each request it would take a third of the time.

        ``requests`` then also ignores ``~/.netrc``, whose user and password must not be sent with the key.
        """
        found = session.merge_environment_settings(self._settings.base_url, {}, None, None, None)
        session.proxies, session.verify = found["proxies"], found["verify"]
        session.trust_env = False

    def _no_response(self, request: Request, error: Exception) -> MeisaError:
        causes = causes_of(error)
        if PHASE.is_connecting or is_unsent(error, causes):
            is_tls = self._settings.base_url.startswith("https:")
            advice = advice_on(causes, is_tls=is_tls, connection=self._settings.connection)
            return MeisaUnreachableError(
                f"{request}: no connection to Meisa ({kind_of(causes)}). {advice} Nothing was sent."
            )
        if isinstance(error, (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError)):
            return MeisaResponseLostError(f"{request}: the response cannot be decompressed.")
        return MeisaResponseLostError(
            f"{request}: the connection broke before the response was complete ({kind_of(causes)}). "
            "Meisa may have carried the request out."
        )

    def _read(self, request: Request, response: requests.Response) -> Response:
        status = response.status_code
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise MeisaRedirectError(
                f"{request}: Meisa responded with {status}, a redirect. It was not followed, because that would "
                f"send the key there. Check the Base URL (host field) of {self._settings.connection}.",
                status=status,
            )
        text = self._text(request, response)
        if status >= HTTPStatus.BAD_REQUEST:
            retry_after = response.headers.get("Retry-After")
            raise error_from_response(
                request, status, text, retry_after, connection=self._settings.connection
            )
        return Response(status, _json(request, status, text, self._settings.connection))

    def _text(self, request: Request, response: requests.Response) -> bytes:
        deadline = self._clock() + self._settings.timeout
        received = bytearray()
        for chunk in _pieces(response):
            received += chunk
            if len(received) > request.max_bytes:
                raise MeisaUnreadableResponseError(
                    f"{request}: the response ({response.status_code}) is larger than {request.max_bytes:,} bytes. "
                    f"Check that the Base URL (host field) of {self._settings.connection} is Meisa's API.",
                    status=response.status_code,
                    possibly_done=True,
                )
            if self._clock() > deadline:
                raise MeisaResponseLostError(
                    f"{request}: the response took longer than {self._settings.timeout:g} s."
                )
        return bytes(received)


def _encode(request: Request) -> bytes | None:
    if request.body is None:
        return None
    problem = ""
    try:
        return json.dumps(request.body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = type(error).__name__
    raise MeisaInputError(
        f"{request}: the body is not plain JSON ({problem}). Use text, numbers, true/false, null, "
        "lists and objects only; dates as text."
    )


class _Session(requests.Session):
    """A session without redirects."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return ``None``: else ``requests`` reads the whole body and parses the target, even without redirects."""
        return None


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body of a response in pieces, so that the caller can check the time in between."""
    return iter(lambda: response.raw.read1(_CHUNK, decode_content=True), b"")


def _json(request: Request, status: int, text: bytes, connection: str) -> object:
    if request.may_be_empty and not text.strip():
        return None
    problem = ""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        problem = (
            "is empty" if not text.strip() else "is HTML" if text.lstrip()[:1] == b"<" else "is not JSON"
        )
    raise MeisaUnreadableResponseError(
        f"{request}: the response ({status}) {problem}. Check that the Base URL (host field) of {connection} "
        "is Meisa's API, and that no proxy responds in its place.",
        status=status,
        possibly_done=True,
    )


class _QueryHider(logging.Filter):
    """Removes the query, which may hold an address, from urllib3's debug lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(arg) for arg in record.args)
        return True


def _without_query(arg: object) -> object:
    if isinstance(arg, str) and "?" in arg:
        return urlsplit(arg)._replace(query="").geturl() + "?…"
    return arg


def _hide_queries_from_logs() -> None:
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(known, _QueryHider) for known in logger.filters):
        logger.addFilter(_QueryHider())
