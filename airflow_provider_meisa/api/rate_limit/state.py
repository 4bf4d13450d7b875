"""The state of the rate limits of a key, and the decisions on it: no lock, no clock, no disk.

Times are whole microseconds since 1970, so that Python, JSON and Redis' Lua agree on every comparison.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

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

VERSION = 1
MICRO = 1_000_000
QUIET = 3600 * MICRO
"""The time without a 429 after which requests are no longer spaced."""
MARGIN = 15_000
"""Added to every window, at most 0.5 % of it: timers and expiries are some milliseconds late."""
SLACK = (102, 100)
"""How much slower than the even pace a spaced key sends, so that the limiter catches up."""
STEP = (5, 4)
"""How much slower a spaced key sends after another 429."""
FLOOR = 4
"""The largest multiple of the slowest window's even interval."""
LONGEST = FLOOR * 31 * 86_400 * MICRO
"""The longest wait and interval that any window needs: a damaged file must not stop a key for years."""
FULL = (9, 10)
"""A window that is used to this share may have caused the 429."""

_BACK_OFF_FOR_IN_0_1 = "hold_for"

Micros = Annotated[int, Meta(ge=0)]
Pause = Annotated[int, Meta(ge=0, le=LONGEST)]


@dataclass(frozen=True, slots=True)
class State:
    """The state of the rate limits of a key.

    :param log: times of responses, oldest first; at most ``depth``, which all windows together need.
    :param open: the token of each open reservation, and when it expires and counts as a response.
    :param granted_at: time of the last reservation.
    :param refused_at: time of the last 429.
    :param back_off_for: how long after that nothing may be sent.
    :param interval: least time between two reservations; 0 while requests are not spaced.
    :param depth: the most requests per window, over all windows of all users of this state.
    """

    log: tuple[Micros, ...] = ()
    open: tuple[tuple[str, int], ...] = ()
    granted_at: Micros = 0
    refused_at: Micros = 0
    back_off_for: Pause = 0
    interval: Pause = 0
    depth: Annotated[int, Meta(ge=1)] = 1


def apply(state: State, operation: Operation, now: int) -> tuple[Reservation | Wait | None, State]:
    """Carry out one operation; return the result for the caller and the new state."""
    state = expire(state, now, operation.ttl, max(limit.requests for limit in operation.limits))
    match operation:
        case Reserve():
            return _reserve(state, operation, now)
        case Commit(token):
            log = (*state.log, now)[-state.depth :]
            return None, replace(state, log=log, open=_without(state.open, token))
        case Release(token):
            return None, replace(state, open=_without(state.open, token))
    return None, _back_off(state, operation, now)


def expire(state: State, now: int, ttl: int, depth: int) -> State:
    """Bring a state up to the present.

    Times in the future, after a clock was set back, become the present. Expired reservations become responses.
    An hour without a 429 ends the spacing.
    """
    if state.depth < depth:
        state = replace(state, depth=depth)
    if (state.log and state.log[-1] > now) or max(state.granted_at, state.refused_at) > now:
        state = replace(
            state,
            log=tuple(min(time, now) for time in state.log),
            granted_at=min(state.granted_at, now),
            refused_at=min(state.refused_at, now),
        )
    if any(not now < deadline <= now + ttl for _, deadline in state.open):
        expired = [deadline for _, deadline in state.open if deadline <= now]
        left = tuple((token, min(deadline, now + ttl)) for token, deadline in state.open if deadline > now)
        state = replace(state, log=tuple(sorted([*state.log, *expired]))[-state.depth :], open=left)
    if state.interval and now >= state.refused_at + QUIET:
        state = replace(state, interval=0)
    return state


def state_after_loss(limits: tuple[Limit, ...], now: int) -> State:
    """Return the state after a loss: as if the shortest window had just been used up."""
    return State(refused_at=now, back_off_for=micros(limits[0].seconds))


def remaining(state: State, limits: tuple[Limit, ...], now: int) -> dict[str, int]:
    """Count the requests that each window has left."""
    return {
        str(limit): max(0, limit.requests - len(state.open) - _count_since(state.log, now - _span(limit)))
        for limit in limits
    }


def estimate(state: State, limits: tuple[Limit, ...], requests: int, now: int) -> int:
    """Simulate the next requests with immediate responses; return the microseconds until the last one."""
    log = [*state.log, *(now for _ in state.open)]
    last, spaced_from = now, state.granted_at
    for _ in range(requests):
        last = max(last, state.refused_at + state.back_off_for, *(_free_at(log, limit) for limit in limits))
        if last < state.refused_at + QUIET:
            last = max(last, spaced_from + state.interval)
        spaced_from = last
        log.append(last)
    return last - now


