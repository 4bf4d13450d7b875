"""The command ``probe``: each call once with a test key, and a report of the shapes of the responses."""

from __future__ import annotations

import re
import secrets
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_meisa.api.body_shape import shape_of
from airflow_provider_meisa.api.bulk_enroll_response.reader import read_bulk_response
from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.enroll_response import read_enroll_response, status_of
from airflow_provider_meisa.api.errors import MeisaError, MeisaInputError, MeisaInvalidRequestError
from airflow_provider_meisa.api.models import Request
from airflow_provider_meisa.api.outcomes import format_counts
from airflow_provider_meisa.api.recording import RecordingTransport, SeenResponse
from airflow_provider_meisa.api.redaction import redact
from airflow_provider_meisa.api.settings import DEFAULT_BASE_URL
from airflow_provider_meisa.cli.connection import settings_of
from airflow_provider_meisa.cli.output import ExitStatus, command
from airflow_provider_meisa.cli.probe_report import (
    DOCUMENTED,
    INFERRED,
    UNKNOWN,
    Expected,
    Probed,
    report,
)

_LIVE_KEY = "meisa_live_"

_PING = Expected(
    {200: DOCUMENTED},
    {"environment": ("text", INFERRED), "scopes": ("list", INFERRED), "product": ("text", INFERRED)},
)
_LIST = Expected(
    {200: DOCUMENTED},
    {
        "results": ("list", DOCUMENTED),
        "results[].slug": ("text", DOCUMENTED),
        "results[].name": ("text", DOCUMENTED),
        "results[].status": ("text", DOCUMENTED),
        "results[].total_enrolled": ("integer", DOCUMENTED),
        "results[]": ("object", DOCUMENTED),
        "count": ("integer", INFERRED),
        "next": ("text", INFERRED),
        "previous": ("text", INFERRED),
    },
)
_UPSERT = Expected(
    {200: INFERRED, 201: INFERRED},
    {
        "id": ("text", DOCUMENTED),
        "email": ("text", DOCUMENTED),
        "external_id": ("text", DOCUMENTED),
        "first_name": ("text", DOCUMENTED),
        "last_name": ("text", DOCUMENTED),
        "display_name": ("text", DOCUMENTED),
        "custom_fields": ("object", DOCUMENTED),
        "tags": ("list", DOCUMENTED),
        "tags[].id": ("", DOCUMENTED),
        "tags[].name": ("text", DOCUMENTED),
        "status": ("text", DOCUMENTED),
        "created_at": ("text", DOCUMENTED),
        "updated_at": ("text", DOCUMENTED),
    },
)
_TAG = Expected({200: UNKNOWN, 201: UNKNOWN, 204: UNKNOWN})
_ENROLL = Expected({200: DOCUMENTED, 201: DOCUMENTED, 202: DOCUMENTED})
_REJECTED = Expected({400: UNKNOWN, 409: UNKNOWN, 422: UNKNOWN})
_BULK = Expected({200: DOCUMENTED})
_ENROLLMENTS = Expected(
    {200: DOCUMENTED},
    {
        "contact_exists": ("true or false", DOCUMENTED),
        "enrollments": ("list", INFERRED),
        "enrollments[].sequence_slug": ("text", INFERRED),
        "enrollments[].status": ("text", INFERRED),
    },
)
_UNSUBSCRIBED = Expected(
    {200: DOCUMENTED},
    {"as_of": ("text", DOCUMENTED), "count": ("integer", DOCUMENTED), "emails": ("list", DOCUMENTED)},
)


@command
def probe(options: Namespace) -> ExitStatus:
    """Send each documented request with made-up addresses, and print a report without values."""
    settings = settings_of(options.conn_id)
    transport = RecordingTransport(settings)
    with MeisaClient(settings, transport=transport) as client:
        calls = list(_Probe(client, transport, options.sequence).calls())
    sys.stdout.write(report(calls, is_default_url=settings.base_url == DEFAULT_BASE_URL))
    return ExitStatus.FINE


