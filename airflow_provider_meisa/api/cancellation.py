"""The word that all is to stop."""

from __future__ import annotations

import threading
from contextlib import suppress


class CancellationEvent:
    """Told once, it ends every wait for it, in any thread.

    A `threading.Event` would not do. Airflow calls ``on_kill`` from a signal's handler, which interrupts the main
    thread wherever it is. Inside ``Event.wait`` it holds the event's lock for a moment, and ``Event.set``, called
    in that moment from the handler, waits for that lock for ever. Here the handler takes no lock: it opens one.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._released = threading.Lock()
        self._released.acquire()

    def set(self) -> None:
        """End every wait, those to come as well."""
        self.is_set = True
        self._open()

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds at most, and say whether it was told."""
        if not self.is_set and self._released.acquire(timeout=max(seconds, 0)):
            self._open()  # for the next who waits
        return self.is_set

    def _open(self) -> None:
        with suppress(RuntimeError):  # it is open
            self._released.release()
