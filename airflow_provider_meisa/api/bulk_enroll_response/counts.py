"""What counts alone say of addresses that a bulk answer does not name.

A count names nobody, so it settles something only where it leaves no choice: of all counts exactly one has
something left over beyond the addresses that are named, that is exactly the number of the unnamed, and nothing
contradicts another.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.outcome_words import HAPPY, REASONED, Said, settle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Which named addresses a count may include: a count of the skipped those that were skipped for a reason, too.
_INCLUDES = {
    Said.ALREADY: Said.ALREADY | Said.SKIPPED,
    Said.SKIPPED: Said.SKIPPED | REASONED,
    Said.SUPPRESSED: Said.SUPPRESSED | Said.SKIPPED,
    Said.INVALID: Said.INVALID,
    Said.NO: Said.NO | Said.INVALID,
}

Counts = dict[Said, set[tuple[str, int]]]
"""Named figures by what they count; the same figure found twice under one name is one."""


def left_over(counts: Counts, named: Iterable[Said], unnamed: int) -> Said | None:
    """Say what the counts leave for all unnamed addresses; ``None`` where they leave a choice.

    :param counts: the figures of the answer.
    :param named: what is said of each address that the answer names.
    :param unnamed: how many addresses of the request it does not name.
    """
    figures = _without_sums(totals(counts))
    by_said = Counter(named)
    if not _agree(counts) or sum(figures.values()) > unnamed + sum(by_said.values()):
        return None
    left = {}
    for said, figure in figures.items():
        fewest, most = _named_as(said, by_said)
        if figure < fewest:
            return None
        if figure > most:
            left[said] = figure - most
    return next(iter(left)) if list(left.values()) == [unnamed] else None


def totals(counts: Counts) -> dict[Said, int]:
    """Add up what several names count, such as *bounced* and *unsubscribed*, in the order of happiness.

    Two names for the enrolled count the same addresses, so they are not added.
    """
    return {
        said: (max if said & HAPPY else sum)(figure for _, figure in found)
        for said, found in sorted(counts.items())
    }


def _agree(counts: Counts) -> bool:
    """Tell whether all figures of the enrolled are one."""
    return all(len({figure for _, figure in counts.get(said, ())}) <= 1 for said in HAPPY)


def _without_sums(figures: Mapping[Said, int]) -> dict[Said, int]:
    """Leave out figures that only sum up others: *success* beside *enrolled*, *skipped* beside its reasons.

    Those of the contacts that were created, too: they are among the enrolled, or are not enrolled.
    """
    reasoned = [figure for said, figure in figures.items() if said & REASONED]
    sums = {Said.CONTACT}
    if Said.ENROLLED in figures:
        sums.add(Said.YES)
    if reasoned and sum(reasoned) == figures.get(Said.SKIPPED):
        sums.add(Said.SKIPPED)
    return {said: figure for said, figure in figures.items() if said not in sums}


def _named_as(said: Said, by_said: Mapping[Said, int]) -> tuple[int, int]:
    """Count the named addresses that a figure must include, and those that it may."""
    if said & HAPPY:
        happy = sum(number for one, number in by_said.items() if settle(one) & HAPPY)
        return happy, happy
    fewest = sum(number for one, number in by_said.items() if settle(one) is said)
    most = sum(number for one, number in by_said.items() if one & _INCLUDES[said] and not settle(one) & HAPPY)
    return fewest, most
