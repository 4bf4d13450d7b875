"""A line for each batch in the task's log, or for several where there are many."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcomes import Verdict, in_words
from airflow_provider_meisa.operators.preflight import requests_left, time_needed

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient

log = logging.getLogger("airflow.task.meisa")

_FIRST = 10
_SHARE = 0.01
_SHORTEST_QUIET, _LONGEST_QUIET = 1.0, 15.0


class BatchLog:
    """Says what became of batches: of each of the first ten, then of several at a time.

    Then a line is due when another hundredth of the addresses is done, but not within a second of the last one, or
    when nothing was said for 15 s.

    :param client: knows how many requests are left, and how long was waited for them.
    :param total: how many addresses there are in all, where that is known.
    :param clock: a time in seconds.
    """

    def __init__(
        self, client: MeisaClient, total: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._total = total
        self._clock = clock
        self._answers = 0
        self._unsaid = 0
        self._counts: Counter[Verdict] = Counter()
        self._last = 0

    def begin(self, done: int) -> None:
        """Note when the first batch is sent.

        :param done: how many addresses have a verdict already.
        """
        self._began = self._said_at = self._clock()
        self._waited_before = self._client.traffic.waited
        self._said_of = done

    def answered(self, number: int, counts: Mapping[Verdict, int], done: int) -> None:
        """Take in what became of one batch, and say it if a line is due.

        :param number: of the batch, from 1.
        :param done: how many addresses have a verdict now.
        """
        self._answers += 1
        self._unsaid += 1
        self._counts.update(counts)
        self._last = number if self._unsaid == 1 else max(number, self._last)
        if self._is_due(done):
            self._say(done)

    def close(self, done: int) -> None:
        """Say what is not said yet."""
        if self._unsaid:
            self._say(done)

    def _is_due(self, done: int) -> bool:
        quiet = self._clock() - self._said_at
        if self._answers <= _FIRST or quiet >= _LONGEST_QUIET:
            return True
        share = _SHARE * self._total if self._total else math.inf
        return quiet >= _SHORTEST_QUIET and done - self._said_of >= share

    def _say(self, done: int) -> None:
        which = f"Batch {self._last}" if self._unsaid == 1 else f"{self._unsaid} batches up to {self._last}"
        left = requests_left(self._client)
        log.info("%s: %s; %s%s", which, in_words(self._counts), self._progress(done), left and f"; {left}")
        self._unsaid, self._counts = 0, Counter()
        self._said_at, self._said_of = self._clock(), done

    def _progress(self, done: int) -> str:
        if not self._total:
            return f"{done:,} addresses done"
        to_go = time_needed(self._client, self._total - done, pace=self._pace())
        return f"{done:,} of {self._total:,} addresses done ({done / self._total:.0%}){to_go} to go"

    def _pace(self) -> float:
        """Return the seconds that a batch takes, beside what is waited for the rate limits."""
        waited = self._client.traffic.waited - self._waited_before
        return max(0.0, self._clock() - self._began - waited) / self._answers


def tell_account(account: Mapping[str, Any]) -> None:
    """Say in the log how a run has ended.

    :param account: its summary.
    """
    counts = {Verdict(name): count for name, count in account["counts"].items()}
    early = "" if account["complete"] else "stopped early, "
    log.info(
        "%s: %s%s addresses: %s", account["sequence_slug"], early, f"{account['total']:,}", in_words(counts)
    )
    log.info(
        "%s requests, %s of them repeats; %s answers of 429; %s s waited",
        *(f"{account[name]:,}" for name in ("requests", "repeats", "rate_limited")),
        f"{account['waited_s']:,.0f}",
    )
