"""Keys, sequences, contacts and enrollments."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.sandbox import automations, profiles
from airflow_provider_meisa.sandbox.outcomes import ENROLLED, Outcome, canonical, judge

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_meisa.sandbox.database import Database

SCOPES = (  # documented
    "contacts:read",
    "contacts:write",
    "events:track",
    "sequences:read",
    "sequences:enroll",
    "emails:trigger",
)
ENVIRONMENTS = ("live", "test")  # documented
CONTACT_STATUSES = ("subscribed", "unsubscribed", "bounced", "complained")
ENROLLMENT_STATUSES = (
    "active",
    "paused",
    "completed",
    "exited",
)  # active and paused documented, others inferred
_ALL = 2**63 - 1
LIVE_KEY = "meisa_live_sandbox"
TEST_KEY = "meisa_test_sandbox"

_INSERT_ENROLLMENT = """
INSERT INTO enrollments (environment, sequence_slug, email, status, trigger_source, metadata, enrolled_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_CONTACT = "INSERT OR IGNORE INTO contacts (environment, email, status) VALUES (?, ?, 'subscribed')"


@dataclass(frozen=True)
class Key:
    """The scopes and the environment of an API key."""

    scopes: tuple[str, ...]
    environment: str


@dataclass(frozen=True)
class Enrolling:
    """A request to enroll: the sequence, and the data to attach."""

    environment: str
    sequence_slug: str
    override: bool = False
    trigger_source: str = "api"  # documented default
    metadata: Mapping[str, Any] | None = None
    as_of: int | None = None
    """The last enrollment that the lookup of enrolled contacts sees; None for all."""


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return the value if it is allowed; otherwise raise an error that names the allowed ones."""
    if value not in allowed:
        raise ValueError(f"Unknown {name} {value!r}: choose one of {', '.join(allowed)}.")
    return value


class Store:
    """The state of the sandbox.

    :param database: the database that holds it.
    :param now: returns the time in seconds since 1970.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self.now = now
        if database.is_new:
            self._seed()

    def _seed(self) -> None:
        self.put_key(LIVE_KEY, SCOPES, "live")
        self.put_key(TEST_KEY, SCOPES, "test")
        self.put_sequence("onboarding", "Onboarding", "active")
        self.put_sequence("reactivation", "Reactivation", "active")
        self.put_sequence("winback", "Win-back", "draft")
        self.put_sequence("legacy", "Legacy", "paused")
        for environment in ENVIRONMENTS:
            self.put_contacts(
                {f"{status}@example.com": status for status in CONTACT_STATUSES[1:]}, environment
            )

    # --- keys

    def put_key(self, key: str, scopes: Iterable[str], environment: str) -> None:
        """Add an API key, or change its scopes and environment."""
        names = [one_of("scope", scope, SCOPES) for scope in scopes]
        one_of("environment", environment, ENVIRONMENTS)
        if not key.strip():
            raise ValueError("The API key must not be empty: give a text.")
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", (key, json.dumps(names), environment)
            )

    def key(self, key: str) -> Key | None:
        """Return the scopes and environment of a key, or None if it is unknown."""
        for row in self._database.rows("SELECT * FROM keys WHERE key = ?", (key,)):
            return Key(tuple(json.loads(row["scopes"])), row["environment"])
        return None

    def environments(self) -> list[str]:
        """Return the environments that have a key."""
        rows = self._database.rows("SELECT DISTINCT environment FROM keys ORDER BY environment")
        return [row["environment"] for row in rows]

    # --- sequences

    def put_sequence(self, slug: str, name: str | None = None, status: str = "active") -> None:
        """Add a sequence, or change its status and, if given, its name."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO sequences VALUES (:slug, coalesce(:name, :slug), :status) "
                "ON CONFLICT (slug) DO UPDATE SET status = :status, name = coalesce(:name, name)",
                {"slug": slug, "name": name, "status": status},
            )

    def sequence(self, slug: str) -> dict[str, Any] | None:
        """Return slug, name and status of a sequence, or None."""
        return next(iter(self._database.rows("SELECT * FROM sequences WHERE slug = ?", (slug,))), None)

    def sequences(self, environment: str) -> list[dict[str, Any]]:
        """Return all sequences, with the number of contacts ever enrolled and enrolled now."""
        return self._database.rows(
            "SELECT slug, name, sequences.status, count(id) AS total_enrolled, "
            "count(id) FILTER (WHERE enrollments.status IN ('active', 'paused')) AS enrolled_now "
            "FROM sequences LEFT JOIN enrollments ON sequence_slug = slug AND environment = ? "
            "GROUP BY slug ORDER BY sequences.rowid",
            (environment,),
        )

    # --- contacts

    def put_contacts(self, statuses: Mapping[str, str], environment: str) -> None:
        """Add contacts or change their status.

        :param statuses: address to status.
        """
        one_of("environment", environment, ENVIRONMENTS)
        rows = [
            (environment, canonical(email), one_of("status", status, CONTACT_STATUSES))
            for email, status in statuses.items()
        ]
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO contacts VALUES (?, ?, ?)", rows)

    def upsert_contact(self, environment: str, sent: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Create or update a contact, and return it and whether it is new.

        :raises ConflictError: if the external id belongs to one contact, and the address to another.
        """
        with self._database.transaction() as connection:
            return profiles.upsert(connection, environment, sent, self.now())

    def add_tag(self, environment: str, contact_id: str, name: str) -> dict[str, Any] | None:
        """Add a tag to a contact, and return the contact; None if there is none with this id."""
        with self._database.transaction() as connection:
            return profiles.add_tag(connection, environment, contact_id, name, self.now())

    def remove_tag(self, environment: str, contact_id: str, name: str) -> dict[str, Any] | None:
        """Remove a tag from a contact, and return the contact; None if there is none with this id."""
        with self._database.transaction() as connection:
            return profiles.remove_tag(connection, environment, contact_id, name, self.now())

    def tag_name(self, environment: str, tag_id: str) -> str | None:
        """Return the name of the tag with this id, or None."""
        with self._database.transaction() as connection:
            return profiles.tag_name(connection, environment, tag_id)

    def automation_events(self, environment: str) -> list[dict[str, Any]]:
        """Return what an automation would have seen of the contacts, oldest first."""
        with self._database.transaction() as connection:
            return automations.events(connection, environment)

    def latest_contacts(self, limit: int) -> list[dict[str, Any]]:
        """Return the contacts of all environments that were upserted last, newest first."""
        with self._database.transaction() as connection:
            return profiles.latest_profiles(connection, limit)

    def latest_automation_events(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest events of all environments, newest first."""
        with self._database.transaction() as connection:
            return automations.latest_events(connection, limit)

    def contacts(self, environment: str) -> list[dict[str, Any]]:
        """Return the upserted contacts, with their whole profiles."""
        with self._database.transaction() as connection:
            return profiles.profiles(connection, environment)

    def contact_exists(self, environment: str, email: str) -> bool:
        """Return whether there is a contact with this address."""
        query = "SELECT 1 FROM contacts WHERE environment = ? AND email = ?"
        return bool(self._database.rows(query, (environment, canonical(email))))

    def contact_count(self, environment: str) -> int:
        """Count the contacts."""
        query = "SELECT count(*) AS n FROM contacts WHERE environment = ?"
        return int(self._database.rows(query, (environment,))[0]["n"])

    def suppressed_emails(self, environment: str) -> list[str]:
        """Return the addresses of suppressed contacts: unsubscribed, bounced, complained."""
        query = "SELECT email FROM contacts WHERE environment = ? AND status != 'subscribed' ORDER BY email"
        return [row["email"] for row in self._database.rows(query, (environment,))]

    # --- enrollments

    def enroll(self, emails: Sequence[str], wish: Enrolling) -> list[Outcome]:
        """Enroll every address that may be enrolled, in one transaction, and return the outcome of each."""
        sought = json.dumps([canonical(email) for email in emails])
        with self._database.transaction() as connection:
            running, suppressed = _standing(connection, wish, sought)
            outcomes = judge(emails, running, suppressed, override=wish.override)
            fresh = [canonical(outcome.email) for outcome in outcomes if outcome.status == ENROLLED]
            self._add(connection, fresh, wish, "active")
        return outcomes

    def seed_enrollments(self, emails: Iterable[str], wish: Enrolling, status: str) -> None:
        """Set the status of contacts: change their latest enrollment, or create one if there is none."""
        one_of("environment", wish.environment, ENVIRONMENTS)
        one_of("status", status, ENROLLMENT_STATUSES)
        if self.sequence(wish.sequence_slug) is None:
            raise ValueError(f"Unknown sequence {wish.sequence_slug!r}: add it first.")
        distinct = list(dict.fromkeys(canonical(email) for email in emails))
        with self._database.transaction() as connection:
            known = _latest(connection, wish, json.dumps(distinct))
            connection.executemany(
                "UPDATE enrollments SET status = ? WHERE id = ?",
                [(status, number) for number in known.values()],
            )
            self._add(connection, [email for email in distinct if email not in known], wish, status)

    def _add(
        self, connection: sqlite3.Connection, emails: Sequence[str], wish: Enrolling, status: str
    ) -> None:
        attached = (status, wish.trigger_source, json.dumps(wish.metadata or {}), self.now())
        connection.executemany(_INSERT_CONTACT, [(wish.environment, email) for email in emails])
        connection.executemany(
            _INSERT_ENROLLMENT,
            [(wish.environment, wish.sequence_slug, email, *attached) for email in emails],
        )

    def enrollments(self, slug: str, environment: str) -> list[dict[str, Any]]:
        """Return the latest enrollment of each contact in a sequence, with ``times_enrolled``."""
        rows = self._database.rows(
            "SELECT email, sequence_slug, status, trigger_source, metadata, count(*) AS times_enrolled, "
            "enrolled_at, max(id) AS id FROM enrollments WHERE sequence_slug = ? AND environment = ? "
            "GROUP BY email ORDER BY max(id)",
            (slug, environment),
        )
        return [{**row, "metadata": json.loads(row["metadata"])} for row in rows]

    def contact_enrollments(self, environment: str, email: str) -> list[dict[str, Any]]:
        """Return the latest enrollment of a contact in each sequence."""
        return self._database.rows(
            "SELECT sequence_slug, name AS sequence_name, enrollments.status, enrolled_at, max(id) AS id "
            "FROM enrollments LEFT JOIN sequences ON slug = sequence_slug "
            "WHERE environment = ? AND email = ? GROUP BY sequence_slug ORDER BY max(id)",
            (environment, canonical(email)),
        )

    def last_enrollment(self) -> int:
        """Return the id of the newest enrollment, or 0 if there is none."""
        return int(self._database.rows("SELECT coalesce(max(id), 0) AS id FROM enrollments")[0]["id"])

    def latest_enrollments(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest enrollments of all environments, newest first."""
        return self._database.rows("SELECT * FROM enrollments ORDER BY id DESC LIMIT ?", (limit,))


def _standing(
    connection: sqlite3.Connection, wish: Enrolling, sought: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return which of the addresses are active or paused in the sequence, and which are suppressed."""
    running = connection.execute(
        "SELECT email, status FROM enrollments WHERE environment = ? AND sequence_slug = ? "
        "AND status IN ('active', 'paused') AND email IN (SELECT value FROM json_each(?)) AND id <= ?",
        (wish.environment, wish.sequence_slug, sought, _ALL if wish.as_of is None else wish.as_of),
    )
    suppressed = connection.execute(
        "SELECT email, status FROM contacts WHERE environment = ? AND status != 'subscribed' "
        "AND email IN (SELECT value FROM json_each(?))",
        (wish.environment, sought),
    )
    return {row["email"]: row["status"] for row in running}, {
        row["email"]: row["status"] for row in suppressed
    }


def _latest(connection: sqlite3.Connection, wish: Enrolling, sought: str) -> dict[str, int]:
    rows = connection.execute(
        "SELECT email, max(id) AS id FROM enrollments WHERE environment = ? AND sequence_slug = ? "
        "AND email IN (SELECT value FROM json_each(?)) GROUP BY email",
        (wish.environment, wish.sequence_slug, sought),
    )
    return {row["email"]: row["id"] for row in rows}
