"""Read the response to the enrollment of one contact, accepted or refused.

Meisa documents 200 and 201 for an enrollment, and that it rejects a contact already active or paused in the
sequence. It does not document the body, or the status of the rejection. So 200 and 201 mean *enrolled* unless the
body says otherwise, and a rejection is read by its words (:mod:`airflow_provider_meisa.api.status_words`).

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
    RecipientResult,
    names_a_job,
    read_result,
    read_value,
)
from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.api.status_words import (
    REASONED,
    REFUSED,
    StatusFlag,
    normalize,
    normalize_all,
    read_reason,
    resolve,
)
from airflow_provider_meisa.api.status_words import status_of as status_of_flag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_meisa.api.errors import MeisaInvalidRequestError

_DEEPEST = 4
_MOST = 10
_WRAPPERS = normalize_all(
    "data result results enrollment enrollments enrolment item response job task payload"
) | (STATUS_NAMES | REASON_NAMES)
_OTHERWISE = StatusFlag.PENDING | REFUSED | REASONED
# Words about the address that do not concern its form: the address may be valid.
_NOT_ITS_FORM = re.compile(
    r"\b(?:unique|exists?|already|enrol|sequence|contact|deleted|not found|unknown|conflict|permi|allowed|process|"
    r"complete|archived|active|paused|limit)",
    re.IGNORECASE,
)


def read_enroll_response(status: int, body: object) -> tuple[OutcomeStatus, str]:
    """Read an accepted response: the status of the contact, and a reason."""
    if status == HTTPStatus.ACCEPTED:
        return ACCEPTED.conclude()
    found = RecipientResult(StatusFlag(0))
    is_job = False
    for part in _parts(body):
        recipient = read_result(part, found) if isinstance(part, dict) else read_value(part, found)
        found = RecipientResult(found.flag | recipient.flag, recipient.reason or found.reason)
        is_job = is_job or (isinstance(part, dict) and any(names_a_job(*field) for field in part.items()))
    if is_job and not found.flag & ~StatusFlag.LISTED:
        return RecipientResult(StatusFlag.PENDING, "a job").conclude()
    return found.conclude() if found.flag & _OTHERWISE else (OutcomeStatus.ENROLLED, "")


def status_of(error: MeisaInvalidRequestError) -> OutcomeStatus | None:
    """Return the status of the contact that a refusal means, or ``None`` if it is about something else.

    *Already enrolled* and *suppressed* need words that say so; a 409 alone proves nothing.
    """
    flag = StatusFlag(0)
    for text in error.texts or (error.reason,):
        # "enrolled" alone may be an allowed value, or the name of an event.
        flag |= (
            read_reason(text, StatusFlag.NO) & REASONED if normalize(text) != "enrolled" else StatusFlag(0)
        )
    if flag:
        return status_of_flag(resolve(flag))
    is_about_form = error.fields == ("email",) and error.status != HTTPStatus.CONFLICT
    return OutcomeStatus.INVALID if is_about_form and not _NOT_ITS_FORM.search(error.reason) else None


def _parts(node: object, depth: int = 0) -> Iterator[object]:
    """Yield the parts of a body about the enrollment, without those about the contact or the sequence."""
    if isinstance(node, list) and depth < _DEEPEST:
        for element in node[:_MOST]:
            yield from _parts(element, depth + 1)
    elif isinstance(node, dict) and depth < _DEEPEST:
        yield node
        for name, inner in node.items():
            if isinstance(inner, (dict, list)) and normalize(str(name)) in _WRAPPERS:
                yield from (part for part in _parts(inner, depth + 1) if isinstance(part, dict))
    elif isinstance(node, (str, bool)):
        yield node
