"""The shapes that the response of a bulk enrollment could have; a test chooses one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rest_framework.response import Response


@dataclass
class BulkOutcome:
    """The addresses of a request by status."""

    enrolled: list[str] = field(default_factory=list)
    already_enrolled: list[str] = field(default_factory=list)
    suppressed: list[str] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)  # contacts that were created; they are enrolled, too

    def lists(self) -> dict[str, list[str]]:
        """Return the addresses by the name of their outcome."""
        return {
            "enrolled": self.enrolled,
            "already_enrolled": self.already_enrolled,
            "suppressed": self.suppressed,
            "not_found": self.not_found,
        }


REASONS = {
    "already_enrolled": "Contact is already enrolled in this sequence.",
    "suppressed": "Contact is unsubscribed.",
    "not_found": "Contact not found.",
}


def _lists(outcome: BulkOutcome) -> dict[str, object]:
    named = {f"{name}_emails": emails for name, emails in outcome.lists().items()}
    return {"success": True, **named}


def _lists_created(outcome: BulkOutcome) -> dict[str, object]:
    return {**_lists(outcome), "created_emails": outcome.created}


def _lists_skipped(outcome: BulkOutcome) -> dict[str, object]:
    return {
        "enrolled": outcome.enrolled,
        "skipped_already_enrolled": outcome.already_enrolled,
        "skipped_suppressed": outcome.suppressed,
        "not_found_emails": outcome.not_found,
    }


def _per_address(outcome: BulkOutcome, word: str) -> list[dict[str, str]]:
    return [
        {"email": email, word: name, **({"reason": REASONS[name]} if name in REASONS else {})}
        for name, emails in outcome.lists().items()
        for email in emails
    ]


def _results(outcome: BulkOutcome) -> dict[str, object]:
    return {"results": _per_address(outcome, "status")}


def _details(outcome: BulkOutcome) -> dict[str, object]:
    return {"success": True, "details": _per_address(outcome, "outcome")}


def _counts(outcome: BulkOutcome) -> dict[str, object]:
    return {name: len(emails) for name, emails in outcome.lists().items()}


def _count_strings(outcome: BulkOutcome) -> dict[str, object]:
    return {name: str(len(emails)) for name, emails in outcome.lists().items()}


SHAPES: dict[str, Callable[[BulkOutcome], dict[str, object]]] = {
    "lists": _lists,
    "lists_created": _lists_created,
    "lists_skipped": _lists_skipped,
    "results": _results,
    "details": _details,
    "counts": _counts,
    "count_strings": _count_strings,
}


def carried_out(shape: str, outcome: BulkOutcome) -> Response:
    """Report what was done."""
    return Response(SHAPES[shape](outcome))


ACCEPTED: dict[str, Callable[[list[str]], tuple[int, dict[str, object]]]] = {
    "accepted": lambda emails: (202, {"status": "accepted", "count": len(emails)}),
    "accepted_lists": lambda emails: (202, {"accepted": emails, "rejected": []}),
    "queued_results": lambda emails: (
        200,
        {"results": [{"email": email, "status": "queued"} for email in emails]},
    ),
    "queued_counts": lambda emails: (200, {"queued": len(emails), "enrolled": 0}),
}


def accepted(shape: str, emails: list[str]) -> Response:
    """Report that the work will be done later."""
    code, body = ACCEPTED[shape](emails)
    return Response(body, code)
