"""One run of a bulk task in one process: from a start, a retry or a deferral to the next deferral, or to the end.

From top to bottom: prepare, then run (reserve, write the intent, send from threads, collect, record, write the
checkpoint) until the run is finished or a wait is due, then finish and clean up.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_meisa.api.errors import MeisaAudienceChangedError, MeisaError
from airflow_provider_meisa.api.outcomes import OutcomeCounter
from airflow_provider_meisa.api.rate_limit.limiter import Reservation, Wait
from airflow_provider_meisa.bulk.engine import BulkEngine
from airflow_provider_meisa.bulk.preflight import report_plan
from airflow_provider_meisa.bulk.preparation import Preparation
from airflow_provider_meisa.bulk.recording import Recording
from airflow_provider_meisa.bulk.reporting import numbered, reason_to_wait
from airflow_provider_meisa.bulk.run_summary import summary_of_ledger, summary_of_run
from airflow_provider_meisa.bulk.steps import AwaitResponse, Finished, SendBatch

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.outcomes import Outcome
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.job import Exclusion, Item, Job
    from airflow_provider_meisa.bulk.options import RunOptions
    from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter
    from airflow_provider_meisa.bulk.plan import Plan, PlanStore
    from airflow_provider_meisa.bulk.reporting import RunReporter

log = logging.getLogger("airflow.task.meisa")

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
        self._preparation = Preparation(
            client, job, options, source, plans=plans, start=start, reporter=reporter
        )
        self._recording = Recording(job, self._preparation, outcomes=outcomes, save=save)
        self._reporter = reporter
        self._engine: BulkEngine | None = None
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
        if not self.options.preview:
            with suppress(MeisaError) if kind is not None else nullcontext():
                self._recording.end_ledger()

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
        self._recording.begin(self.start)
        exclusion = self._preparation.exclude(self.job.exclusion(self.client))
        try:
            self._engine = self._caught_up(plan, exclusion)
        except MeisaAudienceChangedError as error:
            if self.options.on_changed_audience != "restart":
                raise self._preparation.lost_plan(error) from error
            log.warning(
                "The addresses differ from those of the earlier attempt: sending all of them from the start."
            )
            self._preparation.begin_again()
            self._recording.begin(self.start)
            self._preparation.check_first()
            self._engine = self._caught_up(plan, exclusion)

    def plan(self) -> Plan | None:
        """Make a plan, or load that of an earlier attempt, see `Preparation.plan`."""
        return self._preparation.plan()

    def _caught_up(self, plan: Plan | None, exclusion: Exclusion | None) -> BulkEngine:
        start, ledger = self.start, self._preparation.ledger
        self._is_reported = not self.options.check_first or bool(start.next_batch)
        is_same = plan is not None and self._preparation.is_same_plan and bool(start.next_batch)
        engine = BulkEngine(
            self.job,
            self._preparation.batches(
                plan, start.next_batch if is_same else 0, exclusion, is_over=self._is_over
            ),
            self._reserve,
            checkpoint=start,
            record=self._record,
            max_in_flight=self.options.max_in_flight,
            resend=self.options.on_ambiguous == "resend",
            resend_after=self.client.settings.resend_after,
            exclusion=exclusion,
            stop_at=start.started_at + self.options.stop_after,
            is_expected=ledger.was_held_back if ledger else None,
        )
        engine.catch_up(self._preparation.pending(plan) if is_same else None)
        if engine.in_doubt:
            log.warning(
                "In doubt from an earlier attempt: %s. Meisa may have processed them; they are sent again",
                numbered(engine.in_doubt),
            )
        return engine

    def _is_over(self) -> bool:
        return self._engine is not None and self._engine.is_stopped

    def _record(self, batch: Batch, everyone: Sequence[Outcome]) -> None:
        self._recording.record(batch, everyone, is_out_of_time=self._is_out_of_time)

    @property
    def _is_out_of_time(self) -> bool:
        return self._engine is not None and self._engine.is_out_of_time

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
            self._reporter.close_batches(self.engine.counter)
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
        self._recording.save_if_due(self.checkpoint())
        intended = self._intend(step)
        if intended is None:
            return
        step = intended
        self._reporter.open_batches(step.batch.number + 1, self.engine.counter)
        if step.is_resend:
            self.client.count_retry()
        self._in_flight[pool.submit(self._send, step.batch.items, step.reservation)] = step

    def _intend(self, step: SendBatch) -> SendBatch | None:
        """Write the intents of a batch into the ledger; return what is left to send, or ``None``."""
        try:
            forgotten = self._recording.intend(step.batch.items)
        except BaseException:
            self.client.rate_limiter.release(step.reservation)
            self.engine.put_back(step)
            self._recording.save(self.checkpoint())
            raise
        left = self.engine.leave_out(step, forgotten) if forgotten else step
        if left is None:
            self.client.rate_limiter.release(step.reservation)
        return left

    def _send(self, items: Sequence[Item], reservation: Reservation) -> Sequence[Outcome]:
        """Send one batch; called from several threads."""
        return self.job.send(self.client, items, reservation)

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
            self._recording.save_results()
            now = self.checkpoint()
            self._recording.save_if_due(now)
            self._reporter.report(now)

    def _take_in(self, send: SendBatch, future: Future[Sequence[Outcome]]) -> None:
        number = send.batch.number + 1
        try:
            outcomes = future.result()
        except MeisaError as error:
            self._reporter.report_error(number, error)
            is_decided = self.engine.refused(send, error)
            self.has_responses |= is_decided
            self._recording.record_error(send.batch.items, error, self.engine, is_decided=is_decided)
            return
        outcomes = self._recording.marked(send.batch.items, outcomes)
        counts = self.engine.on_response(send, outcomes)
        self.has_responses = True
        self._reporter.report_batch(number, counts, self.engine.counter)

    # Progress and summary.

    @property
    def start(self) -> Checkpoint:
        """Return the checkpoint of the start, without batches that a restart has dropped."""
        return self._preparation.start

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
        counter = OutcomeCounter(
            self.start.counts, self.start.attention, self.start.doubts, self.start.reasons
        )
        if self._engine is not None:
            counter = self._engine.counter + self._engine.unresolved
        return summary_of_run(
            self.job,
            self.options,
            self.client,
            self._preparation,
            now=self.checkpoint() if self._engine else self.start,
            counter=counter,
            complete=complete and not self._is_out_of_time,
            stopped_by=stopped_by,
        )

    @property
    def ledger_summary(self) -> dict[str, object] | None:
        """Return the ledger for the summary, if the run has one."""
        return summary_of_ledger(self.job, self.options, self.client, self._preparation.ledger)

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
        self._recording.pause(now, moment)
        self._reporter.report(now, datetime.fromtimestamp(moment, UTC))
        return now, moment

    def finish(self, summary: Mapping[str, Any], *, max_tries: int = 0) -> None:
        """Write the outcomes, the checkpoint and the reports of a run that has ended, each once.

        :param summary: its summary.
        :param max_tries: that of the task instance, see `Checkpoint`.
        """
        self._reporter.report_summary(summary, given_up=self._engine.given_up if self._engine else 0)
        if self._engine is None:  # an earlier attempt has written the rest
            self._reporter.end(self.start, summary)
            return
        self._recording.finish(summary, outside=self.start.outside)
        if summary["complete"] or self._is_out_of_time:
            self._recording.save(replace(self.checkpoint(complete=True), max_tries=max_tries))
        self._reporter.end(self.checkpoint(), summary)

    def publish_outcomes(self) -> None:
        """Leave the outcomes file without its parts, see `Recording.publish`."""
        self._recording.publish(self.checkpoint() if self._engine else self.begun())

    def cleanup(self) -> None:
        """Remove the files that only a later attempt would need, because there is none."""
        self._recording.discard_parts()
        self.drop_plan()

    def forget_plan(self) -> None:
        """Remove the plan of a run whose first request was refused for good: a cleared task starts from the source."""
        nothing_done = not (self.start.next_batch or self.has_responses or self.engine.in_doubt)
        if nothing_done and self._preparation.has_plans and not self.options.plan:
            self._recording.save(replace(self.begun(), plan=""))
            self.drop_plan()

    def drop_plan(self) -> None:
        """Remove the plan: if an earlier attempt has sent nothing of it, it may be old."""
        self._preparation.drop_plan()
