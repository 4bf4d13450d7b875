"""What an automation in Meisa would have seen of changes to contacts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

CREATED = "contact_created"
UPDATED = "contact_updated"
TAG_ADDED = "tag_added"
TAG_REMOVED = "tag_removed"

_FIELDS = ("email", "external_id", "first_name", "last_name", "display_name")


def record_change(
    connection: sqlite3.Connection, environment: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Record what an upsert has set off: nothing if it changed nothing.

    :param before: the profile; empty if the contact is new.
    """
    changed = changed_fields(before, after)
    if not before:
        _record(connection, environment, after, CREATED, [])
    elif changed:
        _record(connection, environment, after, UPDATED, changed)
    known = _names(before)
    record_tags(connection, environment, after, TAG_ADDED, [tag for tag in _names(after) if tag not in known])


def record_tags(
    connection: sqlite3.Connection,
    environment: str,
    profile: Mapping[str, Any],
    name: str,
    tags: Sequence[str],
) -> None:
    """Record that tags were added or removed, one event each."""
    for tag in tags:
        _record(connection, environment, profile, name, [tag])


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields that differ; a custom field as ``custom_fields.<name>``."""
    fields = [name for name in _FIELDS if before.get(name) != after[name]]
    old, new = before.get("custom_fields", {}), after["custom_fields"]
    spelled = {name: (json.dumps(old.get(name)), json.dumps(value)) for name, value in new.items()}
    custom = [name for name, (was, is_now) in spelled.items() if name not in old or was != is_now]
    return [*fields, *(f"custom_fields.{name}" for name in custom)]


def events(connection: sqlite3.Connection, environment: str) -> list[dict[str, Any]]:
    """Return the events of an environment, oldest first."""
    rows = connection.execute(
        "SELECT * FROM automation_events WHERE environment = ? ORDER BY id", (environment,)
    )
    return [_read(dict(row)) for row in rows]


def latest_events(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    """Return the newest events of all environments, newest first."""
    rows = connection.execute("SELECT * FROM automation_events ORDER BY id DESC LIMIT ?", (limit,))
    return [_read(dict(row)) for row in rows]


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "about": json.loads(row["about"])}


def _names(profile: Mapping[str, Any]) -> list[str]:
    return [tag["name"] for tag in profile.get("tags", ())]


def _record(
    connection: sqlite3.Connection,
    environment: str,
    profile: Mapping[str, Any],
    name: str,
    about: Sequence[str],
) -> None:
    connection.execute(
        "INSERT INTO automation_events (at, environment, contact_id, email, name, about) VALUES (?, ?, ?, ?, ?, ?)",
        (profile["updated_at"], environment, profile["id"], profile["email"], name, json.dumps(list(about))),
    )
