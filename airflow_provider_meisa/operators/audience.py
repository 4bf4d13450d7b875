"""What every task shares that enrolls an audience: resume, perform, account for each address, decide on red."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Container, Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf

from airflow_provider_meisa.api.audience import batches, key_of, normalise
from airflow_provider_meisa.api.checkpoint import Checkpoint
from airflow_provider_meisa.api.enrollment import Enrollment
from airflow_provider_meisa.api.errors import (
    MeisaAudienceChangedError,
    MeisaInputError,
    MeisaRateLimitError,
)
from airflow_provider_meisa.api.outcome_file import OutcomeFile
from airflow_provider_meisa.api.outcomes import Verdict, check_limit, in_words, objections
from airflow_provider_meisa.api.quota import Slot, Wait
from airflow_provider_meisa.hooks.meisa import MeisaHook, airflow_failures
from airflow_provider_meisa.links.meisa import leave_link
from airflow_provider_meisa.operators.base import MeisaOperator
from airflow_provider_meisa.operators.checkpoint_store import CheckpointStore, store_of
from airflow_provider_meisa.operators.leg import Leg
from airflow_provider_meisa.operators.location import locate
from airflow_provider_meisa.operators.preflight import check_sequence, check_size, tell_plan
from airflow_provider_meisa.triggers.quota import MeisaQuotaTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.api.bulk_reply import BulkReply
    from airflow_provider_meisa.api.client import MeisaClient

OnNo = Literal["success", "skip", "fail"]
OnAmbiguous = Literal["resend", "fail"]
OnChangedAudience = Literal["fail", "restart"]

XCOM_KEY = "return_value"
ON_NO = ("success", "skip", "fail")
ON_AMBIGUOUS = ("resend", "fail")
ON_CHANGED_AUDIENCE = ("fail", "restart")
SHORTEST_DEFERRAL = 10.0  # below it Airflow's LocalExecutor can lose the task (seen on 3.3 with 1 s and 3 s)

_WAKE_EARLY = 3.0  # a deferral costs 1–3.5 s on top of its wait; the rest of the wait is slept
_MOST_IN_FLIGHT = 16
# What is asked before a batch takes slots too. A stretch that had room for nothing else would be followed by another
# of its kind: after so many, one waits in its worker until it has sent something.
_MOST_STALLED = 2


class AudienceOperator(MeisaOperator):
    """Enroll an audience into a sequence, 500 addresses a request; a subclass says where the addresses come from.

    Addresses are trimmed, checked and freed of duplicates first. The task keeps inside the key's rate limits; a
    long wait frees its worker slot. After a crash it goes on where it was. It pushes the summary of verdicts to
    XCom, then fails if too many addresses failed.

    :param sequence_slug: an active sequence (templated).
    :param override_unsubscribe: enroll even the suppressed; needs ``allow_override_unsubscribe`` on the connection.
    :param max_failed: most failed and unreported addresses: ``int`` a number, ``float`` a share, ``None`` no limit.
    :param max_invalid: most invalid addresses, likewise.
    :param max_contacts: most addresses in all; if there are more, none is sent. It makes the task read its
        source once more beforehand.
    :param skip_suppressed: ask Meisa first who unsubscribed, and do not send them; needs ``contacts:read``.
    :param preview: send nothing; return what would be sent and how long it would take.
    :param outcomes_path: where the verdict of each address is written (templated): any ``ObjectStoragePath`` that
        ends in ``.jsonl`` or ``.csv``, or one of these and ``.gz``.
    :param rejects_only: leave out of it ``enrolled``, ``already_enrolled`` and ``duplicate``.
    :param on_empty: ``success``, ``skip`` or ``fail``, if there is no address at all.
    :param on_ambiguous: when a batch's answer is lost, ``resend`` it or ``fail``.
    :param on_changed_audience: when a retry finds other addresses than the first try had, ``fail`` or ``restart``.
    :param max_in_flight: how many requests are on their way at a time, 1–16.
    :param deferrable: wait in the triggerer, without a worker slot; by default ``[operators] default_deferrable``.
    :param defer_after: shortest wait, in seconds, that is deferred and not slept; at least 10.
    :param meisa_conn_id: the Airflow Connection.
    """

    template_fields: Sequence[str] = ("sequence_slug", "outcomes_path", "meisa_conn_id")

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
        on_ambiguous: OnAmbiguous = "resend",
        on_changed_audience: OnChangedAudience = "fail",
        max_in_flight: int = 4,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        defer_after: float = 30.0,
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
        self.on_ambiguous = on_ambiguous
        self.on_changed_audience = on_changed_audience
        self.max_in_flight = max_in_flight
        self.deferrable = deferrable
        self.defer_after = defer_after
        self._client: MeisaClient | None = None

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
            case {"status": "go", "cursor": dict(cursor)}:
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
            self._check()
            hook = MeisaHook(self.meisa_conn_id, max_wait=self._longest_wait)
            leave_link(context, hook, self.sequence_slug)
            self._client = client = hook.get_conn()
            store = store_of(context)
            start = self._where(store, cursor)
            if start.stalled >= _MOST_STALLED:
                client.max_wait = math.inf
            try:
                if self.preview:
                    return self._preview(context, client)
                outcomes = self._outcome_file(start)
                leg = self._leg(context, client, store, start, outcomes)
                step = leg.perform()
            except MeisaRateLimitError as error:  # of what is asked before the first batch is sent
                if self.deferrable and error.retry_after:
                    self._defer(error.retry_after, replace(start, stalled=start.stalled + 1), store)
                raise
            if isinstance(step, Wait):
                now = leg.checkpoint()
                self._defer(
                    step.seconds, now if leg.has_answers else replace(now, stalled=now.stalled + 1), store
                )
            complete = step.stopped_by is None
            account = leg.account(
                self.sequence_slug, complete=complete, outcomes_path=self.outcomes_path or None
            )
            if outcomes:
                self._compare(outcomes.finish(), account)
            context["ti"].xcom_push(key=XCOM_KEY, value=account)
            if step.stopped_by is not None:
                raise step.stopped_by
            store.finish(leg.checkpoint(complete=True).as_json())
            if outcomes:
                outcomes.discard_parts()
            self.finished(context)
        self._conclude(account)
        return account

    @property
    def _longest_wait(self) -> float:
        return self.defer_after if self.deferrable else math.inf

    def _check(self) -> None:
        """See that the parameters can be used, before anything is asked or sent."""
        self.check_choice("on_empty", ON_NO)
        self.check_choice("on_ambiguous", ON_AMBIGUOUS)
        self.check_choice("on_changed_audience", ON_CHANGED_AUDIENCE)
        check_limit("max_failed", self.max_failed)
        check_limit("max_invalid", self.max_invalid)
        if not 1 <= self.max_in_flight <= _MOST_IN_FLIGHT:
            raise MeisaInputError(f"max_in_flight must be from 1 to {_MOST_IN_FLIGHT}.")
        if self.defer_after < SHORTEST_DEFERRAL:
            raise MeisaInputError(
                f"defer_after must be at least {SHORTEST_DEFERRAL:g} s: in shorter deferrals Airflow can lose a task."
            )

    def _where(self, store: CheckpointStore, cursor: Mapping[str, Any] | None) -> Checkpoint:
        """Find where to begin: where this run has come to, or at the beginning."""
        kept, carried = (Checkpoint.from_json(value) if value else None for value in (store.load(), cursor))
        # What was kept is the latest word, unless it is that of an earlier run that was cleared after its end.
        start = kept or carried or Checkpoint()
        if carried and start.started_at != carried.started_at:
            start = carried
        if cursor is None and start.complete:
            self.log.info("An earlier try has enrolled everybody; this one begins anew.")
            start = Checkpoint()
        if cursor is None and start.next_batch:
            self.log.info("Going on after %d batches of an earlier try.", start.next_batch)
            start = replace(start, resumed=True)
        if cursor is None:
            start = replace(start, stalled=0)
        return start if start.started_at else replace(start, started_at=time.time())

    def _check_before(self, context: Context, client: MeisaClient, total: int | None) -> None:
        """Look at what would stop the run, before the first batch is sent."""
        if self.max_contacts is not None:
            try:
                check_size(self.read(context), self.max_contacts)
            except MeisaInputError:
                self.finished(context)
                raise
        if self.override_unsubscribe:
            self.log.warning("override_unsubscribe is set: people who have unsubscribed will be mailed.")
        check_sequence(client, self.sequence_slug)
        tell_plan(client, self.sequence_slug, total)

    def _outcome_file(self, start: Checkpoint) -> OutcomeFile | None:
        if not self.outcomes_path:
            return None
        file = OutcomeFile(locate(self.outcomes_path), rejects_only=self.rejects_only)
        file.begin(first_batch=start.next_batch)
        return file

    def _compare(self, lines: int, account: Mapping[str, object]) -> None:
        if lines != account["total"] and not self.rejects_only:
            self.log.warning(
                "The outcomes file has %s lines for %s addresses: did an earlier try write it on another host? "
                "Give outcomes_path a place that all hosts reach.",
                f"{lines:,}",
                account["total"],
            )

    def _leg(
        self,
        context: Context,
        client: MeisaClient,
        store: CheckpointStore,
        start: Checkpoint,
        outcomes: OutcomeFile | None,
    ) -> Leg:
        suppressed = self._suppressed(client)
        source = self.read(context)
        total = len(source) if isinstance(source, Sized) else None

        checked = bool(start.next_batch)

        def reserve() -> Slot | Wait:
            """Check what is to be checked before the first slot is taken: the checks need slots too."""
            nonlocal checked
            if not checked:
                self._check_before(context, client, total)
                checked = True
            return client.quota.reserve()

        def engine_from(checkpoint: Checkpoint, source: Iterable[object]) -> Enrollment:
            engine = Enrollment(
                batches(source),
                reserve,
                checkpoint=checkpoint,
                record=outcomes.write if outcomes else None,
                max_in_flight=self.max_in_flight,
                resend=self.on_ambiguous == "resend",
                suppressed=suppressed,
            )
            engine.catch_up()
            return engine

        try:
            engine = engine_from(start, source)
        except MeisaAudienceChangedError:
            if self.on_changed_audience != "restart":
                raise
            self.log.warning("The addresses are not those of the earlier try: all of them are sent (again).")
            start = Checkpoint(started_at=start.started_at, resumed=True)
            if outcomes:
                outcomes.begin(first_batch=0)
            checked = False
            engine = engine_from(start, self.read(context))
        return Leg(
            client,
            engine,
            start=start,
            send=lambda addresses, slot: self._send(client, addresses, slot),
            keep=store.save,
            max_in_flight=self.max_in_flight,
            longest_wait=self._longest_wait,
            total=total,
        )

    def _suppressed(self, client: MeisaClient) -> Container[str]:
        from airflow_provider_meisa.api import contacts

        if not self.skip_suppressed:
            return ()
        return frozenset(key_of(normalise(email)) for email in contacts.unsubscribed_emails(client).emails)

    def _send(self, client: MeisaClient, addresses: Sequence[str], slot: Slot) -> BulkReply:
        from airflow_provider_meisa.api import sequences

        return sequences.bulk_enroll(
            client,
            addresses,
            self.sequence_slug,
            override_unsubscribe=self.override_unsubscribe,
            resend=self.on_ambiguous == "resend",
            slot=slot,
        )

    def _defer(self, seconds: float, checkpoint: Checkpoint, store: CheckpointStore) -> NoReturn:
        self.log.info("The key's rate limits leave no room for %.0f s: giving the worker slot back.", seconds)
        # A wait just above the shortest deferral, less waking early, must not become a shorter one.
        pause = max(SHORTEST_DEFERRAL, seconds - _WAKE_EARLY)
        cursor = replace(checkpoint, waited=checkpoint.waited + pause).as_json()
        store.save(cursor)
        self.defer(trigger=MeisaQuotaTrigger(moment=time.time() + pause, cursor=cursor), method_name="resume")

    def _preview(self, context: Context, client: MeisaClient) -> dict[str, object]:
        from airflow_provider_meisa.operators.preview import preview

        try:
            report = preview(client, self.sequence_slug, self.read(context))
        finally:
            self.finished(context)
        self.log.info("Preview: nothing was sent. %s", report)
        return report

    def _conclude(self, account: Mapping[str, Any]) -> None:
        counts = {Verdict(name): count for name, count in account["counts"].items()}
        self.log.info("%s: %s addresses: %s", self.sequence_slug, f"{account['total']:,}", in_words(counts))
        if not account["total"] and self.on_empty != "success":
            message = "There is no address to enroll."
            raise AirflowFailException(message) if self.on_empty == "fail" else AirflowSkipException(message)
        if found := objections(counts, max_failed=self.max_failed, max_invalid=self.max_invalid):
            raise AirflowFailException(
                f"{self.sequence_slug}: {'; '.join(found)}. The summary in XCom has the first of them under "
                "'attention'. Mend the addresses, or raise the limit."
            )
