"""What a run writes, and in which order: the outcomes file first, then the ledger, then the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcomes import OutcomeStatus

if TYPE_CHECKING:
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.api.outcomes import Outcome
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.engine import BulkEngine
    from airflow_provider_meisa.bulk.job import Item, Job
    from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter
    from airflow_provider_meisa.bulk.preparation import Preparation
    from airflow_provider_meisa.bulk.run_ledger import RunLedger

_SAVE_EVERY = 5.0  # seconds; a write takes 14 ms


class Recording:
    """Writes what a run has done and is about to do; its parameters are those of `BulkRunner`.

    :param preparation: has the ledger, if the run has one.
    """

    def __init__(
        self,
        job: Job,
        preparation: Preparation,
        *,
        outcomes: OutcomeWriter,
        save: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._job = job
        self._preparation = preparation
        self._outcomes = outcomes
        self._save = save
        self._saved_at = 0.0

    @property
    def _ledger(self) -> RunLedger | None:
        return self._preparation.ledger

    def begin(self, start: Checkpoint) -> None:
        """Begin the outcomes of a stretch."""
        self._outcomes.begin(start)

    def save(self, now: Checkpoint) -> None:
        """Save a checkpoint at once."""
        self._save(now.as_json())

    def save_if_due(self, now: Checkpoint) -> None:
        """Save a checkpoint: before each request that must not be retried, else every few seconds."""
        if self._job.repeat == "ambiguous" or time.monotonic() - self._saved_at > _SAVE_EVERY:
            self.save(now)
            self._saved_at = time.monotonic()

    def intend(self, items: Sequence[Item]) -> dict[int, Outcome]:
        """Write the intents of a request into the ledger; return the outcomes of items to leave out, by their place."""
        return self._ledger.intend(items) if self._ledger else {}

    def marked(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Mark the outcomes of items that an earlier attempt may have sent as well."""
        return self._ledger.marked(items, outcomes) if self._ledger else outcomes

    def record(self, batch: Batch, everyone: Sequence[Outcome], *, is_out_of_time: bool) -> None:
        """Record the outcomes of a batch.

        :param is_out_of_time: whether items without a request are left to the next run.
        """
        if self._outcomes.write:
            self._outcomes.write(batch, everyone)
        if self._ledger is None:
            return
        outcomes = everyone[len(batch.unsent) :]
        self._ledger.keep(batch.items, outcomes)
        if is_out_of_time:
            pairs = zip(batch.items, outcomes, strict=True)
            self._ledger.postpone(item for item, outcome in pairs if outcome.status is OutcomeStatus.UNTRIED)

    def record_error(
        self, items: Sequence[Item], error: MeisaError, engine: BulkEngine, *, is_decided: bool
    ) -> None:
        """Record that a request failed.

        :param engine: has processed the error.
        :param is_decided: whether Meisa has decided on the items.
        """
        if self._ledger is None:
            return
        if not is_decided or self._job.repeat == "ambiguous":
            self._ledger.refused(items, error)
        elif engine.is_stopped_by_refusals:
            self._ledger.hold_back(items)

    def save_results(self) -> None:
        """Write the results of requests into the ledger, if a part is due."""
        if self._ledger is not None:
            self._ledger.save()

    def pause(self, now: Checkpoint, until: float) -> None:
        """Write everything before a deferral.

        :param until: when the run resumes, in seconds since 1970.
        """
        if self._ledger is not None:
            self._ledger.pause(until)
        self.save(now)

    def finish(self, summary: Mapping[str, Any], *, outside: int) -> None:
        """Complete the outcomes file and the ledger of a run that has ended.

        :param outside: the number of rows that have no line in the outcomes file.
        """
        self._outcomes.finish(summary, outside=outside)
        self.end_ledger()

    def end_ledger(self) -> None:
        """Complete the ledger: sent records must be in it, however the run ends."""
        if self._ledger is not None:
            self._ledger.end()

    def publish(self, now: Checkpoint) -> None:
        """Leave the outcomes file without its parts, because no retry follows. A cleared task resumes from the file.

        The lines of split batches have their places in the names of the parts only, so that these are kept.
        """
        if not now.pieces and not now.complete and (digest := self._outcomes.publish()):
            self.save(replace(now, outcomes=digest))
            self._outcomes.discard_parts()

    def discard_parts(self) -> None:
        """Remove the parts of the outcomes file that only a later attempt would need."""
        self._outcomes.discard_parts()
