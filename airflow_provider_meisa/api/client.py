"""A client for Meisa that keeps to the rate limits and retries where that is harmless."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, replace
from datetime import timedelta
from types import TracebackType
from typing import Self

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from airflow_provider_meisa.api.cancellation import CancellationEvent
from airflow_provider_meisa.api.checks import check_seconds, check_switch
from airflow_provider_meisa.api.errors import (
    MeisaBackOffError,
    MeisaError,
    MeisaInputError,
    MeisaRateLimitError,
    MeisaResponseLostError,
    MeisaServerError,
    MeisaStoppedError,
    MeisaUnavailableError,
    MeisaUnreachableError,
    MeisaUnreadableResponseError,
    may_be_resent,
)
from airflow_provider_meisa.api.models import KeyInfo, Request, Response
from airflow_provider_meisa.api.paging import entries_of, next_query
from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.storage.factory import storage_for
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.api.transport import Transport

log = logging.getLogger(__name__)

MAX_WAIT = 120.0
TRIES = 5

_HOUR = 3600.0
_MOST_PAGES = 1000
_BACKOFF = wait_random_exponential(multiplier=0.5, max=20)


@dataclass(frozen=True, slots=True)
class RequestStats:
    """Counts of what a client has sent so far.

    :param requests: requests sent, including retries.
    :param retries: requests sent again after a failure.
    :param rate_limited: responses with 429.
    :param waited: seconds spent waiting for the rate limits or between retries.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    waited: float = 0.0


