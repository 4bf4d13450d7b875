"""Turn a response of 400 or more into the error that names the remedy."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.bulk_enroll_response.bad_addresses import bad_addresses
from airflow_provider_meisa.api.errors import (
    MeisaInvalidRequestError,
    MeisaKeyError,
    MeisaNotFoundError,
    MeisaRateLimitError,
    MeisaResponseError,
    MeisaScopeError,
    MeisaServerError,
    MeisaUnavailableError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.redaction import QUOTED, redact

if TYPE_CHECKING:
    from airflow_provider_meisa.api.models import Request

_FIELDS = {
    *("email", "emails", "sequence_slug", "metadata", "trigger_source", "override_unsubscribe"),
    *("external_id", "first_name", "last_name", "display_name", "source", "custom_fields", "tag_names"),
    *("tag_name", "tag_id", "event_name", "properties"),
    *("trigger_key", "to_email", "variables", "recipient", "idempotency_key"),
}


def _words(spellings: str) -> re.Pattern[str]:
    """Compile a pattern for words, also where underscores join them."""
    return re.compile(rf"(?<![^\W_])(?:{spellings})(?![^\W_])", re.IGNORECASE)


# A response may quote what was sent. An error may quote these fields only; addresses are redacted anyway.
_MAY_BE_QUOTED = {
    *("email", "emails", "sequence_slug", "metadata", "trigger_source", "override_unsubscribe", "source"),
    *("status", "search", "limit", "offset"),
}
# A message quotes even less: parameters of the DAG, no fields of a contact; of these fields, only the fault.
_MAY_BE_SHOWN = _MAY_BE_QUOTED - {"metadata", "search"}
_MAY_BE_SAID = _MAY_BE_QUOTED - {"metadata"}
_ABOUT_A_SCOPE = _words("scopes?|permissions?|permitted|privileges?|insufficient")
_ABOUT_THE_KEY = _words("keys?|apikey|tokens?|credentials?|authenticat\\w+")
# Parts of a body that repeat the request, or describe the contact or the sequence: they do not explain the error.
_QUOTED_BACK = {
    "sequence_slug",
    "slug",
    "sequence_name",
    "name",
    "trigger_source",
    "contact_status",
    "email_status",
}
_QUOTED_BACK_WORDS = {"email", "sequence"}
_FOREIGN = {"request", "input", "params", "body", "sequence", "contact", "user"}
_DEEPEST, _WIDEST, _MOST_TEXTS = 6, 10, 30
_SENTENCE_END = re.compile(r"(?<=[.;!?])\s+")

UNTIMELY = {408, 421, 425}
"""A proxy or load balancer reports a network problem. It may have forwarded the request nevertheless."""


def error_from_response(  # noqa: PLR0911 - a table
    request: Request, status: int, text: bytes, retry_after: str | None, *, connection: str
) -> MeisaResponseError | MeisaUnreadableResponseError:
    """Make the error for a response of 400 or more; its message ends in Meisa's own text.

    :param connection: the connection in words, see `Settings.connection`.
    """
    said = _said(request, text)
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return _wrong_key(request, status, said, connection)
        case HTTPStatus.FORBIDDEN:
            return _forbidden(request, text, said, connection)
        case HTTPStatus.NOT_FOUND:
            return MeisaNotFoundError(
                f"{request}: not found (404). Check the Base URL (host field) of {connection}, and the path.{said}",
                status=status,
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            return MeisaRateLimitError(
                f"{request}: the key's rate limit is used up (429).{said}",
                retry_after=seconds_of(retry_after, time.time()),
            )
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return MeisaUnavailableError(
                f"{request}: Meisa is unavailable (503): it is under maintenance or overloaded, or a proxy limits "
                f"requests. The request was not carried out. Try again later.{said}",
                retry_after=seconds_of(retry_after, time.time()),
            )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in UNTIMELY:
        return MeisaServerError(f"{request}: Meisa failed ({status}). Try again later.{said}", status=status)
    fields, texts = _signs(_json(text), _values(request, _MAY_BE_QUOTED))
    named = f" Fields it names: {', '.join(fields)}." if fields else ""
    return MeisaInvalidRequestError(
        f"{request}: {_fault(request, status)}{named}{said}",
        status=status,
        reason=redact("; ".join(texts)),
        fields=fields,
        texts=texts,
        places=_places(request, text),
    )


def _said(request: Request, text: bytes) -> str:
    """Return Meisa's text as the end of a message, without fields that describe a contact."""
    _, texts = _signs(_json(text), _values(request, _MAY_BE_SHOWN), hidden=_FIELDS - _MAY_BE_SAID)
    reason = redact("; ".join(texts))
    return f"{QUOTED}{reason}" if reason else ""


