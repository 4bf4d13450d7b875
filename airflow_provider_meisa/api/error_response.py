"""What a response of 400 or more means: the error named for what the reader must do."""

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
    """Make what finds words, also those that underscores join."""
    return re.compile(rf"(?<![^\W_])(?:{spellings})(?![^\W_])", re.IGNORECASE)


# A refusal may quote what was sent, and an error must not, but for these fields; addresses are redacted anyway.
_MAY_BE_QUOTED = {
    *("email", "emails", "sequence_slug", "metadata", "trigger_source", "override_unsubscribe", "source"),
    *("status", "search", "limit", "offset"),
}
# In a message even less: what the DAG says, nothing of a contact; and of these fields, what is wrong with them.
_MAY_BE_SHOWN = _MAY_BE_QUOTED - {"metadata", "search"}
_MAY_BE_SAID = _MAY_BE_QUOTED - {"metadata"}
_ABOUT_A_SCOPE = _words("scopes?|permissions?|permitted|privileges?|insufficient")
_ABOUT_THE_KEY = _words("keys?|apikey|tokens?|credentials?|authenticat\\w+")
# Parts of a body that repeat the request, or describe the contact or the sequence: their words are not the refusal's.
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
"""What a proxy or load balancer says of the way there, not of the request; it may have forwarded it all the same."""


def error_from_response(  # noqa: PLR0911 - a table
    request: Request, status: int, text: bytes, retry_after: str | None
) -> MeisaResponseError | MeisaUnreadableResponseError:
    """Make the error for a response of 400 or more; its message ends in what Meisa said."""
    said = _said(request, text)
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return _wrong_key(request, status, said)
        case HTTPStatus.FORBIDDEN:
            return _forbidden(request, text, said)
        case HTTPStatus.NOT_FOUND:
            return MeisaNotFoundError(
                f"{request}: not found (404). Check the base URL in the connection's host field and the path."
                f"{said}",
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
    """Return what Meisa said, as the end of a message; not of fields that hold something of a contact."""
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
    """Find which addresses of a bulk request a refusal names."""
    emails = (request.body or {}).get("emails")
    body = _json(text)
    return bad_addresses(body, emails) if isinstance(emails, list) and body is not None else {}


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """Read a ``Retry-After`` header: seconds, or an HTTP date (RFC 9110 §10.2.3).

    :param retry_after: the header's value.
    :param now: the time, in seconds since the epoch.
    :return: seconds from now, never below 0; ``None`` if there is no header or it cannot be read.
    """
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]+)?", text):
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date without a zone is UTC, not the worker's time.
        date = date if date.tzinfo else date.replace(tzinfo=dt.UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _wrong_key(request: Request, status: int, said: str) -> MeisaKeyError:
    return MeisaKeyError(
        f"{request}: Meisa does not accept the API key ({status}). Check the connection's password field.{said}",
        status=status,
    )


def _forbidden(request: Request, text: bytes, said: str) -> MeisaResponseError | MeisaUnreadableResponseError:
    """Make the error for a 403: a scope is missing only if Meisa says so; some servers send it for a wrong key, too."""
    if _json(text) is None:
        return MeisaUnreadableResponseError(
            f"{request}: forbidden (403), and the response is not JSON, so a firewall or proxy sent it and not Meisa. "
            "The request was not carried out. Ask your network administrators to let it pass.",
            status=HTTPStatus.FORBIDDEN,
        )
    if _ABOUT_A_SCOPE.search(said):
        return MeisaScopeError(f"{request}: {_scope_advice(request)}{said}", scope=request.scope)
    if _ABOUT_THE_KEY.search(said):
        return _wrong_key(request, HTTPStatus.FORBIDDEN, said)
    needed = f" It needs the scope {request.scope}." if request.scope else ""
    return MeisaScopeError(
        f"{request}: Meisa forbids this (403).{needed} Check the key in the Meisa dashboard.{said}"
    )


def _scope_advice(request: Request) -> str:
    if request.scope is None:
        return "the API key is not allowed to do this (403). Check the key in the Meisa dashboard."
    return (
        f"the API key lacks the scope {request.scope} (403). Add it to the key in the Meisa dashboard, "
        "or put a key that has it into the connection's password field."
    )


def _json(text: bytes) -> object:
    """Return the JSON of a body; ``None`` if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _signs(
    body: object, private: re.Pattern[str] | None, *, hidden: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take from a refusal's body the fields it names and its sentences, free of addresses and of what was sent.

    :param hidden: names of fields whose sentences are left out.
    """
    fields = tuple(name for name in body if name in _FIELDS) if isinstance(body, dict) else ()
    said = [private.sub("…", text) if private else text for text in _strings(body, hidden)[:_MOST_TEXTS]]
    sentences = (piece for text in said for piece in _SENTENCE_END.split(text))
    return fields, tuple(filter(None, map(redact, sentences)))


def _values(request: Request, quotable: set[str]) -> re.Pattern[str] | None:
    """Make what finds the values that were sent in a response's words, the longest first."""
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
    """Gather the texts of a body, and the names of what it says is true; not what only repeats the request."""
    if name in hidden:
        return []
    if isinstance(value, str):
        repeated = name in _QUOTED_BACK or (name in _QUOTED_BACK_WORDS and " " not in value.strip())
        return [] if repeated else [value]
    if value is True:
        return [name]
    if name in {"metadata", "custom_fields", "properties", "variables"}:
        return []  # words about it may repeat it
    if isinstance(value, dict):
        inner = [] if name in _FOREIGN else [*value.items()]
    else:
        inner = [("", item) for item in value] if isinstance(value, list) else []
    if not depth:
        return []
    return [text for key, item in inner[:_WIDEST] for text in _strings(item, hidden, key, depth - 1)]
