"""The engine of a task's enrollment, made of the task's parameters, and the leg that performs it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaAudienceChangedError
from airflow_provider_meisa.bulk.batching import batches
from airflow_provider_meisa.bulk.checkpoint import Checkpoint, seconds_until_resend
from airflow_provider_meisa.bulk.enrollment import Enrollment
from airflow_provider_meisa.operators.leg import RESPONSE_LOST, Leg
from airflow_provider_meisa.operators.log_group import group
from airflow_provider_meisa.operators.preflight import check_before, suppressed

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.api.bulk_enroll_response.reader import BulkReply
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.rate_limit.limiter import Quota, Slot, Wait
    from airflow_provider_meisa.operators.audience import AudienceOperator
    from airflow_provider_meisa.operators.checkpoint_store import CheckpointStore
    from airflow_provider_meisa.operators.record import Record
    from airflow_provider_meisa.operators.watch import Watch

log = logging.getLogger("airflow.task.meisa")


@dataclass(frozen=True, slots=True)
class Outset:
    """What a leg sets out with.

    :param context: Airflow's.
    :param client: of the task's connection.
    :param store: keeps the checkpoint.
    :param start: where the run has come to.
    :param watch: is told how it goes on.
    """

    context: Context
    client: MeisaClient
    store: CheckpointStore
    start: Checkpoint
    watch: Watch


def leg_of(task: AudienceOperator, outset: Outset, record: Record) -> Leg:
    """Make the next leg of a task: read its source anew, and catch up with where it has come to.

    :raises MeisaAudienceChangedError: if the source gives other addresses, and ``on_changed_audience`` is ``fail``.
    :raises MeisaError: if Meisa cannot be asked who unsubscribed, or the source cannot be read.
    """
    client, start, watch = outset.client, outset.start, outset.watch
    # First of all: what cannot be read stops the task before its first request, and leaves no part of a file.
    source = task.read(outset.context)
    record.begin(first_batch=start.next_batch)
    known = suppressed(client) if task.skip_suppressed else ()
    watch.total = len(source) if isinstance(source, Sized) else None
    try:
        engine = _engine(task, source, outset, record=record, known=known)
    except MeisaAudienceChangedError:
        if task.on_changed_audience != "restart":
            raise
        log.warning("The addresses are not those of the earlier try: all of them are sent (again).")
        _wait_out(client, start)
        start = _again(start)
        watch.begin(start)
        record.begin(first_batch=0)
        source = task.read(outset.context)
        engine = _engine(task, source, replace(outset, start=start), record=record, known=known)
    return Leg(
        client,
        engine,
        start=start,
        send=_sender(task, client),
        keep=outset.store.save,
        max_in_flight=task.max_in_flight,
        longest_wait=task.longest_wait,
        total=watch.total,
        tell=watch.tell,
        fold=group,
    )


def _wait_out(client: MeisaClient, start: Checkpoint) -> None:
    """Wait until Meisa is surely no longer at work on the batches in doubt: some of their addresses are sent again."""
    if start.in_flight:
        seconds = seconds_until_resend(start, client.settings.resend_after)
        log.info("%s for %.0f s", RESPONSE_LOST, seconds)
        client.wait(seconds)
        client.check_not_stopped()


def _again(start: Checkpoint) -> Checkpoint:
    """Begin with the first address; what it took so far stays in the account."""
    return Checkpoint(
        requests=start.requests,
        repeats=start.repeats,
        rate_limited=start.rate_limited,
        waited=start.waited,
        started_at=start.started_at,
        resumed=True,
    )


class Gate:
    """Gives slots of the quota once what would stop the run was looked at: the look needs slots too.

    :param look: called before the first slot is taken.
    :param passed: whether an earlier try has looked.
    """

    def __init__(self, quota: Quota, look: Callable[[], None], *, passed: bool) -> None:
        self._quota = quota
        self._look = look
        self._passed = passed

    def reserve(self) -> Slot | Wait:
        """Ask the quota for a slot."""
        if not self._passed:
            self._look()
            self._passed = True
        return self._quota.reserve()


def _engine(
    task: AudienceOperator,
    source: Iterable[object],
    outset: Outset,
    *,
    record: Record,
    known: Container[str],
) -> Enrollment:
    client, start, total = outset.client, outset.start, outset.watch.total
    gate = Gate(
        client.quota,
        lambda: check_before(task, outset.context, client, total),
        passed=bool(start.next_batch),
    )
    engine = Enrollment(
        batches(source),
        gate.reserve,
        checkpoint=start,
        record=record.write,
        max_in_flight=task.max_in_flight,
        resend=task.on_ambiguous == "resend",
        resend_after=client.settings.resend_after,
        suppressed=known,
    )
    engine.catch_up()
    return engine


def _sender(task: AudienceOperator, client: MeisaClient) -> Callable[[Sequence[str], Slot], BulkReply]:
    def send(addresses: Sequence[str], slot: Slot) -> BulkReply:
        from airflow_provider_meisa.api.endpoints import sequences

        return sequences.bulk_enroll(
            client,
            addresses,
            task.sequence_slug,
            override_unsubscribe=task.override_unsubscribe,
            resend=False,  # the engine does, and keeps when
            slot=slot,
        )

    return send
