"""The preparation of a run: its plan, its ledger and its starting point, before anything is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaAudienceChangedError, MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus, format_counts
from airflow_provider_meisa.bulk.batching import batches
from airflow_provider_meisa.bulk.checkpoint import Checkpoint, seconds_until_resend
from airflow_provider_meisa.bulk.origins import Origins
from airflow_provider_meisa.bulk.preflight import check_before
from airflow_provider_meisa.bulk.reporting import RESPONSE_LOST
from airflow_provider_meisa.bulk.run_ledger import RunLedger

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.job import Exclusion, Job
    from airflow_provider_meisa.bulk.options import RunOptions
    from airflow_provider_meisa.bulk.plan import Plan, PlanStore
    from airflow_provider_meisa.bulk.reporting import RunReporter

log = logging.getLogger("airflow.task.meisa")


class Preparation:
    """Prepares a run; its parameters are those of `BulkRunner`.

    :ivar start: the checkpoint from which the run starts.
    :ivar is_same_plan: whether the plan is that of an earlier attempt.
    :ivar ledger: the ledger of the run, once it is open.
    :ivar report: the facts of the plan for the summary.
    :ivar environment: that of the key with which the plan was made.
    """

    def __init__(
        self,
        client: MeisaClient,
        job: Job,
        options: RunOptions,
        source: Callable[[], Iterable[object]],
        *,
        plans: PlanStore | None,
        start: Checkpoint,
        reporter: RunReporter,
    ) -> None:
        self._client = client
        self._job = job
        self._options = options
        self._source = source
        self._plans = plans
        self._reporter = reporter
        self._is_new_plan = False
        self.start = start
        self.is_same_plan = False
        self.ledger: RunLedger | None = None
        self.report: Mapping[str, Any] = {}
        self.environment = ""

    # The plan.

    @property
    def has_plans(self) -> bool:
        """Whether the plan of the run is stored."""
        return self._plans is not None

    def plan(self) -> Plan | None:
        """Return the plan of an earlier attempt, or read the source once and plan; ``None`` if no plan is stored.

        :raises MeisaInputError: if there are too many addresses, or if an approved plan is missing or is for another
            sequence.
        """
        if self._plans is None:
            return None
        self._open_ledger()
        plan = self._plans.load(self._options.plan or self.start.plan)
        self.is_same_plan = plan is not None and plan.id == self.start.plan
        if self._options.plan and (plan is None or not self._is_for_job(plan)):
            raise MeisaInputError(
                f"The approved plan {self._plans.note} is missing, or it is for another sequence. Nothing was sent. "
                "Clear the preview, and set staging_path to a folder that all workers can reach."
            )
        if plan is not None and self._options.keep and list(self._options.keep) != plan.keep:
            raise MeisaInputError(
                f"The plan {self._plans.note} was made with another keep. Nothing was sent. Set keep as it was then, "
                "or make a new plan: clear the task of the preview, or else remove the plan and clear this task."
            )
        self.check_first()
        self._begin_ledger()
        if plan is None:
            plan = self._new_plan(self._plans)
            if self.ledger is not None and (self.start.next_batch or self.start.resumed):
                self._replace_lost_plan(self.ledger)
        elif self.is_same_plan:
            log.info("Plan of the earlier attempt loaded: %s rows (source not read again)", f"{plan.total:,}")
        try:
            self._options.size.check(plan.total, plan.counts)
        except MeisaInputError:
            if self._is_new_plan:
                self.drop_plan()
            raise
        if self.ledger is not None and self._is_new_plan and not self._options.preview:
            self.ledger.write_recorded()  # after all checks: a source that is refused must not count as accepted
        self._take_up(plan)
        self.start = replace(self.start, plan=plan.id)
        self._reporter.total, self._reporter.requests = plan.total + self.start.outside, plan.requests
        return plan

    def _take_up(self, plan: Plan) -> None:
        self.report, self.environment = plan.facts.report, plan.environment
        self._job.take_up(plan.facts)
        if self.ledger is not None and not self._options.preview:
            self.ledger.keep_facts(plan.facts.keep)

    def _open_ledger(self) -> None:
        """Read the ledger, before it decides what is sent."""
        if self._options.ledger is None or self.ledger is not None:
            return
        is_resumed = bool(self.start.next_batch) or self.start.resumed
        since = self.start.started_at if is_resumed else None
        self.ledger = RunLedger(self._options.ledger, self._job, self._client, since=since)
        if self.ledger.records_first_run and self._options.plan:
            raise MeisaInputError(
                "first_run='record' sends nothing, so no plan can be approved. Nothing was sent. Remove plan, or "
                "set first_run='send'."
            )

    def check_first(self) -> None:
        """Check that nothing stops the run, before the source is read, unless an earlier attempt has sent something."""
        if self._options.check_first and not self.start.next_batch:
            sends = self.ledger is None or not self.ledger.records_first_run
            check_before(self._client, self._job, self._options, self._reporter, sends=sends)

    def _begin_ledger(self) -> None:
        if self.ledger is not None and not self._options.preview:
            self.ledger.begin()

    def exclude(self, exclusion: Exclusion | None) -> Exclusion | None:
        """Return the function that finds items of a plan to leave out, including those that are in the ledger since."""
        ledger = self.ledger
        if ledger is None or exclusion is None:
            return exclusion
        # A new plan was made with the ledger as it is, but a person may be forgotten at any time.
        find = ledger.forgotten if self._is_new_plan else ledger.exclude
        return lambda item: find(item) or exclusion(item)

    def _is_for_job(self, plan: Plan) -> bool:
        return (plan.job, plan.identity) == (self._job.name, self._job.identity)

    def _new_plan(self, plans: PlanStore) -> Plan:
        self._is_new_plan = True
        ledger = self.ledger
        origins = self._origins()
        found = batches(
            self._job,
            self._source(),
            decide=ledger.decide_all if ledger else None,
            lists_all=origins is not None,
            origins=origins,
        )
        key = self._client.key
        plan = plans.write(
            self._job,
            found,
            most=self._options.size.max_contacts,
            environment=key.environment if key else "",
            keep=self._options.keep,
            differences=ledger.differences if ledger else None,
        )
        log.info("Plan written: %s of %s rows to send", f"{plan.to_send:,}", f"{plan.total:,}")
        return plan

    def _origins(self) -> Origins | None:
        """Return what finds the origins of all rows, if an outcomes file or an approved plan needs them."""
        is_needed = self._options.preview or self._options.outcomes_path is not None
        return Origins(self._options.keep) if is_needed else None

    # The batches of the plan.

    def batches(
        self, plan: Plan | None, first: int, exclusion: Exclusion | None, *, is_over: Callable[[], bool]
    ) -> Iterator[Batch]:
        """Read the batches of the plan, or else cut the source into batches.

        :param first: the number of the first batch.
        :param exclusion: see `RunLedger.announced`, as for ``is_over``.
        """
        if plan is None or self._plans is None:
            source = self._source()
            self._reporter.total = len(source) if isinstance(source, Sized) else None
            return batches(self._job, source, origins=self._origins())
        planned = self._plans.batches(plan, first)
        if self.ledger is not None and self._job.repeat == "harmless":
            return self.ledger.announced(planned, exclusion, is_over=is_over)
        return planned

    def pending(self, plan: Plan | None) -> Iterator[Batch]:
        """Read the batches that an earlier attempt has taken but not completed."""
        numbers = self.start.pending
        if plan is None or self._plans is None or not numbers:
            return iter(())
        taken = self._plans.batches(plan, min(numbers), self.start.next_batch)
        return (batch for batch in taken if batch.number in numbers)

    # A plan that is lost, or other addresses than before.

    def lost_plan(self, error: MeisaAudienceChangedError) -> MeisaAudienceChangedError:
        """Return the error of a source with other addresses, with the lost plan if there was one."""
        if self._plans is None:
            return error
        return MeisaAudienceChangedError(
            f"The plan of this run, {self._plans.note}, is lost, and the source no longer gives the addresses that an "
            "earlier attempt began to send. This attempt sent nothing. Pass the same addresses again, or set "
            "on_changed_audience='restart' to send all of them: Meisa skips those already in the sequence. To keep "
            "plans, set staging_path to a folder that all workers can reach. With a ledger, a run continues without "
            "its plan."
        )

    def _replace_lost_plan(self, ledger: RunLedger) -> None:
        """Continue with a new plan: the ledger has the records that earlier attempts have sent."""
        if self.start.has_doubts and self._options.on_ambiguous == "fail":
            raise MeisaInputError(
                "An earlier attempt ended with requests in flight: Meisa may have processed them. With "
                "on_ambiguous='fail' they are not sent again. Set on_ambiguous='resend' and clear the task."
            )
        log.warning(
            "The plan of an earlier attempt is lost: the source was read again, and the run continues"
        )
        gone = ledger.gone()
        if gone:
            log.warning(
                "%s of earlier attempts have left the source: counted, without a line in the outcomes file",
                format_counts({OutcomeStatus(name): number for name, number in gone.items()}),
            )
        self.begin_again(
            counts=gone,
            outside=sum(gone.values()),
            possibly_twice=self.start.possibly_twice,
            possibly_by_this_run=self.start.possibly_by_this_run,
        )

    def begin_again(self, **counted: Any) -> None:
        """Start from the first batch; the counts so far stay in the summary."""
        self._wait_out()
        start = self.start
        self.start = Checkpoint(
            requests=start.requests,
            retries=start.retries,
            rate_limited=start.rate_limited,
            waited=start.waited,
            started_at=start.started_at,
            resumed=True,
            plan=start.plan,
            **counted,
        )
        self._reporter.skip(self.start)

    def _wait_out(self) -> None:
        """Wait until Meisa certainly no longer processes the batches in doubt.

        Some of their addresses are sent again.
        """
        if self.start.has_doubts:
            seconds = seconds_until_resend(self.start, self._client.settings.resend_after)
            log.info("%s: waiting for %.0f s", RESPONSE_LOST, seconds)
            self._client.wait(seconds)
            self._client.check_not_stopped()

    def drop_plan(self) -> None:
        """Remove the plan: if an earlier attempt has sent nothing of it, it may be old."""
        if self._plans:
            self._plans.drop()