def _fault(request: Request, status: int) -> str:
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        size = len(json.dumps(request.body)) if request.body else 0
        return (
            f"the request is too large (413): it has {size:,} bytes. Raise the limit of the proxy on the way, such as "
            "client_max_body_size of nginx, or send less in one request."
        )
    return f"Meisa does not accept the request ({status})."


def _places(request: Request, text: bytes) -> dict[int, str]:
    """Find the addresses of a bulk request that an error response names."""
    emails = (request.body or {}).get("emails")
    body = _json(text)
    return bad_addresses(body, emails) if isinstance(emails, list) and body is not None else {}


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """Read a ``Retry-After`` header: seconds, or an HTTP date (RFC 9110 §10.2.3).

    :param retry_after: the header's value.
    :param now: the time, in seconds since the epoch.
    :return: seconds from now, never below 0; ``None`` without a header, or if it cannot be read.
    """
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]+)?", text):
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date without a zone is UTC, not local time.
        date = date if date.tzinfo else date.replace(tzinfo=dt.UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _wrong_key(request: Request, status: int, said: str, connection: str) -> MeisaKeyError:
    return MeisaKeyError(
        f"{request}: Meisa does not accept the API key ({status}). Check the API key (password field) of "
        f"{connection}.{said}",
        status=status,
    )


def _forbidden(
    request: Request, text: bytes, said: str, connection: str
) -> MeisaResponseError | MeisaUnreadableResponseError:
    """Make the error for a 403: a scope is missing only if the body says so; some servers send 403 for a wrong key."""
    if _json(text) is None:
        return MeisaUnreadableResponseError(
            f"{request}: forbidden (403), and the response is not JSON, so a firewall or proxy sent it and not Meisa. "
            "The request was not carried out. Ask your network administrators to let it pass.",
            status=HTTPStatus.FORBIDDEN,
        )
    if _ABOUT_A_SCOPE.search(said):
        return MeisaScopeError(f"{request}: {_scope_advice(request, connection)}{said}", scope=request.scope)
    if _ABOUT_THE_KEY.search(said):
        return _wrong_key(request, HTTPStatus.FORBIDDEN, said, connection)
    needed = f" It needs the scope {request.scope}." if request.scope else ""
    return MeisaScopeError(
        f"{request}: Meisa forbids this (403).{needed} Check the key in the Meisa dashboard.{said}"
    )


def _scope_advice(request: Request, connection: str) -> str:
    if request.scope is None:
        return "the API key is not allowed to do this (403). Check the key in the Meisa dashboard."
    return (
        f"the API key lacks the scope {request.scope} (403). Add it to the key in the Meisa dashboard, "
        f"or put a key that has it into the API key field (password) of {connection}."
    )


def _json(text: bytes) -> object:
    """Return the JSON of a body; ``None`` if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _signs(
    body: object, private: re.Pattern[str] | None, *, hidden: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the fields and the sentences of an error response, without addresses and sent values.

    :param hidden: names of fields whose sentences are left out.
    """
    fields = tuple(name for name in body if name in _FIELDS) if isinstance(body, dict) else ()
    said = [private.sub("…", text) if private else text for text in _strings(body, hidden)[:_MOST_TEXTS]]
    sentences = (piece for text in said for piece in _SENTENCE_END.split(text))
    return fields, tuple(filter(None, map(redact, sentences)))


def _values(request: Request, quotable: set[str]) -> re.Pattern[str] | None:
    """Compile a pattern for the values that were sent, the longest first."""
    sent = [*(request.body or {}).items(), *request.query.items()]
    values = {str(value) for name, field in sent if name not in quotable for value in _leaves(field)} - {""}
    # A server may write one space where several were sent.
    spelled = "|".join(
        r"\s+".join(map(re.escape, value.split())) for value in sorted(values, key=len, reverse=True)
    )
    return re.compile(rf"(?<!\w)(?:{spelled})(?!\w)", re.IGNORECASE) if values else None


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value.strip() if isinstance(value, str) else value


def _strings(value: object, hidden: Collection[str], name: str = "", depth: int = _DEEPEST) -> list[str]:
    """List the texts of a body and the names of its true flags, without what only repeats the request."""
    if name in hidden:
        return []
    if isinstance(value, str):
        repeated = name in _QUOTED_BACK or (name in _QUOTED_BACK_WORDS and " " not in value.strip())
        return [] if repeated else [value]
    if value is True:
        return [name]
    if name in {"metadata", "custom_fields", "properties", "variables"}:
        return []  # words about the field may quote its value
    if isinstance(value, dict):
        inner = [] if name in _FOREIGN else [*value.items()]
    else:
        inner = [("", item) for item in value] if isinstance(value, list) else []
    if not depth:
        return []
    return [text for key, item in inner[:_WIDEST] for text in _strings(item, hidden, key, depth - 1)]
