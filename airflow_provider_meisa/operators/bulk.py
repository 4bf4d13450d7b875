"""The base of all operators with many records: plan, run, resume, wait, report, and apply the thresholds."""

from __future__ import annotations

import math
import os
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    conf,
)

from airflow_provider_meisa.api.checks import check_seconds
from airflow_provider_meisa.api.errors import MeisaBackOffError, MeisaError, MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus, nothing_valid, threshold_violations
from airflow_provider_meisa.api.rate_limit.limiter import Wait
from airflow_provider_meisa.assets.extras import set_asset_extra
from airflow_provider_meisa.bulk.options import OnAmbiguous, OnChangedAudience, RunOptions
from airflow_provider_meisa.bulk.plan import PlanStore
from airflow_provider_meisa.bulk.reporting import Progress, RunReporter, group, reason_to_wait
from airflow_provider_meisa.bulk.runner import BulkRunner
from airflow_provider_meisa.bulk.size_limits import SizeLimits
from airflow_provider_meisa.bulk.steps import AwaitResend
from airflow_provider_meisa.hooks import configuration
from airflow_provider_meisa.hooks.failures import FailureLog
from airflow_provider_meisa.hooks.meisa import is_final, raise_airflow_errors
from airflow_provider_meisa.hooks.metrics import Meter
from airflow_provider_meisa.operators.base import MeisaOperator
from airflow_provider_meisa.operators.checkpoint_store import start_of, state_of, store_of
from airflow_provider_meisa.operators.failure import is_last_try, raise_and_push_errors
from airflow_provider_meisa.operators.ledger import LedgerMixin, last_total
from airflow_provider_meisa.operators.location import PathField, locate
from airflow_provider_meisa.operators.outcomes_place import outcome_writer, outcomes_path_of
from airflow_provider_meisa.operators.parameters import OnNo
from airflow_provider_meisa.triggers.rate_limit import MeisaRateLimitTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, Context

    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.job import Job

SHORTEST_DEFERRAL = 10.0  # below it Airflow's LocalExecutor can lose the task (seen on 3.3 with 1 s and 3 s)

# Airflow takes 1–3.5 s from the end of a deferral to the work, so the deferral ends that much earlier, and the task
# sleeps the rest of the wait. From the second wait on, it is the time that Airflow took after the one before.
_WAKE_EARLY = 3.0
_MOST_EARLY = 5.0
_DAY = 24 * 3600.0


