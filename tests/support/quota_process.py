"""A process of its own that spends from a quota in a file: ``python quota_process.py DO FOLDER LIMITS TIMES``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from airflow_provider_meisa.api.rate_limit.limiter import Quota, Slot, Wait
from airflow_provider_meisa.api.rate_limit.limits import parse_limits
from airflow_provider_meisa.api.rate_limit.storage.stores import FileStore


def report(word: str) -> None:
    """Let the parent know how far this process is."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def spend(quota: Quota, times: int) -> None:
    """Send as fast as the quota lets, and print when a server would have counted."""
    for number in range(times):
        while isinstance(reservation := quota.reserve(), Wait):
            time.sleep(reservation.seconds)
        if number % 2:
            time.sleep(0.01)
        sys.stdout.write(f"{time.time():.6f}\n")
        quota.stamp(reservation)


def die(quota: Quota, times: int) -> None:
    """Take slots and wait to be killed."""
    for _ in range(times):
        quota.reserve()
    report("taken")
    sys.stdin.read()


def churn(quota: Quota, times: int) -> None:
    """Change the file as often as possible until killed."""
    report("begun")
    while True:
        if isinstance(slot := quota.reserve(), Slot):
            quota.stamp(slot)


ACTIONS: dict[str, Callable[[Quota, int], None]] = {"spend": spend, "die": die, "churn": churn}

if __name__ == "__main__":
    what, folder, limits, times = sys.argv[1:]
    quota = Quota(parse_limits(limits), FileStore("shared", Path(folder)))
    ACTIONS[what](quota, int(times))
