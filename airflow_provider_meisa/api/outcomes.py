"""What became of each address: statuses, and their account."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from airflow_provider_meisa.api.redaction import mask_address


class OutcomeStatus(StrEnum):
    """What became of one address. Every address of the input has exactly one."""

    ENROLLED = "enrolled"
    ALREADY_ENROLLED = "already_enrolled"
    SUPPRESSED = "suppressed"
    INVALID = "invalid"
    """Not an address, by our own syntax check or by Meisa's."""
    DUPLICATE = "duplicate"
    """Stood in the input before."""
    ENROLLED_BEFORE = "enrolled_before"
    """Enrolled by an earlier run, by the ledger; not sent."""
    FAILED = "failed"
    """Refused, with a reason."""
    UNREPORTED = "unreported"
    """Sent, but the response does not vouch for it."""
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
"""What can become of an address that is to be enrolled."""


BY_US = "possibly by this run"
"""The reason of an address that may be enrolled already because an earlier try of ours enrolled it."""

TWICE = "possibly twice"
"""The reason of an address that was enrolled by a request that was sent again: the first may have enrolled it, too."""

DOUBTS = (TWICE, BY_US)

_ATTENTION = (OutcomeStatus.FAILED, OutcomeStatus.UNREPORTED, OutcomeStatus.INVALID)
_MOST_ATTENTION = 20
_MOST_DOUBTS = 5
_SUMMARY_BYTES = 4000
_ATTENTION_FRAME = 60


class Outcome(NamedTuple):
    """One address and what became of it.

    :param address: the address, in clear; ``repr`` leaves it out.
    :param status: what became of it.
    :param reason: why, in a few words; free of addresses and keys.
    """

    address: str
    status: OutcomeStatus
    reason: str = ""

    def __repr__(self) -> str:
        return f"Outcome({self.status.value}, {self.reason!r})"


def possibly_ours(outcome: Outcome) -> Outcome:
    """Mark an outcome of a request that was sent again: an earlier one may have enrolled the address, too."""
    match outcome.status:
        case OutcomeStatus.ENROLLED:
            return outcome._replace(reason=TWICE)
        case OutcomeStatus.ALREADY_ENROLLED:
            return outcome._replace(reason=BY_US)
    return outcome


class OutcomeCounter:
    """Counts outcomes as they come and keeps the first few that need a person's attention.

    Memory does not grow with the number of addresses.

    :param counts: what was counted before.
    :param attention: ``{"address" (masked), "status", "reason"}`` of those kept before.
    :param doubts: how many addresses have each of the reasons `DOUBTS`, counted before.
    """

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        attention: Iterable[Mapping[str, str]] = (),
        doubts: Mapping[str, int] | None = None,
    ) -> None:
        self.doubts: Counter[str] = Counter(doubts or {})
        self.counts: Counter[OutcomeStatus] = Counter(
            {OutcomeStatus(name): n for name, n in (counts or {}).items()}
        )
        self.attention: list[Mapping[str, str]] = list(attention)

    def add(self, outcomes: Iterable[Outcome]) -> Counter[OutcomeStatus]:
        """Count outcomes, and return the counts of just these."""
        outcomes = list(outcomes)
        added = Counter(map(attrgetter("status"), outcomes))
        self.counts += added
        if not {outcome.reason for outcome in outcomes}.isdisjoint(DOUBTS):
            self._doubt([outcome for outcome in outcomes if outcome.reason in DOUBTS])
        if any(status in added for status in _ATTENTION):
            self._note(outcome for outcome in outcomes if outcome.status in _ATTENTION)
        return added

    def _doubt(self, outcomes: Sequence[Outcome]) -> None:
        """Count what a resend may have done twice; a few of a batch show it, and leave room for failures."""
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
        """Return the account of both."""
        both = OutcomeCounter(attention=[*self.attention, *other.attention])
        both.counts = self.counts + other.counts
        both.doubts = self.doubts + other.doubts
        return both

    @property
    def total(self) -> int:
        """How many addresses were counted."""
        return self.counts.total()

    @property
    def wanting_attention(self) -> int:
        """How many of them need a person's attention."""
        return sum(self.counts[status] for status in _ATTENTION) + self.doubts.total()


def format_counts(counts: Mapping[OutcomeStatus, int]) -> str:
    """Put counts into words: ``498 enrolled, 2 suppressed``."""
    return (
        ", ".join(f"{counts[status]:,} {status}" for status in OutcomeStatus if counts.get(status)) or "none"
    )


def nothing_valid(invalid: int, total: int) -> bool:
    """Return whether there were rows, and not one valid address among them."""
    return total > 0 and invalid == total


def threshold_violations(
    counts: Mapping[OutcomeStatus, int], *, max_failed: float | None, max_invalid: float | None
) -> list[str]:
    """Return what makes a run that was carried out a failure all the same; empty if nothing does.

    :param counts: how many addresses have each status.
    :param max_failed: most failed and unreported addresses; an ``int`` is a number, a ``float`` a share of all
        addresses, ``None`` no limit.
    :param max_invalid: most invalid addresses, likewise.
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
    complete: bool,
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
    """Make the account that goes to XCom: plain JSON, under 4 KB, no address in clear.

    :param job: the name of the job.
    :param identity: what the job was for, such as ``{"sequence_slug": …}``.
    :param statuses: what can become of a row of this job.
    :param report: what the job knows of the rows beyond their statuses.
    :param ledger: the name of the ledger and the number of its ``entries``, if the run has one.
    :return: ``job``, the identity, ``meisa_conn_id, total, counts{status: n}, possibly_twice, possibly_by_this_run,
        in_doubt, complete, requests, retries, rate_limited, waited_s, elapsed_s, resumed, ledger{name, entries},
        outcomes_path, attention[{address (masked), status, reason}], attention_truncated``.
    """
    summary: dict[str, object] = {
        "job": job,
        **identity,
        "meisa_conn_id": meisa_conn_id,
        "total": counter.total,
        "counts": {status.value: counter.counts[status] for status in statuses},
        **(report or {}),
        "possibly_twice": counter.doubts[TWICE],
        "possibly_by_this_run": counter.doubts[BY_US],
        "in_doubt": counter.counts[OutcomeStatus.UNREPORTED],
        "complete": complete,
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
