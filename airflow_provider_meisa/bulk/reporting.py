"""What a run reports while it runs: lines in the log, its progress, and metrics. It knows no Airflow."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_meisa.api.errors import MeisaError
from airflow_provider_meisa.api.nouns import ADDRESS, count
from airflow_provider_meisa.api.outcomes import OutcomeStatus, format_counts
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.engine import AwaitResend

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.rate_limit.limiter import Wait
    from airflow_provider_meisa.bulk.job import Job

KEY = "meisa_progress"
RESPONSE_LOST = "Response lost: Meisa may still be processing the request, which is not sent again yet"

State = Literal["sending", "waiting", "stopped", "complete"]

log = logging.getLogger("airflow.task.meisa")

_SECONDS = 2.0  # a write takes 14 ms of the run (Airflow 3.3, SQLite)
_FEWEST_MINUTES = 3
_FIRST = 10
_SHARE = 0.01
_SHORTEST_QUIET, _LONGEST_QUIET = 1.0, 15.0


class Metrics(Protocol):
    """What counts a run's work for a monitoring system: `hooks.metrics.Meter` does, for Airflow's."""

    def skip(self, work: Checkpoint, counts: Mapping[str, int], /) -> None:
        """Leave out what an earlier stretch has counted."""

    def work(self, so_far: Checkpoint, /) -> None:
        """Count the requests and waits since the last time."""

    def addresses(self, so_far: Mapping[str, int], /) -> None:
        """Count the addresses that have got a status since the last time."""


class RunReporter:
    """Reports one stretch of a run: its batches in the log, and the whole of it to progress and metrics.

    :param client: counts the requests, and knows how many are left.
    :param job: what is done.
    :param progress: where the progress is written, if anywhere.
    :param metrics: counts for a monitoring system, if there is one.
    :param group: folds lines of the log under a title.
    :ivar total: how many addresses there are, where that is known.
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
        self.group = group
        self._client = client
        self._job = job
        self._progress = progress
        self._metrics = metrics
        self._batches: BatchLog | None = None
        self._open = ExitStack()
        self._has_ended = False

    def begin(self, start: Checkpoint) -> None:
        """Report that the stretch begins, before its first request."""
        self.skip(start)
        self._write("sending", start)

    def skip(self, start: Checkpoint) -> None:
        """Count from here on: what was done before was reported by others."""
        self._last = start
        if self._metrics:
            self._metrics.skip(start, start.counts)

    def open_batches(self, first: int, done: int) -> None:
        """Begin the lines on batches, unless they have begun.

        :param first: the number of the first batch that is sent, from 1.
        :param done: how many addresses have a status already.
        """
        if self._batches is None:
            self._open.enter_context(self.group("Batches" if first == 1 else f"Batches from {first:,} on"))
            self._batches = BatchLog(self._client, self._job.batch_size, self.total)
            self._batches.begin(done)

    def report_batch(self, number: int, counts: Mapping[OutcomeStatus, int], done: int) -> None:
        """Report what became of one batch; the parameters are those of `BatchLog.on_response`."""
        if self._batches:
            self._batches.on_response(number, counts, done)

    def close_batches(self, done: int) -> None:
        """End the lines on batches."""
        with self._open:
            if self._batches:
                self._batches.close(done)

    def report(self, now: Checkpoint, until: datetime | None = None) -> None:
        """Report how far the run has come.

        :param until: when the wait ends that begins now.
        """
        self._count(now)
        self._write("waiting" if until else "sending", now, total=self.total, until=until)

    def report_summary(self, summary: Mapping[str, Any]) -> None:
        """Log how a run has ended.

        :param summary: its summary.
        """
        counts = {OutcomeStatus(name): count for name, count in summary["counts"].items()}
        early = "" if summary["complete"] else "stopped early, "
        log.info(
            "%s: %s%s: %s",
            self._job.title,
            early,
            count(summary["total"], ADDRESS),
            format_counts(counts),
        )
        log.info(
            "Requests: %s (retries: %s, responses with 429: %s), %s s waited",
            *(f"{summary[name]:,}" for name in ("requests", "retries", "rate_limited")),
            f"{summary['waited_s']:,.0f}",
        )

    def end(self, now: Checkpoint, summary: Mapping[str, Any]) -> None:
        """Report how the run has ended.

        :param summary: its summary.
        """
        self._has_ended = True
        self._count(now)
        state: State = "complete" if summary["complete"] else "stopped"
        self._write(state, now, counts=summary["counts"], total=summary["total"])

    def stop(self, work: Mapping[str, Any]) -> None:
        """Report that an exception ends the stretch.

        :param work: the fields of a checkpoint that say what was done.
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
    """Fold the lines that are logged meanwhile under a title; what is logged after a failure stands outside.

    The marks are read by the UI of Airflow 2.11 to 3.3. In 2.11 they must be of level INFO, and groups cannot nest.
    """
    log.info("::group::%s", title)
    try:
        yield
    finally:
        log.info("::endgroup::")


class BatchLog:
    """Says what became of batches: of each of the first ten, then of several at a time.

    Then a line is due when another hundredth of the addresses is done, but not within a second of the last one, or
    when nothing was logged for 15 s.

    :param client: knows how many requests are left, and how long was waited for them.
    :param batch_size: how many records go into one request.
    :param total: how many addresses there are in all, where that is known.
    :param clock: a time in seconds.
    """

    def __init__(
        self,
        client: MeisaClient,
        batch_size: int,
        total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._batch_size = batch_size
        self._total = total
        self._clock = clock
        self._responses = 0
        self._unlogged = 0
        self._counts: Counter[OutcomeStatus] = Counter()
        self._last = 0

    def begin(self, done: int) -> None:
        """Note when the first batch is sent.

        :param done: how many addresses have a status already.
        """
        self._began = self._logged_at = self._clock()
        self._waited_before = self._client.stats.waited
        self._logged_done = done

    def on_response(self, number: int, counts: Mapping[OutcomeStatus, int], done: int) -> None:
        """Take in what became of one batch, and say it if a line is due.

        :param number: of the batch, from 1.
        :param done: how many addresses have a status now.
        """
        self._responses += 1
        self._unlogged += 1
        self._counts.update(counts)
        self._last = number if self._unlogged == 1 else max(number, self._last)
        if self._is_due(done):
            self._log(done)

    def close(self, done: int) -> None:
        """Log what is not logged yet."""
        if self._unlogged:
            self._log(done)

    def _is_due(self, done: int) -> bool:
        quiet = self._clock() - self._logged_at
        if self._responses <= _FIRST or quiet >= _LONGEST_QUIET:
            return True
        share = _SHARE * self._total if self._total else math.inf
        return quiet >= _SHORTEST_QUIET and done - self._logged_done >= share

    def _log(self, done: int) -> None:
        which = (
            f"Batch {self._last}" if self._unlogged == 1 else f"{self._unlogged} batches up to {self._last}"
        )
        left = requests_left(self._client)
        log.info(
            "%s: %s (%s)%s", which, format_counts(self._counts), self._progress(done), left and f"; {left}"
        )
        self._unlogged, self._counts = 0, Counter()
        self._logged_at, self._logged_done = self._clock(), done

    def _progress(self, done: int) -> str:
        if not self._total:
            return f"{done:,} so far"
        requests = math.ceil((self._total - done) / self._batch_size)
        to_go = time_needed(self._client, requests, pace=self._pace())
        return f"{done:,} of {self._total:,}, {done / self._total:.0%}{to_go} left"

    def _pace(self) -> float:
        """Return the seconds that a batch takes without what is waited for the rate limits."""
        waited = self._client.stats.waited - self._waited_before
        return max(0.0, self._clock() - self._began - waited) / self._responses


class Progress:
    """Writes into the task's state what it is doing and how far it is: plain JSON, and no address.

    A write that fails does not stop the run.

    :param store: the task's state; ``None`` where Airflow has none.
    :param identity: what the task is at: ``sequence_slug`` and ``meisa_conn_id``.
    :param statuses: what can become of a row.
    :param clock: a time in seconds.
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
        """Write it, but not more often than every two seconds while nothing but the figures change.

        :param now: how far the run has come.
        :param counts: how many addresses have each status; by default those that are settled.
        :param total: how many addresses there are, where that is known.
        :param until: when a wait ends.
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
        except Exception as error:  # noqa: BLE001 (whatever Airflow raises; the checkpoint shows whether the task is still ours)
            log.warning("Progress could not be written: %s", type(error).__name__)

    def _is_due(self, state: State) -> bool:
        now = self._clock()
        if state == "sending" and self._last and self._last[0] == state and now - self._last[1] < _SECONDS:
            return False
        self._last = state, now
        return True


def reason_to_wait(step: Wait, client: MeisaClient) -> str:
    """Say why a run waits, as the beginning of a sentence."""
    if isinstance(step, AwaitResend):
        return RESPONSE_LOST
    return client.reason_to_wait


def requests_left(client: MeisaClient) -> str:
    """Say how many requests each window of the rate limits has left; nothing if their storage cannot be reached."""
    try:
        left = client.rate_limiter.remaining()
    except MeisaError:
        return ""  # which the next batch will report
    return "requests left: " + ", ".join(f"{count} of {limit}" for limit, count in left.items())


def time_needed(client: MeisaClient, requests: int, *, pace: float = 0.0) -> str:
    """Say how long so many requests take: by the rate limits or by the pace of the responses, whichever is longer.

    :param pace: the seconds that a batch takes within the rate limits, where that is known.
    """
    try:
        limited = client.rate_limiter.estimate(requests) if requests else 0.0
    except MeisaError:
        return ""  # the storage cannot be reached, which the next batch will report
    return f", about {_in_words(max(limited, pace * requests))}"


def _in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < _FEWEST_MINUTES:
        return f"{seconds:,.0f} s"
    hours, rest = divmod(minutes, 60)
    return f"{hours:,} h {rest} min" if hours else f"{minutes} min"
