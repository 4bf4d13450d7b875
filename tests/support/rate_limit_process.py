"""A process of its own that uses rate limits in a file: ``python rate_limit_process.py DO FOLDER LIMITS TIMES``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.limits import parse_limits
from airflow_provider_meisa.api.rate_limit.storage.factory import FileStorage


def report(word: str) -> None:
    """Let the parent know how far this process is."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def spend(rate_limiter: RateLimiter, times: int) -> None:
    """Send as fast as the limiter lets, and print when a server would have counted."""
    for number in range(times):
        while isinstance(reservation := rate_limiter.reserve(), Wait):
            time.sleep(reservation.seconds)
        if number % 2:
            time.sleep(0.01)
        sys.stdout.write(f"{time.time():.6f}\n")
        rate_limiter.commit(reservation)


def die(rate_limiter: RateLimiter, times: int) -> None:
    """Take slots and wait to be killed."""
    for _ in range(times):
        rate_limiter.reserve()
    report("taken")
    sys.stdin.read()


def churn(rate_limiter: RateLimiter, times: int) -> None:
    """Change the file as often as possible until killed."""
    report("begun")
    while True:
        if isinstance(reservation := rate_limiter.reserve(), Reservation):
            rate_limiter.commit(reservation)


ACTIONS: dict[str, Callable[[RateLimiter, int], None]] = {"spend": spend, "die": die, "churn": churn}

if __name__ == "__main__":
    what, folder, limits, times = sys.argv[1:]
    rate_limiter = RateLimiter(parse_limits(limits), FileStorage("shared", Path(folder)))
    ACTIONS[what](rate_limiter, int(times))
