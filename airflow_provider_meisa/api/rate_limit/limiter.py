"""The rate limiter of a key: several windows at once, shared by all users of the key.

It records the times of *responses*. Meisa counts a request at some moment between its sending and its
response, so in a window without responses Meisa has counted none, however long requests take.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from typing import Protocol

from airflow_provider_meisa.api.errors import MeisaError, MeisaInputError
from airflow_provider_meisa.api.rate_limit.limits import Limit
from airflow_provider_meisa.api.rate_limit.operations import (
    BackOff,
    Commit,
    Operation,
    Release,
    Reservation,
    Reserve,
    Wait,
)
from airflow_provider_meisa.api.rate_limit.state import MICRO, State, estimate, expire, micros, remaining

__all__ = ["RESERVATION_TTL", "RateLimitStorage", "RateLimiter", "Reservation", "Wait"]

RESERVATION_TTL = 120.0

log = logging.getLogger(__name__)


class RateLimitStorage(Protocol):
    """Stores the state of a key; carries out one operation at a time for all callers."""

    def run(self, operation: Operation, clock: Callable[[], float]) -> Reservation | Wait | None:
        """Carry out an operation; read the clock while no other caller can change the state.

        :raises MeisaUnreachableError: if the state cannot be read or written.
        """

    def read(self, clock: Callable[[], float]) -> tuple[State, int]:
        """Return the state, and the time in microseconds at which it was read.

        :raises MeisaUnreachableError: if the state cannot be read.
        """

    def get_note(self, name: str) -> str | None:
        """Return a text that all who use the key share; ``None`` if there is none, or its time is over.

        :raises MeisaError: if it cannot be read.
        """

    def put_note(self, name: str, text: str, seconds: float) -> None:
        """Keep a text for all who use the key, for a time.

        :raises MeisaError: if it cannot be written.
        """


class RateLimiter:
    """Keeps requests inside the limits of a key, together with all users of the same store.

    Call `reserve` until it returns a reservation, and send one request. Then `commit` the reservation, or `release`
    it if the request never left. After a 429 or a 503, `commit` and then `back_off`.

    :param limits: requests per window, the shortest window first; all of them apply at once.
    :param store: the store of the state.
    :param clock: returns the time in seconds since 1970; a store on another host uses the clock of that host.
    :param reservation_ttl: seconds after which an open reservation counts as a response; longer than any request
        takes.
    :raises MeisaInputError: if there are no limits, or the time is not above 0.
    :ivar store: its place to count requests.
    """

    def __init__(
        self,
        limits: tuple[Limit, ...],
        store: RateLimitStorage,
        clock: Callable[[], float] = time.time,
        reservation_ttl: float = RESERVATION_TTL,
    ) -> None:
        if not limits:
            raise MeisaInputError("A rate limiter needs at least one limit, such as 60/minute.")
        if not 0 < reservation_ttl < math.inf:
            raise MeisaInputError(f"reservation_ttl must be above 0 seconds, not {reservation_ttl:g}.")
        self.limits = tuple(sorted(limits, key=lambda limit: (limit.seconds, limit.requests)))
        self.store = store
        self._clock = clock
        self._ttl = micros(reservation_ttl)

    def reserve(self) -> Reservation | Wait:
        """Reserve the permission to send one request now.

        :return: the reservation, or the seconds until the next attempt is useful.
        :raises MeisaUnreachableError: if the store cannot be reached.
        """
        decision = self.store.run(Reserve(os.urandom(8).hex(), self.limits, self._ttl), self._clock)
        if decision is None:  # pragma: no cover - a faulty store
            raise TypeError(f"{type(self.store).__name__} returned nothing for a reservation")
        return decision

    def commit(self, reservation: Reservation) -> None:
        """Record that the response came now, or will never come: the request may have counted."""
        self._note(Commit(reservation.token, self.limits, self._ttl))

    def release(self, reservation: Reservation) -> None:
        """Cancel a reservation: nothing was sent."""
        self._note(Release(reservation.token, self.limits, self._ttl))

    def back_off(self, seconds: float | None = None) -> None:
        """Record a 429 or 503: no reservations for a while, then spaced requests until an hour passes without one.

        :param seconds: the wait that Meisa asked for; a little is added. Without one, the shortest window, doubled
            each time that was not enough, up to the longest.
        """
        said = seconds is not None and 0 < seconds < math.inf
        self._note(BackOff(micros(seconds) if said and seconds else 0, self.limits, self._ttl))

    def estimate(self, requests: int) -> float:
        """Return the seconds until the last of the next requests, each sent as soon as the rate limits allow it.

        It assumes that responses come at once, and that no other user sends.

        :raises MeisaUnreachableError: if the store cannot be reached.
        """
        state, now = self._read()
        return estimate(state, self.limits, requests, now) / MICRO

    def remaining(self) -> dict[str, int]:
        """Return the requests that each window has left now, by the limit's text.

        :raises MeisaUnreachableError: if the store cannot be reached.
        """
        state, now = self._read()
        return remaining(state, self.limits, now)

    def _read(self) -> tuple[State, int]:
        state, now = self.store.read(self._clock)
        return expire(state, now, self._ttl, self.limits[-1].requests), now

    def _note(self, operation: Commit | Release | BackOff) -> None:
        # A response must not be lost because it cannot be recorded: its reservation stays open, and counts as a
        # response when it expires.
        try:
            self.store.run(operation, self._clock)
        except MeisaError as error:
            log.warning("The rate limits could not be updated; the request counts as sent. %s", error)
