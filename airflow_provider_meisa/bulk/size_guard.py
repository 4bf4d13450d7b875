"""Stop a run whose source has too few contacts, or far more rows than the last time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.bulk.batching import Batch

_NOT_CONTACTS = (
    OutcomeStatus.INVALID,
    OutcomeStatus.DUPLICATE,
    OutcomeStatus.SUPPRESSED,
    OutcomeStatus.REFUSED_BEFORE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeGuard:
    """The bounds of a source, checked before anything is sent.

    :param min_contacts: the fewest contacts to send or in step; ``None`` for no bound.
    :param max_share_of_last: the most rows, as a share of `last_total`; ``None`` for no bound.
    :param last_total: the rows of the last run; 0 if it is not known.
    """

    min_contacts: int | None = None
    max_share_of_last: float | None = None
    last_total: int = 0

    def watched(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield batches while a plan is made.

        :raises MeisaInputError: if there are too many rows, or, after the last batch, too few contacts.
        """
        total = others = 0
        for batch in batches:
            aside = sum(outcome.status in _NOT_CONTACTS for outcome in batch.set_aside)
            total += len(batch.items) + len(batch.set_aside) + sum(batch.counted.values())
            others += aside + sum(batch.counted.get(status, 0) for status in _NOT_CONTACTS)
            self._check_share(total)
            yield batch
        self._check_contacts(total - others)

    def check(self, total: int, counts: Mapping[str, int]) -> None:
        """Check a plan that exists.

        :param counts: the number of rows that are not sent, per status.
        :raises MeisaInputError: as in `watched`.
        """
        self._check_share(total)
        self._check_contacts(total - sum(counts.get(status.value, 0) for status in _NOT_CONTACTS))

    def _check_share(self, total: int) -> None:
        share = self.max_share_of_last
        if share is not None and self.last_total and total > share * self.last_total:
            raise MeisaInputError(
                f"The source has more than {share:g} times the {self.last_total:,} rows of the last run "
                "(max_share_of_last). Nothing was sent. Has the query lost its WHERE? If the growth is right, raise "
                "max_share_of_last for this run."
            )

    def _check_contacts(self, contacts: int) -> None:
        if self.min_contacts is not None and contacts < self.min_contacts:
            raise MeisaInputError(
                f"The source has {contacts:,} valid contacts, fewer than min_contacts={self.min_contacts:,}. Nothing "
                "was sent. Check that the source is complete, or lower min_contacts."
            )
