"""Apply the counts of a bulk response to addresses that it does not name.

Counts decide the status of the unnamed addresses only if the result is certain: exactly one count is larger than
the number of named addresses, the difference is exactly the number of unnamed addresses, and no counts contradict.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.status_words import HAPPY, REASONED, StatusFlag, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Which named addresses a count may include: *skipped* may include those skipped for a reason.
_INCLUDES = {
    StatusFlag.ALREADY: StatusFlag.ALREADY | StatusFlag.SKIPPED,
    StatusFlag.SKIPPED: StatusFlag.SKIPPED | REASONED,
    StatusFlag.SUPPRESSED: StatusFlag.SUPPRESSED | StatusFlag.SKIPPED,
    StatusFlag.INVALID: StatusFlag.INVALID,
    StatusFlag.NO: StatusFlag.NO | StatusFlag.INVALID,
}

Counts = dict[StatusFlag, set[tuple[str, int]]]
"""The counts by name, for each flag; the same count twice under one name is one."""


def left_over(counts: Counts, named: Iterable[StatusFlag], unnamed: int) -> StatusFlag | None:
    """Return the flag of all unnamed addresses by the counts; ``None`` if it is not certain.

    :param counts: the counts of the response.
    :param named: the flag of each address that the response names.
    :param unnamed: how many addresses of the request the response does not name.
    """
    figures = _without_sums(totals(counts))
    by_flag = Counter(named)
    if not _agree(counts) or sum(figures.values()) > unnamed + sum(by_flag.values()):
        return None
    left = {}
    for flag, figure in figures.items():
        fewest, most = _named_as(flag, by_flag)
        if figure < fewest:
            return None
        if figure > most:
            left[flag] = figure - most
    return next(iter(left)) if list(left.values()) == [unnamed] else None


def totals(counts: Counts) -> dict[StatusFlag, int]:
    """Add the counts of several names, such as *bounced* and *unsubscribed*, ordered from good to bad.

    Two names for *enrolled* count the same addresses, so they are not added.
    """
    return {
        flag: (max if flag & HAPPY else sum)(figure for _, figure in found)
        for flag, found in sorted(counts.items())
    }


def _agree(counts: Counts) -> bool:
    """Return whether no two counts of one success flag differ."""
    return all(len({figure for _, figure in counts.get(flag, ())}) <= 1 for flag in HAPPY)


def _without_sums(figures: Mapping[StatusFlag, int]) -> dict[StatusFlag, int]:
    """Leave out counts that only add up others: *success* with *enrolled*, *skipped* with its reasons.

    The count of created contacts is left out as well: it proves no enrollment.
    """
    reasoned = [figure for flag, figure in figures.items() if flag & REASONED]
    sums = {StatusFlag.CONTACT}
    if StatusFlag.ENROLLED in figures:
        sums.add(StatusFlag.YES)
    if reasoned and sum(reasoned) == figures.get(StatusFlag.SKIPPED):
        sums.add(StatusFlag.SKIPPED)
    return {flag: figure for flag, figure in figures.items() if flag not in sums}


def _named_as(flag: StatusFlag, by_flag: Mapping[StatusFlag, int]) -> tuple[int, int]:
    """Count the named addresses that a count must include, and those that it may include."""
    if flag & HAPPY:
        happy = sum(number for one, number in by_flag.items() if resolve(one) & HAPPY)
        return happy, happy
    fewest = sum(number for one, number in by_flag.items() if resolve(one) is flag)
    most = sum(
        number for one, number in by_flag.items() if one & _INCLUDES[flag] and not resolve(one) & HAPPY
    )
    return fewest, most
