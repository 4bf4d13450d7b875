"""Waiting for what happens in another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found | None],
    what: str = "the condition",
    *,
    within: float = 60.0,
    every: float = 0.01,
) -> Found:
    """Check a condition again and again until it holds, and return what it gave.

    :param what: what is waited for, as the failure names it.
    :param within: the most seconds to wait.
    :param every: seconds between two checks.
    """
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within:g} s")
        time.sleep(every)
    return found
