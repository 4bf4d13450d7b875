"""What all tasks with many records share: plan, run, resume, wait, report, and decide whether they have failed."""

from __future__ import annotations

import math
import os
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf

from airflow_provider_meisa.api.checks import check_seconds
from airflow_provider_meisa.api.errors import MeisaBackOffError, MeisaError, MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus, nothing_valid, threshold_violations
from airflow_provider_meisa.api.rate_limit.limiter import Wait
from airflow_provider_meisa.assets.extras import set_asset_extra
from airflow_provider_meisa.bulk.engine import AwaitResend
from airflow_provider_meisa.bulk.options import OnAmbiguous, OnChangedAudience, RunOptions
from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter
from airflow_provider_meisa.bulk.plan import PlanStore
from airflow_provider_meisa.bulk.reporting import Progress, RunReporter, group, reason_to_wait
from airflow_provider_meisa.bulk.runner import BulkRunner
from airflow_provider_meisa.hooks.meisa import raise_airflow_errors
from airflow_provider_meisa.hooks.metrics import Meter
from airflow_provider_meisa.operators.base import MeisaOperator
from airflow_provider_meisa.operators.checkpoint_store import start_of, state_of, store_of
from airflow_provider_meisa.operators.ledger import ledger_options
from airflow_provider_meisa.operators.location import PathField, locate
from airflow_provider_meisa.operators.parameters import OnNo
from airflow_provider_meisa.triggers.rate_limit import MeisaRateLimitTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, Context

    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.job import Job
    from airflow_provider_meisa.bulk.options import FirstRun, LedgerOptions

SHORTEST_DEFERRAL = 10.0  # below it Airflow's LocalExecutor can lose the task (seen on 3.3 with 1 s and 3 s)

# From the end of a wait in the triggerer to the work, Airflow takes 1–3.5 s: so much earlier it is woken, and what is
# left of the wait is slept. From the second wait on it is what the one before has taken.
_WAKE_EARLY = 3.0
_MOST_EARLY = 5.0


