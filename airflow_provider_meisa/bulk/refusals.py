"""The refusals of a run: which items of a batch are bad, and how many refusals stop the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaBackOffError, MeisaServerError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.job import BadItems

if TYPE_CHECKING:
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.job import Item, Job

MOST_REFUSALS = 20
"""The number of refusals in a row, with nothing accepted in between, that stops a run."""

MOST_SERVER_ERRORS = 5
"""The number of requests in a row that meet a 5xx, after all their retries, that stops a run."""

_MOST_RATE_LIMITED = 20
# For one batch: how often it is sent again without items that a response has named, and how many bad items are
# searched for in halves. After that, refused items fail.
_MOST_NAMED = 3
_MOST_FOUND = 3


@dataclass(frozen=True, slots=True)
class Pieces:
    """Send these pieces in place of a batch."""

    pieces: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class StopRun:
    """Send nothing more: too many refusals in a row."""


@dataclass(slots=True)
class _Search:
    """The progress of the search for bad items in one batch.

    :param named: how often it was sent again without the items that a response had named.
    :param found: how many bad items were found in halves.
    """

    named: int = 0
    found: int = 0


class Refusals:
    """Decides what a refusal means.

    :param is_expected: see `BulkEngine`.
    """

    def __init__(self, job: Job, is_expected: Callable[[Item], bool] | None) -> None:
        self._job = job
        self._is_expected = is_expected
        self._searches: dict[int, _Search] = {}
        self._has_accepted = False
        self._rate_limited = 0
        self._in_a_row = 0
        self._server_errors = 0

    @property
    def are_too_many(self) -> bool:
        """Whether so many refusals in a row have ended the run."""
        return self._in_a_row >= MOST_REFUSALS

    def on_acceptance(self) -> None:
        """Count from here on: Meisa has accepted a batch."""
        self._has_accepted = True
        self._rate_limited = self._in_a_row = self._server_errors = 0

    def is_back_off(self, error: MeisaError) -> bool:
        """Return whether a batch waits after a 429 or a 503, unless there were too many in a row."""
        if isinstance(error, MeisaBackOffError) and self._rate_limited < _MOST_RATE_LIMITED:
            self._rate_limited += 1
            return True
        return False

    def may_concern_one_batch(self, error: MeisaError) -> bool:
        """Return whether a 5xx may come from the records of a batch, so that the others are sent.

        Only where a retry is harmless. After too many in a row, Meisa is down.
        """
        if self._job.repeat == "ambiguous" or not isinstance(error, MeisaServerError):
            return False
        self._server_errors += 1
        return self._server_errors < MOST_SERVER_ERRORS

    def decide(
        self, batch: Batch, error: MeisaError, found: Sequence[Outcome] | BadItems
    ) -> Sequence[Outcome] | Pieces | StopRun:
        """Return the outcomes of all items of a refused batch, or what is to be done instead."""
        is_expected = self._has_accepted and self._is_expected and all(map(self._is_expected, batch.items))
        self._in_a_row += not is_expected
        self._server_errors = 0
        if self.are_too_many:
            return StopRun()
        return self._separate(batch, error, found) if isinstance(found, BadItems) else found

    def _separate(self, batch: Batch, error: MeisaError, found: BadItems) -> Sequence[Outcome] | Pieces:
        """Separate the bad items of a batch from the others, which are sent again."""
        search = self._searches.setdefault(batch.number, _Search())
        if found.outcomes and search.named < _MOST_NAMED:
            search.named += 1
            return Pieces((batch.leave_out(found.outcomes),))
        if found.alone is not None:
            search.found += 1
            return [found.alone]
        if search.found < _MOST_FOUND and len(batch.items) > 1:
            return Pieces(batch.halves())
        reason = f"refused together with others, {search.found} of them bad: {error}"
        addresses = map(self._job.address, batch.items)
        return [Outcome(address, OutcomeStatus.FAILED, reason) for address in addresses]

    def forget(self, number: int) -> None:
        """Forget the search in a batch that is complete."""
        self._searches.pop(number, None)
