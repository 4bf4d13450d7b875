"""Limits of the size of a source: a lost ``WHERE`` and an empty export are found before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus

_NO_CONTACT = (OutcomeStatus.INVALID, OutcomeStatus.DUPLICATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLimits:
    """How many rows a source may have; ``None`` for no limit.

    :param max_contacts: the most rows.
    :param min_contacts: the fewest contacts: rows that are neither invalid nor duplicates.
    :param max_share_of_last: the most rows, as a share of those of the last run.
    :param last_total: the rows of the last run; ``None`` if it is not known.
    """

    max_contacts: int | None = None
    min_contacts: int | None = None
    max_share_of_last: float | None = None
    last_total: int | None = None

    def check(self, total: int, counts: Mapping[str, int]) -> None:
        """Check the size of a source.

        :param total: the number of its rows.
        :param counts: the number of rows that are not sent, by status.
        :raises MeisaInputError: if it is too large or too small.
        """
        if self.max_contacts is not None and total > self.max_contacts:
            raise too_many(self.max_contacts)
        share, last = self.max_share_of_last, self.last_total
        if share is not None and last and total > share * last:
            raise MeisaInputError(
                f"The source has {total:,} rows, and had {last:,} in the last run: more than "
                f"max_share_of_last={share:g} allows. Nothing was sent. Check the source: has the query lost its "
                "WHERE? If the rows are right, set max_share_of_last=None for this run."
            )
        contacts = total - sum(counts.get(status, 0) for status in _NO_CONTACT)
        if self.min_contacts is not None and contacts < self.min_contacts:
            raise MeisaInputError(
                f"The source has {contacts:,} valid contacts, fewer than min_contacts={self.min_contacts:,}. Nothing "
                "was sent. Check the source: is its last load complete? If the number is right, lower min_contacts."
            )


def too_many(most: int) -> MeisaInputError:
    """Make the error of a source with more rows than ``max_contacts``."""
    return MeisaInputError(
        f"The source has more than max_contacts={most:,} addresses. Nothing was sent. Check the source, or raise "
        "max_contacts."
    )
