"""Read the sequences of a connection, and the requests left in its rate limits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_meisa.api.endpoints.sequences import RecentSequences, SequenceInfo, recent_sequences
from airflow_provider_meisa.api.errors import MeisaError, MeisaStoppedError
from airflow_provider_meisa.api.redaction import redact
from airflow_provider_meisa.hooks.meisa import MeisaHook, raise_airflow_errors

KEEP = 30.0  # seconds for which sequences are cached
PATIENCE = 4.0  # seconds that a page waits, because it occupies one of the API server's few threads
GIVE_UP = 12.0  # seconds after which a request is stopped
MAX_WAIT = 3.0  # seconds that a request waits for the rate limits: tasks need them more

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """One request for a connection's sequences, in flight or finished.

    :param begun: when it began, in seconds of the clock.
    :param future: its result.
    :param before: the previous result, and when that request began.
    """

    begun: float
    future: Future[RecentSequences]
    before: tuple[list[SequenceInfo], float] | None

    def found(self) -> tuple[list[SequenceInfo], float] | None:
        """Return the latest sequences, and when their request began."""
        if self.future.done() and not self.future.exception():
            recent = self.future.result()
            return recent.sequences, self.begun - (recent.age if recent.is_kept else 0.0)
        return self.before

    def problem(self) -> str:
        """Return why the request failed; empty if it succeeded or is in flight."""
        error = self.future.exception() if self.future.done() else None
        if error is None:
            return ""
        if isinstance(error.__cause__, MeisaStoppedError):
            return f"Meisa did not respond within {GIVE_UP:g} seconds."
        if isinstance(error, AirflowException):
            return redact(str(error))
        log.error("The sequences could not be read.", exc_info=error)
        return "The connection cannot be used. The log of the API server has the reason."


class SequenceCache:
    """The sequences of each connection, requested once in `KEEP` seconds, however many pages are open.

    :param fetch: lists the sequences of a connection.
    :param clock: returns the time in seconds.
    """

    def __init__(
        self, fetch: Callable[[str], RecentSequences], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._responses: dict[str, CachedResponse] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="meisa-page")

    def of(self, conn_id: str) -> dict[str, object]:
        """Return a connection's sequences, from the cache if it is fresh.

        :return: ``{sequences, age_s, problem, pending, refresh_in_s}``. ``sequences`` is null until the first
            response; ``refresh_in_s`` is the number of seconds until the next request.
        """
        cached = self._cached(conn_id)
        wait([cached.future], timeout=PATIENCE)
        found = cached.found()
        return {
            "sequences": None if found is None else [_shown(info) for info in found[0]],
            "age_s": None if found is None else round(self._clock() - found[1], 1),
            "problem": cached.problem(),
            "pending": not cached.future.done(),
            "refresh_in_s": round(max(0.0, cached.begun + KEEP - self._clock()), 1),
        }

    def _cached(self, conn_id: str) -> CachedResponse:
        with self._lock:
            cached = self._responses.get(conn_id)
            if cached is None or (cached.future.done() and self._clock() - cached.begun > KEEP):
                future = self._pool.submit(self._fetch, conn_id)
                cached = CachedResponse(self._clock(), future, cached.found() if cached else None)
                self._responses[conn_id] = cached
            return cached


def fetch_sequences(conn_id: str) -> RecentSequences:
    """List a connection's sequences within its rate limits; stop after `GIVE_UP` seconds.

    If a task has listed them in the last `KEEP` seconds, no request is sent.

    :raises AirflowException: if the request fails.
    """
    hook = MeisaHook(conn_id, max_wait=MAX_WAIT)
    with hook.get_conn() as client:
        end = threading.Timer(GIVE_UP, client.stop)
        end.start()
        try:
            with raise_airflow_errors():
                return recent_sequences(client, max_age=KEEP)
        finally:
            end.cancel()


SEQUENCES = SequenceCache(fetch_sequences)


def rate_left(conn_id: str) -> dict[str, object]:
    """Return the requests left in a connection's rate limits, without a request to Meisa.

    :return: ``{windows: [{limit, requests, left}], next_s, problem}``. ``next_s`` is the number of seconds until the
        next request; after a 429 it is above 0, whatever the windows have left.
    """
    try:
        with MeisaHook(conn_id).get_conn() as client:
            left, pause = client.rate_limiter.remaining(), client.rate_limiter.estimate(1)
            sizes = {str(limit): limit.requests for limit in client.rate_limiter.limits}
    except (AirflowException, MeisaError) as error:
        return {"windows": [], "next_s": 0.0, "problem": redact(str(error))}
    windows = [{"limit": limit, "requests": sizes[limit], "left": n} for limit, n in left.items()]
    return {"windows": windows, "next_s": round(pause, 1), "problem": ""}


def _shown(info: SequenceInfo) -> dict[str, object]:
    return {name: redact(value) if isinstance(value, str) else value for name, value in asdict(info).items()}
