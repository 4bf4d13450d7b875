"""What is known of a key's use, and the decisions that follow from it: no lock, no clock, no disk.

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
"""How long no 429 must come until requests need not be spaced any more."""
MARGIN = 15_000
"""What is added to every window, at most half a hundredth of it: timers and expiries are some milliseconds late."""
SLACK = (102, 100)
"""How much slower than even a spaced key goes, so that a limiter's debt shrinks."""
STEP = (5, 4)
"""How much slower a spaced key goes after a further 429."""
FLOOR = 4
"""A spaced key never goes slower than this many times the slowest window's even pace."""
LONGEST = FLOOR * 31 * 86_400 * MICRO
"""No window asks for a longer wait or a slower pace: a damaged file must not stop a key for years."""
FULL = (9, 10)
"""A window used to this share may be the one that refused."""

Micros = Annotated[int, Meta(ge=0)]
Pause = Annotated[int, Meta(ge=0, le=LONGEST)]


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a key's use.

    :param log: when answers came, oldest first; at most ``depth``, which is all that the windows ask for.
    :param open: token of each slot that is out, and when it counts as answered if nothing is heard of it.
    :param granted_at: when the last slot was given.
    :param refused_at: when the last 429 came.
    :param back_off_for: how long from then on nothing may be sent.
    :param interval: least time between two slots; 0 while requests need not be spaced.
    :param depth: the most requests that any window of any user of this state holds.
    """

    log: tuple[Micros, ...] = ()
    open: tuple[tuple[str, int], ...] = ()
    granted_at: Micros = 0
    refused_at: Micros = 0
    back_off_for: Pause = 0
    interval: Pause = 0
    depth: Annotated[int, Meta(ge=1)] = 1


def apply(state: State, operation: Operation, now: int) -> tuple[Reservation | Wait | None, State]:
    """Carry out one operation: what to tell the caller, and what is known afterwards."""
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

    Times in the future, which a clock set back leaves behind, become the present; slots whose time is over
    become answers; a quiet hour ends the spacing.
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
    """Start over where the state was lost: as if the shortest window had just been used up."""
    return State(refused_at=now, back_off_for=micros(limits[0].seconds))


def remaining(state: State, limits: tuple[Limit, ...], now: int) -> dict[str, int]:
    """Count the requests that each window has left."""
    return {
        str(limit): max(0, limit.requests - len(state.open) - _count_since(state.log, now - _span(limit)))
        for limit in limits
    }


def estimate(state: State, limits: tuple[Limit, ...], requests: int, now: int) -> int:
    """Play out the next requests, each answered at once: microseconds until the last of them."""
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
    """Turn seconds into whole microseconds, rounded up."""
    return math.ceil(seconds * MICRO)


def to_json(state: State) -> dict[str, object]:
    """Write a state as plain JSON."""
    return {"version": VERSION, **{field.name: getattr(state, field.name) for field in fields(state)}}


def from_json(value: Any) -> State:
    """Read what `to_json` wrote.

    :raises ValueError: if it is anything else.
    """
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
        # A slot that is out will be answered now at the earliest, so it stands in the log as now.
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
    # Where no slot was given since the last 429, this one belongs to requests that were in flight with it.
    is_new = not state.interval or state.granted_at > state.refused_at
    # One step more than asked for: what the wait earns must not be spent at once by requests that bunch up
    # on their way, or the next 429 follows and slows everyone down for nothing.
    asked = operation.wait + _even(operation.limits[0]) if operation.wait else 0
    wait = asked or _own_wait(state, operation.limits, now, is_new=is_new)
    return replace(
        state,
        refused_at=now,
        back_off_for=max(wait, state.refused_at + state.back_off_for - now),
        interval=_slower(state, operation, now) if is_new else state.interval,
    )


def _own_wait(state: State, limits: tuple[Limit, ...], now: int, *, is_new: bool) -> int:
    """Wait for the shortest window, and twice as long as last time where that was not enough."""
    shortest, longest = micros(limits[0].seconds), micros(limits[-1].seconds)
    was_too_short = is_new and now < state.refused_at + 2 * state.back_off_for
    return max(shortest, min(2 * state.back_off_for, longest)) if was_too_short else shortest


def _slower(state: State, operation: BackOff, now: int) -> int:
    """Find the interval to go on with after a 429.

    Blamed is the longest window that is full, unless the wait asked for is shorter than its even pace; without
    such a window the shortest, which is the likeliest.
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
    """Return how long an answer counts: the window and the margin."""
    window = micros(limit.seconds)
    return window + min(MARGIN, window // 200)


def _free_at(log: list[int], limit: Limit) -> int:
    return log[-limit.requests] + _span(limit) if len(log) >= limit.requests else 0


def _count_since(log: tuple[int, ...], time: int) -> int:
    return len(log) - bisect_right(log, time)


def _without(slots: tuple[tuple[str, int], ...], token: str) -> tuple[tuple[str, int], ...]:
    return tuple(reservation for reservation in slots if reservation[0] != token)
