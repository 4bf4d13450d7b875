"""The answer to a bulk enrollment, read whatever its shape: one outcome for every address that was sent.

Meisa documents that the answer "details each outcome", not how. Read are, also below one another:

- a result per address: ``[{"email": …, "status": …, "reason": …}, …]`` under any name or none;
- a mapping of addresses to statuses or results;
- a list of addresses or results per outcome: ``{"enrolled": […], "skipped": […]}``;
- counts per outcome, where they leave no choice.

An address is *enrolled* only if the answer vouches for it. What it does not mention is *unreported*; where it
contradicts itself the less happy word counts (:func:`airflow_provider_meisa.api.outcome_words.settle`).

Where a part says of itself that it is only accepted, or that it failed, nothing below it counts as enrolled.

Counts name nobody; what they settle all the same is in :mod:`airflow_provider_meisa.api.bulk_enroll_response.counts`.

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
    Mention,
    address_in,
    cached_reader,
    names_a_job,
    read_result,
    read_value,
    telling,
    texts_of,
    word_of,
)
from airflow_provider_meisa.api.outcome_words import (
    HAPPY,
    REASONED,
    REFUSED,
    Said,
    in_words,
    is_denial,
    is_pending,
    read_code,
    read_flag,
    read_reason,
    read_status,
    settle,
    squash,
    squashed,
)
from airflow_provider_meisa.api.outcomes import Outcome
from airflow_provider_meisa.api.redaction import scrub

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from airflow_provider_meisa.api.outcomes import Verdict

_DEEPEST = 8
_MOST_NOTES = 20
_LARGEST_COUNT = 10**9
_PAIR = 2

_CONTAINERS = squashed(
    "results result details detail outcomes outcome data items summary counts stats totals contacts emails "
    "addresses enrollments enrolments per_email by_email by_status by_outcome statuses response report"
)
# They speak of the request, not of an address.
_ABOUT_THE_REQUEST = squashed(
    "total requested received submitted accepted total_requested total_received total_submitted total_emails sent "
    "count size batch_size sequence sequence_slug slug sequence_name "
    "sequence_id id override_unsubscribe as_of timestamp request_id environment product"
) | (STATUS_NAMES | REASON_NAMES)
_COUNT_NAMES = frozenset(("count", "total", "number"))
# How many addresses the response is about.
_TOTALS = squashed(
    "total requested received submitted total_requested total_received total_submitted total_emails"
)
_DOUBT = Said.PENDING | Said.UNCLEAR
_REMARKS = ("error", "detail", "message", "reason")

_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_ADDRESS_IN_TEXT = re.compile(r"[^\s<>()\"',;:\[\]@]+@[^\s<>()\"',;:\[\]@]+")


@dataclass(frozen=True, slots=True)
class BulkReply:
    """What an answer says of the addresses that were sent.

    :param outcomes: one for each address, in the order sent.
    :param unread: what was not understood, in a few words each, without addresses; at most twenty.
    """

    outcomes: tuple[Outcome, ...]
    unread: tuple[str, ...] = ()


_NO_NAME = Mention(Said(0))
_NO_STATUS = Mention(Said.LISTED)


@dataclass(slots=True)
class _Reading:
    """What was gathered so far, and which addresses it is about."""

    sent: frozenset[str]
    mentions: dict[str, Mention] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)
    counts: Counts = field(default_factory=dict)
    doubt: str = ""
    """Why the counts settle nothing, where something speaks against them."""
    notes: dict[str, None] = field(default_factory=dict)

    def mention(self, address: str, mention: Mention) -> None:
        key = _key(address)
        if key not in self.sent:
            self.strangers.add(key)
            return
        before = self.mentions.get(key)
        if before is not None:
            self.note_unclear((before, mention))
            mention = before.and_(mention)
        self.mentions[key] = mention

    def count(self, name: str, said: Said, figure: int) -> None:
        if 0 <= figure <= _LARGEST_COUNT:
            self.counts.setdefault(settle(said), set()).add((squash(name), figure))
        else:
            self.distrust(f"the count {name} is not a number of addresses")

    def distrust(self, why: str) -> None:
        self.doubt = self.doubt or scrub(why)

    def note(self, text: str) -> None:
        if len(self.notes) < _MOST_NOTES:
            self.notes[scrub(text)] = None

    def note_unclear(self, mentions: Iterable[Mention]) -> None:
        for mention in mentions:
            if mention.said & Said.UNCLEAR:
                self.note(mention.reason)


def read_bulk_reply(sent: Sequence[str], reply: object, *, status: int = HTTPStatus.OK) -> BulkReply:
    """Read the answer to a bulk enrollment. It never raises, whatever the answer.

    :param sent: the addresses of the request.
    :param reply: the decoded JSON.
    :param status: the HTTP status; after 202, *accepted*, nobody counts as enrolled.
    """
    under = ACCEPTED if status == HTTPStatus.ACCEPTED else _NO_NAME
    keys = [_key(address) for address in sent]
    reading = _Reading(frozenset(keys))
    _read(reading, reply, under, 0)
    verdicts = dict(zip(reading.mentions, _conclude(reading, reading.mentions.values()), strict=True))
    rest = _rest(reading, _remark(reply)).conclude()
    outcomes = [Outcome(address, *verdicts.get(key, rest)) for address, key in zip(sent, keys, strict=True)]
    return BulkReply(tuple(outcomes), _unread(reading))


def _conclude(reading: _Reading, mentions: Collection[Mention]) -> list[tuple[Verdict, str]]:
    """Give each mention its verdict; most of a batch share one mention."""
    overstated = _names_more_than_it_counts(reading, mentions)
    if overstated:
        mentions = [overstated if mention.said & HAPPY else mention for mention in mentions]
    distinct = {id(mention): mention for mention in mentions}
    reading.note_unclear(distinct.values())
    concluded = {which: mention.conclude() for which, mention in distinct.items()}
    return [concluded[id(mention)] for mention in mentions]


def _names_more_than_it_counts(reading: _Reading, mentions: Iterable[Mention]) -> Mention | None:
    """Say so where more addresses are named as enrolled than are counted: which of them are is not known."""
    figures = [figure for _, figure in reading.counts.get(Said.ENROLLED, ())]
    if not figures:
        return None
    named = sum(settle(mention.said) is Said.ENROLLED for mention in mentions)
    if named <= max(figures):
        return None
    return Mention(Said.LISTED, f"the response lists {named} enrolled but counts {max(figures)}")


def _unread(reading: _Reading) -> tuple[str, ...]:
    notes, strangers = tuple(reading.notes), len(reading.strangers)
    if not strangers:
        return notes
    return (
        f"mentions {strangers} {'address' if strangers == 1 else 'addresses'} not sent",
        *notes[1 - _MOST_NOTES :],
    )


def _key(address: str) -> str:
    return address.strip().lower()


# Walking the answer.


def _read(reading: _Reading, node: object, under: Mention, depth: int) -> None:
    """Read a list or an object that stands under a name; nothing else can name an address."""
    if depth > _DEEPEST:
        reading.note(f"more than {_DEEPEST} levels")
    elif isinstance(node, dict):
        _read_mapping(reading, node, under, depth)
    elif isinstance(node, (list, tuple)):
        _read_list(reading, node, under, depth)


def _read_list(reading: _Reading, elements: Sequence[object], under: Mention, depth: int) -> None:
    read = cached_reader(under)
    for element in elements:
        if isinstance(element, dict):
            address = address_in(element)
            if address is None:
                _read(reading, element, under, depth + 1)
                if under.said & REFUSED and not any(
                    isinstance(part, (dict, list)) for part in element.values()
                ):
                    reading.distrust("the response reports an error that names no address")
            else:
                reading.mention(address, read(element))
        elif isinstance(element, str):
            _read_text(reading, element, under)
        elif _is_pair(element):
            reading.mention(element[0], read_value(element[1], under))
        else:
            _read(reading, element, under, depth + 1)


def _read_mapping(reading: _Reading, mapping: Mapping[object, object], under: Mention, depth: int) -> None:
    address = address_in(mapping)
    if address is not None and not any(isinstance(value, (list, tuple)) for value in mapping.values()):
        reading.mention(address, read_result(mapping, under))
        return
    itself = _said_of_itself(mapping, under)
    if itself.said & _DOUBT and not under.said & REFUSED:
        reading.distrust(itself.reason)
    under = itself
    for name, value in mapping.items():
        if isinstance(name, str) and "@" in name:
            reading.mention(name, read_value(value, under))
        elif isinstance(name, str):
            _read_member(reading, name, value, under, depth)


def _said_of_itself(mapping: Mapping[object, object], under: Mention) -> Mention:
    """Add to what an object stands under what it says of itself: that it is only accepted, failed, or why."""
    said, why = Said(0), ""
    for name, value in mapping.items():
        found, reason = _said_by(name, value, under) if isinstance(name, str) else (Said(0), "")
        said |= found
        why = why or (reason if found else "")
    return Mention(under.said | said, under.reason or why) if said else under


def _said_by(name: str, value: object, under: Mention) -> tuple[Said, str]:
    if not isinstance(value, (str, int)) and not under.said & REFUSED:
        return Said(0), ""
    plain, said, reason = squash(name), Said(0), ""
    if plain in REASON_NAMES and under.said & REFUSED and texts_of(value):
        mention = read_result({"reason": value}, under)
        return mention.said, mention.reason
    if isinstance(value, bool):
        said, reason = read_flag(name, value=value) or Said(0), f"{name}: {value}"
    elif plain in STATUS_NAMES and isinstance(value, (str, int)):
        reason = word_of(value)
        said = read_status(reason)
    elif isinstance(value, str) and value.strip() and (plain in ERROR_NAMES or _denies(plain, value)):
        said, reason = Said.NO, value
    elif isinstance(value, str) and plain in REASON_NAMES and is_pending(value):
        said, reason = Said.PENDING, value
    if said & (REFUSED | REASONED):
        return Said.UNCLEAR, scrub(f"the response says: {reason}")
    return (Said.PENDING, scrub(reason)) if said & Said.PENDING else (Said(0), "")


def _denies(plain: str, value: str) -> bool:
    return plain in REASON_NAMES and is_denial(value)


def _read_member(reading: _Reading, name: str, value: object, under: Mention, depth: int) -> None:
    """Read what stands under a name that is no address: a list, a count, or nothing of use."""
    if names_a_job(name, value):
        reading.distrust("the response names a job that may not have run")
    elif isinstance(value, (dict, list, tuple)):
        _read(reading, value, _below(reading, name, under, is_empty=not value), depth + 1)
    elif squash(name) in _ABOUT_THE_REQUEST:
        _read_total(reading, name, _figure(value), under)
    elif value is None or value == "" or isinstance(value, bool):
        return
    elif said := read_code(name):
        figure = _figure(value)
        reading.count(name, said, -1 if figure is None else figure)
    elif value:
        reading.note(f"field {name}")


def _read_total(reading: _Reading, name: str, figure: int | None, under: Mention) -> None:
    """Read ``total`` and the like: below the name of an outcome they count it, else they count all addresses."""
    if figure is None:
        return
    if under.said & ~_DOUBT:
        if squash(name) in _COUNT_NAMES:
            reading.count(name, under.said & ~_DOUBT, figure)
    elif squash(name) in _TOTALS and figure != len(reading.sent):
        reading.distrust(f"the response is about {figure} addresses")


def _figure(value: object) -> int | None:
    """Read a count: an integer, or one that is written as a text."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return value if type(value) is int else None


