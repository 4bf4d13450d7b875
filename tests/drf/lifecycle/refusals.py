"""How the service says no to an enrollment: the forms that were seen, one of which a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework import status
from rest_framework.response import Response

from lifecycle.models import Contact, Sequence
from lifecycle.serializers import UniqueEnrollment
from lifecycle.switches import switch


def _unique_set(contact: Contact, sequence: Sequence) -> Response:
    check = UniqueEnrollment(data={"contact": contact.pk, "sequence": sequence.pk})
    check.is_valid()
    return Response(check.errors, status.HTTP_400_BAD_REQUEST)


def _said(code: int, body: Any) -> Callable[[Contact, Sequence], Response]:
    return lambda _contact, _sequence: Response(body, code)


ALREADY: dict[str, Callable[[Contact, Sequence], Response]] = {
    "detail_409": _said(409, {"detail": "Contact is already enrolled in this sequence."}),
    "bare_409": _said(409, {"detail": "Conflict."}),
    "empty_409": _said(409, None),
    "unique_set": _unique_set,
    "full_clean": _said(
        400, {"non_field_errors": ["Enrollment with this Contact and Sequence already exists."]}
    ),
    "in_sequence": _said(409, {"detail": "Contact is already active or paused in this sequence."}),
    "code": _said(409, {"code": "already_enrolled", "detail": "Conflict."}),
    "error_400": _said(400, {"error": "already_enrolled"}),
    "currently_422": _said(422, {"detail": "This contact is currently enrolled in onboarding."}),
    "active_422": _said(422, {"detail": "The contact has an active enrollment in this sequence."}),
}


def already(contact: Contact, sequence: Sequence) -> Response:
    """Refuse a contact whose enrollment is active or paused."""
    return ALREADY[switch("already")](contact, sequence)


def not_enrollable(sequence: Sequence) -> Response | None:
    """Refuse a sequence that cannot take contacts, or return nothing."""
    if switch("refusal"):
        return Response({"detail": switch("refusal")}, switch("inactive_status"))
    if sequence.status == "paused":
        reason = "Sequence is already paused."
    elif sequence.status != "active":
        reason = "Sequence is not active."
    elif not sequence.steps:
        reason = "Sequence has no steps."
    else:
        return None
    return Response({"detail": reason}, switch("inactive_status"))
