"""A temporary home for Airflow, with the sandbox and a warehouse, for ``make demo`` and ``make ui``."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW = Path(sys.executable).with_name("airflow")
KEY = "meisa_live_sandbox"
SEQUENCE = "reactivation"


@contextmanager
def sandbox(home: Path) -> Iterator[str]:
    """Run the sandbox with its database in a folder, and yield its URL."""
    command = [sys.executable, "-m", "airflow_provider_meisa.sandbox", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--database", str(home / "sandbox.sqlite"), "--rate-limits", "60/minute, 1000/hour"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None or not (url := process.stdout.readline().strip()):
            sys.exit("The sandbox did not start.")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def environment(home: Path, sandbox_url: str) -> dict[str, str]:
    """Return the variables of an Airflow in a folder, with connections to the sandbox and the warehouse."""
    storage, ledgers = home / "rate_limits", home / "ledgers"
    for folder in (storage, ledgers):
        folder.mkdir(mode=0o700, exist_ok=True)
    meisa = {
        "conn_type": "meisa",
        "host": sandbox_url,
        "password": KEY,
        "extra": {"rate_limit_storage": storage.as_uri()},
    }
    warehouse = {"conn_type": "sqlite", "host": str(home / "warehouse.sqlite")}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "PATH": f"{AIRFLOW.parent}{os.pathsep}{os.environ.get('PATH', '')}",  # `airflow standalone` starts `airflow`
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__MEISA__LEDGER_PATH": str(ledgers),
        "AIRFLOW_CONN_MEISA_DEFAULT": json.dumps(meisa),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse),
    }


def fill_warehouse(home: Path, *, contacts: int) -> list[str]:
    """Create a warehouse of sample contacts, not all of them valid; return those `warehouse_to_sequence` selects.

    They lapsed on thirty days up to yesterday, so that a night of `nightly_reactivation` selects some of them.
    """
    chance = random.Random(20261123)  # noqa: S311 - sample data, the same every time
    people = [
        f"contact{number:05}@example.{chance.choice(('com', 'org', 'net'))}" for number in range(contacts)
    ]
    duplicates = [chance.choice(people).upper() for _ in range(contacts // 25)]
    broken = [
        chance.choice((f"contact{n}", f"con tact{n}@example.com", f"c{n}@", ""))
        for n in range(contacts // 50)
    ]
    rows = [*people, *duplicates, *broken]
    chance.shuffle(rows)
    with sqlite3.connect(home / "warehouse.sqlite") as warehouse:
        warehouse.execute(
            "CREATE TABLE contacts "
            "(id INTEGER PRIMARY KEY, email TEXT, last_seen_days INTEGER, last_seen_on DATE)"
        )
        warehouse.executemany(
            "INSERT INTO contacts (email, last_seen_days, last_seen_on) VALUES (?, ?, ?)",
            [
                *(_seen(row, 91 + number % 30) for number, row in enumerate(rows)),
                *(_seen(f"recent{number}@example.com", 3) for number in range(contacts // 4)),
            ],
        )
    warehouse.close()
    return rows


def _seen(email: str, days: int) -> tuple[str, int, str]:
    return email, days, (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def fill_users(home: Path, url: str, *, users: int) -> None:
    """Create the table of users that `sync_contacts` selects, and give the sandbox a contact for each of them."""
    emails = [f"user{number:04}@example.com" for number in range(users)]
    with sqlite3.connect(home / "warehouse.sqlite") as warehouse:
        warehouse.execute(
            "CREATE TABLE users (user_id INTEGER PRIMARY KEY, email TEXT, first_name TEXT, plan TEXT, mrr REAL)"
        )
        warehouse.executemany(
            "INSERT INTO users (email, first_name, plan, mrr) VALUES (?, ?, ?, ?)",
            [(email, f"First{number}", "free", 0.0) for number, email in enumerate(emails)],
        )
    warehouse.close()
    _post(url, "contacts", [{"email": email, "status": "subscribed"} for email in emails])


def upgrade_users(home: Path, *, users: int) -> list[str]:
    """Give some users another plan, and return their addresses."""
    with sqlite3.connect(home / "warehouse.sqlite") as warehouse:
        changed = warehouse.execute(
            "UPDATE users SET plan = 'team', mrr = 49.0 WHERE user_id <= ? RETURNING email", (users,)
        ).fetchall()
    warehouse.close()
    return [email for (email,) in changed]


def fill_sandbox(url: str, people: list[str]) -> None:
    """Suppress some of the contacts, and enroll some beforehand."""
    valid = sorted(
        {person.lower() for person in people if "@example." in person.lower() and " " not in person}
    )
    suppressed = [{"email": person, "status": "unsubscribed"} for person in valid[:120]]
    _post(url, "contacts", suppressed)
    _post(url, "enrollments", {"sequence_slug": SEQUENCE, "emails": valid[200:350], "status": "active"})


def ask(url: str, path: str, **query: str) -> Any:
    """Get data from the sandbox's control API."""
    response = requests.get(f"{url}/_sandbox/{path}", params=query, timeout=30)
    response.raise_for_status()
    return response.json()


def _post(url: str, path: str, body: object) -> None:
    requests.post(f"{url}/_sandbox/{path}", json=body, timeout=30).raise_for_status()
