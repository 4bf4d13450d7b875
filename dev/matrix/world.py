"""The world of the DAGs: a sandbox, a warehouse and files; and the contacts that should be enrolled in the end."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from environment import Environment, Failed, outside

KEY, SLOW_KEY = "meisa_live_sandbox", "meisa_live_slow"
SLOW = "4/40s"
"""The rate limit of the connection ``meisa_slow``: less than the DAG ``waits`` sends at once."""

_LAPSED = [f"lapsed{number}@example.com" for number in range(40)]
_DROPPED = [f"dropped{number}@example.com" for number in range(3)]
_SIGNED_UP = [f"signup{number}@example.com" for number in range(4)]
_BUYERS = [f"buyer{number}@example.com" for number in range(2)]
ENROLLED = {
    "onboarding": {
        "hedy@example.com",
        "ada@example.com",
        "grace@example.com",
        *_DROPPED,
        *_SIGNED_UP,
        *_BUYERS,
    },
    "reactivation": {"edsger@example.com", *_LAPSED},
    "slow-start": {f"waiting{number}@example.com" for number in range(1600)},
}
"""The contacts of each sequence after every DAG has run, once or twice."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox, through its control API."""

    url: str

    def ask(self, path: str, **query: str) -> Any:
        """Get data from the control API."""
        response = requests.get(f"{self.url}/_sandbox/{path}", params=query, timeout=30)
        response.raise_for_status()
        return response.json()

    def tell(self, path: str, body: object) -> None:
        """Post data to the control API."""
        requests.post(f"{self.url}/_sandbox/{path}", json=body, timeout=30).raise_for_status()

    def set_status(self, status: str) -> None:
        """Set the status of ``slow-start``."""
        self.tell("sequences", {"slug": "slow-start", "name": "Slow start", "status": status})

    def looks(self) -> int:
        """Count the requests for the sequences with the slow key."""
        seen = [each for each in self.ask("requests") if SLOW_KEY.endswith(each["key"].lstrip("…"))]
        return sum("/sequences/" in each["path"] and each["method"] == "GET" for each in seen)

    def check_summary(self) -> None:
        """Compare the enrolled contacts with the expected ones.

        :raises Failed: if they differ, or a contact was enrolled twice.
        """
        for slug, expected in ENROLLED.items():
            rows = self.ask("enrollments", sequence_slug=slug)
            times = {row["email"]: row["times_enrolled"] for row in rows}
            if times != dict.fromkeys(expected, 1):
                raise Failed(
                    f"{slug} has {len(times)} contacts, not {len(expected)}; or others, or some of them twice."
                )


@contextmanager
def sandbox(environment: Environment) -> Iterator[Sandbox]:
    """Run a sandbox with the interpreter of an environment.

    :raises Failed: if it does not start.
    """
    command: list[str | Path] = [
        environment.python,
        "-m",
        "airflow_provider_meisa.sandbox",
        "--rate-limits",
        "none",
    ]
    process = subprocess.Popen(
        [*command, "--key", SLOW_KEY], env=outside(), stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or not (url := process.stdout.readline().strip()):
            raise Failed("The sandbox did not start.")
        yield Sandbox(url)
    finally:
        process.terminate()
        process.wait(timeout=20)


def fill(folder: Path) -> None:
    """Create the warehouse and the files in a folder."""
    (folder / "rejects").mkdir()
    (folder / "orders").mkdir()
    for buyer in _BUYERS:
        order = {"is_first": True, "email": buyer}
        (folder / "orders" / f"{buyer}.json").write_text(json.dumps(order))
    for name, people in {"dropped.csv": _DROPPED, "signups.csv": _SIGNED_UP}.items():
        (folder / name).write_text("\n".join(["email", *people]) + "\n")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    lapsed = (91, (yesterday - timedelta(days=90)).isoformat())
    rows = [(person, *lapsed) for person in (*_LAPSED, "unsubscribed@example.com", "broken")]
    with closing(sqlite3.connect(folder / "warehouse.sqlite")) as warehouse, warehouse:
        warehouse.execute(
            "CREATE TABLE contacts "
            "(id INTEGER PRIMARY KEY, email TEXT, last_seen_days INTEGER, last_seen_on DATE)"
        )
        warehouse.executemany(
            "INSERT INTO contacts (email, last_seen_days, last_seen_on) VALUES (?, ?, ?)",
            [*rows, ("recent@example.com", 3, (yesterday - timedelta(days=2)).isoformat())],
        )


def runs(folder: Path) -> dict[str, dict[str, str]]:
    """Return the configuration of each DAG's run, by its id."""
    return {
        "waits": {},
        "enroll_one": {"email": "hedy@example.com"},
        "file_drop": {"path": str(folder / "dropped.csv")},
        "enroll_signups": {"path": str(folder / "signups.csv")},
        "after_enrollment": {},
        "taskflow_enroll": {"folder": str(folder / "orders")},
        "mapped_sequences": {},
        "warehouse_to_sequence": {"outcomes_path": str(folder / "outcomes.jsonl")},
        "nightly_reactivation": {"folder": str(folder / "rejects")},
    }


def connections(world: Sandbox, folder: Path) -> dict[str, str]:
    """Return the variables that Airflow reads its connections from."""
    ours = {"conn_type": "meisa", "host": world.url}
    storage = {"rate_limit_storage": (folder / "rate_limits").as_uri()}
    slow = {**ours, "password": SLOW_KEY, "extra": {**storage, "rate_limits": SLOW}}
    return {
        "AIRFLOW_CONN_MEISA_DEFAULT": json.dumps({**ours, "password": KEY, "extra": storage}),
        "AIRFLOW_CONN_MEISA_SLOW": json.dumps(slow),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(
            {"conn_type": "sqlite", "host": str(folder / "warehouse.sqlite")}
        ),
    }
