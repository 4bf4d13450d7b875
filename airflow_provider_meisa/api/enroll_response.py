"""The response to the enrollment of one contact, accepted or refused: what it says of the contact.

Documented are 200 and 201 for an enrollment, and that a contact already active or paused in the sequence is
rejected; the body and the status of the rejection are not. So 200 and 201 enroll, unless the body says otherwise,
and a rejection is read by its words (:mod:`airflow_provider_meisa.api.outcome_words`).

Source: "Enroll a contact" on Meisa's page *Sequences*.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.bulk_enroll_response.result import (
    ACCEPTED,
    REASON_NAMES,
    STATUS_NAMES,
    Mention,
    names_a_job,
    read_result,
    read_value,
)
from airflow_provider_meisa.api.outcome_words import (
    REASONED,
    REFUSED,
    Said,
    read_reason,
    settle,
    squash,
    squashed,
)
from airflow_provider_meisa.api.outcome_words import verdict_of as bulk_verdict_of
from airflow_provider_meisa.api.outcomes import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_meisa.api.errors import MeisaInvalidRequestError

_DEEPEST = 4
_MOST = 10
_WRAPPERS = squashed(
    "data result results enrollment enrollments enrolment item response job task payload"
) | (STATUS_NAMES | REASON_NAMES)
_OTHERWISE = Said.PENDING | REFUSED | REASONED
# What is said of the address beyond its form: it may be well formed.
_NOT_ITS_FORM = re.compile(
    r"\b(?:unique|exists?|already|enrol|sequence|contact|deleted|not found|unknown|conflict|permi|allowed|process|"
    r"complete|archived|active|paused|limit)",
    re.IGNORECASE,
)


def read_enroll_reply(status: int, body: object) -> tuple[Verdict, str]:
    """Read the response to a call that was not refused: the verdict on the contact, and a reason."""
    if status == HTTPStatus.ACCEPTED:
        return ACCEPTED.conclude()
    found = Mention(Said(0))
    is_job = False
    for part in _parts(body):
        mention = read_result(part, found) if isinstance(part, dict) else read_value(part, found)
        found = Mention(found.said | mention.said, mention.reason or found.reason)
        is_job = is_job or (isinstance(part, dict) and any(names_a_job(*field) for field in part.items()))
    if is_job and not found.said & ~Said.LISTED:
        return Mention(Said.PENDING, "a job").conclude()
    return found.conclude() if found.said & _OTHERWISE else (Verdict.ENROLLED, "")


def verdict_of(error: MeisaInvalidRequestError) -> Verdict | None:
    """Say which verdict on the one contact a refusal means, or ``None`` if it is about something else.

    That the contact is already enrolled, or suppressed, needs words that say so; a bare 409 proves nothing.
    """
    said = Said(0)
    for text in error.texts or (error.reason,):
        # A bare "enrolled" may be a value that is allowed, or the name of an event.
        said |= read_reason(text, Said.NO) & REASONED if squash(text) != "enrolled" else Said(0)
    if said:
        return bulk_verdict_of(settle(said))
    is_about_form = error.fields == ("email",) and error.status != HTTPStatus.CONFLICT
    return Verdict.INVALID if is_about_form and not _NOT_ITS_FORM.search(error.reason) else None


def _parts(node: object, depth: int = 0) -> Iterator[object]:
    """Go through what a body says of the enrollment, but not of the contact or the sequence."""
    if isinstance(node, list) and depth < _DEEPEST:
        for element in node[:_MOST]:
            yield from _parts(element, depth + 1)
    elif isinstance(node, dict) and depth < _DEEPEST:
        yield node
        for name, inner in node.items():
            if isinstance(inner, (dict, list)) and squash(str(name)) in _WRAPPERS:
                yield from (part for part in _parts(inner, depth + 1) if isinstance(part, dict))
    elif isinstance(node, (str, bool)):
        yield node
