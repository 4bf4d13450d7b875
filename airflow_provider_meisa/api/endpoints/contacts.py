"""The endpoints of Meisa's page *Contacts*: upsert a contact, change its tags, list suppressed addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from airflow_provider_meisa.api.checks import (
    check_choice,
    check_json_object,
    check_switch,
    check_text,
    check_texts,
)
from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.endpoints.account import confirm_environment
from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreadableResponseError
from airflow_provider_meisa.api.models import Request, Response
from airflow_provider_meisa.api.rate_limit.limiter import Reservation

SOURCES = ("api", "import", "manual", "signup", "initial_sync")

_UPSERT = Request("POST", "/contacts/upsert/", scope="contacts:write", safe=False, idempotent=True)
_CONTACT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNSUBSCRIBED = Request(
    "GET", "/contacts/api/unsubscribed-emails/", scope="contacts:read", max_bytes=256 * 1024 * 1024
)


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact after an upsert; ``repr`` shows its id and status only.

    Only ``id`` is always set: a field that the response lacks is empty.

    :param id: Meisa's id of the contact.
    :param created: whether Meisa has created the contact (201), rather than updated it (200).
    :param email: the address, as Meisa spells it.
    :param external_id: your id of the contact.
    :param first_name: the first name.
    :param last_name: the last name.
    :param display_name: the name that mails show.
    :param custom_fields: all custom fields, including those that were not sent.
    :param tags: the names of all tags.
    :param status: such as ``active`` or ``unsubscribed``; the list of statuses is not documented.
    :param created_at: when the contact was created, in Meisa's format.
    :param updated_at: when it was last updated.
    """

    id: str
    created: bool
    email: str = field(default="", repr=False)
    external_id: str = field(default="", repr=False)
    first_name: str = field(default="", repr=False)
    last_name: str = field(default="", repr=False)
    display_name: str = field(default="", repr=False)
    custom_fields: Mapping[str, object] = field(default_factory=dict, repr=False)
    tags: tuple[str, ...] = field(default=(), repr=False)
    status: str = ""
    created_at: str = field(default="", repr=False)
    updated_at: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Suppressions:
    """The suppressed addresses: unsubscribed, bounced or complained.

    :param as_of: when Meisa made the list; empty if the response lacks it.
    :param emails: the addresses, as Meisa spells them; ``repr`` omits them.
    """

    as_of: str
    emails: tuple[str, ...] = field(repr=False)


def upsert(
    client: MeisaClient,
    email: str,
    *,
    external_id: str | None = None,
    first_name: str | None = None,
    last_name: str | None = None,
    display_name: str | None = None,
    source: str | None = None,
    custom_fields: Mapping[str, object] | None = None,
    tag_names: Sequence[str] | None = None,
    reservation: Reservation | None = None,
) -> Contact:
    """Create or update one contact: ``POST /contacts/upsert/`` (Meisa's page *Contacts*).

    Meisa looks for the contact by ``external_id`` first, then by ``email``. A parameter that is ``None`` is
    not sent, and the field keeps its value. A second upsert is harmless, so the request is retried if the response
    is lost.

    :param email: the address; with an ``external_id`` that Meisa knows, it may be a new one.
    :param external_id: your id of the contact.
    :param first_name: the first name; may be empty.
    :param last_name: the last name; may be empty.
    :param display_name: the name that mails show; may be empty.
    :param source: where the contact comes from: ``api``, ``import``, ``manual``, ``signup`` or ``initial_sync``. Meisa
        keeps the first one.
    :param custom_fields: plain JSON. Meisa merges it: other keys are kept.
    :param tag_names: tags to add; Meisa creates unknown ones, and removes none.
    :param reservation: a reservation for this request.
    :return: the contact as it is now.
    :raises MeisaUnreadableResponseError: if the response has no ``id``.
    :raises MeisaError: see `errors`.
    """
    names = {"first_name": first_name, "last_name": last_name, "display_name": display_name}
    try:
        body: dict[str, object] = {"email": check_text("email", email)}
        if external_id is not None:
            body["external_id"] = check_text("external_id", external_id)
        for name, value in names.items():
            if value is not None:
                body[name] = check_text(name, value, may_be_empty=True)
        if source is not None:
            body["source"] = check_choice("source", source, SOURCES)
        if custom_fields is not None and (plain := check_json_object("custom_fields", custom_fields)):
            body["custom_fields"] = plain
        if tag_names is not None and (tags := check_texts("tag_names", tag_names)):
            body["tag_names"] = tags
        confirm_environment(client)
    except BaseException:
        if reservation:
            client.rate_limiter.release(reservation)
        raise
    response = client.send(replace(_UPSERT, body=body), reservation=reservation)
    return _contact(response, client.settings.connection)


