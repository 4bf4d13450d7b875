"""One stretch of an enrollment in one process: from a start, a retry or a deferral to the next one, or to the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaError
from airflow_provider_meisa.api.outcomes import Tally, summary
from airflow_provider_meisa.api.rate_limit.limiter import Slot, Wait
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.enrollment import AwaitResend, Collect, Done, Enrollment, Send
from airflow_provider_meisa.operators.batch_log import BatchLog

if TYPE_CHECKING:
    from airflow_provider_meisa.api.bulk_enroll_response.reader import BulkReply
    from airflow_provider_meisa.api.client import MeisaClient, Traffic

log = logging.getLogger("airflow.task.meisa")

_SHORT = 5.0  # seconds; a shorter wait is not worth a line

RESPONSE_LOST = "Meisa may still be at work on a request whose response was lost, which is not sent again"

Tell = Callable[[Checkpoint, datetime | None], None]


def _tell_nobody(_now: Checkpoint, _until: datetime | None) -> None:
    """Let nobody watch."""


class Leg:
    """Performs an enrollment until it is done, or until a wait is due that is too long for a worker.

    Sends from threads; notes the intent before each batch is sent, and what became of it after its answer.

    :param client: counts and cuts short the waits.
    :param engine: says what to do; it has caught up with the start.
    :param start: where the run has come to before this leg.
    :param send: sends one batch; called from several threads.
    :param keep: keeps a checkpoint. If it fails, nothing more is sent: another process may have taken over.
    :param max_in_flight: how many batches may be on their way at a time.
    :param longest_wait: the client's ``max_wait`` from the first answer on that settles a batch, in seconds.
    :param total: how many addresses there are in all, where that is known.
    :param tell: told after each note, and with its end before a wait that is longer than a few seconds.
    :param fold: holds the lines on batches together in the log, under a title.
    """

    def __init__(
        self,
        client: MeisaClient,
        engine: Enrollment,
        *,
        start: Checkpoint,
        send: Callable[[Sequence[str], Slot], BulkReply],
        keep: Callable[[Mapping[str, Any]], None],
        max_in_flight: int,
        longest_wait: float,
        total: int | None = None,
        tell: Tell = _tell_nobody,
        fold: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._client = client
        self._engine = engine
        self._longest_wait = longest_wait
        self._start = start
        self._send = send
        self._keep = keep
        self._tell = tell
        self._log = BatchLog(client, total)
        self._fold = fold
        self._said = ExitStack()
        self._has_begun = False
        self._pool = ThreadPoolExecutor(max_in_flight, thread_name_prefix="meisa")
        self._on_their_way: dict[Future[BulkReply], Send] = {}
        self.has_answers = (
            False  # to a batch, and other than 429 or 503: one that only met these came no further
        )

    def perform(self) -> Done | Wait:
        """Go on until the run is done, or a wait is due that is longer than the client's ``max_wait``.

        Then nothing is in flight. Whatever ends it early, the answers to what is on its way are taken in and noted.

        :raises MeisaStoppedError: if the client was stopped.
        :raises MeisaError: what is raised where the engine asks for its first slot, or where outcomes are recorded.
        """
        try:
            while not isinstance(step := self._next(), Done):
                if isinstance(step, Send):
                    self._begin(step)
                elif self._on_their_way:
                    self._collect(None if isinstance(step, Collect) else step.seconds)
                elif isinstance(step, Wait):
                    if step.seconds > self._client.max_wait:
                        return step
                    self._sit_out(step)
        except BaseException:
            self._client.stop()
            while self._on_their_way:
                self._collect(None)
            raise
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._said.close()
        return step

    def checkpoint(self, *, complete: bool = False) -> Checkpoint:
        """Say how far the run has come, with this leg."""
        return replace(
            self._engine.checkpoint(),
            **spent(self._start, self._client.traffic),
            started_at=self._start.started_at,
            stalled=0 if self.has_answers else self._start.stalled,
            resumed=self._start.resumed,
            complete=complete,
        )

    def account(
        self, sequence_slug: str, *, complete: bool, outcomes_path: str | None, meisa_conn_id: str = ""
    ) -> dict[str, object]:
        """Make the summary for XCom: of every address, those included that this try could not send."""
        return account_of(
            replace(self.checkpoint(), complete=complete),
            self._engine.tally + self._engine.unsettled,
            sequence_slug,
            outcomes_path=outcomes_path,
            meisa_conn_id=meisa_conn_id,
        )

    def _next(self) -> Send | Wait | Collect | Done:
        self._client.check_not_stopped()
        return self._engine.step()

    def _begin(self, step: Send) -> None:
        self._keep(self.checkpoint().as_json())
        if not self._has_begun:
            self._has_begun = True
            self._open_log(step.batch.number + 1)
        if step.is_resend:
            self._client.count_repeat()
        self._on_their_way[self._pool.submit(self._send, step.batch.addresses, step.slot)] = step

    def _open_log(self, first: int) -> None:
        self._said.enter_context(self._fold("Batches" if first == 1 else f"Batches from {first:,} on"))
        self._log.begin(self._engine.tally.total)
        self._said.callback(lambda: self._log.close(self._engine.tally.total))

    def _sit_out(self, step: Wait) -> None:
        if step.seconds > _SHORT:
            until = datetime.fromtimestamp(time.time() + step.seconds, UTC)
            self._tell(self.checkpoint(), until)
            log.info(
                "%s for %.0f s: going on at %s",
                reason_of(step, self._client),
                step.seconds,
                f"{until:%H:%M:%S} UTC",
            )
        self._client.wait(step.seconds)

    def _collect(self, seconds: float | None) -> None:
        """Take in the answers that come within this time."""
        done, _ = wait(self._on_their_way, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            self._take_in(self._on_their_way.pop(future), future)
        if self.has_answers:
            self._client.max_wait = self._longest_wait
        if done:
            now = self.checkpoint()
            self._keep(now.as_json())
            self._tell(now, None)

    def _take_in(self, send: Send, future: Future[BulkReply]) -> None:
        number = send.batch.number + 1
        try:
            reply = future.result()
        except MeisaError as error:
            log.warning("Batch %d was not taken: %s", number, error)
            self.has_answers |= self._engine.refused(send, error)
            return
        counts = self._engine.answered(send, reply)
        self.has_answers = True
        self._log.answered(number, counts, self._engine.tally.total)
        if reply.unread:
            log.warning("Not understood in the answer: %s", "; ".join(reply.unread))


def reason_of(step: Wait, client: MeisaClient) -> str:
    """Say why a run waits, as the beginning of a sentence."""
    if isinstance(step, AwaitResend):
        return RESPONSE_LOST
    return client.reason_to_wait


def account_of(
    now: Checkpoint, tally: Tally, sequence_slug: str, *, outcomes_path: str | None, meisa_conn_id: str
) -> dict[str, object]:
    """Make the summary for XCom of how far a run has come."""
    return summary(
        tally,
        sequence_slug=sequence_slug,
        meisa_conn_id=meisa_conn_id,
        complete=now.complete,
        requests=now.requests,
        repeats=now.repeats,
        rate_limited=now.rate_limited,
        waited_s=now.waited,
        elapsed_s=time.time() - now.started_at,
        resumed=now.resumed,
        outcomes_path=outcomes_path,
    )


def spent(start: Checkpoint, traffic: Traffic) -> dict[str, Any]:
    """Return the fields of a checkpoint that say what a run has done, with what a client has done since the start."""
    return {
        "requests": start.requests + traffic.requests,
        "repeats": start.repeats + traffic.repeats,
        "rate_limited": start.rate_limited + traffic.rate_limited,
        "waited": start.waited + traffic.waited,
    }
