"""Read the response to a bulk enrollment in any shape: one outcome for each address that was sent.

Meisa documents that the response "details each outcome", but not how. These shapes are read, also nested:

- a result per address: ``[{"email": …, "status": …, "reason": …}, …]`` under any name or none;
- a mapping of addresses to statuses or results;
- a list of addresses or results per outcome: ``{"enrolled": […], "skipped": […]}``;
- counts per outcome, where the result is certain.

An address is *enrolled* only if the response confirms it. An address that it does not mention is *unreported*; in a
contradiction the worse status counts (:func:`airflow_provider_meisa.api.status_words.resolve`).

If a part is only accepted, or failed, nothing below it counts as enrolled.

:mod:`airflow_provider_meisa.api.bulk_enroll_response.counts` decides what counts alone prove.

Source: "Bulk enroll" on Meisa's page *Sequences*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeGuard

from airflow_provider_meisa.api.bulk_enroll_response.counts import Counts, left_over, totals
from airflow_provider_meisa.api.bulk_enroll_response.result import (
    ACCEPTED,
    ERROR_NAMES,
    REASON_NAMES,
    STATUS_NAMES,
    RecipientResult,
    address_in,
    cached_reader,
    names_a_job,
    read_result,
    read_value,
    stronger,
    texts_of,
    word_of,
)
from airflow_provider_meisa.api.outcomes import Outcome
from airflow_provider_meisa.api.redaction import redact
from airflow_provider_meisa.api.status_words import (
    HAPPY,
    REASONED,
    REFUSED,
    StatusFlag,
    flag_name,
    is_denial,
    is_pending,
    normalize,
    normalize_all,
    read_code,
    read_flag,
    read_reason,
    read_status,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from airflow_provider_meisa.api.outcomes import OutcomeStatus

_DEEPEST = 8
_MOST_REMARKS = 20
_LARGEST_COUNT = 10**9
_PAIR = 2

_CONTAINERS = normalize_all(
    "results result details detail outcomes outcome data items summary counts stats totals contacts emails "
    "addresses enrollments enrolments per_email by_email by_status by_outcome statuses response report"
)
# These describe the request, not an address.
_ABOUT_THE_REQUEST = normalize_all(
    "total requested received submitted accepted total_requested total_received total_submitted total_emails sent "
    "count size batch_size sequence sequence_slug slug sequence_name "
    "sequence_id id override_unsubscribe as_of timestamp request_id environment product"
) | (STATUS_NAMES | REASON_NAMES)
_COUNT_NAMES = frozenset(("count", "total", "number"))
# These count the addresses of the request.
_TOTALS = normalize_all(
    "total requested received submitted total_requested total_received total_submitted total_emails"
)
_DOUBT = StatusFlag.PENDING | StatusFlag.UNCLEAR
_REMARKS = ("error", "detail", "message", "reason")

_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_ADDRESS_IN_TEXT = re.compile(r"[^\s<>()\"',;:\[\]@]+@[^\s<>()\"',;:\[\]@]+")


@dataclass(frozen=True, slots=True)
class BulkEnrollResponse:
    """The outcomes of the addresses that were sent.

    :param outcomes: one for each address, in the order sent.
    :param unread: short notes on unknown parts of the response, without addresses; at most twenty.
    """

    outcomes: tuple[Outcome, ...]
    unread: tuple[str, ...] = ()


_NO_NAME = RecipientResult(StatusFlag(0))
_NO_STATUS = RecipientResult(StatusFlag.LISTED)


@dataclass(slots=True)
class _Reading:
    """The results so far, and the addresses that were sent."""

    sent: frozenset[str]
    recipients: dict[str, RecipientResult] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)
    counts: Counts = field(default_factory=dict)
    doubt: str = ""
    """Why the counts cannot be used; empty if they can."""
    remarks: dict[str, None] = field(default_factory=dict)

    def recipient(self, address: str, recipient: RecipientResult) -> None:
        key = _key(address)
        if key not in self.sent:
            self.strangers.add(key)
            return
        before = self.recipients.get(key)
        if before is not None:
            self.remark_unclear((before, recipient))
            recipient = before.and_(recipient)
        self.recipients[key] = recipient

    def count(self, name: str, flag: StatusFlag, figure: int) -> None:
        if 0 <= figure <= _LARGEST_COUNT:
            self.counts.setdefault(resolve(flag), set()).add((normalize(name), figure))
        else:
            self.distrust(f"the count {name} is not a number of addresses")

    def distrust(self, why: str) -> None:
        self.doubt = self.doubt or redact(why)

    def remark(self, text: str) -> None:
        if len(self.remarks) < _MOST_REMARKS:
            self.remarks[redact(text)] = None

    def remark_unclear(self, recipients: Iterable[RecipientResult]) -> None:
        for recipient in recipients:
            if recipient.flag & StatusFlag.UNCLEAR:
                self.remark(recipient.reason)


def read_bulk_response(
    sent: Sequence[str], body: object, *, status: int = HTTPStatus.OK
) -> BulkEnrollResponse:
    """Read the response to a bulk enrollment. It never raises, whatever the response.

    :param sent: the addresses of the request.
    :param body: the decoded JSON.
    :param status: the HTTP status; after 202, *accepted*, no address counts as enrolled.
    """
    under = ACCEPTED if status == HTTPStatus.ACCEPTED else _NO_NAME
    keys = [_key(address) for address in sent]
    reading = _Reading(frozenset(keys))
    _read(reading, body, under, 0)
    statuses = dict(zip(reading.recipients, _conclude(reading, reading.recipients.values()), strict=True))
    rest = _rest(reading, _remark(body)).conclude()
    outcomes = [Outcome(address, *statuses.get(key, rest)) for address, key in zip(sent, keys, strict=True)]
    return BulkEnrollResponse(tuple(outcomes), _unread(reading))


def _conclude(reading: _Reading, recipients: Collection[RecipientResult]) -> list[tuple[OutcomeStatus, str]]:
    """Return status and reason of each address; most of a batch are alike, so each is resolved once."""
    overstated = _names_more_than_it_counts(reading, recipients)
    if overstated:
        recipients = [overstated if recipient.flag & HAPPY else recipient for recipient in recipients]
    distinct = {id(recipient): recipient for recipient in recipients}
    reading.remark_unclear(distinct.values())
    concluded = {which: recipient.conclude() for which, recipient in distinct.items()}
    return [concluded[id(recipient)] for recipient in recipients]


def _names_more_than_it_counts(
    reading: _Reading, recipients: Iterable[RecipientResult]
) -> RecipientResult | None:
    """Return the result for addresses listed as enrolled, if the response lists more than it counts."""
    figures = [figure for _, figure in reading.counts.get(StatusFlag.ENROLLED, ())]
    if not figures:
        return None
    named = sum(resolve(recipient.flag) is StatusFlag.ENROLLED for recipient in recipients)
    if named <= max(figures):
        return None
    return RecipientResult(
        StatusFlag.LISTED, f"the response lists {named} enrolled but counts {max(figures)}"
    )


def _unread(reading: _Reading) -> tuple[str, ...]:
    remarks, strangers = tuple(reading.remarks), len(reading.strangers)
    if not strangers:
        return remarks
    return (
        f"mentions {strangers} {'address' if strangers == 1 else 'addresses'} not sent",
        *remarks[1 - _MOST_REMARKS :],
    )


def _key(address: str) -> str:
    return address.strip().lower()


# The tree of the response.


def _read(reading: _Reading, node: object, under: RecipientResult, depth: int) -> None:
    """Read a list or an object; nothing else can name an address."""
    if depth > _DEEPEST:
        reading.remark(f"more than {_DEEPEST} levels")
    elif isinstance(node, dict):
        _read_mapping(reading, node, under, depth)
    elif isinstance(node, (list, tuple)):
        _read_list(reading, node, under, depth)


def _read_list(reading: _Reading, elements: Sequence[object], under: RecipientResult, depth: int) -> None:
    read = cached_reader(under)
    for element in elements:
        if isinstance(element, dict):
            address = address_in(element)
            if address is None:
                _read(reading, element, under, depth + 1)
                if under.flag & REFUSED and not any(
                    isinstance(part, (dict, list)) for part in element.values()
                ):
                    reading.distrust("the response reports an error that names no address")
            else:
                reading.recipient(address, read(element))
        elif isinstance(element, str):
            _read_text(reading, element, under)
        elif _is_pair(element):
            reading.recipient(element[0], read_value(element[1], under))
        else:
            _read(reading, element, under, depth + 1)


def _read_mapping(
    reading: _Reading, mapping: Mapping[object, object], under: RecipientResult, depth: int
) -> None:
    address = address_in(mapping)
    if address is not None and not any(isinstance(value, (list, tuple)) for value in mapping.values()):
        reading.recipient(address, read_result(mapping, under))
        return
    itself = _own_flags(mapping, under)
    if itself.flag & _DOUBT and not under.flag & REFUSED:
        reading.distrust(itself.reason)
    under = itself
    for name, value in mapping.items():
        if isinstance(name, str) and "@" in name:
            reading.recipient(name, read_value(value, under))
        elif isinstance(name, str):
            _read_member(reading, name, value, under, depth)


def _own_flags(mapping: Mapping[object, object], under: RecipientResult) -> RecipientResult:
    """Add the flags of an object itself, such as accepted or failed, to those of the names above it."""
    flag, why = StatusFlag(0), ""
    for name, value in mapping.items():
        found, reason = _flag_of(name, value, under) if isinstance(name, str) else (StatusFlag(0), "")
        flag |= found
        why = why or (reason if found else "")
    return RecipientResult(under.flag | flag, under.reason or why) if flag else under


def _flag_of(name: str, value: object, under: RecipientResult) -> tuple[StatusFlag, str]:
    if not isinstance(value, (str, int)) and not under.flag & REFUSED:
        return StatusFlag(0), ""
    plain, flag, reason = normalize(name), StatusFlag(0), ""
    if plain in REASON_NAMES and under.flag & REFUSED and texts_of(value):
        recipient = read_result({"reason": value}, under)
        return recipient.flag, recipient.reason
    if isinstance(value, bool):
        flag, reason = read_flag(name, value=value) or StatusFlag(0), f"{name}: {value}"
    elif plain in STATUS_NAMES and isinstance(value, (str, int)):
        reason = word_of(value)
        flag = read_status(reason)
    elif isinstance(value, str) and value.strip() and (plain in ERROR_NAMES or _denies(plain, value)):
        flag, reason = StatusFlag.NO, value
    elif isinstance(value, str) and plain in REASON_NAMES and is_pending(value):
        flag, reason = StatusFlag.PENDING, value
    if flag & (REFUSED | REASONED):
        return StatusFlag.UNCLEAR, redact(f"the response says: {reason}")
    return (StatusFlag.PENDING, redact(reason)) if flag & StatusFlag.PENDING else (StatusFlag(0), "")


def _denies(plain: str, value: str) -> bool:
    return plain in REASON_NAMES and is_denial(value)


def _read_member(reading: _Reading, name: str, value: object, under: RecipientResult, depth: int) -> None:
    """Read the value of a name that is not an address: a list, a count, or an unknown value."""
    if names_a_job(name, value):
        reading.distrust("the response names a job that may not have run")
    elif isinstance(value, (dict, list, tuple)):
        _read(reading, value, _below(reading, name, under, is_empty=not value), depth + 1)
    elif normalize(name) in _ABOUT_THE_REQUEST:
        _read_total(reading, name, _figure(value), under)
    elif value is None or value == "" or isinstance(value, bool):
        return
    elif flag := read_code(name):
        figure = _figure(value)
        reading.count(name, flag, -1 if figure is None else figure)
    elif value:
        reading.remark(f"field {name}")


def _read_total(reading: _Reading, name: str, figure: int | None, under: RecipientResult) -> None:
    """Read ``total`` and the like: below the name of an outcome they count it, else all addresses."""
    if figure is None:
        return
    if under.flag & ~_DOUBT:
        if normalize(name) in _COUNT_NAMES:
            reading.count(name, under.flag & ~_DOUBT, figure)
    elif normalize(name) in _TOTALS and figure != len(reading.sent):
        reading.distrust(f"the response is about {figure} addresses")


def _figure(value: object) -> int | None:
    """Read a count: an integer, also as text."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return value if type(value) is int else None