class BulkOperator(MeisaOperator):
    """Do a job with many records; a subclass says which job, and where the rows come from.

    The task keeps inside the key's rate limits; a long wait frees its worker slot. After a crash it resumes where it
    was. It pushes the summary to XCom, then fails if too many records failed.

    :param max_failed: most failed and unreported records: ``int`` a number, ``float`` a share, ``None`` no limit.
    :param max_invalid: most invalid records, likewise.
    :param max_contacts: most rows in all; if there are more, none is sent.
    :param preview: send nothing; plan, and return what would be sent and how long it would take (templated).
    :param plan: the ``plan`` of a preview's report (templated): send what it has planned, less what is to be left out;
        the source is not read.
    :param staging_path: the folder for the plan, **which holds addresses in clear**: a local path or an
        ``ObjectStoragePath`` URI (templated); by default a private one on the worker's own host. Workers on several
        hosts need one that they share.
    :param outcomes_path: where the status of each row is written (templated): any ``ObjectStoragePath`` that
        ends in ``.jsonl`` or ``.csv``, or one of these and ``.gz``.
    :param rejects_only: leave out of it what was accepted, and duplicates (templated).
    :param on_empty: ``success``, ``skip`` or ``fail``, if there is no row at all.
    :param on_nothing_valid: likewise, if there are rows and not one of them is valid; a preview, too.
    :param on_ambiguous: when a batch's response is lost, ``resend`` it or ``fail``.
    :param on_changed_audience: when the plan is lost and a retry finds other rows than the first try had, ``fail``
        or ``restart``.
    :param ledger: the name of the ledger that keeps over all runs what Meisa has accepted (templated): what is in it
        is not sent again. It is a folder in ``[meisa] ledger_path``. Only one task at a time may use it, so that
        ``max_active_tis_per_dag`` is 1 by default.
    :param first_run: if the ledger is empty, ``send``, ``fail``, or ``record`` the source's records as accepted
        without a request.
    :param accept_lost_ledger: the date that the message of a lost ledger gives: confirms that loss, once.
    :param max_in_flight: the most requests in flight at a time, 1–16.
    :param deferrable: wait in the triggerer, without a worker slot; by default ``[operators] default_deferrable``.
    :param defer_after: shortest wait, in seconds or as a ``timedelta``, that is deferred and not slept; at least 10
        seconds.
    :param meisa_conn_id: the Airflow Connection.
    :ivar summary: the summary, once there is one.
    """

    template_fields: Sequence[str] = (
        "preview",
        "plan",
        "staging_path",
        "outcomes_path",
        "rejects_only",
        "ledger",
        "meisa_conn_id",
    )

    default_first_run: FirstRun = "send"
    """What ``first_run`` is if it is not given."""

    summary: Mapping[str, Any] | None = None

    staging_path = PathField()
    outcomes_path = PathField()

    def __init__(
        self,
        *,
        max_failed: float | None = 0,
        max_invalid: float | None = None,
        max_contacts: int | None = None,
        preview: bool = False,
        plan: str | None = None,
        staging_path: str | os.PathLike[str] | None = None,
        outcomes_path: str | os.PathLike[str] | None = None,
        rejects_only: bool = False,
        on_empty: OnNo = "success",
        on_nothing_valid: OnNo = "fail",
        on_ambiguous: OnAmbiguous = "resend",
        on_changed_audience: OnChangedAudience = "fail",
        ledger: str | None = None,
        first_run: FirstRun | None = None,
        accept_lost_ledger: str | None = None,
        max_in_flight: int = 4,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        defer_after: float | timedelta = 30.0,
        **kwargs: Any,
    ) -> None:
        if ledger is not None:
            kwargs.setdefault("max_active_tis_per_dag", 1)
        super().__init__(**kwargs)
        self.max_failed = max_failed
        self.max_invalid = max_invalid
        self.max_contacts = max_contacts
        self.preview = preview
        self.plan = plan
        self.staging_path = staging_path
        self.outcomes_path = outcomes_path
        self.rejects_only = rejects_only
        self.on_empty = on_empty
        self.on_nothing_valid = on_nothing_valid
        self.on_ambiguous = on_ambiguous
        self.on_changed_audience = on_changed_audience
        self.ledger = ledger
        self.first_run = first_run
        self.accept_lost_ledger = accept_lost_ledger
        self.max_in_flight = max_in_flight
        self.deferrable = deferrable
        self.defer_after = defer_after
        self._client: MeisaClient | None = None
        self._wake_early = _WAKE_EARLY

    @abstractmethod
    def make_job(self) -> Job:
        """Return what is done with the rows."""

    @abstractmethod
    def asset(self) -> Asset:
        """Return the asset that the job updates."""

    @abstractmethod
    def read(self, context: Context) -> Iterable[object]:
        """Return the rows, read again at each call; a stream need not fit into memory.

        They are read once a run, to plan what is sent; again only if the plan is lost.

        :raises MeisaInputError: if there is nothing that could be read.
        """

    def execute(self, context: Context) -> dict[str, object]:
        """Do the job and return the summary.

        :return: see `airflow_provider_meisa.api.outcomes.summary`.
        :raises AirflowSkipException: if there is no row and ``on_empty`` is ``skip``.
        :raises AirflowFailException: if too many records failed, and for what a retry cannot fix.
        :raises AirflowException: if Meisa cannot be reached.
        """
        return self._run(context, None)

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, object]:
        """Resume after a wait in the triggerer.

        :raises AirflowFailException: if the event is not one of `MeisaRateLimitTrigger`, and as `execute` does.
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
        """Send nothing from now on. What was sent is recorded, so that a later try resumes exactly there."""
        if self._client is not None:
            self._client.stop()

    def _run(self, context: Context, cursor: dict[str, Any] | None) -> dict[str, object]:
        with raise_airflow_errors():
            hook = self.begin(context)
            self._check_deferral()
            self._client = client = hook.get_conn()
            with self._runner(context, client, cursor) as runner:
                result = self._run_until_wait(context, runner, is_new_try=cursor is None)
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
            self._options(context["ti"]),
            partial(self.read, context),
            plans=self._plans(context["ti"]),
            start=start_of(store, cursor, context["ti"].max_tries),
            save=store.save,
            outcomes=OutcomeWriter(
                locate(self.outcomes_path) if self.outcomes_path else None, rejects_only=self.rejects_only
            ),
            reporter=reporter,
        )

    def _plans(self, ti: Any) -> PlanStore:
        if self.plan:
            path, _ = _path_and_id(self.plan)
            note = locate(path)
            return PlanStore(note.parent, note.name.removesuffix(".json"))
        owner = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        return PlanStore(locate(self.staging_path) if self.staging_path else None, PlanStore.name_of(owner))

    def _options(self, ti: Any) -> RunOptions:
        return RunOptions(
            meisa_conn_id=self.meisa_conn_id,
            max_contacts=None if self.preview else self.max_contacts,
            outcomes_path=self.outcomes_path or None,
            on_ambiguous=self.on_ambiguous,
            on_changed_audience=self.on_changed_audience,
            plan=_path_and_id(self.plan)[1] if self.plan else "",
            max_in_flight=self.max_in_flight,
            longest_wait=self.longest_wait,
            ledger=self._ledger_options(ti),
            preview=self.preview,
        )

    def _ledger_options(self, ti: Any) -> LedgerOptions | None:
        if self.ledger is None:
            return None
        return ledger_options(
            ti,
            self.ledger,
            first_run=self.first_run,
            by_default=self.default_first_run,
            accept_lost_ledger=self.accept_lost_ledger,
        )

    def _run_until_wait(
        self, context: Context, runner: BulkRunner, *, is_new_try: bool
    ) -> dict[str, object] | MeisaRateLimitTrigger:
        """Run until the summary is there, or a wait is due that is to be deferred."""
        try:
            if self.preview:
                return self._preview(context, runner)
            if runner.start.complete:
                return self._end(context, runner, None)
            if is_new_try and not runner.start.next_batch:
                self._drop_old_plan(runner)
            runner.prepare()
            step = runner.run()
        except MeisaBackOffError as error:  # of what is asked before the first batch is sent
            if self.deferrable and error.retry_after:
                return self._deferral(runner, Wait(error.retry_after), runner.begun(), stalled=True)
            raise
        if isinstance(step, Wait):
            stalled = not runner.has_responses and not isinstance(step, AwaitResend)
            return self._deferral(runner, step, runner.checkpoint(), stalled=stalled)
        return self._end(context, runner, step.stopped_by)

    def _drop_old_plan(self, runner: BulkRunner) -> None:
        if not self.plan:  # else a person has approved it
            runner.drop_plan()

    def _end(self, context: Context, runner: BulkRunner, stopped_by: MeisaError | None) -> dict[str, object]:
        """Leave the summary and the outcomes, and raise what has stopped the run early.

        A failure after the checkpoint is complete is harmless: the retry finds that every address has a status, and
        ends the task.
        """
        ti = context["ti"]
        self.summary = summary = runner.summary(complete=stopped_by is None)
        self.push(context, summary)
        runner.finish(summary, max_tries=ti.max_tries)
        if stopped_by is not None:
            in_doubt = self.on_ambiguous == "fail" and runner.checkpoint().has_doubts
            with raise_airflow_errors(final=(MeisaError,) if in_doubt else ()):
                raise stopped_by
        runner.cleanup()
        set_asset_extra(context, self.outlets, summary, self.asset())
        store_of(context).end()
        self._conclude(runner.job.title, summary)
        return summary

    @property
    def longest_wait(self) -> float:
        """The longest wait, in seconds, that is slept and not deferred."""
        return check_seconds("defer_after", self.defer_after) if self.deferrable else math.inf

    def _check_deferral(self) -> None:
        if check_seconds("defer_after", self.defer_after) < SHORTEST_DEFERRAL:
            raise MeisaInputError(
                f"defer_after must be at least {SHORTEST_DEFERRAL:g} s: in shorter deferrals Airflow can lose a task."
            )

    def _deferral(
        self, runner: BulkRunner, step: Wait, now: Checkpoint, *, stalled: bool
    ) -> MeisaRateLimitTrigger:
        self.log.info(
            "%s: deferring for %.0f s (worker slot released)",
            reason_to_wait(step, runner.client),
            step.seconds,
        )
        # A wait just above the shortest deferral, less waking early, must not become a shorter one.
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
        )
        if plan:
            report["plan"] = f"{plans.note}#{plan.id}"
        self.log.info("Preview: nothing was sent. %s", report)
        set_asset_extra(context, self.outlets, report, self.asset())
        self.push(context, report)
        self._check_any_valid(runner.job.title, report["counts"]["invalid"], report["total"])
        return report

    def _check_any_valid(self, title: str, invalid: int, total: int) -> None:
        """Fail or skip the task if there were rows, and not one valid address among them."""
        if self.on_nothing_valid == "success" or not nothing_valid(invalid, total):
            return
        message = (
            f"{title}: no valid address in {total:,} rows (on_nothing_valid). Check the source: is it the right "
            "column?"
        )
        raise (
            AirflowFailException(message)
            if self.on_nothing_valid == "fail"
            else AirflowSkipException(message)
        )

    def _conclude(self, title: str, summary: Mapping[str, Any]) -> None:
        counts = {OutcomeStatus(name): count for name, count in summary["counts"].items()}
        if not summary["total"] and self.on_empty != "success":
            message = "The input has no addresses."
            raise AirflowFailException(message) if self.on_empty == "fail" else AirflowSkipException(message)
        if found := threshold_violations(counts, max_failed=self.max_failed, max_invalid=self.max_invalid):
            raise AirflowFailException(
                f"{title}: {'; '.join(found)}. The summary in XCom has the first of them under "
                "'attention'. Fix the addresses, or raise the limit."
            )
        self._check_any_valid(title, counts.get(OutcomeStatus.INVALID, 0), summary["total"])


def _path_and_id(reference: str) -> tuple[str, str]:
    """Split what a preview's report calls ``plan``.

    :raises MeisaInputError: if it is something else.
    """
    path, _, plan_id = reference.rpartition("#")
    if not path.endswith(".json") or not plan_id:
        raise MeisaInputError(
            "plan must be the value of 'plan' in the report of a preview. Nothing was sent."
        )
    return path, plan_id
