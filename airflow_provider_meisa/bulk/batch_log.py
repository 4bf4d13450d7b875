"""The log lines on batches: their outcomes, the requests that are left, and the time to go."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaError
from airflow_provider_meisa.api.outcomes import OutcomeStatus, format_counts

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.nouns import Noun

log = logging.getLogger("airflow.task.meisa")

_FEWEST_MINUTES = 3
_FIRST = 10
_SHARE = 0.01
_SHORTEST_QUIET, _LONGEST_QUIET = 1.0, 15.0


class BatchLog:
    """Logs the outcomes of batches: of each of the first ten, then of several at a time.

    Of batches of one record, only the first has a line of its own. After these, a line is due after another hundredth
    of the addresses, at most one per second, and at least one in 15 s.

    :param client: has the number of requests left, and the time spent waiting for them.
    :param batch_size: the records per request.
    :param total: the number of all addresses, if it is known.
    :param clock: returns the time in seconds.
    :param requests: the number of requests for all addresses, if it is known.
    :param noun: for batches of one record, what lines call them; the counts and ``total`` are then of requests.
    """

    def __init__(
        self,
        client: MeisaClient,
        batch_size: int,
        total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        requests: int | None = None,
        noun: Noun | None = None,
    ) -> None:
        self._client = client
        self._batch_size = batch_size
        self._total = total
        self._requests = requests
        self._noun = noun
        self._first = _FIRST if noun is None else 1
        self._clock = clock
        self._sent = 0
        self._responses = 0
        self._unlogged = 0
        self._counts: Counter[OutcomeStatus] = Counter()
        self._last = 0

    def begin(self, done: int) -> None:
        """Record the time of the first batch.

        :param done: the number of addresses with a status.
        """
        self._began = self._logged_at = self._clock()
        self._waited_before = self._client.stats.waited
        self._logged_done = done
        self._requests_at_first = min(self._requests_for(done), self._requests or math.inf)

    def on_send(self) -> None:
        """Count a request. The rate limits know it from now on, so the estimate must not add it to those to come."""
        self._sent += 1

    def on_response(self, number: int, counts: Mapping[OutcomeStatus, int], done: int) -> None:
        """Add the outcomes of one batch, and log them if a line is due.

        :param number: the number of the batch, from 1.
        :param done: the number of addresses with a status now.
        """
        self._responses += 1
        self._unlogged += 1
        self._counts.update(counts)
        self._last = number if self._unlogged == 1 else max(number, self._last)
        if self._is_due(done):
            self._log(done)

    def close(self, done: int) -> None:
        """Log the remaining outcomes."""
        if self._unlogged:
            self._log(done)

    def _is_due(self, done: int) -> bool:
        quiet = self._clock() - self._logged_at
        if self._responses <= self._first or quiet >= _LONGEST_QUIET:
            return True
        share = _SHARE * self._total if self._total else math.inf
        return quiet >= _SHORTEST_QUIET and done - self._logged_done >= share

    def _log(self, done: int) -> None:
        left = requests_left(self._client)
        log.info(
            "%s: %s (%s)%s",
            self._which(),
            format_counts(self._counts),
            self._progress(done),
            left and f"; {left}",
        )
        self._unlogged, self._counts = 0, Counter()
        self._logged_at, self._logged_done = self._clock(), done

    def _which(self) -> str:
        if self._noun:
            return self._noun.many.capitalize()
        return (
            f"Batch {self._last}" if self._unlogged == 1 else f"{self._unlogged} batches up to {self._last}"
        )

    def _progress(self, done: int) -> str:
        sent = " sent" if self._noun else ""
        if not self._total:
            return f"{done:,}{sent} so far"
        requests = max(0, min(self._requests_at_first - self._sent, self._requests_for(done)))
        to_go = time_needed(self._client, int(requests), pace=self._pace())
        return f"{done:,} of {self._total:,}{sent}, {done / self._total:.0%}{to_go} left"

    def _requests_for(self, done: int) -> float:
        """Return the number of requests for the remaining addresses; infinity if it is not known."""
        return math.ceil((self._total - done) / self._batch_size) if self._total else math.inf

    def _pace(self) -> float:
        """Return the seconds per batch, without waits for the rate limits."""
        waited = self._client.stats.waited - self._waited_before
        return max(0.0, self._clock() - self._began - waited) / self._responses


def requests_left(client: MeisaClient) -> str:
    """Return the requests left in each window of the rate limits; empty if the storage cannot be reached."""
    try:
        left = client.rate_limiter.remaining()
    except MeisaError:
        return ""  # the next batch reports this
    return "requests left: " + ", ".join(f"{count} of {limit}" for limit, count in left.items())


def time_needed(client: MeisaClient, requests: int, *, pace: float = 0.0) -> str:
    """Return how long requests take: by the rate limits or by the pace of the responses, whichever is longer.

    :param pace: the seconds per batch within the rate limits, if known.
    """
    try:
        limited = client.rate_limiter.estimate(requests) if requests else 0.0
    except MeisaError:
        return ""  # the storage cannot be reached, which the next batch reports
    return f", about {_in_words(max(limited, pace * requests))}"


def _in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < _FEWEST_MINUTES:
        return f"{seconds:,.0f} s"
    hours, rest = divmod(minutes, 60)
    return f"{hours:,} h {rest} min" if hours else f"{minutes} min"
