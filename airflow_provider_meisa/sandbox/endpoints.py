"""The endpoints of Meisa's API page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.sandbox import fields
from airflow_provider_meisa.sandbox.fields import Field
from airflow_provider_meisa.sandbox.outcomes import ALREADY_ENROLLED, SUPPRESSED, canonical
from airflow_provider_meisa.sandbox.paging import page_of
from airflow_provider_meisa.sandbox.profiles import NAMES, ConflictError
from airflow_provider_meisa.sandbox.responses import RefusedError, SandboxResponse
from airflow_provider_meisa.sandbox.shapes import Shape, shaped
from airflow_provider_meisa.sandbox.store import Enrolling, Key, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "/api/v1"  # documented


@dataclass(frozen=True)
class AdmittedRequest:
    """A request that passed the checks of path, API key, scope and rate limits."""

    store: Store
    key: Key
    query: Mapping[str, str]
    content_type: str
    body: bytes
    as_of: int | None = None
    contact_id: str = ""
    """Of a path that names a contact."""
    host: str = ""
    """As the client names it."""

    def fields(self, *wanted: Field) -> dict[str, Any]:
        """Return the wanted fields of the body."""
        return fields.read_fields(fields.parse_object(self.content_type, self.body), wanted)


def iso(seconds: float) -> str:
    """Write a time the way Django REST Framework does."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ping(request: AdmittedRequest) -> SandboxResponse:
    """Describe the key (content documented, names inferred)."""
    return SandboxResponse(
        200,
        {"environment": request.key.environment, "product": "Sandbox", "scopes": list(request.key.scopes)},
    )


def enroll(request: AdmittedRequest) -> SandboxResponse:
    """Enroll one contact (fields and refusals documented, statuses inferred, bodies unknown)."""
    sent = request.fields(
        Field("email", fields.email),
        Field("sequence_slug", fields.text),
        Field("metadata", fields.dictionary, {}),
        Field("trigger_source", fields.text, "api"),
        Field("override_unsubscribe", fields.boolean, default=False),
    )
    slug = _active_slug(request.store, sent["sequence_slug"])
    wish = Enrolling(
        request.key.environment,
        slug,
        override=sent["override_unsubscribe"],
        trigger_source=sent["trigger_source"],
        metadata=sent["metadata"],
        as_of=request.as_of,
    )
    [outcome] = request.store.enroll([sent["email"]], wish)
    if outcome.status == ALREADY_ENROLLED:
        raise RefusedError(409, {"error": outcome.reason})
    if outcome.status == SUPPRESSED:
        raise RefusedError(400, {"error": outcome.reason})
    return SandboxResponse(
        201, _enrollment(sent, request.store.contact_enrollments(wish.environment, sent["email"])[-1])
    )


def _enrollment(sent: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "email": canonical(sent["email"]),
        "sequence_slug": row["sequence_slug"],
        "status": row["status"],
        "trigger_source": sent["trigger_source"],
        "metadata": sent["metadata"],
        "enrolled_at": iso(row["enrolled_at"]),
    }


def bulk_enroll(request: AdmittedRequest) -> SandboxResponse:
    """Enroll up to 500 contacts (documented; the shape of the response unknown)."""
    sent = request.fields(
        Field("sequence_slug", fields.text),
        Field("emails", fields.emails),
        Field("override_unsubscribe", fields.boolean, default=False),
    )
    slug = _active_slug(request.store, sent["sequence_slug"])
    wish = Enrolling(
        request.key.environment, slug, override=sent["override_unsubscribe"], as_of=request.as_of
    )
    outcomes = tuple(request.store.enroll(sent["emails"], wish))
    return SandboxResponse(200, shaped(slug, outcomes, Shape()), outcomes=outcomes)


def _active_slug(store: Store, slug: str) -> str:
    sequence = store.sequence(slug)
    if sequence is None:
        raise RefusedError(404, {"detail": "Sequence not found."})
    if sequence["status"] != "active":
        raise RefusedError(400, {"error": f"Sequence is not active (status: {sequence['status']})."})
    return slug


def list_sequences(request: AdmittedRequest) -> SandboxResponse:
    """List sequences (documented; pages, and filtering by a status other than ``all``, inferred)."""
    status = request.query.get("status", "active")
    sought = request.query.get("search", "").casefold()
    shown = ("slug", "name", "status", "total_enrolled")
    found = [
        {name: sequence[name] for name in shown}
        for sequence in request.store.sequences(request.key.environment)
        if status in {"all", sequence["status"]} and sought in sequence["name"].casefold()
    ]
    url = f"http://{request.host}{PREFIX}/sequences/api/list/"
    return SandboxResponse(200, page_of(found, request.query, url))


