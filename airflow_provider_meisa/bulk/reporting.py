"""The reports of a run: log lines, progress and metrics, without Airflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_meisa.api.nouns import BATCH, count
from airflow_provider_meisa.api.outcomes import OutcomeStatus, format_counts
from airflow_provider_meisa.bulk.batch_log import BatchLog
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.steps import AwaitResend

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.api.outcomes import OutcomeCounter
    from airflow_provider_meisa.api.rate_limit.limiter import Wait
    from airflow_provider_meisa.bulk.job import Job

KEY = "meisa_progress"
RESPONSE_LOST = "Response lost: Meisa may still be processing the request, which is not sent again yet"

State = Literal["sending", "waiting", "stopped", "complete"]

log = logging.getLogger("airflow.task.meisa")

_NEEDS_A_REQUEST = (
    OutcomeStatus.CREATED,
    OutcomeStatus.UPDATED,
    OutcomeStatus.FAILED,
    OutcomeStatus.UNREPORTED,
)
_SECONDS = 2.0  # a write takes 14 ms of the run (Airflow 3.3, SQLite)


class Metrics(Protocol):
    """Counts for a monitoring system: `hooks.metrics.Meter` sends them to Airflow's metrics."""

    def skip(self, work: Checkpoint, counts: Mapping[str, int], /) -> None:
        """Skip the counts of an earlier stretch."""

    def work(self, so_far: Checkpoint, /) -> None:
        """Send the requests and waits since the last call."""

    def addresses(self, so_far: Mapping[str, int], /) -> None:
        """Send the addresses with a status since the last call."""