def _below(reading: _Reading, name: str, under: Mention, *, is_empty: bool) -> Mention:
    """Say what a name means for the addresses below it: more, the same, or nothing that is known."""
    refused = under.said & REFUSED
    said = read_reason(name, under.said) if refused else read_code(name)
    if said:
        return Mention(under.said | said, telling(name, said) or under.reason)
    if squash(name) in _CONTAINERS:
        return under
    if not is_empty:
        reading.note(f"field {name}")
    if refused:
        return Mention(under.said | Said.NO, scrub(f"skipped: {name}" if refused & Said.SKIPPED else name))
    return Mention(under.said & _DOUBT | Said.LISTED, scrub(f"listed as {name}"))


def _read_text(reading: _Reading, text: str, under: Mention) -> None:
    """Read a string in a list: an address, or a sentence about one."""
    mention = under if under.said else _NO_STATUS
    key = _key(text)
    if key in reading.sent:
        reading.mention(text, mention)
        return
    named = {_key(found.rstrip(".!?")) for found in _ADDRESS_IN_TEXT.findall(text)}
    if len(named) != 1:
        reading.note("a text that names no address, or several")
        if under.said & REFUSED:
            reading.distrust("the response reports an error that names no address")
    elif key in named:
        reading.mention(text, mention)
    else:
        reading.mention(named.pop(), read_result({"reason": text}, under))


