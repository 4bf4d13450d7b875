"""An event that ends every wait when a task is stopped."""

from __future__ import annotations

import threading
from contextlib import suppress


class CancellationEvent:
    """Once set, it ends every wait for it, in any thread.

    A `threading.Event` does not work here. Airflow calls ``on_kill`` from a signal handler, which interrupts the main
    thread wherever it is. Inside ``Event.wait`` it holds the event's lock for a moment. ``Event.set``, called
    in that moment from the handler, waits for that lock for ever. Here the handler only releases a lock.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._released = threading.Lock()
        self._released.acquire()

    def set(self) -> None:
        """End every wait, also later ones."""
        self.is_set = True
        self._open()

    def wait(self, seconds: float) -> bool:
        """Wait that many seconds at most, and return whether the event is set."""
        if not self.is_set and self._released.acquire(timeout=max(seconds, 0)):
            self._open()  # for the next waiter
        return self.is_set

    def _open(self) -> None:
        with suppress(RuntimeError):  # it is released already
            self._released.release()
