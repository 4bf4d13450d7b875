"""The settings of a connection to Meisa, checked before anything is sent."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from airflow_provider_meisa.api.checks import check_switch, is_number
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.extras import DEFAULT_TIMEOUT, read_extras
from airflow_provider_meisa.api.rate_limit.limits import DEFAULT_LIMITS, Limit, parse_limits

DEFAULT_BASE_URL = "https://api.meisa.io/api/v1"
DEFAULT_DASHBOARD_URL = "https://app.meisa.io"
ENVIRONMENTS = ("live", "test")
SHORTEST_RESEND_AFTER = 10.0

_API_PATH = "/api/v1"
_NO_BASE_URL = f"The Base URL (host field) must be a URL such as {DEFAULT_BASE_URL}."
_NO_SCHEMA = (
    "The schema field must be empty, http or https. A path belongs to the Base URL (host field), such as "
    f"{DEFAULT_BASE_URL}: in a connection URI, write that as {quote(DEFAULT_BASE_URL, safe='')}."
)
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Base URL, API key and options, checked when created; ``repr`` omits the key.

    :param api_key: the API key, sent as ``X-API-Key`` (Meisa's page *Authentication*).
    :param base_url: scheme, host and path, to which the paths of endpoints are appended; no trailing slash.
    :param limits: how many requests the key may make per window.
    :param timeout: seconds to wait for a connection, and again for the response.
    :param environment: ``live`` or ``test``: what ``/ping/`` must report before the first write; empty: no check.
    :param environment_set_by: what sets it, for messages.
    :param allow_override_unsubscribe: whether a call may set ``override_unsubscribe``.
    :param allow_http: whether a plain ``http://`` base URL is accepted for a host that is not loopback.
    :param rate_limit_storage: where the count of requests is kept: empty (a file for this host), ``memory`` or ``redis://…``.
    :param dashboard_url: the target of links in the Airflow UI; ``{slug}`` in it is replaced by the sequence's slug.
    :param unknown_extras: names of the connection's extras that are not known, for a warning.
    :param conn_id: the id of the Airflow Connection, for messages; empty if there is none.
    :raises MeisaInputError: if a value cannot be used.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    limits: tuple[Limit, ...] = DEFAULT_LIMITS
    timeout: float = DEFAULT_TIMEOUT
    environment: str = ""
    environment_set_by: str = "The extra environment"
    allow_override_unsubscribe: bool = False
    allow_http: bool = False
    rate_limit_storage: str = field(default="", repr=False)
    dashboard_url: str = DEFAULT_DASHBOARD_URL
    unknown_extras: tuple[str, ...] = ()
    conn_id: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check_key(self.api_key)
        _check_base_url(self.base_url, allow_http=self.allow_http)
        check_switch("allow_override_unsubscribe", self.allow_override_unsubscribe)
        check_switch("allow_http", self.allow_http)
        if not is_number(self.timeout) or not 0 < self.timeout <= 3600:  # noqa: PLR2004 - an hour is the bound the message names
            raise MeisaInputError("timeout must be more than 0 and at most 3600 seconds.")
        if self.environment and self.environment not in ENVIRONMENTS:
            raise MeisaInputError("environment must be 'live', 'test' or empty.")
        _check_dashboard_url(self.dashboard_url)

    @property
    def connection(self) -> str:
        """Return the connection in words, for messages: with its id, if it has one."""
        return f"the connection {self.conn_id}" if self.conn_id else "the connection"

    @property
    def resend_after(self) -> float:
        """Seconds after which a write may be sent again if the response was lost: until then Meisa may process it."""
        return max(self.timeout, SHORTEST_RESEND_AFTER)

    @classmethod
    def from_connection(
        cls, *, host: str, port: int | None, schema: str, password: str, extra: Mapping[str, object]
    ) -> Settings:
        """Read the fields of an Airflow Connection.

        :param host: base URL; empty for Meisa's own; a bare host name means ``https`` and ``/api/v1``.
        :param port: port, where the base URL does not hold it.
        :param schema: ``http`` or ``https``, where the base URL has no scheme.
        :param password: the API key.
        :param extra: the other fields, as text or as JSON values.
        :raises MeisaInputError: if a value cannot be used, or an unknown extra may be a misspelt safeguard of mail, the
            key or the rate limits; the message names the field.
        """
        extras = read_extras(extra)
        return cls(
            api_key=(password or "").strip(),
            base_url=base_url_of(host, port, schema),
            limits=_limits(extras.rate_limits),
            timeout=extras.timeout,
            environment=extras.environment,
            allow_override_unsubscribe=extras.allow_override_unsubscribe,
            allow_http=extras.allow_http,
            rate_limit_storage=extras.rate_limit_storage,
            dashboard_url=extras.dashboard_url or DEFAULT_DASHBOARD_URL,
            unknown_extras=extras.unknown,
        )

    def dashboard_link(self, slug: str) -> str:
        """Return the address of the dashboard page for a sequence; the slug becomes one segment of the path."""
        return self.dashboard_url.replace("{slug}", quote(slug, safe="", errors="replace"))


def base_url_of(host: str, port: int | None = None, schema: str = "") -> str:
    """Make a base URL of the host, port and schema fields of a Connection.

    :raises MeisaInputError: if the host cannot be part of a URL, or the schema is neither ``http`` nor ``https``:
        Airflow puts the path of a connection's URI there.
    """
    host, schema = (host or "").strip(), (schema or "").strip().lower()
    if schema not in ("", "http", "https"):
        raise MeisaInputError(_NO_SCHEMA)
    if not host:
        return DEFAULT_BASE_URL
    if "://" not in host:
        host = f"{schema or 'https'}://{host}"
    parts = _split(host)
    if port and not re.search(r":\d*$", parts.netloc):
        parts = parts._replace(netloc=f"{parts.netloc}:{port}")
    path = parts.path.rstrip("/") or _API_PATH
    return urlunsplit(parts._replace(path=path))


def is_loopback(host: str) -> bool:
    """Return whether a host name is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _limits(text: str) -> tuple[Limit, ...]:
    try:
        return parse_limits(text) if text else DEFAULT_LIMITS
    except MeisaInputError as error:
        raise MeisaInputError(f"rate_limits: {error}") from error


def _check_key(key: str) -> None:
    if not key:
        raise MeisaInputError("The API key is empty: put it into the API key field (password).")
    if not _HEADER_SAFE.fullmatch(key):
        raise MeisaInputError("The API key has spaces, line breaks or non-ASCII characters: copy it again.")


def _check_base_url(url: str, *, allow_http: bool) -> None:
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise MeisaInputError(_NO_BASE_URL)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise MeisaInputError(
            "The Base URL (host field) must hold no user, password, query or fragment; "
            "the API key belongs in the API key field (password)."
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not allow_http:
        raise MeisaInputError(
            f"http:// would send the API key to {parts.hostname} unencrypted: use https://, "
            "or set the extra allow_http to true for a host you trust."
        )


def _check_dashboard_url(url: str) -> None:
    """Check that a link leads to a page: Airflow's UI shows it, and a browser would run a `javascript:` link."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise MeisaInputError(
            f"The extra dashboard_url must be a web address such as {DEFAULT_DASHBOARD_URL}."
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
    except ValueError:
        raise MeisaInputError(_NO_BASE_URL) from None
    return parts
