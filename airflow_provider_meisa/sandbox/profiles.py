"""The profile of a contact beyond address and status, created and changed by upserts."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.sandbox import automations
from airflow_provider_meisa.sandbox.outcomes import canonical

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

NAMES = ("first_name", "last_name", "display_name")
DEFAULT_SOURCE = "api"
_TAGS = uuid.UUID(
    "6f1c3e0a-6f43-4f3e-9d0f-3a1a52d0c0de"
)  # any fixed value, so that the same name has the same id

_SELECT = (
    "SELECT profiles.*, contacts.status FROM contacts LEFT JOIN profiles USING (environment, email) "
    "WHERE contacts.environment = ?"
)
_REPLACE = "INSERT OR REPLACE INTO profiles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class ConflictError(ValueError):
    """The external id belongs to one contact, and the address to another."""


def upsert(
    connection: sqlite3.Connection, environment: str, sent: Mapping[str, Any], now: float
) -> tuple[dict[str, Any], bool]:
    """Create or update a contact, and return it and whether it is new.

    :raises ConflictError: if the external id belongs to one contact, and the address to another.
    """
    email = canonical(sent["email"])
    of_id = _profile_of_id(connection, environment, sent["external_id"])
    is_known = _exists(connection, environment, email)
    if of_id and of_id["email"] != email:
        if is_known:
            raise ConflictError
        _move(connection, environment, of_id["email"], email)
    elif not is_known:
        connection.execute("INSERT INTO contacts VALUES (?, ?, 'subscribed')", (environment, email))
    before = _profile(connection, environment, email)
    connection.execute(_REPLACE, _merged(environment, email, before, sent, now))
    [profile] = profiles(connection, environment, email)
    is_new = not (is_known or of_id)
    automations.record_change(
        connection, environment, {} if is_new else _before(before, of_id, email), profile
    )
    return profile, is_new


def _before(row: Mapping[str, Any], of_id: Mapping[str, Any] | None, email: str) -> dict[str, Any]:
    """Return the profile that a contact had; one that was enrolled and never upserted has only an address."""
    blank: dict[str, Any] = {
        "email": email,
        "external_id": None,
        **dict.fromkeys(NAMES, ""),
        "custom_fields": {},
    }
    return blank | (_read(row) if row else {}) | ({"email": of_id["email"]} if of_id else {})


def add_tag(
    connection: sqlite3.Connection, environment: str, contact_id: str, name: str, now: float
) -> dict[str, Any] | None:
    """Add a tag to a contact, and return the contact; ``None`` if there is none with this id."""
    profile = _profile_of_contact(connection, environment, contact_id)
    if profile is None or name in _tags(profile):
        return profile
    return _set_tags(connection, profile, [*_tags(profile), name], (automations.TAG_ADDED, name), now)


def remove_tag(
    connection: sqlite3.Connection, environment: str, contact_id: str, name: str, now: float
) -> dict[str, Any] | None:
    """Remove a tag from a contact, and return the contact; ``None`` if there is none with this id."""
    profile = _profile_of_contact(connection, environment, contact_id)
    if profile is None or name not in _tags(profile):
        return profile
    left = [tag for tag in _tags(profile) if tag != name]
    return _set_tags(connection, profile, left, (automations.TAG_REMOVED, name), now)


def tag_name(connection: sqlite3.Connection, environment: str, tag_id: str) -> str | None:
    """Return the name of the tag with this id, of those that a contact has; ``None`` if there is none."""
    rows = connection.execute("SELECT tags FROM profiles WHERE environment = ?", (environment,))
    names = {name for row in rows for name in json.loads(row["tags"])}
    return next((name for name in names if _tag_id(name) == tag_id), None)


def _set_tags(
    connection: sqlite3.Connection,
    profile: Mapping[str, Any],
    names: list[str],
    event: tuple[str, str],
    now: float,
) -> dict[str, Any]:
    environment = profile["environment"]
    connection.execute(
        "UPDATE profiles SET tags = ?, updated_at = ? WHERE environment = ? AND email = ?",
        (json.dumps(names), now, environment, profile["email"]),
    )
    [changed] = profiles(connection, environment, profile["email"])
    automations.record_tags(connection, environment, changed, event[0], [event[1]])
    return changed


def _profile_of_contact(
    connection: sqlite3.Connection, environment: str, contact_id: str
) -> dict[str, Any] | None:
    query = "SELECT email FROM profiles WHERE environment = ? AND id = ?"
    found = connection.execute(query, (environment, contact_id)).fetchone()
    return profiles(connection, environment, found["email"])[0] if found else None


def _tags(profile: Mapping[str, Any]) -> list[str]:
    return [tag["name"] for tag in profile["tags"]]


def _tag_id(name: str) -> str:
    return str(uuid.uuid5(_TAGS, name))


def profiles(connection: sqlite3.Connection, environment: str, email: str = "") -> list[dict[str, Any]]:
    """Return the upserted contacts, or the one with this address, in the order of their creation."""
    query = f"{_SELECT} AND profiles.id IS NOT NULL"
    if email:  # a condition of its own, so that SQLite uses the index
        rows = connection.execute(f"{query} AND contacts.email = ?", (environment, email))
    else:
        rows = connection.execute(f"{query} ORDER BY created_at, profiles.email", (environment,))
    return [_read(dict(row)) for row in rows]


def latest_profiles(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    """Return the contacts of all environments that were upserted last, newest first."""
    rows = connection.execute(
        "SELECT profiles.*, contacts.status FROM profiles JOIN contacts USING (environment, email) "
        "ORDER BY updated_at DESC, profiles.rowid DESC LIMIT ?",
        (limit,),
    )
    return [_read(dict(row)) for row in rows]


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    tags = [{"id": _tag_id(name), "name": name} for name in json.loads(row["tags"])]
    return {**row, "custom_fields": json.loads(row["custom_fields"]), "tags": tags}


def _profile_of_id(
    connection: sqlite3.Connection, environment: str, external_id: str | None
) -> dict[str, Any] | None:
    query = "SELECT * FROM profiles WHERE environment = ? AND external_id = ?"
    return next((dict(row) for row in connection.execute(query, (environment, external_id))), None)


def _profile(connection: sqlite3.Connection, environment: str, email: str) -> dict[str, Any]:
    query = "SELECT * FROM profiles WHERE environment = ? AND email = ?"
    return next((dict(row) for row in connection.execute(query, (environment, email))), {})


def _exists(connection: sqlite3.Connection, environment: str, email: str) -> bool:
    query = "SELECT 1 FROM contacts WHERE environment = ? AND email = ?"
    return connection.execute(query, (environment, email)).fetchone() is not None


def _move(connection: sqlite3.Connection, environment: str, old: str, new: str) -> None:
    """Change the address of a contact, in its status and enrollments too."""
    for table in ("contacts", "profiles", "enrollments"):
        connection.execute(
            f"UPDATE {table} SET email = ? WHERE environment = ? AND email = ?",  # noqa: S608 (three names)
            (new, environment, old),
        )


def _merged(
    environment: str, email: str, before: Mapping[str, Any], sent: Mapping[str, Any], now: float
) -> tuple[Any, ...]:
    """Return the new row. Fields not sent stay, custom fields are merged, tags and the first source are kept."""
    custom_fields = {**json.loads(before.get("custom_fields", "{}")), **sent["custom_fields"]}
    tags = dict.fromkeys([*json.loads(before.get("tags", "[]")), *sent["tag_names"]])
    kept = (before.get(name, "") if sent[name] is None else sent[name] for name in NAMES)
    return (
        environment,
        email,
        before.get("id") or str(uuid.uuid4()),
        sent["external_id"] or before.get("external_id"),
        *kept,
        before.get("source") or sent["source"] or DEFAULT_SOURCE,
        json.dumps(custom_fields),
        json.dumps(list(tags)),
        before.get("created_at") or now,
        now,
    )