class _Probe:
    """The calls in their order.

    :param sequence: the slug of an active sequence.
    """

    def __init__(self, client: MeisaClient, transport: RecordingTransport, sequence: str) -> None:
        self._client = client
        self._transport = transport
        self._sequence = sequence
        self._values = {sequence}
        mark = secrets.token_hex(4)
        self._first, self._second = (f"meisa-probe-{mark}-{number}@example.com" for number in (1, 2))
        self._tag = f"meisa-probe-{mark}"

    def calls(self) -> Iterator[Probed]:
        """Send the requests one after the other.

        :raises MeisaInputError: if the key is not a test key; only ``GET /ping/`` was sent.
        :raises MeisaError: if ``GET /ping/`` fails.
        """
        yield self._ping()
        yield self._list()
        yield self._send(_ENROLL_REQUEST, _ENROLL, body=self._enrollment(), read=_read_enroll)
        yield self._send(
            _ENROLL_REQUEST,
            _REJECTED,
            body=self._enrollment(),
            read=_read_enroll,
            note=", the same contact again",
        )
        emails = [self._first, self._second]
        yield self._send(
            Request("POST", "/sequences/api/bulk-enroll/", safe=False),
            _BULK,
            body={"sequence_slug": self._sequence, "emails": emails},
            read=lambda seen: _read_bulk(seen, emails),
            note=", an enrolled contact and a new one",
        )
        yield self._send(
            Request("GET", "/sequences/api/contact-enrollments/", query={"email": self._first}), _ENROLLMENTS
        )
        yield from self._contacts()
        yield self._send(Request("GET", "/contacts/api/unsubscribed-emails/"), _UNSUBSCRIBED)

    def _ping(self) -> Probed:
        found = self._client.send(Request("GET", "/ping/")).body
        words = {word.lower() for word in _texts(found)}
        if self._client.settings.api_key.startswith(_LIVE_KEY) or "live" in words or "test" not in words:
            raise MeisaInputError(
                "probe writes made-up contacts, and GET /ping/ does not show that the API key is a test key. Nothing "
                "else was sent. Set --conn-id to a connection with a test key."
            )
        return self._probed("GET /ping/", _PING)

    def _list(self) -> Probed:
        query = {"status": "all", "limit": "100"}
        probed = self._send(Request("GET", "/sequences/api/list/", query=query), _LIST)
        seen = self._transport.seen
        if seen is not None and probed.status == 200:  # noqa: PLR2004
            self._values.update(_slugs(_json_of(seen)))
        return probed

    def _contacts(self) -> Iterator[Probed]:
        request = Request("POST", "/contacts/upsert/", safe=False)
        yield self._send(request, _UPSERT, body={"email": self._first, "first_name": "Probe"})
        body = _json_of(self._transport.seen)
        contact = body.get("id") if isinstance(body, dict) else None
        for action in ("add_tag", "remove_tag"):
            name = f"POST /contacts/{{id}}/{action}/"
            if not isinstance(contact, str) or not re.fullmatch(r"[\w-]{1,64}", contact):
                yield Probed(name, _TAG, problem="Not sent: the contact has no id.")
                continue
            request = Request("POST", f"/contacts/{contact}/{action}/", safe=False, may_be_empty=True)
            yield self._send(request, _TAG, body={"tag_name": self._tag}, name=name)

    def _enrollment(self) -> dict[str, object]:
        return {"email": self._first, "sequence_slug": self._sequence, "trigger_source": "probe"}

    def _send(
        self,
        request: Request,
        expected: Expected,
        *,
        body: Mapping[str, object] | None = None,
        read: Any = None,
        name: str = "",
        note: str = "",
    ) -> Probed:
        """Send a request once, and describe whatever comes."""
        name = (name or str(request)) + note
        found = self._response(replace(request, body=body))
        if isinstance(found, MeisaError) and self._transport.seen is None:
            return Probed(name, expected, problem=f"No response: {redact(str(found))}")
        return self._probed(name, expected, read(found) if read else "")

    def _response(self, request: Request) -> SeenResponse | MeisaError | None:
        self._transport.seen = None
        try:
            self._client.send(request)
        except MeisaError as error:
            return error
        return self._transport.seen

    def _probed(self, name: str, expected: Expected, reading: str = "") -> Probed:
        seen = self._transport.seen
        if seen is None:
            return Probed(name, expected, problem="No response.")
        try:
            shape = shape_of(seen.body(), self._values)
        except (ValueError, RecursionError):
            shape = None
        return Probed(name, expected, seen.status, shape, seen.headers, reading)


_ENROLL_REQUEST = Request("POST", "/sequences/enroll/", safe=False)


def _read_enroll(found: SeenResponse | MeisaError) -> str:
    if isinstance(found, MeisaError):
        status = status_of(found) if isinstance(found, MeisaInvalidRequestError) else None
        return status.value if status else "a failure"
    return read_enroll_response(found.status, _json_of(found))[0].value


def _read_bulk(found: SeenResponse | MeisaError, emails: list[str]) -> str:
    if isinstance(found, MeisaError):
        return "a failure"
    outcomes = read_bulk_response(emails, _json_of(found), status=found.status).outcomes
    statuses = [outcome.status for outcome in outcomes]
    return format_counts({status: statuses.count(status) for status in statuses})


def _json_of(seen: SeenResponse | None) -> Any:
    try:
        return None if seen is None else seen.body()
    except (ValueError, RecursionError):
        return None


def _slugs(page: Any) -> Iterator[str]:
    rows = page.get("results") if isinstance(page, dict) else None
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("slug"), str):
            yield row["slug"]


def _texts(value: object) -> Iterator[str]:
    """Return all texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