def _is_pair(element: object) -> TypeGuard[Sequence[str]]:
    """Tell ``["a@b.example", "enrolled"]`` from a list of addresses."""
    return (
        isinstance(element, (list, tuple))
        and len(element) == _PAIR
        and all(isinstance(part, str) for part in element)
        and ["@" in part for part in element] == [True, False]
    )


# What is not named.


def _remark(reply: object) -> str:
    """Find what the answer says as a whole."""
    if not isinstance(reply, dict):
        return ""
    return next((scrub(text) for text in map(reply.get, _REMARKS) if isinstance(text, str)), "")


def _rest(reading: _Reading, remark: str) -> Mention:
    """Say of the addresses that are not named what the counts leave for them, or that nothing is said of them."""
    unnamed = len(reading.sent) - len(reading.mentions)
    if unnamed and not reading.strangers and not reading.doubt:
        named = (mention.said for mention in reading.mentions.values())
        left = left_over(reading.counts, named, unnamed)
        if left is not None:
            return Mention(left, "" if left is Said.SKIPPED else "by its count, not by name")
    figures = ", ".join(f"{figure} {in_words(said)}" for said, figure in totals(reading.counts).items())
    reason = "the answer does not mention it"
    if figures:
        reason = (
            f"{reason}; it counts {figures}" if reading.mentions else f"the answer only counts: {figures}"
        )
    remarks = "; ".join(filter(None, (reading.doubt, "" if remark in reading.doubt else remark)))
    return Mention(Said.LISTED, f"{reason} ({remarks})" if remarks else reason)