class RunReporter:
    """Reports one stretch of a run: its batches in the log, its counts to progress and metrics.

    :param client: counts the requests, and has the number of requests left.
    :param job: the job.
    :param progress: writes the progress, if it is given.
    :param metrics: counts for a monitoring system, if there is one.
    :param group: folds log lines under a title.
    :ivar total: the number of addresses, if it is known.
    :ivar requests: the number of requests that the plan needs, if there is one.
    """

    def __init__(
        self,
        client: MeisaClient,
        job: Job,
        *,
        progress: Progress | None = None,
        metrics: Metrics | None = None,
        group: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.total: int | None = None
        self.requests: int | None = None
        self.group = group
        self._client = client
        self._job = job
        self._progress = progress
        self._metrics = metrics
        self._batches: BatchLog | None = None
        self._open = ExitStack()
        self._has_ended = False

    def begin(self, start: Checkpoint) -> None:
        """Report the begin of the stretch, before its first request."""
        self.skip(start)
        self._write("sending", start)

    def skip(self, start: Checkpoint) -> None:
        """Count from this checkpoint on: earlier counts are reported already."""
        self._last = start
        if self._metrics:
            self._metrics.skip(start, start.counts)

    def open_batches(self, first: int, counter: OutcomeCounter) -> None:
        """Begin the group of lines on batches, unless it is open, and count the batch that is sent.

        :param first: the number of the first batch to send, from 1.
        :param counter: the counts of the run.
        """
        if self._batches is None:
            title = f"{BATCH.many if self._has_batches else self._job.noun.many}".capitalize()
            self._open.enter_context(self.group(title if first == 1 else f"{title} from {first:,} on"))
            self._batches = BatchLog(
                self._client,
                self._job.batch_size,
                self.total if self._has_batches else self.requests,
                requests=self.requests,
                noun=None if self._has_batches else self._job.noun,
            )
            self._batches.begin(self._done(counter))
        self._batches.on_send()

    @property
    def _has_batches(self) -> bool:
        """Whether a request takes several records, so that lines have the numbers of batches."""
        return self._job.batch_size > 1

    def _done(self, counter: OutcomeCounter) -> int:
        """Return the number of rows with a status; with one record in a request, only of those that were sent."""
        if self._has_batches:
            return counter.total
        return sum(counter.counts[status] for status in _NEEDS_A_REQUEST)

    def report_batch(self, number: int, counts: Mapping[OutcomeStatus, int], counter: OutcomeCounter) -> None:
        """Report the outcomes of one batch.

        :param number: the number of the batch, from 1.
        :param counts: the counts of the batch.
        :param counter: the counts of the run.
        """
        if self._batches:
            self._batches.on_response(number, counts, self._done(counter))

    def report_error(self, number: int, error: MeisaError) -> None:
        """Log the error of the request of one batch.

        :param number: the number of the batch, from 1.
        """
        noun = BATCH if self._has_batches else self._job.noun
        log.warning("%s %d: the request has failed: %s", noun.one.capitalize(), number, error)

    def close_batches(self, counter: OutcomeCounter) -> None:
        """End the group of lines on batches.

        :param counter: the counts of the run.
        """
        with self._open:
            if self._batches:
                self._batches.close(self._done(counter))

    def report(self, now: Checkpoint, until: datetime | None = None) -> None:
        """Report the progress of the run.

        :param until: the end of the wait that begins now.
        """
        self._count(now)
        self._write("waiting" if until else "sending", now, total=self.total, until=until)

    def report_summary(self, summary: Mapping[str, Any], *, given_up: int = 0) -> None:
        """Log the result of a run.

        :param summary: its summary.
        :param given_up: the number of records that are left to a later attempt, because Meisa has failed on each.
        """
        counts = {OutcomeStatus(name): count for name, count in summary["counts"].items()}
        early = "" if summary["complete"] else "stopped early, "
        log.info(
            "%s: %s%s: %s",
            self._job.title,
            early,
            count(summary["total"], self._job.noun),
            format_counts(counts),
        )
        log.info(
            "Requests: %s (retries: %s, responses with 429: %s), %s s waited",
            *(f"{summary[name]:,}" for name in ("requests", "retries", "rate_limited")),
            f"{summary['waited_s']:,.0f}",
        )
        if given_up:
            log.warning(
                "Meisa fails on %s each time, and has responded to the others: those are sent last",
                count(given_up, self._job.noun),
            )
        if any(summary[name] for name in ("possibly_by_this_run", "possibly_twice", "in_doubt")):
            log.warning(
                "Enrolled possibly by an earlier request of this run: %s; possibly twice: %s; in doubt: %s",
                *(f"{summary[name]:,}" for name in ("possibly_by_this_run", "possibly_twice", "in_doubt")),
            )

    def end(self, now: Checkpoint, summary: Mapping[str, Any]) -> None:
        """Report the result of a run.

        :param summary: its summary.
        """
        self._has_ended = True
        self._count(now)
        state: State = "complete" if summary["complete"] else "stopped"
        self._write(state, now, counts=summary["counts"], total=summary["total"])

    def stop(self, work: Mapping[str, Any]) -> None:
        """Report that an exception ends the stretch.

        :param work: the fields of a checkpoint with the counts.
        """
        now = replace(self._last, **work)
        if self._metrics:
            self._metrics.work(now)
        if not self._has_ended:
            self._write("stopped", now, total=self.total)

    def _count(self, now: Checkpoint) -> None:
        self._last = now
        if self._metrics:
            self._metrics.work(now)
            self._metrics.addresses(now.counts)

    def _write(self, state: State, now: Checkpoint, **more: Any) -> None:
        if self._progress:
            self._progress.write(state, now, **more)


@contextmanager
def group(title: str) -> Iterator[None]:
    """Fold log lines under a title; lines after an error are outside.

    The UI of Airflow 2.11 to 3.3 reads the marks. In 2.11 they must have the level INFO, and groups cannot nest.
    """
    log.info("::group::%s", title)
    try:
        yield
    finally:
        log.info("::endgroup::")


class Progress:
    """Writes the progress into the state of the task: plain JSON, without addresses.

    A failed write does not stop the run.

    :param store: the state of the task; ``None`` before Airflow 3.3.
    :param identity: the target of the task: ``sequence_slug`` and ``meisa_conn_id``.
    :param statuses: the statuses of a row.
    :param clock: returns the time in seconds.
    """

    def __init__(
        self,
        store: Any,
        identity: Mapping[str, str],
        statuses: Sequence[OutcomeStatus],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statuses = statuses
        self._store = store
        self._identity = dict(identity)
        self._clock = clock
        self._last: tuple[State, float] | None = None

    def write(
        self,
        state: State,
        now: Checkpoint,
        *,
        counts: Mapping[str, int] | None = None,
        total: int | None = None,
        until: datetime | None = None,
    ) -> None:
        """Write the progress, at most every two seconds while only the counts change.

        :param now: the current checkpoint.
        :param counts: the number of addresses per status; by default that of the checkpoint.
        :param total: the number of addresses, if it is known.
        :param until: the end of a wait.
        """
        if self._store is None or not self._is_due(state):
            return
        counts = counts or now.counts
        value = {
            **self._identity,
            "state": state,
            "done": sum(now.counts.values()),
            "total": total,
            "counts": {status.value: counts.get(status.value, 0) for status in self._statuses},
            "requests": now.requests,
            "rate_limited": now.rate_limited,
            "waiting_until": until.isoformat(timespec="seconds") if until else None,
            "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            self._store.set(KEY, value)
        except Exception as error:  # noqa: BLE001 (any error of Airflow; saving the checkpoint shows whether this process still owns the task)
            log.warning("Progress could not be written: %s", type(error).__name__)

    def _is_due(self, state: State) -> bool:
        now = self._clock()
        if state == "sending" and self._last and self._last[0] == state and now - self._last[1] < _SECONDS:
            return False
        self._last = state, now
        return True


def numbered(batches: Sequence[int]) -> str:
    """Name batches: ``batch 3``, ``batches 3, 5``."""
    return f"batch{'es' if len(batches) > 1 else ''} {', '.join(f'{number:,}' for number in batches)}"


def reason_to_wait(step: Wait, client: MeisaClient) -> str:
    """Return why a run waits, as the beginning of a sentence."""
    if isinstance(step, AwaitResend):
        return RESPONSE_LOST
    return client.reason_to_wait
