"""Decide the outcome of each address to enroll."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENROLLED = "enrolled"
ALREADY_ENROLLED = "already_enrolled"
SUPPRESSED = "suppressed"
INVALID = "invalid"
STATUSES = (ENROLLED, ALREADY_ENROLLED, SUPPRESSED, INVALID)

INVALID_EMAIL = "Enter a valid email address."

_ATOM = r"[-!#$%&'*+/=?^_`{}|~0-9a-z]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}", re.IGNORECASE)
_LONGEST_EMAIL = 254


@dataclass(frozen=True)
class Outcome:
    """The outcome of one address, echoed as it was sent."""

    email: str
    status: str
    reason: str = ""


def canonical(email: str) -> str:
    """Return an address as it is compared (inferred: in lower case, without outer spaces)."""
    return email.strip().lower()


def is_email(email: str) -> bool:
    """Return whether an address is well formed, about as strictly as Django's validator (inferred)."""
    return len(email) <= _LONGEST_EMAIL and _EMAIL.fullmatch(email) is not None


def judge(
    emails: Iterable[str], running: Mapping[str, str], suppressed: Mapping[str, str], *, override: bool
) -> list[Outcome]:
    """Decide each distinct address once, in the order sent (a repeated address: unknown, taken as one).

    :param running: canonical address to its enrollment status, for those active or paused in the sequence.
    :param suppressed: canonical address to the reason why it is suppressed.
    :param override: enroll suppressed addresses too.
    """
    distinct: dict[str, str] = {}
    for email in emails:
        distinct.setdefault(canonical(email), email.strip())
    return [
        _status(email, running.get(key), None if override else suppressed.get(key))
        for key, email in distinct.items()
    ]


def _status(email: str, running: str | None, suppressed: str | None) -> Outcome:
    if not is_email(email):
        return Outcome(email, INVALID, INVALID_EMAIL)
    if running:
        return Outcome(email, ALREADY_ENROLLED, f"Contact is already {running} in this sequence.")
    if suppressed:
        return Outcome(email, SUPPRESSED, f"Contact is suppressed ({suppressed}).")
    return Outcome(email, ENROLLED)