class BulkOperator(LedgerMixin, MeisaOperator):
    """Do a job with many records; a subclass defines the job and reads the rows.

    The task keeps to the rate limits of the key; a long wait frees its worker slot. After a crash it resumes after the
    last batch. It pushes the summary to XCom, then fails if too many records failed.

    :param max_failed: the most failed and unreported records: ``int`` a number, ``float`` a share, ``None`` no limit.
    :param max_invalid: the most invalid records, in the same form.
    :param max_contacts: the most rows; if there are more, nothing is sent.
    :param min_contacts: the fewest valid contacts; if there are fewer, nothing is sent.
    :param max_share_of_last: the most rows, as a share of those of the last run, such as ``2.0``; if there are more,
        nothing is sent.
    :param preview: send nothing; plan, and return the numbers of records, requests and seconds (templated).
    :param plan: the ``plan`` of a preview's report (templated): send that plan, except records that must
        be left out since. The source is not read.
    :param staging_path: the folder for the plan, **which holds addresses in clear**: a local path or an
        ``ObjectStoragePath`` URI (templated); by default that of ``[meisa] staging_path``, else a private one on the
        worker's own host. Workers on several hosts need one that they share.
    :param outcomes_path: the file for the status of each row (templated): any ``ObjectStoragePath`` that
        ends in ``.jsonl`` or ``.csv``, or one of these and ``.gz``. For a mapped task, the map index becomes part of
        the name, unless ``map_index`` is in the template or the path is mapped as well.
    :param rejects_only: leave accepted records and duplicates out of that file (templated).
    :param keep: the columns of the source, such as ``["user_id"]``, whose values each line of that file has as well. It
        has them in clear, and so has the plan.
    :param on_empty: ``success``, ``skip`` or ``fail`` if there are no rows.
    :param on_nothing_valid: ``success``, ``skip`` or ``fail`` if there are rows, but none is valid; also in a preview.
    :param on_ambiguous: if the response to a batch is lost, ``resend`` it or ``fail``.
    :param on_changed_audience: if the plan is lost, and a retry finds other rows than the first attempt, ``fail`` or
        ``restart``.
    :param ledger: and ``first_run``, ``accept_lost_ledger``: see `LedgerMixin`.
    :param max_in_flight: the most requests in flight at a time, 1–16.
    :param deferrable: wait in the triggerer, without a worker slot; by default ``[operators] default_deferrable``.
    :param defer_after: the shortest wait, in seconds or as a ``timedelta``, that is a deferral and not a sleep; at
        least 10 seconds.
    :param meisa_conn_id: the Airflow Connection.
    :ivar summary: the summary, once there is one.
    """

    template_fields: Sequence[str] = (
        "preview",
        "plan",
        "staging_path",
        "outcomes_path",
        "rejects_only",
        *LedgerMixin.template_fields,
        "meisa_conn_id",
    )

    summary: Mapping[str, Any] | None = None
    stop_after: timedelta | None = None
    """After how long a run ends with what it has sent; only for jobs that keep the rest in a ledger."""

    staging_path = PathField()
    outcomes_path = PathField()

    def __init__(
        self,
        *,
        max_failed: float | None = 0,
        max_invalid: float | None = None,
        max_contacts: int | None = None,
        min_contacts: int | None = None,
        max_share_of_last: float | None = None,
        preview: bool = False,
        plan: str | None = None,
        staging_path: str | os.PathLike[str] | None = None,
        outcomes_path: str | os.PathLike[str] | None = None,
        rejects_only: bool = False,
        keep: Sequence[str] = (),
        on_empty: OnNo = "success",
        on_nothing_valid: OnNo = "fail",
        on_ambiguous: OnAmbiguous = "resend",
        on_changed_audience: OnChangedAudience = "fail",
        max_in_flight: int = 4,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        defer_after: float | timedelta = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_failed = max_failed
        self.max_invalid = max_invalid
        self.max_contacts = max_contacts
        self.min_contacts = min_contacts
        self.max_share_of_last = max_share_of_last
        self.preview = preview
        self.plan = plan
        self.staging_path = staging_path
        self.outcomes_path = outcomes_path
        self.rejects_only = rejects_only
        self.keep = keep
        self.on_empty = on_empty
        self.on_nothing_valid = on_nothing_valid
        self.on_ambiguous = on_ambiguous
        self.on_changed_audience = on_changed_audience
        self.max_in_flight = max_in_flight
        self.deferrable = deferrable
        self.defer_after = defer_after
        self._client: MeisaClient | None = None
        self._wake_early = _WAKE_EARLY

    @abstractmethod
    def make_job(self) -> Job:
        """Return the job for the rows."""

    @abstractmethod
    def asset(self) -> Asset:
        """Return the asset that the job updates."""

    @abstractmethod
    def read(self, context: Context) -> Iterable[object]:
        """Return the rows, read again at each call; they may not fit into memory.

        A run reads them once, to make its plan, and again only if the plan is lost.

        :raises MeisaInputError: if the source cannot be read.
        """

    def execute(self, context: Context) -> dict[str, object]:
        """Do the job and return the summary.

        :return: see `airflow_provider_meisa.api.outcomes.summary`.
        :raises AirflowSkipException: if there are no rows and ``on_empty`` is ``skip``.
        :raises AirflowFailException: if too many records failed, and for what a retry cannot fix.
        :raises AirflowException: if Meisa cannot be reached.
        """
        return self._run(context, None)

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, object]:
        """Resume after a wait in the triggerer.

        :raises AirflowFailException: if the event is not one of `MeisaRateLimitTrigger`, and as in `execute`.
        """
        match event:
            case {"status": "go", "cursor": dict(cursor), "moment": float(moment)}:
                self._wake_early = min(max(time.time() - moment, 0.0), _MOST_EARLY)
                return self._run(context, cursor)
            case _:
                raise AirflowFailException(
                    "The trigger sent an event that this version does not know. Was the provider upgraded while the "
                    "task was deferred? Clear the task: it resumes after its last batch."
                )

    def on_kill(self) -> None:
        """Send nothing from now on. Sent batches are recorded, so that a later attempt resumes after them."""
        if self._client is not None:
            self._client.stop()

    def _run(self, context: Context, cursor: dict[str, Any] | None) -> dict[str, object]:
        with FailureLog(), raise_and_push_errors(self, context):
            hook = self.begin(context)
            self._check_deferral()
            self._check_keep()
            self._client = client = hook.get_conn()
            with self._runner(context, client, cursor) as runner:
                try:
                    result = self._run_until_wait(context, runner, is_new_try=cursor is None)
                except Exception as error:
                    if is_last_try(context["ti"], error):
                        with suppress(MeisaError):  # the first error counts
                            runner.publish_outcomes()
                    raise
            if isinstance(result, MeisaRateLimitTrigger):
                self.defer(trigger=result, method_name="resume")
            return result

    def _runner(self, context: Context, client: MeisaClient, cursor: dict[str, Any] | None) -> BulkRunner:
        store, job = store_of(context), self.make_job()
        identity = {**job.identity, "meisa_conn_id": self.meisa_conn_id}
        reporter = RunReporter(
            client,
            job,
            progress=None if self.preview else Progress(state_of(context), identity, job.statuses),
            metrics=Meter(self.meisa_conn_id, job.identity.get("sequence_slug", "")),
            group=group,
        )
        return BulkRunner(
            client,
            job,
            self._options(context),
            partial(self.read, context),
            plans=self._plans(context["ti"]),
            start=start_of(store, cursor, context["ti"].max_tries),
            save=store.save,
            outcomes=outcome_writer(self, context),
            reporter=reporter,
        )

    def _plans(self, ti: Any) -> PlanStore:
        if self.plan:
            path, _ = _path_and_id(self.plan)
            note = locate(path)
            return PlanStore(note.parent, note.name.removesuffix(".json"))
        owner = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        folder = self.staging_path or configuration.staging_path()
        if not folder:
            configuration.warn_if_not_shared("staging_path", "plan")
        return PlanStore(locate(folder) if folder else None, PlanStore.name_of(owner))

    def _options(self, context: Context) -> RunOptions:
        return RunOptions(
            meisa_conn_id=self.meisa_conn_id,
            size=SizeLimits() if self.preview else self._size_limits(context["ti"]),
            outcomes_path=outcomes_path_of(self, context),
            keep=self.keep,
            on_ambiguous=self.on_ambiguous,
            on_changed_audience=self.on_changed_audience,
            plan=_path_and_id(self.plan)[1] if self.plan else "",
            max_in_flight=self.max_in_flight,
            longest_wait=self.longest_wait,
            stop_after=math.inf if self.stop_after is None else check_seconds("stop_after", self.stop_after),
            ledger=self.ledger_options(context["ti"]),
            preview=self.preview,
        )

    def _size_limits(self, ti: Any) -> SizeLimits:
        return SizeLimits(
            max_contacts=self.max_contacts,
            min_contacts=self.min_contacts,
            max_share_of_last=self.max_share_of_last,
            last_total=None if self.max_share_of_last is None else last_total(ti),
        )

    def _run_until_wait(
        self, context: Context, runner: BulkRunner, *, is_new_try: bool
    ) -> dict[str, object] | MeisaRateLimitTrigger:
        """Run until the summary exists, or a wait must be deferred."""
        try:
            if self.preview:
                return self._preview(context, runner)
            if runner.start.complete:
                return self._end(context, runner, None)
            if is_new_try and not runner.start.next_batch:
                self._drop_old_plan(runner)
            runner.prepare()
            step = runner.run()
        except MeisaBackOffError as error:  # from the checks before the first batch
            if self.deferrable and error.retry_after:
                return self._deferral(runner, Wait(error.retry_after), runner.begun(), stalled=True)
            raise
        if isinstance(step, Wait):
            stalled = not runner.has_responses and not isinstance(step, AwaitResend)
            return self._deferral(runner, step, runner.checkpoint(), stalled=stalled)
        return self._end(context, runner, step.stopped_by)

    def _drop_old_plan(self, runner: BulkRunner) -> None:
        if not self.plan:  # otherwise a person has approved it
            runner.drop_plan()

    def _end(self, context: Context, runner: BulkRunner, stopped_by: MeisaError | None) -> dict[str, object]:
        """Write the summary and the outcomes, and raise the error that stopped the run early.

        An error after the checkpoint is complete is harmless: in the retry every address has a status, and the task
        ends.
        """
        ti = context["ti"]
        self.summary = summary = runner.summary(complete=stopped_by is None, stopped_by=stopped_by)
        self.push(context, summary)
        runner.finish(summary, max_tries=ti.max_tries)
        if stopped_by is not None:
            if is_final(stopped_by):
                runner.forget_plan()
            in_doubt = self.on_ambiguous == "fail" and runner.checkpoint().has_doubts
            with raise_airflow_errors(final=(MeisaError,) if in_doubt else ()):
                raise stopped_by
        runner.cleanup()
        set_asset_extra(context, self.outlets, summary, self.asset())
        store_of(context).end()
        self._conclude(runner.job, summary)
        return summary

    @property
    def longest_wait(self) -> float:
        """Return the longest wait, in seconds, that is a sleep and not a deferral."""
        return check_seconds("defer_after", self.defer_after) if self.deferrable else math.inf

    def _check_deferral(self) -> None:
        if check_seconds("defer_after", self.defer_after) < SHORTEST_DEFERRAL:
            raise MeisaInputError(
                f"defer_after must be at least {SHORTEST_DEFERRAL:g} s: in shorter deferrals Airflow can lose a task."
            )

    def _check_keep(self) -> None:
        if self.keep and not self.outcomes_path:
            raise MeisaInputError("keep needs an outcomes file. Set outcomes_path, or remove keep.")

    def _deferral(
        self, runner: BulkRunner, step: Wait, now: Checkpoint, *, stalled: bool
    ) -> MeisaRateLimitTrigger:
        until = datetime.fromtimestamp(time.time() + step.seconds, UTC)
        self.log.info(
            "%s: deferring for %.0f s, resuming at %s UTC (worker slot released)",
            reason_to_wait(step, runner.client),
            step.seconds,
            f"{until:%H:%M:%S}" if step.seconds < _DAY else f"{until:%Y-%m-%d %H:%M:%S}",
        )
        # A wait just above the shortest deferral must not become shorter than that by the earlier end.
        pause = max(SHORTEST_DEFERRAL, step.seconds - self._wake_early)
        now, moment = runner.pause(now, pause, stalled=stalled)
        return MeisaRateLimitTrigger(moment=moment, cursor=now.as_json())

    def _preview(self, context: Context, runner: BulkRunner) -> dict[str, Any]:
        from airflow_provider_meisa.bulk.preview import preview

        if not runner.start.next_batch:
            self._drop_old_plan(runner)
        plans, plan = self._plans(context["ti"]), runner.plan()
        report = preview(
            runner.client,
            runner.job,
            plans.batches(plan) if plan else (),
            meisa_conn_id=self.meisa_conn_id,
            ledger=runner.ledger_summary,
            found=plan.facts.report if plan else None,
            is_checked=True,
        )
        if plan:
            report["plan"] = f"{plans.note}#{plan.id}"
        self.log.info("Preview: nothing was sent. %s", report)
        set_asset_extra(context, self.outlets, report, self.asset())
        self.push(context, report)
        try:
            self._check_any_valid(runner.job, report["counts"]["invalid"], report["total"])
        except AirflowException:
            runner.drop_plan()  # it sends nothing, and no one approves it
            raise
        return report

    def _check_any_valid(self, job: Job, invalid: int, total: int) -> None:
        """Fail or skip the task if there were rows, but not one that is valid."""
        if self.on_nothing_valid == "success" or not nothing_valid(invalid, total):
            return
        message = (
            f"{job.title}: no valid {job.noun.one} in {total:,} rows (on_nothing_valid). Check the source: is it the "
            "right column?"
        )
        raise (
            AirflowFailException(message)
            if self.on_nothing_valid == "fail"
            else AirflowSkipException(message)
        )

    def _conclude(self, job: Job, summary: Mapping[str, Any]) -> None:
        counts = {OutcomeStatus(name): count for name, count in summary["counts"].items()}
        if not summary["total"] and self.on_empty != "success":
            message = f"The input has no {job.noun.many}."
            raise AirflowFailException(message) if self.on_empty == "fail" else AirflowSkipException(message)
        if found := threshold_violations(counts, max_failed=self.max_failed, max_invalid=self.max_invalid):
            raise AirflowFailException(
                f"{job.title}: {'; '.join(found)}. The summary in XCom has the first of them under "
                f"'attention'. Fix the {job.noun.many}, or raise the limit."
            )
        self._check_any_valid(job, counts.get(OutcomeStatus.INVALID, 0), summary["total"])


def _path_and_id(reference: str) -> tuple[str, str]:
    """Split the ``plan`` of a preview's report.

    :raises MeisaInputError: if it is another text.
    """
    path, _, plan_id = reference.rpartition("#")
    if not path.endswith(".json") or not plan_id:
        raise MeisaInputError(
            "plan must be the value of 'plan' in the report of a preview. Nothing was sent."
        )
    return path, plan_id
