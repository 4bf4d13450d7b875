"""The part of a bulk response about one address: an object, or a status that the address is mapped to."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.api.redaction import redact
from airflow_provider_meisa.api.status_words import (
    HAPPY,
    REASONED,
    UNPROVEN,
    StatusFlag,
    core_of,
    is_pending,
    is_plain_no,
    normalize,
    normalize_all,
    read_flag,
    read_reason,
    read_status,
    resolve,
    status_of,
)

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
STATUS_NAMES = normalize_all(
    "status outcome result state status status_code enrollment_status enrolment_status"
)
ERROR_NAMES = normalize_all("error errors error_message error_code failure_reason")
REASON_NAMES = ERROR_NAMES | normalize_all(
    "reason message messages detail details skip_reason skipped_reason reason_code status_message description msg code"
)
# The id of a job shows that the work may not be done yet.
_JOB_NAMES = normalize_all(
    "job job_id task task_id queue_id operation operation_id async_id celery_id status_url poll_url"
)


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """The flag and the reason of an address, from one place in the response or from several."""

    flag: StatusFlag
    reason: str = ""

    def and_(self, other: RecipientResult) -> RecipientResult:
        """Combine both; the reason is that of the worse one."""
        happier, worse = sorted((self, other), key=lambda recipient: resolve(recipient.flag))
        is_happy = resolve(worse.flag) & HAPPY
        return RecipientResult(self.flag | other.flag, worse.reason or ("" if is_happy else happier.reason))

    def conclude(self) -> tuple[OutcomeStatus, str]:
        """Return the status, and a reason or an empty text."""
        counted = resolve(self.flag)
        status = status_of(counted)
        reason = "" if normalize(self.reason) == normalize(status) else self.reason
        if counted is StatusFlag.SKIPPED:
            return status, "skipped, reason not given"
        if counted & UNPROVEN:
            return status, f"{reason or 'accepted'}, not reported as enrolled"
        return status, reason or self._stock_reason(counted, status)

    def _stock_reason(self, counted: StatusFlag, status: OutcomeStatus) -> str:
        if status is OutcomeStatus.ENROLLED:
            return ""
        if self.flag & StatusFlag.ENROLLED or (self.flag & StatusFlag.YES and counted is StatusFlag.NO):
            return "the response contradicts itself"
        if counted is StatusFlag.NO:
            return "refused, reason not given"
        return "listed without a status" if status is OutcomeStatus.UNREPORTED else ""


ACCEPTED = RecipientResult(StatusFlag.PENDING, "accepted (202)")


def names_a_job(name: object, value: object) -> bool:
    """Return whether a field names a job that may not be done yet."""
    return bool(value) and normalize(str(name)) in _JOB_NAMES


def address_in(mapping: Mapping[Any, object]) -> str | None:
    """Return the address in an object; ``None`` if it has none."""
    for name in _ADDRESS_NAMES:
        value = mapping.get(name)
        if isinstance(value, dict):
            value = value.get("email")
        if isinstance(value, str) and "@" in value:
            return value
    return None


def cached_reader(under: RecipientResult) -> Callable[[Mapping[str, object]], RecipientResult]:
    """Make a reader with a cache: most results of a batch have the same status and reason."""
    known: dict[tuple[tuple[str, object], ...], RecipientResult] = {}

    def read(result: Mapping[str, object]) -> RecipientResult:
        stronger = tuple([field for field in result.items() if _tells(field[0])])
        try:
            recipient = known.get(stronger)
        except TypeError:  # a list or an object cannot be a key of the cache
            return read_result(result, under)
        if recipient is None:
            recipient = known[stronger] = read_result(result, under)
        return recipient

    return read


@functools.lru_cache(maxsize=1024)
def _tells(name: str) -> bool:
    """Return whether a field of this name can hold the outcome of an address."""
    plain = normalize(name)
    return plain in STATUS_NAMES or plain in REASON_NAMES or read_flag(name, value=True) is not None


def read_value(value: object, under: RecipientResult) -> RecipientResult:
    """Read the value of an address: a status, a reason if the status is known, or an object."""
    if isinstance(value, dict):
        return read_result(value, under)
    is_reason = isinstance(value, (list, tuple)) or (
        isinstance(value, str) and under.flag & ~StatusFlag.LISTED
    )
    return read_result({"reason" if is_reason else "status": value}, under)


def read_result(result: Mapping[Any, object], under: RecipientResult) -> RecipientResult:
    """Read an object about one address.

    :param under: the result of the names above it.
    """
    flag = under.flag
    words: list[str] = []
    reasons: list[str] = []
    for plain, name, value in _fields(result):
        if plain in STATUS_NAMES and isinstance(value, (str, int)):
            words.append(word_of(value))
        elif plain in REASON_NAMES:
            texts = texts_of(value)
            reasons += texts
            flag |= StatusFlag.NO if texts and plain in ERROR_NAMES else StatusFlag(0)
        elif isinstance(value, int) and value in (0, 1):
            flag |= read_flag(name, value=bool(value)) or StatusFlag(0)
    for word in words:
        flag |= read_status(word)
    from_reasons = StatusFlag(0)
    for reason in reasons:
        from_reasons |= read_reason(reason, flag) or (
            StatusFlag.PENDING if is_pending(reason) and not flag & StatusFlag.ENROLLED else StatusFlag(0)
        )
    flag |= from_reasons
    if reasons and flag & StatusFlag.SKIPPED and not flag & (REASONED | StatusFlag.NO) and not from_reasons:
        # Only a skip without a reason has documented causes.
        flag |= StatusFlag.NO
        reasons = [f"skipped: {reason}" for reason in reasons]
    remarks = [remark for word in words if (remark := stronger(word, flag))]
    if not flag & StatusFlag.UNCLEAR:
        remarks = reasons or remarks[:1]
    return RecipientResult(
        flag or StatusFlag.LISTED, redact("; ".join(dict.fromkeys(remarks))) or under.reason
    )


def stronger(word: str, flag: StatusFlag) -> str:
    """Return a word that is not known, or that is more exact than its status, such as *bounced*."""
    known = read_status(word)
    if known & StatusFlag.UNCLEAR:
        return redact(f"status not known: {word}")
    counted = resolve(flag)
    is_stronger = counted & (REASONED | UNPROVEN) or (counted is StatusFlag.NO and not is_plain_no(word))
    return redact(core_of(word)) if is_stronger and known & counted else ""


def _fields(result: Mapping[Any, object]) -> Iterator[tuple[str, str, object]]:
    """Yield normalized name, name and value of the fields of a result, and of a status that is an object."""
    for name, value in result.items():
        if not isinstance(name, str):
            continue
        plain = normalize(name)
        if plain in STATUS_NAMES and isinstance(value, dict):
            yield from (
                (normalize(inner), inner, part) for inner, part in value.items() if isinstance(inner, str)
            )
        else:
            yield plain, name, value


def word_of(value: str | int) -> str:
    """Write a status as a word."""
    if isinstance(value, str):
        return value
    # Python refuses to convert integers of thousands of digits.
    return str(value) if abs(value) <= _LARGEST_CODE else "a large number"


def texts_of(value: object) -> list[str]:
    """List the texts of a reason, which may be a text, a list or an object."""
    parts: Iterable[object] = (value,)
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    return [part for part in parts if isinstance(part, str) and part.strip()]