def micros(seconds: float) -> int:
    """Convert seconds to whole microseconds, rounded up."""
    return math.ceil(seconds * MICRO)


def to_json(state: State) -> dict[str, object]:
    """Write a state as plain JSON."""
    return {"version": VERSION, **{field.name: getattr(state, field.name) for field in fields(state)}}


def from_json(value: Any) -> State:
    """Read what `to_json` wrote, here or in release 0.1.0.

    :raises ValueError: if it is anything else.
    """
    if isinstance(value, dict) and _BACK_OFF_FOR_IN_0_1 in value:
        value = {**value, "back_off_for": value[_BACK_OFF_FOR_IN_0_1]}
        del value[_BACK_OFF_FOR_IN_0_1]
    try:
        state = msgspec.convert(value, State)
    except msgspec.ValidationError:
        raise ValueError("not a state") from None
    if to_json(state).keys() != value.keys() or value["version"] != VERSION:
        raise ValueError("not a state of this version")
    return replace(state, log=tuple(sorted(state.log)))


def _reserve(state: State, operation: Reserve, now: int) -> tuple[Reservation | Wait, State]:
    if any(token == operation.token for token, _ in state.open):
        return Reservation(operation.token), state
    log, n_open = state.log, len(state.open)
    free_at = max(state.refused_at + state.back_off_for, state.granted_at + state.interval)
    for limit in operation.limits:
        # The response to an open reservation comes now at the earliest, so it counts as a response of now.
        nth = limit.requests - n_open
        if nth <= 0:
            free_at = max(free_at, now + _span(limit))
        elif nth <= len(log):
            free_at = max(free_at, log[-nth] + _span(limit))
    if free_at > now:
        return Wait((free_at - now) / MICRO), state
    slots = (*state.open, (operation.token, now + operation.ttl))
    return Reservation(operation.token), replace(state, open=slots, granted_at=now)


def _back_off(state: State, operation: BackOff, now: int) -> State:
    # Without a reservation since the last 429, this one belongs to requests that were in flight with it.
    is_new = not state.interval or state.granted_at > state.refused_at
    # One interval longer than asked for: else requests that bunch up in the network use up the limit at once,
    # and the next 429 slows all users down for nothing.
    asked = operation.wait + _even(operation.limits[0]) if operation.wait else 0
    wait = asked or _own_wait(state, operation.limits, now, is_new=is_new)
    return replace(
        state,
        refused_at=now,
        back_off_for=max(wait, state.refused_at + state.back_off_for - now),
        interval=_slower(state, operation, now) if is_new else state.interval,
    )


def _own_wait(state: State, limits: tuple[Limit, ...], now: int, *, is_new: bool) -> int:
    """Return the shortest window, or twice the last wait if that was not enough."""
    shortest, longest = micros(limits[0].seconds), micros(limits[-1].seconds)
    was_too_short = is_new and now < state.refused_at + 2 * state.back_off_for
    return max(shortest, min(2 * state.back_off_for, longest)) if was_too_short else shortest


def _slower(state: State, operation: BackOff, now: int) -> int:
    """Return the interval between requests after a 429.

    The cause is the longest full window, unless the wait that Meisa asked for is shorter than its even interval;
    without such a window it is the shortest one, which is the likeliest.
    """
    limits = operation.limits
    suspects = [limit for limit in limits if _is_full(state, limit, now)]
    blamed = [limit for limit in suspects if not operation.wait or _even(limit) <= operation.wait]
    even = _even([limits[0], *blamed][-1]) * SLACK[0] // SLACK[1]
    return min(max(even, state.interval * STEP[0] // STEP[1]), FLOOR * max(map(_even, limits)))


def _is_full(state: State, limit: Limit, now: int) -> bool:
    used = len(state.open) + _count_since(state.log, now - _span(limit))
    return used * FULL[1] >= limit.requests * FULL[0]


def _even(limit: Limit) -> int:
    """Return the time from one request to the next where a window's requests are spread evenly."""
    return micros(limit.seconds) // limit.requests


def _span(limit: Limit) -> int:
    """Return how long a response counts: the window and the margin."""
    window = micros(limit.seconds)
    return window + min(MARGIN, window // 200)


def _free_at(log: list[int], limit: Limit) -> int:
    return log[-limit.requests] + _span(limit) if len(log) >= limit.requests else 0


def _count_since(log: tuple[int, ...], time: int) -> int:
    return len(log) - bisect_right(log, time)


def _without(slots: tuple[tuple[str, int], ...], token: str) -> tuple[tuple[str, int], ...]:
    return tuple(reservation for reservation in slots if reservation[0] != token)
