"""A process of its own that spends from a quota in a file: ``python quota_process.py DO FOLDER LIMITS TIMES``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from airflow_provider_meisa.api.limits import parse_limits
from airflow_provider_meisa.api.quota import Quota, Wait
from airflow_provider_meisa.api.quota_stores import FileStore


def say(word):
    """Tell the parent how far we are."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def spend(quota, times):
    """Send as fast as the quota lets, and print when a server would have counted."""
    for number in range(times):
        while isinstance(decision := quota.reserve(), Wait):
            time.sleep(decision.seconds)
        if number % 2:
            time.sleep(0.01)
        sys.stdout.write(f"{time.time():.6f}\n")
        quota.stamp(decision)


def die(quota, times):
    """Take slots and wait to be killed."""
    for _ in range(times):
        quota.reserve()
    say("taken")
    sys.stdin.read()


def churn(quota, times):
    """Change the file as often as possible until killed."""
    say("begun")
    while True:
        quota.stamp(quota.reserve())


if __name__ == "__main__":
    what, folder, limits, times = sys.argv[1:]
    quota = Quota(parse_limits(limits), FileStore("shared", Path(folder)))
    {"spend": spend, "die": die, "churn": churn}[what](quota, int(times))