def contact_enrollments(request: AdmittedRequest) -> SandboxResponse:
    """List the sequences of a contact (documented; names other than ``contact_exists`` inferred)."""
    email = fields.read_fields(request.query, (Field("email", fields.text),))["email"]
    environment = request.key.environment
    shown = ("sequence_slug", "sequence_name", "status")
    return SandboxResponse(
        200,
        {
            "email": email,
            "contact_exists": request.store.contact_exists(environment, email),
            "enrollments": [
                {**{name: row[name] for name in shown}, "enrolled_at": iso(row["enrolled_at"])}
                for row in request.store.contact_enrollments(environment, email)
            ],
        },
    )


def upsert_contact(request: AdmittedRequest) -> SandboxResponse:
    """Create or update a contact (documented; statuses inferred, the response to a conflict unknown)."""
    sent = request.fields(
        Field("email", fields.email),
        Field("external_id", fields.text, None),
        *(Field(name, fields.any_text, None) for name in NAMES),
        Field("source", fields.source, None),
        Field("custom_fields", fields.dictionary, {}),
        Field("tag_names", fields.texts, []),
    )
    try:
        profile, is_new = request.store.upsert_contact(request.key.environment, sent)
    except ConflictError:
        raise RefusedError(409, {"detail": "Another contact has this email address."}) from None
    return SandboxResponse(201 if is_new else 200, _contact(profile))


def _contact(profile: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("id", "email", "external_id", *NAMES, "source", "custom_fields", "tags", "status")
    times = {name: iso(profile[name]) for name in ("created_at", "updated_at")}
    return {**{name: profile[name] for name in shown}, **times}


def add_tag(request: AdmittedRequest) -> SandboxResponse:
    """Add a tag to a contact (path and fields documented; the response unknown)."""
    return _tagged(request, request.store.add_tag)


def remove_tag(request: AdmittedRequest) -> SandboxResponse:
    """Remove a tag from a contact (path and fields documented; the response unknown)."""
    return _tagged(request, request.store.remove_tag)


def _tagged(
    request: AdmittedRequest, change: Callable[[str, str, str], dict[str, Any] | None]
) -> SandboxResponse:
    sent = request.fields(Field("tag_name", fields.text, None), Field("tag_id", fields.text, None))
    if sent["tag_name"] is None and sent["tag_id"] is None:
        raise RefusedError(400, {"error": "tag_name or tag_id is required."})
    environment = request.key.environment
    name = sent["tag_name"] or request.store.tag_name(environment, sent["tag_id"])
    if name is None:
        raise RefusedError(404, {"detail": "Tag not found."})
    contact = change(environment, request.contact_id, name)
    if contact is None:
        raise RefusedError(404, {"detail": "Contact not found."})
    return SandboxResponse(200, _contact(contact))


def unsubscribed_emails(request: AdmittedRequest) -> SandboxResponse:
    """List suppressed contacts: unsubscribed, bounced, complained (documented)."""
    emails = request.store.suppressed_emails(request.key.environment)
    return SandboxResponse(200, {"as_of": iso(request.store.now()), "count": len(emails), "emails": emails})


@dataclass(frozen=True)
class Endpoint:
    """The function for a path, with its method and scope (documented)."""

    method: str
    scope: str
    respond: Callable[[AdmittedRequest], SandboxResponse]


ENDPOINTS: Mapping[str, Endpoint] = {
    f"{PREFIX}/ping/": Endpoint("GET", "", ping),
    f"{PREFIX}/sequences/enroll/": Endpoint("POST", "sequences:enroll", enroll),
    f"{PREFIX}/sequences/api/bulk-enroll/": Endpoint("POST", "sequences:enroll", bulk_enroll),
    f"{PREFIX}/sequences/api/list/": Endpoint("GET", "sequences:read", list_sequences),
    f"{PREFIX}/sequences/api/contact-enrollments/": Endpoint("GET", "sequences:read", contact_enrollments),
    f"{PREFIX}/contacts/upsert/": Endpoint("POST", "contacts:write", upsert_contact),
    f"{PREFIX}/contacts/{{id}}/add_tag/": Endpoint("POST", "contacts:write", add_tag),
    f"{PREFIX}/contacts/{{id}}/remove_tag/": Endpoint("POST", "contacts:write", remove_tag),
    f"{PREFIX}/contacts/api/unsubscribed-emails/": Endpoint("GET", "contacts:read", unsubscribed_emails),
}
_OF_A_CONTACT = re.compile(rf"({PREFIX}/contacts/)([^/]+)(/(?:add|remove)_tag/)")


def endpoint_at(path: str) -> tuple[Endpoint | None, str]:
    """Return the endpoint of a path, and the id of the contact that the path names; None if there is no endpoint."""
    found = _OF_A_CONTACT.fullmatch(path)
    return (ENDPOINTS[f"{found[1]}{{id}}{found[3]}"], found[2]) if found else (ENDPOINTS.get(path), "")
