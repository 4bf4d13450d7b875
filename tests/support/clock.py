"""A time that passes only where a test lets it pass."""

from __future__ import annotations

import threading

START = 1_800_000_000.0


class Clock:
    """A clock for what takes ``clock`` and ``sleep``: sleeping moves it, and so does a test.

    :param now: the time it begins with, in seconds.
    """

    def __init__(self, now: float = START) -> None:
        self.now = now
        self.sleeps: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass, and keep how many."""
        with self._lock:
            self.sleeps.append(seconds)
            self.now += seconds
