"""The rate limits of a key: a sliding log per key and window."""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DEFAULT_RATE_LIMITS = "60/minute, 1000/hour"  # documented default of a key

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LIMIT = re.compile(
    r"(?P<requests>[1-9]\d*)\s*/\s*(?P<number>\d+(?:\.\d+)?)?\s*"
    r"(?P<unit>s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Window:
    """A limit: at most ``requests`` in ``seconds``."""

    requests: int
    seconds: float


def parse_rate_limits(text: str) -> tuple[Window, ...]:
    """Read limits such as ``60/minute, 1000/hour`` or ``60/2s``.

    :param text: limits separated by commas; empty or ``none`` for no limit.
    :raises ValueError: if a limit cannot be read.
    """
    if text.strip().lower() in {"", "none"}:
        return ()
    return tuple(_parse_limit(part.strip()) for part in text.split(","))


def _parse_limit(text: str) -> Window:
    match = _LIMIT.fullmatch(text)
    seconds = float(match["number"] or 1) * _UNIT_SECONDS[match["unit"][0].lower()] if match else 0.0
    if match is None or seconds <= 0:
        raise ValueError(
            f"The rate limit {text!r} cannot be read: write it like 60/minute, 60/2s or 1000/hour."
        )
    return Window(int(match["requests"]), seconds)


class Throttle:
    """Admits or refuses requests, per key.

    Undocumented; as in Django REST Framework 3.10 and later: each window has a log of the requests that it admitted.
    A window does not log a request that it refuses. The other windows are checked all the same, and may log it.

    :param windows: the limits, all of which must hold.
    :param clock: returns the time in seconds.
    """

    def __init__(self, windows: Iterable[Window], clock: Callable[[], float] = time.monotonic) -> None:
        self.windows = tuple(dict.fromkeys(windows))
        self._clock = clock
        self._logs: defaultdict[tuple[str, Window], deque[float]] = defaultdict(deque)

    def admit(self, key: str) -> float:
        """Admit a request now and return 0, or return the seconds until one would be admitted."""
        now = self._clock()
        return max((_ask(self._logs[key, window], window, now) for window in self.windows), default=0.0)


def _ask(log: deque[float], window: Window, now: float) -> float:
    while log and log[0] <= now - window.seconds:
        log.popleft()
    if len(log) >= window.requests:
        return log[0] + window.seconds - now
    log.append(now)
    return 0.0
