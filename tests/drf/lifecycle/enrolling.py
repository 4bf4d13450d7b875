"""The work behind the two enrollment endpoints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from django.db import transaction

from lifecycle.bulk_responses import BulkOutcome
from lifecycle.models import Contact, Enrollment, Sequence
from lifecycle.switches import switch


def _look_and_insert() -> Any:
    """Return the transaction around look and insert; without it two requests can both find nothing."""
    return transaction.atomic() if switch("guarded") else nullcontext()


def _status(sequence: Sequence) -> str:
    return "completed" if sequence.ends_at_once else "active"


def is_enrolled(contact: Contact, sequence: Sequence) -> bool:
    """Whether the contact is active or paused in the sequence."""
    return contact.enrollments.filter(sequence=sequence, status__in=Enrollment.OPEN).exists()


def enroll_one(
    contact: Contact, sequence: Sequence, pause: Callable[[], None], **fields: Any
) -> Enrollment | None:
    """Enroll a contact, unless it is enrolled.

    :param pause: called between look and insert where nothing guards them.
    """
    with _look_and_insert():
        if is_enrolled(contact, sequence):
            return None
        if not switch("guarded"):
            pause()
        return Enrollment.objects.create(
            contact=contact, sequence=sequence, status=_status(sequence), **fields
        )


def enroll_many(
    emails: list[str], sequence: Sequence, pause: Callable[[], None], *, override: bool
) -> BulkOutcome:
    """Enroll contacts, skipping the enrolled and, unless overridden, the suppressed."""
    wanted = list(dict.fromkeys(email.lower() for email in emails))
    with _look_and_insert():
        outcome = BulkOutcome()
        contacts = _contacts(wanted, outcome)
        enrolled = set(
            Enrollment.objects.filter(
                sequence=sequence, status__in=Enrollment.OPEN, contact__email__in=wanted
            ).values_list("contact__email", flat=True)
        )
        for email in wanted:
            contact = contacts.get(email)
            if contact is None:
                outcome.not_found.append(email)
            elif email in enrolled:
                outcome.already_enrolled.append(email)
            elif contact.status in Contact.SUPPRESSED and not override:
                outcome.suppressed.append(email)
            else:
                outcome.enrolled.append(email)
        if not switch("guarded"):
            pause()
        Enrollment.objects.bulk_create(
            Enrollment(contact=contacts[email], sequence=sequence, status=_status(sequence))
            for email in outcome.enrolled
        )
    return outcome


def _contacts(emails: list[str], outcome: BulkOutcome) -> dict[str, Contact]:
    known = {contact.email: contact for contact in Contact.objects.filter(email__in=emails)}
    missing = [email for email in emails if email not in known]
    if not missing or not switch("bulk_creates_contacts"):
        return known
    outcome.created = missing
    Contact.objects.bulk_create((Contact(email=email) for email in missing), ignore_conflicts=True)
    return {contact.email: contact for contact in Contact.objects.filter(email__in=emails)}
