"""A request to an endpoint that has no function in `endpoints`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from airflow_provider_meisa.api.checks import check_choice, check_json_object, check_switch, check_text, found
from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.endpoints.account import confirm_environment
from airflow_provider_meisa.api.endpoints.sequences import check_override
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.models import Request, Response
from airflow_provider_meisa.api.redaction import redact

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_PATH = re.compile(r"[\w.~!$&'()*+,;=:@%/-]+", re.ASCII)  # RFC 3986 §3.3


def request(
    client: MeisaClient,
    method: str,
    path: str,
    json: Mapping[str, object] | None = None,
    query: Mapping[str, str | int] | None = None,
    *,
    resend: bool = False,
) -> Response:
    """Send a request within the rate limits. A read is sent again after a lost response or a 5xx.

    :param method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
    :param path: path below the base URL, such as ``/tags/``, with a slash at both ends.
    :param json: the body, an object of plain JSON; not for ``GET``.
    :param query: the part after the ``?``: texts and whole numbers.
    :param resend: whether to send a write again if its response was lost: once, after a wait.
    :return: the status, and the parsed JSON in ``body``; ``None`` for an empty one.
    :raises MeisaInputError: if a parameter cannot be used; nothing was sent.
    :raises MeisaError: see `errors`.
    """
    check_choice("method", method, METHODS)
    request = Request(
        method,
        _checked_path(path, urlsplit(client.settings.base_url).path),
        query={} if query is None else _checked_query(query),
        body=None if json is None else check_json_object("json", json),
        safe=method == "GET",
        may_be_empty=True,
    )
    check_switch("resend", resend)
    if request.safe and request.body is not None:
        raise MeisaInputError("A GET has no body: pass query instead of json.")
    if request.body and request.body.get("override_unsubscribe", False) is not False:
        check_override(client, override_unsubscribe=True)
    if not request.safe:
        confirm_environment(client)
    return client.send(request, resend=resend)


def _checked_path(path: object, base: str) -> str:
    """Check that a path stays below the base URL, and can be logged.

    :param base: the path of the base URL itself.
    """
    text = check_text("path", path)
    if "://" in text or text.startswith("//"):
        raise MeisaInputError(
            "path must be a path below the connection's base URL, such as /tags/, not a URL: the API key is sent "
            "nowhere else."
        )
    if "?" in text or "#" in text:
        raise MeisaInputError("path has a query or a fragment in it: pass what is behind the ? as query.")
    segments = _decoded(text).split("/")
    if (
        not _PATH.fullmatch(text)
        or any("\\" in segment for segment in segments)
        or {".", ".."} & set(segments)
    ):
        raise MeisaInputError(
            "path has characters that a path cannot hold, or leads upwards with dots: write a plain path such as "
            "/tags/."
        )
    if any("@" in segment or redact(segment) != segment for segment in segments):
        raise MeisaInputError(
            "path looks as if it holds an address or a key, and paths are logged. Use the contact's id, which "
            "upsert_contact returns, or pass it as query or json."
        )
    if not text.startswith("/") or not text.endswith("/"):
        raise MeisaInputError(
            f"path must begin and end with a slash, such as /tags/, not be {found(path)}. Without the slash at its "
            "end Meisa redirects, and a write would lose its body."
        )
    if "" in segments[1:-1]:
        raise MeisaInputError("path has two slashes in a row; an id in it may be empty.")
    if base and text.startswith(f"{base}/"):
        raise MeisaInputError(
            f"path begins with {base}, which the base URL has already: leave that out, as in /tags/."
        )
    return text


def _decoded(text: str) -> str:
    """Undo percent-encoding, also of what was encoded several times: a proxy may do the same."""
    while (decoded := unquote(text)) != text:
        text = decoded
    return text


def _checked_query(query: object) -> dict[str, str]:
    if not isinstance(query, Mapping):
        raise MeisaInputError(f"query must be a dict of texts and whole numbers, not {found(query)}.")
    checked = {}
    for name, value in query.items():
        check_text("query's name", name)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise MeisaInputError(
                f"query must be a dict of texts and whole numbers, not {found(value)} in it."
            )
        checked[name] = str(value)
    return checked
