"""One run of a bulk task in one process: from a start, a retry or a deferral to the next deferral, or to the end.

From top to bottom: prepare, then run (reserve, write the intent, send from threads, collect, record, write the
checkpoint) until the run is finished or a wait is due, then finish and clean up.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_meisa.api.errors import MeisaAudienceChangedError, MeisaError, MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeCounter, OutcomeStatus, build_summary, format_counts
from airflow_provider_meisa.api.rate_limit.limiter import Reservation, Wait
from airflow_provider_meisa.bulk.batching import batches
from airflow_provider_meisa.bulk.checkpoint import Checkpoint, seconds_until_resend
from airflow_provider_meisa.bulk.engine import AwaitResponse, BulkEngine, Finished, SendBatch
from airflow_provider_meisa.bulk.origins import Origins
from airflow_provider_meisa.bulk.plan import Plan, PlanStore
from airflow_provider_meisa.bulk.preflight import check_before, report_plan
from airflow_provider_meisa.bulk.reporting import RESPONSE_LOST, numbered, reason_to_wait
from airflow_provider_meisa.bulk.run_ledger import RunLedger, summary_of_ended_run

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.outcomes import Outcome
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.job import Exclusion, Item, Job
    from airflow_provider_meisa.bulk.options import RunOptions
    from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter
    from airflow_provider_meisa.bulk.reporting import RunReporter

log = logging.getLogger("airflow.task.meisa")

_SAVE_EVERY = 5.0  # seconds; a write takes 14 ms
_SHORT = 5.0  # seconds; a shorter wait gets no log line
# The checks before a batch use requests as well. After a stretch that could send nothing else, the next one may be
# the same: after this many, the run waits in its worker until it has sent a batch.
_MOST_STALLED = 2


class BulkRunner:
    """Runs a job until it is complete, or until a wait is too long for a worker.

    Use it as a context manager, so that an error is reported as well.

    :param client: the client of the connection; its ``max_wait`` is set here.
    :param job: the job.
    :param source: returns the rows, in the same order at each call; they may not fit into memory.
    :param plans: the store of the plan. Without one, each attempt reads the source again.
    :param start: the checkpoint of the run.
    :param save: saves a checkpoint. If it fails, nothing more is sent: another process may have taken over.
    :param outcomes: writes the outcome of each row.
    :param reporter: reports the progress of the run.
    :ivar start: the checkpoint, without batches that a restart has dropped.
    """

    def __init__(
        self,
        client: MeisaClient,
        job: Job,
        options: RunOptions,
        source: Callable[[], Iterable[object]],
        *,
        plans: PlanStore | None = None,
        start: Checkpoint,
        save: Callable[[Mapping[str, Any]], None],
        outcomes: OutcomeWriter,
        reporter: RunReporter,
    ) -> None:
        self.client = client
        self.job = job
        self.options = options
        self.start = start
        self._source = source
        self._plans = plans
        self._is_same_plan = self._is_new_plan = False
        self._save = save
        self._outcomes = outcomes
        self._reporter = reporter
        self._engine: BulkEngine | None = None
        self._exclusion: Exclusion | None = None
        self._ledger: RunLedger | None = None
        self._report: Mapping[str, Any] = {}
        self._environment = ""
        self._saved_at = 0.0
        self._is_reported = not options.check_first
        self._in_flight: dict[Future[Sequence[Outcome]], SendBatch] = {}
        # Responses to batches, except 429 and 503, which do not advance the run.
        self.has_responses = False
        client.max_wait = math.inf if start.stalled >= _MOST_STALLED else options.longest_wait

    def __enter__(self) -> Self:
        self._reporter.begin(self.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._reporter.stop(self._work())
        if isinstance(error, MeisaError) and self._is_plan_unused:
            with suppress(MeisaError):
                self.drop_plan()
        if self._ledger is not None and not self.options.preview:
            # Sent records must be in the ledger, however the run ends.
            with suppress(MeisaError) if kind is not None else nullcontext():
                self._ledger.end()

    @property
    def _is_plan_unused(self) -> bool:
        """Whether no batch was taken from the run's own plan, so that the next attempt makes a new one."""
        taken = self._engine.checkpoint().next_batch if self._engine else self.start.next_batch
        return not taken and not self.options.plan

    # Prepare.

    def prepare(self) -> None:
        """Make a plan, or load that of an earlier attempt. Nothing is sent.

        :raises MeisaAudienceChangedError: if the plan is lost, the source has other addresses, and
            ``on_changed_audience`` is ``fail``.
        :raises MeisaError: if the suppressed addresses or the source cannot be read.
        """
        # This comes first: an unreadable source leaves no part of a file.
        plan = self.plan()
        self._outcomes.begin(self.start)
        self._exclusion = self._exclude(self.job.exclusion(self.client))
        try:
            self._engine = self._caught_up(plan)
        except MeisaAudienceChangedError as error:
            if self.options.on_changed_audience != "restart":
                raise self._lost(error) from error
            log.warning(
                "The addresses differ from those of the earlier attempt: sending all of them from the start."
            )
            self._restart()
            self._check_first()
            self._engine = self._caught_up(plan)

    def plan(self) -> Plan | None:
        """Return the plan of an earlier attempt, or read the source once and plan; ``None`` if no plan is stored.

        :raises MeisaInputError: if there are too many addresses, or if an approved plan is missing or is for another
            sequence.
        """
        if self._plans is None:
            return None
        self._open_ledger()
        plan = self._plans.load(self.options.plan or self.start.plan)
        self._is_same_plan = plan is not None and plan.id == self.start.plan
        if self.options.plan and (plan is None or not self._is_for_job(plan)):
            raise MeisaInputError(
                f"The approved plan {self._plans.note} is missing, or it is for another sequence. Nothing was sent. "
                "Clear the preview, and set staging_path to a folder that all workers can reach."
            )
        if plan is not None and self.options.keep and list(self.options.keep) != plan.keep:
            raise MeisaInputError(
                f"The plan {self._plans.note} was made with another keep. Nothing was sent. Set keep as it was then, "
                "or make a new plan: clear the task of the preview, or else remove the plan and clear this task."
            )
        self._check_first()
        self._begin_ledger()
        if plan is None:
            plan = self._new_plan(self._plans)
            if self._ledger is not None and (self.start.next_batch or self.start.resumed):
                self._replace_lost_plan(self._ledger)
        elif self._is_same_plan:
            log.info("Plan of the earlier attempt loaded: %s rows (source not read again)", f"{plan.total:,}")
        try:
            self.options.size.check(plan.total, plan.counts)
        except MeisaInputError:
            if self._is_new_plan:
                self.drop_plan()
            raise
        if self._ledger is not None and self._is_new_plan and not self.options.preview:
            self._ledger.write_recorded()  # after all checks: a source that is refused must not count as accepted
        self._take_up(plan)
        self.start = replace(self.start, plan=plan.id)
        self._reporter.total, self._reporter.requests = plan.total + self.start.outside, plan.requests
        return plan

    def _take_up(self, plan: Plan) -> None:
        self._report, self._environment = plan.facts.report, plan.environment
        self.job.take_up(plan.facts)
        if self._ledger is not None and not self.options.preview:
            self._ledger.keep_facts(plan.facts.keep)

    def _open_ledger(self) -> None:
        """Read the ledger, before it decides what is sent."""
        if self.options.ledger is None or self._ledger is not None:
            return
        is_resumed = bool(self.start.next_batch) or self.start.resumed
        since = self.start.started_at if is_resumed else None
        self._ledger = RunLedger(self.options.ledger, self.job, self.client, since=since)
        if self._ledger.records_first_run and self.options.plan:
            raise MeisaInputError(
                "first_run='record' sends nothing, so there is no plan to approve. Nothing was sent. Remove plan, or "
                "set first_run='send'."
            )

    def _check_first(self) -> None:
        """Check that nothing stops the run, before the source is read, unless an earlier attempt has sent something."""
        if self.options.check_first and not self.start.next_batch:
            sends = self._ledger is None or not self._ledger.records_first_run
            check_before(self.client, self.job, self.options, self._reporter, sends=sends)

    def _begin_ledger(self) -> None:
        if self._ledger is not None and not self.options.preview:
            self._ledger.begin()

    def _exclude(self, exclusion: Exclusion | None) -> Exclusion | None:
        """Return the function that finds items of a plan to leave out, including those that are in the ledger since."""
        ledger = self._ledger
        if ledger is None or exclusion is None:
            return exclusion
        # A new plan was made with the ledger as it is, but a person may be forgotten at any time.
        find = ledger.forgotten if self._is_new_plan else ledger.exclude
        return lambda item: find(item) or exclusion(item)

    def _is_for_job(self, plan: Plan) -> bool:
        return (plan.job, plan.identity) == (self.job.name, self.job.identity)

    def _new_plan(self, plans: PlanStore) -> Plan:
        self._is_new_plan = True
        ledger = self._ledger
        origins = self._origins()
        found = batches(
            self.job,
            self._source(),
            decide=ledger.decide_all if ledger else None,
            lists_all=origins is not None,
            origins=origins,
        )
        key = self.client.key
        plan = plans.write(
            self.job,
            found,
            most=self.options.size.max_contacts,
            environment=key.environment if key else "",
            keep=self.options.keep,
            differences=ledger.differences if ledger else None,
        )
        log.info("Plan written: %s of %s rows to send", f"{plan.to_send:,}", f"{plan.total:,}")
        return plan

    def _origins(self) -> Origins | None:
        """Return what finds the origins of all rows, if an outcomes file or an approved plan needs them."""
        is_needed = self.options.preview or self.options.outcomes_path is not None
        return Origins(self.options.keep) if is_needed else None

    def _caught_up(self, plan: Plan | None) -> BulkEngine:
        start = self.start
        self._is_reported = not self.options.check_first or bool(start.next_batch)
        is_same = plan is not None and self._is_same_plan and bool(start.next_batch)
        engine = BulkEngine(
            self.job,
            self._batches(plan, first=start.next_batch if is_same else 0),
            self._reserve,
            checkpoint=start,
            record=self._record,
            max_in_flight=self.options.max_in_flight,
            resend=self.options.on_ambiguous == "resend",
            resend_after=self.client.settings.resend_after,
            exclusion=self._exclusion,
            stop_at=start.started_at + self.options.stop_after,
            is_expected=self._ledger.was_held_back if self._ledger else None,
        )
        engine.catch_up(self._pending(plan) if is_same else None)
        if engine.in_doubt:
            log.warning(
                "In doubt from an earlier attempt: %s. Meisa may have processed them; they are sent again",
                numbered(engine.in_doubt),
            )
        return engine

    def _batches(self, plan: Plan | None, first: int) -> Iterator[Batch]:
        if plan is None or self._plans is None:
            source = self._source()
            self._reporter.total = len(source) if isinstance(source, Sized) else None
            return batches(self.job, source, origins=self._origins())
        planned = self._plans.batches(plan, first)
        if self._ledger is not None and self.job.repeat == "harmless":
            return self._ledger.announced(planned, self._exclusion, is_over=self._is_over)
        return planned

    def _is_over(self) -> bool:
        return self._engine is not None and self._engine.is_stopped

    def _record(self, batch: Batch, everyone: Sequence[Outcome]) -> None:
        """Record a batch: first in the outcomes file, then in the ledger."""
        if self._outcomes.write:
            self._outcomes.write(batch, everyone)
        if self._ledger is not None:
            outcomes = everyone[len(batch.unsent) :]
            self._ledger.keep(batch.items, outcomes)
            if self._is_out_of_time:
                self._ledger.postpone(
                    item
                    for item, outcome in zip(batch.items, outcomes, strict=True)
                    if outcome.status is OutcomeStatus.UNTRIED
                )

    @property
    def _is_out_of_time(self) -> bool:
        return self._engine is not None and self._engine.is_out_of_time

    def _pending(self, plan: Plan | None) -> Iterator[Batch]:
        """Read the batches that an earlier attempt has taken but not completed."""
        numbers = self.start.pending
        if plan is None or self._plans is None or not numbers:
            return iter(())
        taken = self._plans.batches(plan, min(numbers), self.start.next_batch)
        return (batch for batch in taken if batch.number in numbers)

    def _lost(self, error: MeisaAudienceChangedError) -> MeisaAudienceChangedError:
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
        if self.start.has_doubts and self.options.on_ambiguous == "fail":
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
                "%s of earlier attempts are no longer in the source: counted, without a line in the outcomes file",
                format_counts({OutcomeStatus(name): number for name, number in gone.items()}),
            )
        self._begin_again(
            counts=gone,
            outside=sum(gone.values()),
            possibly_twice=self.start.possibly_twice,
            possibly_by_this_run=self.start.possibly_by_this_run,
        )

    def _restart(self) -> None:
        """Start from the first address."""
        self._begin_again()
        self._outcomes.begin(self.start)

    def _begin_again(self, **counted: Any) -> None:
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
            seconds = seconds_until_resend(self.start, self.client.settings.resend_after)
            log.info("%s: waiting for %.0f s", RESPONSE_LOST, seconds)
            self.client.wait(seconds)
            self.client.check_not_stopped()

    # Run.

    def run(self) -> Finished | Wait:
        """Send until the run is complete, or a wait is longer than the client's ``max_wait``.

        Then nothing is in flight. After an error, too, the responses to the requests in flight are recorded.

        :raises MeisaStoppedError: if the client was stopped.
        :raises MeisaError: if the first request cannot be reserved, or outcomes cannot be recorded.
        """
        pool = ThreadPoolExecutor(self.options.max_in_flight, thread_name_prefix="meisa")
        try:
            while not isinstance(step := self._next(), Finished):
                if isinstance(step, SendBatch):
                    self._begin(step, pool)
                elif self._in_flight:
                    self._collect(None if isinstance(step, AwaitResponse) else step.seconds)
                elif isinstance(step, Wait):
                    if step.seconds > self.client.max_wait:
                        return step
                    self._sit_out(step)
        except BaseException:
            self.client.stop()
            while self._in_flight:
                self._collect(None)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._reporter.close_batches(self.engine.counter.total)
        return step

    def _next(self) -> SendBatch | Wait | AwaitResponse | Finished:
        self.client.check_not_stopped()
        return self.engine.step()

    def _reserve(self) -> Reservation | Wait:
        """Reserve a request; before the first one, log what the run will send."""
        if not self._is_reported:
            report_plan(self.client, self.job, self._reporter)
            self._is_reported = True
        return self.client.rate_limiter.reserve()

    def _begin(self, step: SendBatch, pool: ThreadPoolExecutor) -> None:
        """Save the intent, then send the batch from a thread.

        The checkpoint is first: an intent only in the ledger would count as one of an earlier run.
        """
        self._keep(self.checkpoint())
        intended = self._intend(step)
        if intended is None:
            return
        step = intended
        self._reporter.open_batches(step.batch.number + 1, self.engine.counter.total)
        if step.is_resend:
            self.client.count_retry()
        self._in_flight[pool.submit(self._send, step.batch.items, step.reservation)] = step

    def _intend(self, step: SendBatch) -> SendBatch | None:
        """Write the intents of a batch into the ledger; return what is left to send, or ``None``."""
        if self._ledger is None:
            return step
        try:
            forgotten = self._ledger.intend(step.batch.items)
        except BaseException:
            self.client.rate_limiter.release(step.reservation)
            self.engine.put_back(step)
            self._save(self.checkpoint().as_json())
            raise
        left = self.engine.leave_out(step, forgotten) if forgotten else step
        if left is None:
            self.client.rate_limiter.release(step.reservation)
        return left

    def _send(self, items: Sequence[Item], reservation: Reservation) -> Sequence[Outcome]:
        """Send one batch; called from several threads."""
        return self.job.send(self.client, items, reservation)

    def _keep(self, now: Checkpoint) -> None:
        """Save a checkpoint: before each request that must not be retried, else every few seconds."""
        if self.job.repeat == "ambiguous" or time.monotonic() - self._saved_at > _SAVE_EVERY:
            self._save(now.as_json())
            self._saved_at = time.monotonic()

    def _sit_out(self, step: Wait) -> None:
        if step.seconds > _SHORT:
            until = datetime.fromtimestamp(time.time() + step.seconds, UTC)
            self._reporter.report(self.checkpoint(), until)
            log.info(
                "%s: waiting for %.0f s, resuming at %s",
                reason_to_wait(step, self.client),
                step.seconds,
                f"{until:%H:%M:%S} UTC",
            )
        self.client.wait(step.seconds)

    def _collect(self, seconds: float | None) -> None:
        """Record the responses that come within this time."""
        done, _ = wait(self._in_flight, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            self._take_in(self._in_flight.pop(future), future)
        if self.has_responses:
            self.client.max_wait = self.options.longest_wait
        if done:
            if self._ledger is not None:
                self._ledger.save()
            now = self.checkpoint()
            self._keep(now)
            self._reporter.report(now)

    def _take_in(self, send: SendBatch, future: Future[Sequence[Outcome]]) -> None:
        number = send.batch.number + 1
        try:
            outcomes = future.result()
        except MeisaError as error:
            log.warning("Batch %d: the request failed: %s", number, error)
            is_decided = self.engine.refused(send, error)
            self.has_responses |= is_decided
            if self._ledger is None:
                return
            if not is_decided or self.job.repeat == "ambiguous":
                self._ledger.refused(send.batch.items, error)
            elif self.engine.is_stopped_by_refusals:
                self._ledger.hold_back(send.batch.items)
            return
        if self._ledger is not None:
            outcomes = self._ledger.marked(send.batch.items, outcomes)
        counts = self.engine.on_response(send, outcomes)
        self.has_responses = True
        self._reporter.report_batch(number, counts, self.engine.counter.total)

    # Progress and summary.

    @property
    def engine(self) -> BulkEngine:
        """Return the engine, which exists after `prepare`."""
        if self._engine is None:
            raise RuntimeError("Call BulkRunner.prepare() first.")
        return self._engine

    def begun(self) -> Checkpoint:
        """Return the start with the requests since: before the first batch, the run has no other progress."""
        return replace(self.start, **self._work())

    def checkpoint(self, *, complete: bool = False) -> Checkpoint:
        """Return the progress of the run, including this stretch."""
        return replace(
            self.engine.checkpoint(),
            **self._work(),
            started_at=self.start.started_at,
            stalled=0 if self.has_responses else self.start.stalled,
            resumed=self.start.resumed,
            plan=self.start.plan,
            outside=self.start.outside,
            complete=complete,
        )

    def summary(self, *, complete: bool, stopped_by: MeisaError | None = None) -> dict[str, object]:
        """Make the summary for XCom, with every address, including those that this attempt could not send.

        For a run that an earlier attempt has completed, it is the same again.

        :param stopped_by: the error that stopped the run early.
        """
        reason = None if stopped_by is None else str(stopped_by)
        complete &= not self._is_out_of_time
        if self._engine is None:
            ended = self.start
            return self._summary(
                ended,
                OutcomeCounter(ended.counts, ended.attention, ended.doubts, ended.reasons),
                complete=complete,
                stopped_by=reason,
            )
        return self._summary(
            self.checkpoint(),
            self._engine.counter + self._engine.unresolved,
            complete=complete,
            stopped_by=reason,
        )

    def _summary(
        self, now: Checkpoint, counter: OutcomeCounter, *, complete: bool, stopped_by: str | None
    ) -> dict[str, object]:
        return build_summary(
            counter,
            job=self.job.name,
            identity=self.job.identity,
            statuses=self.job.statuses,
            meisa_conn_id=self.options.meisa_conn_id,
            environment=self._environment,
            complete=complete,
            stopped_by=stopped_by,
            requests=now.requests,
            retries=now.retries,
            rate_limited=now.rate_limited,
            waited_s=now.waited,
            elapsed_s=time.time() - now.started_at,
            resumed=now.resumed,
            outcomes_path=self.options.outcomes_path,
            ledger=self.ledger_summary,
            report=self._report_of_end(),
        )

    def _report_of_end(self) -> Mapping[str, Any]:
        if self._ledger is None or "backlog" not in self._report:
            return self._report
        return {**self._report, **self._ledger.backlog}

    @property
    def ledger_summary(self) -> dict[str, object] | None:
        """Return the ledger for the summary, if the run has one."""
        if self._ledger is None and self.options.ledger is not None:
            return summary_of_ended_run(self.options.ledger, self.job, self.client)
        return self._ledger.summary if self._ledger else None

    def _work(self) -> dict[str, Any]:
        """Return the fields of a checkpoint with the counts of the run, including those since the start."""
        start, stats = self.start, self.client.stats
        return {
            "requests": start.requests + stats.requests,
            "retries": start.retries + stats.retries,
            "rate_limited": start.rate_limited + stats.rate_limited,
            "waited": start.waited + stats.waited,
        }

    # Finish.

    def pause(self, now: Checkpoint, seconds: float, *, stalled: bool) -> tuple[Checkpoint, float]:
        """End the stretch before a wait outside of this process.

        :param now: the current checkpoint.
        :param seconds: the length of the wait.
        :param stalled: whether this stretch could send nothing.
        :return: the checkpoint for the next stretch, and the end of the wait.
        """
        now = replace(now, waited=now.waited + seconds, stalled=now.stalled + 1 if stalled else now.stalled)
        moment = time.time() + seconds
        if self._ledger is not None:
            self._ledger.pause(moment)
        self._save(now.as_json())
        self._reporter.report(now, datetime.fromtimestamp(moment, UTC))
        return now, moment

    def finish(self, summary: Mapping[str, Any], *, max_tries: int = 0) -> None:
        """Write the outcomes, the checkpoint and the reports of a run that has ended, each once.

        :param summary: its summary.
        :param max_tries: that of the task instance, see `Checkpoint`.
        """
        self._reporter.report_summary(summary)
        if self._engine is None:  # an earlier attempt has written the rest
            self._reporter.end(self.start, summary)
            return
        self._outcomes.finish(summary, outside=self.start.outside)
        if self._ledger is not None:
            self._ledger.end()
        if summary["complete"] or self._is_out_of_time:
            self._save(replace(self.checkpoint(complete=True), max_tries=max_tries).as_json())
        self._reporter.end(self.checkpoint(), summary)

    def publish_outcomes(self) -> None:
        """Leave the outcomes file without its parts, because no retry follows. A cleared task resumes from the file.

        The lines of split batches have their places in the names of the parts only, so that these are kept.
        """
        now = self.checkpoint() if self._engine else self.begun()
        if not now.pieces and not now.complete and (digest := self._outcomes.publish()):
            self._save(replace(now, outcomes=digest).as_json())
            self._outcomes.discard_parts()

    def cleanup(self) -> None:
        """Remove the files that only a later attempt would need, because there is none."""
        self._outcomes.discard_parts()
        self.drop_plan()

    def forget_plan(self) -> None:
        """Remove the plan of a run whose first request was refused for good: a cleared task starts from the source."""
        nothing_done = not (self.start.next_batch or self.has_responses or self.engine.in_doubt)
        if nothing_done and self._plans and not self.options.plan:
            self._save(replace(self.begun(), plan="").as_json())
            self.drop_plan()

    def drop_plan(self) -> None:
        """Remove the plan: if an earlier attempt has sent nothing of it, it may be old."""
        if self._plans:
            self._plans.drop()
