"""The endpoints of Meisa's API page, one after another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.sandbox import fields
from airflow_provider_meisa.sandbox.fields import Field
from airflow_provider_meisa.sandbox.outcomes import ALREADY_ENROLLED, SUPPRESSED, canonical
from airflow_provider_meisa.sandbox.profiles import NAMES, ConflictError
from airflow_provider_meisa.sandbox.reply import RefusedError, Reply
from airflow_provider_meisa.sandbox.shapes import Shape, shaped
from airflow_provider_meisa.sandbox.store import Enrolling, Key, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "/api/v1"  # documented


@dataclass(frozen=True)
class Call:
    """A request that is known, allowed and admitted."""

    store: Store
    key: Key
    query: Mapping[str, str]
    content_type: str
    body: bytes
    as_of: int | None = None

    def fields(self, *wanted: Field) -> dict[str, Any]:
        """Return the wanted fields of the body."""
        return fields.read_fields(fields.parse_object(self.content_type, self.body), wanted)


def iso(seconds: float) -> str:
    """Write a time the way Django REST Framework does."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ping(call: Call) -> Reply:
    """Tell what the key is (content documented, names inferred)."""
    return Reply(
        200, {"environment": call.key.environment, "product": "Sandbox", "scopes": list(call.key.scopes)}
    )


def enroll(call: Call) -> Reply:
    """Enroll one contact (fields and refusals documented, statuses inferred, bodies unknown)."""
    sent = call.fields(
        Field("email", fields.email),
        Field("sequence_slug", fields.text),
        Field("metadata", fields.dictionary, {}),
        Field("trigger_source", fields.text, "api"),
        Field("override_unsubscribe", fields.boolean, default=False),
    )
    slug = _active_slug(call.store, sent["sequence_slug"])
    wish = Enrolling(
        call.key.environment,
        slug,
        override=sent["override_unsubscribe"],
        trigger_source=sent["trigger_source"],
        metadata=sent["metadata"],
        as_of=call.as_of,
    )
    [outcome] = call.store.enroll([sent["email"]], wish)
    if outcome.status == ALREADY_ENROLLED:
        raise RefusedError(409, {"error": outcome.reason})
    if outcome.status == SUPPRESSED:
        raise RefusedError(400, {"error": outcome.reason})
    return Reply(201, _enrollment(sent, call.store.contact_enrollments(wish.environment, sent["email"])[-1]))


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


def bulk_enroll(call: Call) -> Reply:
    """Enroll up to 500 contacts (documented; the shape of the answer unknown)."""
    sent = call.fields(
        Field("sequence_slug", fields.text),
        Field("emails", fields.emails),
        Field("override_unsubscribe", fields.boolean, default=False),
    )
    slug = _active_slug(call.store, sent["sequence_slug"])
    wish = Enrolling(call.key.environment, slug, override=sent["override_unsubscribe"], as_of=call.as_of)
    outcomes = tuple(call.store.enroll(sent["emails"], wish))
    return Reply(200, shaped(slug, outcomes, Shape()), outcomes=outcomes)


def _active_slug(store: Store, slug: str) -> str:
    sequence = store.sequence(slug)
    if sequence is None:
        raise RefusedError(404, {"detail": "Sequence not found."})
    if sequence["status"] != "active":
        raise RefusedError(400, {"error": f"Sequence is not active (status: {sequence['status']})."})
    return slug


def list_sequences(call: Call) -> Reply:
    """List sequences (documented; filtering by a status other than ``all`` inferred)."""
    status = call.query.get("status", "active")
    sought = call.query.get("search", "").casefold()
    shown = ("slug", "name", "status", "total_enrolled")
    return Reply(
        200,
        {
            "results": [
                {name: sequence[name] for name in shown}
                for sequence in call.store.sequences(call.key.environment)
                if status in {"all", sequence["status"]} and sought in sequence["name"].casefold()
            ]
        },
    )


def contact_enrollments(call: Call) -> Reply:
    """List the sequences of a contact (documented; names other than ``contact_exists`` inferred)."""
    email = fields.read_fields(call.query, (Field("email", fields.text),))["email"]
    environment = call.key.environment
    shown = ("sequence_slug", "sequence_name", "status")
    return Reply(
        200,
        {
            "email": email,
            "contact_exists": call.store.contact_exists(environment, email),
            "enrollments": [
                {**{name: row[name] for name in shown}, "enrolled_at": iso(row["enrolled_at"])}
                for row in call.store.contact_enrollments(environment, email)
            ],
        },
    )


def upsert_contact(call: Call) -> Reply:
    """Create or update a contact (documented; statuses inferred, what a conflict is answered with unknown)."""
    sent = call.fields(
        Field("email", fields.email),
        Field("external_id", fields.text, None),
        *(Field(name, fields.any_text, None) for name in NAMES),
        Field("source", fields.source, None),
        Field("custom_fields", fields.dictionary, {}),
        Field("tag_names", fields.texts, []),
    )
    try:
        profile, is_new = call.store.upsert_contact(call.key.environment, sent)
    except ConflictError:
        raise RefusedError(409, {"detail": "Another contact has this email address."}) from None
    return Reply(201 if is_new else 200, _contact(profile))


def _contact(profile: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("id", "email", "external_id", *NAMES, "source", "custom_fields", "tags", "status")
    times = {name: iso(profile[name]) for name in ("created_at", "updated_at")}
    return {**{name: profile[name] for name in shown}, **times}


def unsubscribed_emails(call: Call) -> Reply:
    """List who gets no mail: unsubscribed, bounced, complained (documented)."""
    emails = call.store.suppressed_emails(call.key.environment)
    return Reply(200, {"as_of": iso(call.store.now()), "count": len(emails), "emails": emails})


@dataclass(frozen=True)
class Endpoint:
    """What answers a path, by which method, for which scope (documented)."""

    method: str
    scope: str
    answer: Callable[[Call], Reply]


ENDPOINTS: Mapping[str, Endpoint] = {
    f"{PREFIX}/ping/": Endpoint("GET", "", ping),
    f"{PREFIX}/sequences/enroll/": Endpoint("POST", "sequences:enroll", enroll),
    f"{PREFIX}/sequences/api/bulk-enroll/": Endpoint("POST", "sequences:enroll", bulk_enroll),
    f"{PREFIX}/sequences/api/list/": Endpoint("GET", "sequences:read", list_sequences),
    f"{PREFIX}/sequences/api/contact-enrollments/": Endpoint("GET", "sequences:read", contact_enrollments),
    f"{PREFIX}/contacts/upsert/": Endpoint("POST", "contacts:write", upsert_contact),
    f"{PREFIX}/contacts/api/unsubscribed-emails/": Endpoint("GET", "contacts:read", unsubscribed_emails),
}
