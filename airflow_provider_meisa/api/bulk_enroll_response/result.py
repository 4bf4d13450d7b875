"""What a bulk answer says of one address: a result object, or a status that the address is mapped to."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcome_words import (
    HAPPY,
    REASONED,
    UNPROVEN,
    Said,
    core_of,
    is_pending,
    is_plain_no,
    read_flag,
    read_reason,
    read_status,
    settle,
    squash,
    squashed,
    verdict_of,
)
from airflow_provider_meisa.api.outcomes import Verdict
from airflow_provider_meisa.api.redaction import scrub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_LARGEST_CODE = 999

_ADDRESS_NAMES = (
    "email",
    "email_address",
    "address",
    "contact_email",
    "to_email",
    "recipient_email",
    "contact",
    "recipient",
    "subscriber",
    "to",
    "user",
    "identifier",
)
STATUS_NAMES = squashed("status outcome result state verdict status_code enrollment_status enrolment_status")
ERROR_NAMES = squashed("error errors error_message error_code failure_reason")
REASON_NAMES = ERROR_NAMES | squashed(
    "reason message messages detail details skip_reason skipped_reason reason_code status_message description msg code"
)
# Work that is still to be done has a number to ask for it by.
_JOB_NAMES = squashed(
    "job job_id task task_id queue_id operation operation_id async_id celery_id status_url poll_url"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """What one place in the answer says of an address, or what several say together."""

    said: Said
    reason: str = ""

    def and_(self, other: Mention) -> Mention:
        """Take both together; the reason is that of the less happy."""
        happier, worse = sorted((self, other), key=lambda mention: settle(mention.said))
        is_happy = settle(worse.said) & HAPPY
        return Mention(self.said | other.said, worse.reason or ("" if is_happy else happier.reason))

    def conclude(self) -> tuple[Verdict, str]:
        """Give the verdict, and a reason where there is one to give."""
        counted = settle(self.said)
        verdict = verdict_of(counted)
        reason = "" if squash(self.reason) == squash(verdict) else self.reason
        if counted is Said.SKIPPED:
            return verdict, "skipped, reason not given"
        if counted & UNPROVEN:
            return verdict, f"{reason or 'accepted'}, not reported as enrolled"
        return verdict, reason or self._stock_reason(counted, verdict)

    def _stock_reason(self, counted: Said, verdict: Verdict) -> str:
        if verdict is Verdict.ENROLLED:
            return ""
        if self.said & Said.ENROLLED or (self.said & Said.YES and counted is Said.NO):
            return "the answer contradicts itself"
        if counted is Said.NO:
            return "refused, reason not given"
        return "listed without a status" if verdict is Verdict.UNREPORTED else ""


ACCEPTED = Mention(Said.PENDING, "accepted (202)")


def names_a_job(name: object, value: object) -> bool:
    """Say whether a field names work that may still have to be done."""
    return bool(value) and squash(str(name)) in _JOB_NAMES


def address_in(mapping: Mapping[Any, object]) -> str | None:
    """Find whom an object is about; ``None`` where it is about nobody."""
    for name in _ADDRESS_NAMES:
        value = mapping.get(name)
        if isinstance(value, dict):
            value = value.get("email")
        if isinstance(value, str) and "@" in value:
            return value
    return None


def cached_reader(under: Mention) -> Callable[[Mapping[str, object]], Mention]:
    """Make a reader that reads results with the same status and reason once: most of a batch have the same."""
    known: dict[tuple[tuple[str, object], ...], Mention] = {}

    def read(result: Mapping[str, object]) -> Mention:
        telling = tuple([field for field in result.items() if _tells(field[0])])
        try:
            mention = known.get(telling)
        except TypeError:  # a list or an object among them cannot be looked up
            return read_result(result, under)
        if mention is None:
            mention = known[telling] = read_result(result, under)
        return mention

    return read


@functools.lru_cache(maxsize=1024)
def _tells(name: str) -> bool:
    """Return whether a field of this name can say what became of an address."""
    plain = squash(name)
    return plain in STATUS_NAMES or plain in REASON_NAMES or read_flag(name, value=True) is not None


def read_value(value: object, under: Mention) -> Mention:
    """Read what an address is mapped to: a status, or a reason where the status is known, or a result."""
    if isinstance(value, dict):
        return read_result(value, under)
    is_reason = isinstance(value, (list, tuple)) or (isinstance(value, str) and under.said & ~Said.LISTED)
    return read_result({"reason" if is_reason else "status": value}, under)


def read_result(result: Mapping[Any, object], under: Mention) -> Mention:
    """Read an object about one address.

    :param under: what the name says that it stands under.
    """
    said = under.said
    words: list[str] = []
    reasons: list[str] = []
    for plain, name, value in _fields(result):
        if plain in STATUS_NAMES and isinstance(value, (str, int)):
            words.append(word_of(value))
        elif plain in REASON_NAMES:
            texts = texts_of(value)
            reasons += texts
            said |= Said.NO if texts and plain in ERROR_NAMES else Said(0)
        elif isinstance(value, int) and value in (0, 1):
            said |= read_flag(name, value=bool(value)) or Said(0)
    for word in words:
        said |= read_status(word)
    told = Said(0)
    for reason in reasons:
        told |= read_reason(reason, said) or (
            Said.PENDING if is_pending(reason) and not said & Said.ENROLLED else Said(0)
        )
    said |= told
    if reasons and said & Said.SKIPPED and not said & (REASONED | Said.NO) and not told:
        # Only a skip without a reason has a documented cause.
        said |= Said.NO
        reasons = [f"skipped: {reason}" for reason in reasons]
    remarks = [remark for word in words if (remark := telling(word, said))]
    if not said & Said.UNCLEAR:
        remarks = reasons or remarks[:1]
    return Mention(said or Said.LISTED, scrub("; ".join(dict.fromkeys(remarks))) or under.reason)


def telling(word: str, said: Said) -> str:
    """Keep a word that led to no verdict, or that tells more than the verdict it led to, as *bounced* does."""
    known = read_status(word)
    if known & Said.UNCLEAR:
        return scrub(f"status not known: {word}")
    counted = settle(said)
    tells_more = counted & (REASONED | UNPROVEN) or (counted is Said.NO and not is_plain_no(word))
    return scrub(core_of(word)) if tells_more and known & counted else ""


def _fields(result: Mapping[Any, object]) -> Iterator[tuple[str, str, object]]:
    """Go through the fields of a result, and through a status that is an object itself: plain name, name, value."""
    for name, value in result.items():
        if not isinstance(name, str):
            continue
        plain = squash(name)
        if plain in STATUS_NAMES and isinstance(value, dict):
            yield from (
                (squash(inner), inner, part) for inner, part in value.items() if isinstance(inner, str)
            )
        else:
            yield plain, name, value


def word_of(value: str | int) -> str:
    """Write a status as a word."""
    if isinstance(value, str):
        return value
    # Python refuses to spell integers of thousands of digits.
    return str(value) if abs(value) <= _LARGEST_CODE else "a large number"


def texts_of(value: object) -> list[str]:
    """Gather the texts of a reason: it may be a string, or a list or an object of strings."""
    parts: Iterable[object] = (value,)
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    return [part for part in parts if isinstance(part, str) and part.strip()]
