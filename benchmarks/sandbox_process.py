"""The provider's sandbox in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests


@contextmanager
def sandbox(rate_limits: str) -> Iterator[str]:
    """Run a sandbox for a ``with`` block and yield its URL."""
    command = [sys.executable, "-m", "airflow_provider_meisa.sandbox", "--rate-limits", rate_limits]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def add_key(url: str, key: str) -> str:
    """Add a key, with rate limits of its own."""
    requests.post(f"{url}/_sandbox/keys", json={"key": key}, timeout=30).raise_for_status()
    return key


def received(url: str, key: str) -> list[dict[str, Any]]:
    """Return the bulk requests with a key; the journal has its last four characters."""
    response = requests.get(f"{url}/_sandbox/requests", timeout=60)
    response.raise_for_status()
    return [
        entry
        for entry in response.json()
        if entry["key"].endswith(key[-4:]) and entry["path"].endswith("bulk-enroll/")
    ]