def _below(reading: _Reading, name: str, under: RecipientResult, *, is_empty: bool) -> RecipientResult:
    """Return what a name means for the addresses below it, in addition to the names above."""
    refused = under.flag & REFUSED
    flag = read_reason(name, under.flag) if refused else read_code(name)
    if flag:
        return RecipientResult(under.flag | flag, stronger(name, flag) or under.reason)
    if normalize(name) in _CONTAINERS:
        return under
    if not is_empty:
        reading.remark(f"field {name}")
    if refused:
        return RecipientResult(
            under.flag | StatusFlag.NO, redact(f"skipped: {name}" if refused & StatusFlag.SKIPPED else name)
        )
    return RecipientResult(under.flag & _DOUBT | StatusFlag.LISTED, redact(f"listed as {name}"))


def _read_text(reading: _Reading, text: str, under: RecipientResult) -> None:
    """Read a string in a list: an address, or a sentence about one."""
    recipient = under if under.flag else _NO_STATUS
    key = _key(text)
    if key in reading.sent:
        reading.recipient(text, recipient)
        return
    named = {_key(found.rstrip(".!?")) for found in _ADDRESS_IN_TEXT.findall(text)}
    if len(named) != 1:
        reading.remark("a text that names no address, or several")
        if under.flag & REFUSED:
            reading.distrust("the response reports an error that names no address")
    elif key in named:
        reading.recipient(text, recipient)
    else:
        reading.recipient(named.pop(), read_result({"reason": text}, under))