def _contact(response: Response, connection: str) -> Contact:
    """Read the response to an upsert; all fields except ``id`` are optional."""
    body = response.body if isinstance(response.body, dict) else {}
    found = body.get("id")
    if isinstance(found, bool) or not isinstance(found, str | int) or not str(found).strip():
        raise MeisaUnreadableResponseError(
            f"{_UPSERT}: the response ({response.status}) has no id of the contact. Check that the Base URL (host "
            f"field) of {connection} is Meisa's API. To send the contact again is harmless.",
            status=response.status,
            possibly_done=True,
        )
    custom_fields, tags = body.get("custom_fields"), body.get("tags")
    texts = ("email", "external_id", "first_name", "last_name", "display_name", "status", "created_at")
    return Contact(
        id=str(found).strip(),
        created=response.status == HTTPStatus.CREATED,
        custom_fields=custom_fields if isinstance(custom_fields, dict) else {},
        tags=tuple(_tag_names(tags)) if isinstance(tags, list) else (),
        updated_at=_text(body.get("updated_at")),
        **{name: _text(body.get(name)) for name in texts},
    )


def _tag_names(tags: Sequence[object]) -> Iterator[str]:
    """Yield the names of tags, which are objects as documented, or texts."""
    for tag in tags:
        name = tag.get("name") if isinstance(tag, dict) else tag
        if isinstance(name, str):
            yield name


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def add_tag(
    client: MeisaClient,
    contact_id: str,
    *,
    tag_name: str | None = None,
    tag_id: str | None = None,
    resend: bool = True,
) -> Response:
    """Add a tag to a contact: ``POST /contacts/{id}/add_tag/`` (Meisa's page *Tags*).

    :param contact_id: Meisa's id of the contact, which `upsert` returns; it is part of the path, and logged.
    :param tag_name: the name of the tag. Give this or ``tag_id``.
    :param tag_id: Meisa's id of the tag.
    :param resend: whether to send again, once and after a while, when the response was lost.
    :return: what came back; what its body holds is not documented.
    :raises MeisaError: see `errors`.
    """
    return _change_tag(client, "add_tag", contact_id, tag_name, tag_id, resend=resend)


def remove_tag(
    client: MeisaClient,
    contact_id: str,
    *,
    tag_name: str | None = None,
    tag_id: str | None = None,
    resend: bool = True,
) -> Response:
    """Remove a tag from a contact: ``POST /contacts/{id}/remove_tag/`` (Meisa's page *Tags*).

    :param contact_id: Meisa's id of the contact, which `upsert` returns; it is part of the path, and logged.
    :param tag_name: the name of the tag. Give this or ``tag_id``.
    :param tag_id: Meisa's id of the tag.
    :param resend: whether to send again, once and after a while, when the response was lost.
    :return: what came back; what its body holds is not documented.
    :raises MeisaError: see `errors`.
    """
    return _change_tag(client, "remove_tag", contact_id, tag_name, tag_id, resend=resend)


def _change_tag(
    client: MeisaClient,
    change: str,
    contact_id: object,
    tag_name: object,
    tag_id: object,
    *,
    resend: bool,
) -> Response:
    given = {"tag_name": tag_name, "tag_id": tag_id}
    body = {name: check_text(name, value) for name, value in given.items() if value is not None}
    if len(body) != 1:
        raise MeisaInputError(f"{change} needs a tag: give tag_name or tag_id, and not both.")
    request = Request(
        "POST",
        f"/contacts/{_check_contact_id(contact_id)}/{change}/",
        scope="contacts:write",
        safe=False,
        body=body,
        may_be_empty=True,
    )
    check_switch("resend", resend)
    confirm_environment(client)
    return client.send(request, resend=resend)


def _check_contact_id(contact_id: object) -> str:
    text = check_text("contact_id", contact_id)
    if not _CONTACT_ID.fullmatch(text):
        raise MeisaInputError(
            "contact_id is not an id of Meisa's: it has other characters than letters, digits, '-' and '_'. Pass the "
            "id that upsert_contact returns, not an address or an id of yours."
        )
    return text


def unsubscribed_emails(client: MeisaClient) -> Suppressions:
    """List the suppressed addresses: ``GET /contacts/api/unsubscribed-emails/`` (Meisa's page *Contacts*).

    The response counts its addresses. A list with fewer would let unsubscribed contacts through.

    :raises MeisaUnreadableResponseError: if the response has no list of addresses, or fewer than it counts.
    :raises MeisaError: see `errors`.
    """
    as_of, emails, counts = "", list[str](), list[int]()
    for body in client.pages(_UNSUBSCRIBED):
        found = body.get("emails") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(found, list):
            raise MeisaUnreadableResponseError(
                f"{_UNSUBSCRIBED}: the response has no list 'emails'.", status=HTTPStatus.OK
            )
        as_of = as_of or str(body.get("as_of") or "")
        emails += [email for email in found if isinstance(email, str)]
        if type(count := body.get("count")) is int:
            counts.append(count)
    # The list may change between two pages.
    if len(emails) < (expected := min(counts, default=0)):
        raise MeisaUnreadableResponseError(
            f"{_UNSUBSCRIBED}: the response has {len(emails):,} of {expected:,} addresses, so the others could not be "
            "left out. Try again; if that fails too, ask Meisa.",
            status=HTTPStatus.OK,
        )
    return Suppressions(as_of, tuple(emails))
