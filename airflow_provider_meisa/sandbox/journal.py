"""The log of received requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_meisa.sandbox.database import Database


@dataclass(frozen=True)
class Arrival:
    """A received request; of the key, only the last four characters."""

    method: str
    path: str
    key: str = ""
    environment: str = ""
    sequence_slug: str = ""
    addresses: tuple[str, ...] = ()


def arrival_of(method: str, path: str, key: str, environment: str, body: bytes) -> Arrival:
    """Read the fields to record from a request, even if it is malformed."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = None
    fields = sent if isinstance(sent, Mapping) else {}
    slug = fields.get("sequence_slug")
    return Arrival(
        method,
        path,
        key=f"…{key[-4:]}" if key else "",
        environment=environment,
        sequence_slug=slug.encode("utf-8", "replace").decode() if isinstance(slug, str) else "",
        addresses=_addresses(fields),
    )


def _addresses(fields: Mapping[str, Any]) -> tuple[str, ...]:
    emails = fields.get("emails", [fields.get("email")])
    return tuple(email for email in emails if isinstance(email, str)) if isinstance(emails, list) else ()


class Journal:
    """Records each request when it arrives, and its status when the response is sent.

    :param database: the database to write to.
    :param now: returns the time in seconds since 1970.
    """

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def open(self, arrival: Arrival) -> int:
        """Record a received request, and return its number."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO requests "
                "(at, method, path, key, environment, sequence_slug, addresses, answered) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    self._now(),
                    arrival.method,
                    arrival.path,
                    arrival.key,
                    arrival.environment,
                    arrival.sequence_slug,
                    json.dumps(arrival.addresses),
                ),
            )
            return int(cursor.lastrowid or 0)

    def close(self, number: int, status: int | None, *, answered: bool) -> None:
        """Record a request's status if it was carried out, and whether the response was sent."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE requests SET status = ?, answered = ? WHERE id = ?", (status, answered, number)
            )

    def entries(self) -> list[dict[str, Any]]:
        """Return all requests, oldest first."""
        rows = self._database.rows("SELECT * FROM requests ORDER BY id")
        return [
            {**row, "addresses": json.loads(row["addresses"]), "answered": bool(row["answered"])}
            for row in rows
        ]

    def by_status(self) -> dict[str, int]:
        """Count the requests by status; ``none`` for requests without one."""
        rows = self._database.rows(
            "SELECT status, count(*) AS n FROM requests GROUP BY status ORDER BY status"
        )
        return {str(row["status"] or "none"): row["n"] for row in rows}

    def clear(self) -> None:
        """Delete all requests."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM requests")
