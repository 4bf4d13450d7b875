"""What every task shares that enrolls an audience: resume, perform, account for each address, decide on red."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf

from airflow_provider_meisa.api.checkpoint import Checkpoint
from airflow_provider_meisa.api.checks import check_seconds
from airflow_provider_meisa.api.enrollment import AwaitResend, Done
from airflow_provider_meisa.api.errors import MeisaBackOffError, MeisaError, MeisaInputError
from airflow_provider_meisa.api.outcomes import Tally, Verdict, nothing_valid, objections
from airflow_provider_meisa.api.quota import Wait
from airflow_provider_meisa.assets.events import tell_outlets
from airflow_provider_meisa.hooks.meisa import airflow_failures
from airflow_provider_meisa.operators.base import MeisaOperator
from airflow_provider_meisa.operators.batch_log import tell_account
from airflow_provider_meisa.operators.checkpoint_store import start_of, state_of, store_of
from airflow_provider_meisa.operators.engine import Outset, leg_of
from airflow_provider_meisa.operators.leg import Leg, account_of, reason_of, spent
from airflow_provider_meisa.operators.lineage import LineageMixin
from airflow_provider_meisa.operators.parameters import OnAmbiguous, OnChangedAudience, OnNo
from airflow_provider_meisa.operators.record import Record
from airflow_provider_meisa.operators.watch import Watch
from airflow_provider_meisa.triggers.quota import MeisaQuotaTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.api.client import MeisaClient

XCOM_KEY = "return_value"
SHORTEST_DEFERRAL = 10.0  # below it Airflow's LocalExecutor can lose the task (seen on 3.3 with 1 s and 3 s)

# From the end of a wait in the triggerer to the work, Airflow takes 1–3.5 s: so much earlier it is woken, and what is
# left of the wait is slept. From the second wait on it is what the one before has taken.
_WAKE_EARLY = 3.0
_MOST_EARLY = 5.0
# What is asked before a batch takes slots too. A stretch that had room for nothing else would be followed by another
# of its kind: after so many, one waits in its worker until it has sent something.
_MOST_STALLED = 2


class AudienceOperator(LineageMixin, MeisaOperator):
    """Enroll an audience into a sequence, 500 addresses a request; a subclass says where the addresses come from.

    Addresses are trimmed, checked and freed of duplicates first. The task keeps inside the key's rate limits; a
    long wait frees its worker slot. After a crash it goes on where it was. It pushes the summary of verdicts to
    XCom, then fails if too many addresses failed.

    :param sequence_slug: an active sequence (templated).
    :param override_unsubscribe: enroll even the suppressed (templated); needs ``allow_override_unsubscribe`` on the
        connection.
    :param max_failed: most failed and unreported addresses: ``int`` a number, ``float`` a share, ``None`` no limit.
    :param max_invalid: most invalid addresses, likewise.
    :param max_contacts: most addresses in all; if there are more, none is sent. It makes the task read its
        source once more beforehand.
    :param skip_suppressed: ask Meisa first who unsubscribed, and do not send them (templated); needs
        ``contacts:read``.
    :param preview: send nothing; return what would be sent and how long it would take (templated).
    :param outcomes_path: where the verdict of each address is written (templated): any ``ObjectStoragePath`` that
        ends in ``.jsonl`` or ``.csv``, or one of these and ``.gz``.
    :param rejects_only: leave out of it ``enrolled``, ``already_enrolled`` and ``duplicate`` (templated).
    :param on_empty: ``success``, ``skip`` or ``fail``, if there is no row at all.
    :param on_nothing_valid: likewise, if there are rows and not one of them is a valid address; a preview, too.
    :param on_ambiguous: when a batch's answer is lost, ``resend`` it or ``fail``.
    :param on_changed_audience: when a retry finds other addresses than the first try had, ``fail`` or ``restart``.
    :param max_in_flight: how many requests are on their way at a time, 1–16.
    :param deferrable: wait in the triggerer, without a worker slot; by default ``[operators] default_deferrable``.
    :param defer_after: shortest wait, in seconds or as a ``timedelta``, that is deferred and not slept; at least 10
        seconds.
    :param meisa_conn_id: the Airflow Connection.
    """

    template_fields: Sequence[str] = (
        "sequence_slug",
        "override_unsubscribe",
        "skip_suppressed",
        "preview",
        "outcomes_path",
        "rejects_only",
        "meisa_conn_id",
    )

    email_column: str | int | None = None
    """The column of the addresses, where a subclass has such a parameter."""

    def __init__(
        self,
        *,
        sequence_slug: str,
        override_unsubscribe: bool = False,
        max_failed: float | None = 0,
        max_invalid: float | None = None,
        max_contacts: int | None = None,
        skip_suppressed: bool = False,
        preview: bool = False,
        outcomes_path: str | None = None,
        rejects_only: bool = False,
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
        self.sequence_slug = sequence_slug
        self.override_unsubscribe = override_unsubscribe
        self.max_failed = max_failed
        self.max_invalid = max_invalid
        self.max_contacts = max_contacts
        self.skip_suppressed = skip_suppressed
        self.preview = preview
        self.outcomes_path = outcomes_path
        self.rejects_only = rejects_only
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
    def read(self, context: Context) -> Iterable[object]:
        """Return the addresses, read anew at each call and in the same order; a stream need not fit into memory.

        :raises MeisaInputError: if there is nothing that could be read.
        """

    def finished(self, context: Context) -> None:
        """Put away what was kept for a later try: every address has its verdict now."""

    def execute(self, context: Context) -> dict[str, object]:
        """Enroll the contacts and return the summary.

        :return: see `airflow_provider_meisa.api.outcomes.summary`.
        :raises AirflowSkipException: if there is no address and ``on_empty`` is ``skip``.
        :raises AirflowFailException: if too many addresses failed, and for what a retry cannot mend.
        :raises AirflowException: if Meisa cannot be asked.
        """
        return self._run(context, None)

    def resume(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, object]:
        """Go on after a wait in the triggerer.

        :raises AirflowFailException: if the event is not one of `MeisaQuotaTrigger`, and as `execute` does.
        """
        match event:
            case {"status": "go", "cursor": dict(cursor), "moment": float(moment)}:
                self._wake_early = min(max(time.time() - moment, 0.0), _MOST_EARLY)
                return self._run(context, cursor)
            case _:
                raise AirflowFailException(
                    "The trigger sent an event this version does not know. Was the provider upgraded while the task "
                    "waited? Clear the task: it goes on where it was."
                )

    def on_kill(self) -> None:
        """Send nothing from now on. What was sent is noted, so that a later try goes on exactly."""
        if self._client is not None:
            self._client.stop()

    def _run(self, context: Context, cursor: dict[str, Any] | None) -> dict[str, object]:
        with airflow_failures():
            hook = self.begin(context)
            self._check_deferral()
            self._client = client = hook.get_conn()
            client.max_wait = self.longest_wait
            store = store_of(context)
            start = start_of(store, cursor, context["ti"].max_tries)
            if start.stalled >= _MOST_STALLED:
                client.max_wait = math.inf
            with self._watch(context, client, start) as watch:
                outset = Outset(context, client, store, start, watch)
                record = Record(self.outcomes_path, rejects_only=self.rejects_only)
                try:
                    if self.preview:
                        return self._preview(outset)
                    if start.complete:
                        return self._end(outset, record, self._account_again(outset))
                    if cursor is None and not start.next_batch:
                        # What an earlier try has read, and sent nothing of, may be old.
                        self.finished(context)
                    leg = leg_of(self, outset, record)
                    step = leg.perform()
                except MeisaBackOffError as error:  # of what is asked before the first batch is sent
                    if self.deferrable and error.retry_after:
                        now = replace(watch.start, **spent(watch.start, client.traffic))
                        self._defer(Wait(error.retry_after), outset, now, stalled=True)
                    raise
                if isinstance(step, Wait):
                    stalled = not leg.has_answers and not isinstance(step, AwaitResend)
                    self._defer(step, outset, leg.checkpoint(), stalled=stalled)
                return self._end(outset, record, self._account_for(leg, step, outset, record))

    def _watch(self, context: Context, client: MeisaClient, start: Checkpoint) -> Watch:
        state = None if self.preview else state_of(context)
        return Watch(client, start, state, sequence_slug=self.sequence_slug, meisa_conn_id=self.meisa_conn_id)

    def _account_for(self, leg: Leg, step: Done, outset: Outset, record: Record) -> dict[str, object]:
        """Leave the summary and the outcomes, and raise what has stopped the run early."""
        self.account = account = leg.account(
            self.sequence_slug,
            meisa_conn_id=self.meisa_conn_id,
            complete=step.stopped_by is None,
            outcomes_path=self.outcomes_path or None,
        )
        ti = outset.context["ti"]
        ti.xcom_push(key=XCOM_KEY, value=account)
        tell_account(account)
        record.finish(account)
        if step.stopped_by is None:
            ended = replace(leg.checkpoint(complete=True), max_tries=ti.max_tries)
            outset.store.save(ended.as_json())
        outset.watch.end(leg.checkpoint(), account)
        if step.stopped_by is not None:
            in_doubt = self.on_ambiguous == "fail" and bool(leg.checkpoint().in_flight)
            with airflow_failures(final=(MeisaError,) if in_doubt else ()):
                raise step.stopped_by
        return account

    def _account_again(self, outset: Outset) -> dict[str, object]:
        """Make the summary once more that a try has left which was interrupted afterwards."""
        ended = outset.start
        self.account = account_of(
            ended,
            Tally(ended.counts, ended.attention, ended.doubts),
            self.sequence_slug,
            outcomes_path=self.outcomes_path or None,
            meisa_conn_id=self.meisa_conn_id,
        )
        outset.context["ti"].xcom_push(key=XCOM_KEY, value=self.account)
        tell_account(self.account)
        outset.watch.end(ended, self.account)
        return self.account

    def _end(self, outset: Outset, record: Record, account: dict[str, object]) -> dict[str, object]:
        """Put away what only a later try would need, now that there is none to come, and say what became of it.

        A failure in here is harmless: the retry finds that everybody has a verdict, and ends the task.
        """
        record.discard_parts()
        self.finished(outset.context)
        tell_outlets(outset.context, self.outlets, account)
        outset.store.end()
        self._conclude(account)
        return account

    @property
    def longest_wait(self) -> float:
        """The longest wait, in seconds, that is slept and not deferred."""
        return check_seconds("defer_after", self.defer_after) if self.deferrable else math.inf

    def _check_deferral(self) -> None:
        if check_seconds("defer_after", self.defer_after) < SHORTEST_DEFERRAL:
            raise MeisaInputError(
                f"defer_after must be at least {SHORTEST_DEFERRAL:g} s: in shorter deferrals Airflow can lose a task."
            )

    def _defer(self, step: Wait, outset: Outset, now: Checkpoint, *, stalled: bool) -> NoReturn:
        reason = reason_of(step, outset.client)
        self.log.info("%s for %.0f s: giving the worker slot back.", reason, step.seconds)
        # A wait just above the shortest deferral, less waking early, must not become a shorter one.
        pause = max(SHORTEST_DEFERRAL, step.seconds - self._wake_early)
        now = replace(now, waited=now.waited + pause, stalled=now.stalled + 1 if stalled else now.stalled)
        outset.store.save(now.as_json())
        moment = time.time() + pause
        outset.watch.tell(now, datetime.fromtimestamp(moment, UTC))
        self.defer(trigger=MeisaQuotaTrigger(moment=moment, cursor=now.as_json()), method_name="resume")

    def _preview(self, outset: Outset) -> dict[str, Any]:
        from airflow_provider_meisa.operators.preview import preview

        context, client = outset.context, outset.client
        try:
            report = preview(
                client,
                self.sequence_slug,
                self.read(context),
                meisa_conn_id=self.meisa_conn_id,
                override_unsubscribe=self.override_unsubscribe,
            )
        finally:
            if not outset.start.next_batch:  # else the run goes on with what was read
                self.finished(context)
        self.log.info("Preview: nothing was sent. %s", report)
        tell_outlets(context, self.outlets, report)
        context["ti"].xcom_push(key=XCOM_KEY, value=report)
        self._check_any_valid(report["counts"]["invalid"], report["total"])
        return report

    def _check_any_valid(self, invalid: int, total: int) -> None:
        """Fail or skip the task if there were rows, and not one valid address among them."""
        if self.on_nothing_valid == "success" or not nothing_valid(invalid, total):
            return
        message = (
            f"{self.sequence_slug}: not one of {total:,} rows is a valid address (on_nothing_valid). Check what the "
            "source gives: is it the right column?"
        )
        raise (
            AirflowFailException(message)
            if self.on_nothing_valid == "fail"
            else AirflowSkipException(message)
        )

    def _conclude(self, account: Mapping[str, Any]) -> None:
        counts = {Verdict(name): count for name, count in account["counts"].items()}
        if not account["total"] and self.on_empty != "success":
            message = "There is no address to enroll."
            raise AirflowFailException(message) if self.on_empty == "fail" else AirflowSkipException(message)
        if found := objections(counts, max_failed=self.max_failed, max_invalid=self.max_invalid):
            raise AirflowFailException(
                f"{self.sequence_slug}: {'; '.join(found)}. The summary in XCom has the first of them under "
                "'attention'. Mend the addresses, or raise the limit."
            )
        self._check_any_valid(counts.get(Verdict.INVALID, 0), account["total"])