class MeisaClient:
    """Calls Meisa's API from any number of threads.

    :param settings: base URL, key and options.
    :param rate_limiter: the limiter to use; by default that of the settings.
    :param transport: what sends a request; by default HTTP.
    :param sleep: waits a number of seconds; by default, `stop` ends the wait.
    :param max_wait: the longest wait of a call, in seconds or as a ``timedelta``; also an attribute, in seconds. A
        longer wait raises `MeisaRateLimitError`, or after a 503 `MeisaUnavailableError`, with ``retry_after``.
    :raises MeisaInputError: if ``max_wait`` is not a duration.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        rate_limiter: RateLimiter | None = None,
        transport: Transport | None = None,
        sleep: Callable[[float], object] | None = None,
        max_wait: float | timedelta = MAX_WAIT,
    ) -> None:
        self.settings = settings
        self.rate_limiter = rate_limiter or RateLimiter(
            settings.limits,
            storage_for(settings.rate_limit_storage, settings.base_url, settings.api_key),
            reservation_ttl=_longest_request(settings),
        )
        self.environment_confirmed = not settings.environment
        self.key: KeyInfo | None = None
        self._transport = transport or Transport(settings)
        self._stop = CancellationEvent()
        self._sleep = sleep or self._stop.wait
        self.max_wait = check_seconds("max_wait", max_wait, or_inf=True)
        self._is_unavailable = False
        self._stats = RequestStats()
        self._lock = threading.Lock()

    @property
    def stats(self) -> RequestStats:
        """Return the counts so far."""
        return self._stats

    @property
    def reason_to_wait(self) -> str:
        """Return why no request may be sent now, as the beginning of a sentence."""
        if self._is_unavailable:
            return "Meisa is unavailable (503) and takes no request"
        return "Rate limit reached"

    def send(
        self, request: Request, *, reservation: Reservation | None = None, resend: bool = False
    ) -> Response:
        """Wait for the rate limits, send a request, and retry where that is harmless.

        It retries a request that never left, and one refused with 429 or 503. It retries a read or an idempotent
        write after a lost response or a 5xx. With ``resend``, it retries any other write after a lost response, 408,
        421, 425, 502 or 504: once, and after `Settings.resend_after`, because Meisa may still process the first one.
        If that wait is longer than `max_wait`, the error is raised instead.

        :param request: what to send.
        :param reservation: a reservation for the first attempt.
        :param resend: whether a write that may have been carried out is sent again.
        :raises MeisaError: the error of the last attempt.
        """
        check_switch("resend", resend)
        held = [reservation] if reservation else []
        doubts: list[MeisaError] = []

        def attempt() -> Response:
            try:
                return self._attempt(request, held.pop() if held else self._acquire(request))
            except (MeisaResponseLostError, MeisaServerError) as error:
                doubts.append(error)
                raise

        try:
            response = self._retrying(request, doubts, resend=resend)(attempt)
        except MeisaError as error:
            if doubts and not request.safe and isinstance(error, (MeisaUnreachableError, MeisaStoppedError)):
                raise MeisaResponseLostError(
                    f"{request}: the response was lost, and the request could not be sent again. Meisa may have "
                    "carried out the first request."
                ) from error
            error.possibly_done = not request.safe and (bool(doubts) or error.possibly_done)
            raise
        return replace(response, possibly_twice=bool(doubts) and not request.safe)

    def pages(self, request: Request) -> Iterator[object]:
        """Send a read, and another one for each next page.

        Only the query of a page's link is used: behind a proxy, Meisa may name another host or path.

        :raises MeisaUnreadableResponseError: if the pages have no end.
        """
        seen = [dict(request.query)]
        last: list[object] = []
        while True:
            body = self.send(replace(request, query=seen[-1])).body
            entries = entries_of(body)
            if entries and entries == last:  # the server ignores the query
                raise _endless(request)
            yield body
            last = entries
            if not isinstance(body, dict) or not body.get("next"):
                return
            following = next_query(body, seen[-1])
            if following in seen or len(seen) > _MOST_PAGES:
                raise _endless(request)
            seen.append(following)

    def wait(self, seconds: float) -> None:
        """Wait, and add the time to the counts."""
        self._count(waited=seconds)
        self._sleep(seconds)

    def count_retry(self) -> None:
        """Count the next request as a retry: the caller knows that the response to an earlier one was lost."""
        self._count(retries=1)

    def stop(self) -> None:
        """Send nothing from now on, and end every wait, because the task is being killed.

        Safe to call from any thread, and from a signal handler.
        """
        self._stop.set()

    def check_not_stopped(self) -> None:
        """Check that `stop` was not called.

        :raises MeisaStoppedError: if it was.
        """
        if self._stop.is_set:
            raise MeisaStoppedError(
                "The task was stopped before the request was sent. A later attempt resumes here."
            )

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _retrying(self, request: Request, doubts: Sized, *, resend: bool) -> Retrying:
        def is_retried(error: BaseException) -> bool:
            if _is_lost_write(request, error) and (
                len(doubts) > 1 or self.settings.resend_after > self.max_wait
            ):
                return False
            return is_retryable(request, error, resend=resend, max_wait=self.max_wait)

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return self.settings.resend_after if _is_lost_write(request, error) else _pause(state)

        return Retrying(
            retry=retry_if_exception(is_retried),
            wait=pause,
            stop=stop_after_attempt(TRIES),
            sleep=self.wait,
            before_sleep=self._log_retry,
            reraise=True,
        )

    def _attempt(self, request: Request, reservation: Reservation) -> Response:
        try:
            self.check_not_stopped()
        except MeisaStoppedError:
            self.rate_limiter.release(reservation)
            raise
        self._count(requests=1)
        try:
            response = self._transport.send(request)
        except (MeisaInputError, MeisaUnreachableError):
            self.rate_limiter.release(reservation)
            raise
        except MeisaBackOffError as error:
            self._back_off(reservation, error)
            raise
        except BaseException:
            self.rate_limiter.commit(reservation)
            raise
        self._is_unavailable = False
        self.rate_limiter.commit(reservation)
        return response

    def _back_off(self, reservation: Reservation, error: MeisaBackOffError) -> None:
        error.retry_after = self._believable(error.retry_after)
        self._is_unavailable = isinstance(error, MeisaUnavailableError)
        self.rate_limiter.commit(reservation)
        self.rate_limiter.back_off(error.retry_after)
        self._count(rate_limited=int(isinstance(error, MeisaRateLimitError)))
        if (error.retry_after or 0) > self.max_wait:
            log.warning("%s", error)  # so a caller that waits longer need not log the error again

    def _acquire(self, request: Request) -> Reservation:
        while isinstance(decision := self.rate_limiter.reserve(), Wait):
            self.check_not_stopped()
            if decision.seconds > self.max_wait:
                raise self._too_long(request, decision.seconds)
            log.info("%s: waiting %.1f s", self.reason_to_wait, decision.seconds)
            self.wait(decision.seconds)
        return decision

    def _too_long(self, request: Request, seconds: float) -> MeisaBackOffError:
        """Make the error for a wait that is longer than `max_wait`."""
        longest = f"longer than the {self.max_wait:g} s that a call waits. Try again then."
        if self._is_unavailable:
            return MeisaUnavailableError(
                f"{request}: Meisa is unavailable (503) and takes no request for {seconds:,.0f} s, {longest}",
                retry_after=seconds,
            )
        return MeisaRateLimitError(
            f"{request}: the key's rate limit is reached for {seconds:,.0f} s, {longest}",
            retry_after=seconds,
        )

    def _believable(self, retry_after: float | None) -> float | None:
        """Cap a wait at an hour, or at the longest window: one wrong header must not stop a shared key for years.

        An hour is Meisa's longest window; the key has it even if only a shorter one is configured.
        """
        return min(retry_after, max(self.rate_limiter.limits[-1].seconds, _HOUR)) if retry_after else None

    def _log_retry(self, state: RetryCallState) -> None:
        self._count(retries=1)
        error = state.outcome.exception() if state.outcome else None
        attempt = state.attempt_number + 1
        if isinstance(error, MeisaBackOffError):  # the rate limiter logs the wait next
            log.warning("%s Attempt %d of %d follows when the key may send again.", error, attempt, TRIES)
            return
        pause = state.next_action.sleep if state.next_action else 0.0
        log.warning("%s Attempt %d of %d follows in %.1f s.", error, attempt, TRIES, pause)

    def _count(
        self, *, requests: int = 0, retries: int = 0, rate_limited: int = 0, waited: float = 0.0
    ) -> None:
        with self._lock:
            so_far = self._stats
            self._stats = RequestStats(
                so_far.requests + requests,
                so_far.retries + retries,
                so_far.rate_limited + rate_limited,
                so_far.waited + waited,
            )


def _endless(request: Request) -> MeisaUnreadableResponseError:
    return MeisaUnreadableResponseError(f"{request}: the pages of the response have no end.", status=200)


def _longest_request(settings: Settings) -> float:
    """Return the seconds after which a request without a recorded response has ended, because its process died."""
    return 2 * settings.timeout + 60


def is_retryable(request: Request, error: BaseException, *, resend: bool, max_wait: float) -> bool:
    """Return whether a request that failed with this error may be sent again at once."""
    match error:
        case MeisaUnreachableError():
            return True
        case MeisaBackOffError():
            return (error.retry_after or 0) <= max_wait
        case MeisaResponseLostError() | MeisaServerError():
            return request.safe or request.idempotent or (resend and may_be_resent(error))
        case _:
            return False


def _is_lost_write(request: Request, error: BaseException | None) -> bool:
    may_change_twice = not (request.safe or request.idempotent)
    return may_change_twice and isinstance(error, (MeisaResponseLostError, MeisaServerError))


def _pause(state: RetryCallState) -> float:
    """Back off, but not after a 429 or 503: there the rate limiter sets the wait."""
    error = state.outcome.exception() if state.outcome else None
    return 0.0 if isinstance(error, MeisaBackOffError) else float(_BACKOFF(state))
