"""The outcome of each address: statuses, counts and the summary."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from airflow_provider_meisa.api.redaction import mask_address, redact_message


class OutcomeStatus(StrEnum):
    """The status of one record. Each record of the input has exactly one."""

    ENROLLED = "enrolled"
    ALREADY_ENROLLED = "already_enrolled"
    SUPPRESSED = "suppressed"
    INVALID = "invalid"
    """Not an address, by this package's syntax check or by Meisa's."""
    DUPLICATE = "duplicate"
    """Appears earlier in the input."""
    ENROLLED_BEFORE = "enrolled_before"
    """Enrolled by an earlier run, according to the ledger; not sent."""
    FAILED = "failed"
    """Refused, with a reason."""
    UNREPORTED = "unreported"
    """Sent, but the response does not confirm it."""
    UNTRIED = "untried"
    """Never sent."""
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    """Accepted by Meisa before, as it is now; not sent."""
    REFUSED_BEFORE = "refused_before"
    """Refused by Meisa in an earlier run, as it is now; not sent."""


ENROLL_STATUSES = (
    OutcomeStatus.ENROLLED,
    OutcomeStatus.ALREADY_ENROLLED,
    OutcomeStatus.SUPPRESSED,
    OutcomeStatus.INVALID,
    OutcomeStatus.DUPLICATE,
    OutcomeStatus.ENROLLED_BEFORE,
    OutcomeStatus.FAILED,
    OutcomeStatus.UNREPORTED,
    OutcomeStatus.UNTRIED,
)
"""The statuses of an enrollment."""


BY_US = "possibly by this run"
"""The reason of an address that an earlier request of the same run may have enrolled."""

TWICE = "possibly twice"
"""The reason of an address that was enrolled by a second request, and perhaps also by the first."""

DOUBTS = (TWICE, BY_US)

_ATTENTION = (OutcomeStatus.FAILED, OutcomeStatus.UNREPORTED, OutcomeStatus.INVALID)
_MOST_ATTENTION = 20
_MOST_REASONS = 200  # one for each record would fill the memory
_REASONS_IN_SUMMARY, _LONGEST_REASON = 10, 80
_ROW = re.compile(r", row [\d,]+$")
_MOST_DOUBTS = 5
_SUMMARY_BYTES = 4000
_ATTENTION_FRAME = 60


class Outcome(NamedTuple):
    """One address and its status.

    :param address: the address, in clear; ``repr`` leaves it out.
    :param status: its status.
    :param reason: why, in a few words; free of addresses and keys.
    """

    address: str
    status: OutcomeStatus
    reason: str = ""

    def __repr__(self) -> str:
        return f"Outcome({self.status.value}, {self.reason!r})"


def possibly_ours(outcome: Outcome) -> Outcome:
    """Mark the outcome of a retried request: an earlier one may have enrolled the address as well."""
    match outcome.status:
        case OutcomeStatus.ENROLLED:
            return outcome._replace(reason=TWICE)
        case OutcomeStatus.ALREADY_ENROLLED:
            return outcome._replace(reason=BY_US)
    return outcome


class OutcomeCounter:
    """Counts outcomes and keeps the first few that need attention.

    Memory does not grow with the number of addresses.

    :param counts: earlier counts.
    :param attention: ``{"address" (masked), "status", "reason"}`` of those kept earlier.
    :param doubts: earlier counts of addresses with each of the reasons `DOUBTS`.
    :param reasons: earlier counts by status and reason, as `frequent_reasons` returns them.
    """

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        attention: Iterable[Mapping[str, str]] = (),
        doubts: Mapping[str, int] | None = None,
        reasons: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self._reasons: Counter[tuple[str, str]] = Counter(
            {(status, reason): n for status, found in (reasons or {}).items() for reason, n in found.items()}
        )
        self.doubts: Counter[str] = Counter(doubts or {})
        self.counts: Counter[OutcomeStatus] = Counter(
            {OutcomeStatus(name): n for name, n in (counts or {}).items()}
        )
        self.attention: list[Mapping[str, str]] = list(attention)

    def add(
        self, outcomes: Iterable[Outcome], counted: Mapping[OutcomeStatus, int] | None = None
    ) -> Counter[OutcomeStatus]:
        """Count outcomes, and return the counts of just these.

        :param counted: the number of more rows, by status, of which there is no outcome.
        """
        outcomes = list(outcomes)
        added = Counter(map(attrgetter("status"), outcomes))
        added.update(counted or {})
        self.counts += added
        found = {outcome.reason for outcome in outcomes}
        if found - {""}:
            self._count_reasons(outcomes)
        if not found.isdisjoint(DOUBTS):
            self._doubt([outcome for outcome in outcomes if outcome.reason in DOUBTS])
        if any(status in added for status in _ATTENTION):
            self._note(outcome for outcome in outcomes if outcome.status in _ATTENTION)
        return added

    def _count_reasons(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.reason:
                key = (outcome.status.value, _ROW.sub("", outcome.reason))
                if key in self._reasons or len(self._reasons) < _MOST_REASONS:
                    self._reasons[key] += 1

    def frequent_reasons(self, most: int, longest: int = 200) -> dict[str, dict[str, int]]:
        """Return the most frequent reasons: ``{status: {reason: count}}``.

        :param most: how many.
        :param longest: the most characters of each.
        """
        found: dict[str, dict[str, int]] = {}
        for (status, reason), number in self._reasons.most_common(most):
            of_status = found.setdefault(status, {})
            of_status[reason[:longest]] = of_status.get(reason[:longest], 0) + number
        return found

    def _doubt(self, outcomes: Sequence[Outcome]) -> None:
        """Count what a resend may have done twice; keep a few per batch, so that failures still fit."""
        shown = sum(entry["reason"] in DOUBTS for entry in self.attention)
        self._note(outcomes[: max(0, _MOST_DOUBTS - shown)])
        self.doubts.update(outcome.reason for outcome in outcomes)

    def _note(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in islice(outcomes, _MOST_ATTENTION - len(self.attention)):
            self.attention.append(
                {
                    "address": mask_address(outcome.address),
                    "status": outcome.status.value,
                    "reason": outcome.reason,
                }
            )

    def __add__(self, other: OutcomeCounter) -> OutcomeCounter:
        """Return the counts of both."""
        both = OutcomeCounter(attention=[*self.attention, *other.attention])
        both.counts = self.counts + other.counts
        both.doubts = self.doubts + other.doubts
        both._reasons = self._reasons + other._reasons
        return both

    @property
    def total(self) -> int:
        """Return how many addresses were counted."""
        return self.counts.total()

    @property
    def wanting_attention(self) -> int:
        """Return how many of them need attention."""
        return sum(self.counts[status] for status in _ATTENTION) + self.doubts.total()


def format_counts(counts: Mapping[OutcomeStatus, int]) -> str:
    """Format counts as text: ``498 enrolled, 2 suppressed``."""
    return (
        ", ".join(f"{counts[status]:,} {status}" for status in OutcomeStatus if counts.get(status)) or "none"
    )


def nothing_valid(invalid: int, total: int) -> bool:
    """Return whether there were rows, but none with a valid address."""
    return total > 0 and invalid == total


def threshold_violations(
    counts: Mapping[OutcomeStatus, int], *, max_failed: float | None, max_invalid: float | None
) -> list[str]:
    """Return the thresholds that a completed run exceeds; empty if it exceeds none.

    :param counts: how many addresses have each status.
    :param max_failed: the most failed and unreported addresses: an ``int`` is a number, a ``float`` a share of all
        addresses, ``None`` no limit.
    :param max_invalid: the most invalid addresses, in the same form.
    """
    total = sum(counts.values())
    bad = counts.get(OutcomeStatus.FAILED, 0) + counts.get(OutcomeStatus.UNREPORTED, 0)
    invalid = counts.get(OutcomeStatus.INVALID, 0)
    found = []
    if _exceeds(bad, max_failed, total):
        found.append(f"{bad:,} failed or unreported (max_failed={max_failed})")
    if _exceeds(invalid, max_invalid, total):
        found.append(f"{invalid:,} invalid (max_invalid={max_invalid})")
    return found


def _exceeds(count: int, limit: float | None, total: int) -> bool:
    if limit is None:
        return False
    if isinstance(limit, int):
        return count > limit
    # Not `limit * total`: 0.29 * 100 is less than 29.
    return count > 0 and count / total > limit


def build_summary(
    counter: OutcomeCounter,
    *,
    job: str,
    identity: Mapping[str, str],
    statuses: Sequence[OutcomeStatus],
    meisa_conn_id: str = "",
    environment: str = "",
    complete: bool,
    stopped_by: str | None = None,
    requests: int,
    retries: int,
    rate_limited: int,
    waited_s: float,
    elapsed_s: float,
    resumed: bool = False,
    outcomes_path: str | None = None,
    ledger: Mapping[str, object] | None = None,
    report: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Build the summary for XCom: plain JSON, under 4 KB, no address in clear.

    :param job: the name of the job.
    :param identity: the target of the job, such as ``{"sequence_slug": …}``.
    :param environment: that of the API key; empty if it is not known.
    :param statuses: the statuses that a record of this job can have.
    :param stopped_by: the message of the error that stopped the run early.
    :param report: what the job knows of the rows beyond their statuses.
    :param ledger: the name of the ledger and the number of its ``entries``, if the run has one.
    :return: ``job``, the identity, ``meisa_conn_id, environment, total, counts{status: n},
        reasons{status: {reason: n}} (the most frequent), possibly_twice, possibly_by_this_run,
        in_doubt, complete, stopped_by, requests, retries, rate_limited, waited_s, elapsed_s, resumed,
        ledger{name, entries},
        outcomes_path, attention[{address (masked), status, reason}], attention_truncated``.
    """
    summary: dict[str, object] = {
        "job": job,
        **identity,
        "meisa_conn_id": meisa_conn_id,
        "environment": environment or None,
        "total": counter.total,
        "counts": {status.value: counter.counts[status] for status in statuses},
        "reasons": counter.frequent_reasons(_REASONS_IN_SUMMARY, _LONGEST_REASON),
        **(report or {}),
        "possibly_twice": counter.doubts[TWICE],
        "possibly_by_this_run": counter.doubts[BY_US],
        "in_doubt": counter.counts[OutcomeStatus.UNREPORTED],
        "complete": complete,
        "stopped_by": None if stopped_by is None else redact_message(stopped_by),
        "requests": requests,
        "retries": retries,
        "rate_limited": rate_limited,
        "waited_s": round(waited_s, 1),
        "elapsed_s": round(elapsed_s, 1),
        "resumed": resumed,
        "ledger": None if ledger is None else dict(ledger),
        "outcomes_path": outcomes_path,
    }
    attention = _shown(counter.attention, _SUMMARY_BYTES - len(json.dumps(summary)) - _ATTENTION_FRAME)
    return {
        **summary,
        "attention": attention,
        "attention_truncated": len(attention) < counter.wanting_attention,
    }


def _shown(entries: Iterable[Mapping[str, str]], room: int) -> list[dict[str, str]]:
    shown = []
    for entry in entries:
        room -= len(json.dumps(dict(entry))) + 2
        if room < 0:
            break
        shown.append(dict(entry))
    return shown
