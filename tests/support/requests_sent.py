"""What a sandbox has received, and what it holds."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol


class HasRequests(Protocol):
    """What is asked of a sandbox here."""

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests that came in, oldest first."""

    def enrollments(self, slug: str) -> list[dict[str, Any]]:
        """Return the enrollments in a sequence."""


def writes(sandbox: HasRequests) -> list[dict[str, Any]]:
    """Return the requests that may change something, which is all but reads."""
    return [request for request in sandbox.requests() if request["method"] != "GET"]


def bulk_requests(sandbox: HasRequests) -> list[dict[str, Any]]:
    """Return the bulk enrollments that came in, oldest first."""
    return [request for request in sandbox.requests() if request["path"].endswith("bulk-enroll/")]


def batches_sent(sandbox: HasRequests) -> list[list[str]]:
    """Return the addresses of each bulk enrollment."""
    return [request["addresses"] for request in bulk_requests(sandbox)]


def addresses_sent(sandbox: HasRequests) -> list[str]:
    """Return the addresses of all bulk enrollments in the order in which they came in."""
    return [address for batch in batches_sent(sandbox) for address in batch]


def times_sent(sandbox: HasRequests) -> Counter[str]:
    """Count how often each address came in."""
    return Counter(addresses_sent(sandbox))


def times_enrolled(sandbox: HasRequests, slug: str = "onboarding") -> Counter[str]:
    """Count the enrollments of each contact of a sequence."""
    return Counter(row["email"] for row in sandbox.enrollments(slug))
