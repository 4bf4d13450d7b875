"""What counts alone say of addresses that a bulk response does not name.

A count names nobody, so it settles something only where it leaves no choice: of all counts exactly one has
something left over beyond the addresses that are named, that is exactly the number of the unnamed, and nothing
contradicts another.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.status_words import HAPPY, REASONED, StatusFlag, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Which named addresses a count may include: a count of the skipped those that were skipped for a reason, too.
_INCLUDES = {
    StatusFlag.ALREADY: StatusFlag.ALREADY | StatusFlag.SKIPPED,
    StatusFlag.SKIPPED: StatusFlag.SKIPPED | REASONED,
    StatusFlag.SUPPRESSED: StatusFlag.SUPPRESSED | StatusFlag.SKIPPED,
    StatusFlag.INVALID: StatusFlag.INVALID,
    StatusFlag.NO: StatusFlag.NO | StatusFlag.INVALID,
}

Counts = dict[StatusFlag, set[tuple[str, int]]]
"""Named figures by what they count; the same figure found twice under one name is one."""


def left_over(counts: Counts, named: Iterable[StatusFlag], unnamed: int) -> StatusFlag | None:
    """Say what the counts leave for all unnamed addresses; ``None`` where they leave a choice.

    :param counts: the figures of the response.
    :param named: what is said of each address that the response names.
    :param unnamed: how many addresses of the request it does not name.
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
    """Add up what several names count, such as *bounced* and *unsubscribed*, in the order of happiness.

    Two names for the enrolled count the same addresses, so they are not added.
    """
    return {
        flag: (max if flag & HAPPY else sum)(figure for _, figure in found)
        for flag, found in sorted(counts.items())
    }


def _agree(counts: Counts) -> bool:
    """Tell whether all figures of the enrolled are one."""
    return all(len({figure for _, figure in counts.get(flag, ())}) <= 1 for flag in HAPPY)


def _without_sums(figures: Mapping[StatusFlag, int]) -> dict[StatusFlag, int]:
    """Leave out figures that only sum up others: *success* beside *enrolled*, *skipped* beside its reasons.

    Those of the contacts that were created, too: they are among the enrolled, or are not enrolled.
    """
    reasoned = [figure for flag, figure in figures.items() if flag & REASONED]
    sums = {StatusFlag.CONTACT}
    if StatusFlag.ENROLLED in figures:
        sums.add(StatusFlag.YES)
    if reasoned and sum(reasoned) == figures.get(StatusFlag.SKIPPED):
        sums.add(StatusFlag.SKIPPED)
    return {flag: figure for flag, figure in figures.items() if flag not in sums}


def _named_as(flag: StatusFlag, by_flag: Mapping[StatusFlag, int]) -> tuple[int, int]:
    """Count the named addresses that a figure must include, and those that it may."""
    if flag & HAPPY:
        happy = sum(number for one, number in by_flag.items() if resolve(one) & HAPPY)
        return happy, happy
    fewest = sum(number for one, number in by_flag.items() if resolve(one) is flag)
    most = sum(
        number for one, number in by_flag.items() if one & _INCLUDES[flag] and not resolve(one) & HAPPY
    )
    return fewest, most