def _is_pair(element: object) -> TypeGuard[Sequence[str]]:
    """Return whether a list is a pair such as ``["a@b.example", "enrolled"]``, and not a list of addresses."""
    return (
        isinstance(element, (list, tuple))
        and len(element) == _PAIR
        and all(isinstance(part, str) for part in element)
        and ["@" in part for part in element] == [True, False]
    )


# Addresses that are not named.


def _remark(body: object) -> str:
    """Find the message of the response as a whole."""
    if not isinstance(body, dict):
        return ""
    return next((redact(text) for text in map(body.get, _REMARKS) if isinstance(text, str)), "")


def _rest(reading: _Reading, remark: str) -> RecipientResult:
    """Return the result for all unnamed addresses: by the counts, else *not mentioned*."""
    unnamed = len(reading.sent) - len(reading.recipients)
    if unnamed and not reading.strangers and not reading.doubt:
        named = (recipient.flag for recipient in reading.recipients.values())
        left = left_over(reading.counts, named, unnamed)
        if left is not None:
            return RecipientResult(left, "" if left is StatusFlag.SKIPPED else "by its count, not by name")
    figures = ", ".join(f"{figure} {flag_name(flag)}" for flag, figure in totals(reading.counts).items())
    reason = "the response does not mention it"
    if figures:
        reason = (
            f"{reason}; it counts {figures}" if reading.recipients else f"the response only counts: {figures}"
        )
    remarks = "; ".join(filter(None, (reading.doubt, "" if remark in reading.doubt else remark)))
    return RecipientResult(StatusFlag.LISTED, f"{reason} ({remarks})" if remarks else reason)
