"""Enroll and sync the rows of a warehouse: run two example DAGs, and compare Airflow's counts with the sandbox's."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from playground import (
    AIRFLOW,
    SEQUENCE,
    ask,
    environment,
    fill_sandbox,
    fill_users,
    fill_warehouse,
    sandbox,
    upgrade_users,
)

ENROLL, SYNC = "warehouse_to_sequence", "sync_contacts"
TASKS = {ENROLL: "enroll", SYNC: "sync"}
CONTACTS, USERS, CHANGES = 3000, 2000, 20
OUTCOMES = "outcomes.jsonl"


def main() -> int:
    """Run the demo; return 0 if the counts agree."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="meisa-demo-") as folder:
        home = Path(folder)
        with sandbox(home) as url:
            rows = fill_warehouse(home, contacts=CONTACTS)
            fill_sandbox(url, rows)
            fill_users(home, url, users=USERS)
            print(f"A sandbox of Meisa listens at {url}.")
            env = {**environment(home, url), "NO_COLOR": "1"}
            run_airflow(home, env, "db", "migrate")
            agree = [enroll(home, url, env, rows), sync(home, url, env)]
    print(f"{time.monotonic() - started:.0f} s in total. All processes have stopped.")
    if not all(agree):
        print("The counts of Airflow and the sandbox differ.")
        return 1
    print("The counts of Airflow and the sandbox agree.")
    return 0


def enroll(home: Path, url: str, env: dict[str, str], rows: list[str]) -> bool:
    """Enroll the lapsed contacts of the warehouse; return whether the counts agree."""
    print(f"\n1. Enroll {len(rows):,} lapsed contacts into a sequence: a request takes 500 of them\n")
    seeded = ask(url, "enrollments", sequence_slug=SEQUENCE)
    summary = run_dag(home, env, ENROLL, {"outcomes_path": str(home / OUTCOMES)})
    print_outcomes(home)
    ours = enrolled_by_airflow(summary)
    theirs = enrolled_in_sandbox(url, rows, seeded)
    print_table(ours, theirs)
    return ours == theirs


def sync(home: Path, url: str, env: dict[str, str]) -> bool:
    """Keep contacts in step with a table, three times; return whether the counts agree."""
    print(f"2. Keep {USERS:,} users of a table in step with Meisa: a request takes one of them")
    print(
        "\nThe first run. Meisa has these users, so it only writes them into its ledger (first_run='record'):\n"
    )
    ours, theirs = {}, {}
    first, theirs["sent by the first run"] = run_sync(home, url, env)
    print("\nThe second run. No row has changed:\n")
    second, theirs["sent by the second run"] = run_sync(home, url, env)
    changed = upgrade_users(home, users=CHANGES)
    print(f"\nThe third run. {len(changed)} users have another plan now:\n")
    third, theirs["sent by the third run"] = run_sync(home, url, env)
    for name, summary in zip(theirs, (first, second, third), strict=True):
        ours[name] = summary["counts"]["created"] + summary["counts"]["updated"]
    ours["contacts with the new plan"] = len(changed)
    theirs["contacts with the new plan"] = sum(
        contact["custom_fields"] == {"plan": "team", "mrr": 49} for contact in ask(url, "contacts")
    )
    print_table(ours, theirs)
    return ours == theirs


def run_sync(home: Path, url: str, env: dict[str, str]) -> tuple[dict[str, Any], int]:
    """Run the sync; return its summary and how many upserts the sandbox has received."""
    before = count_upserts(url)
    summary = run_dag(home, env, SYNC)
    return summary, count_upserts(url) - before


def count_upserts(url: str) -> int:
    """Count the upserts that the sandbox has received."""
    return sum(request["path"].endswith("/contacts/upsert/") for request in ask(url, "requests"))


def run_dag(
    home: Path, env: dict[str, str], dag: str, parameters: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run a DAG with `airflow dags test`, print what the package logs, and return the summary from XCom."""
    print_progress(
        run_airflow(
            home, env, "dags", "test", dag, *(["--conf", json.dumps(parameters)] if parameters else [])
        )
    )
    database = sqlite3.connect(home / "airflow.db")
    query = (
        "SELECT value FROM xcom WHERE dag_id = ? AND task_id = ? AND key = 'return_value' "
        "ORDER BY timestamp DESC LIMIT 1"
    )
    (value,) = database.execute(query, (dag, TASKS[dag])).fetchone()
    database.close()
    summary: dict[str, Any] = json.loads(json.loads(value) if value.startswith('"') else value)
    return summary


def run_airflow(home: Path, env: dict[str, str], *words: str) -> str:
    """Run a command of Airflow, and return its log."""
    print(f"airflow {' '.join(words[:3])} …", flush=True)
    log = home / "airflow.log"
    with log.open("w") as output:
        code = subprocess.run(
            [AIRFLOW, *words], env=env, stdout=output, stderr=output, check=False
        ).returncode
    if code:
        sys.exit(f"airflow {words[0]} failed ({code}). The end of its log:\n{log.read_text()[-4000:]}")
    return log.read_text()


def print_progress(log: str) -> None:
    """Print what the package has logged: its plan, its progress and its summary."""
    # Found by their logger, so that a message may change; the marks of groups are for the Airflow UI.
    lines = re.findall(r"^\S+ \[\w+ *\] (?!::)(.+?) *\[airflow\.task\.meisa\]", log, re.MULTILINE)
    if not lines:
        sys.exit(f"The log has no line of the task. Its end:\n{log[-4000:]}")
    print("\n".join(f"  {line}" for line in lines))


def print_outcomes(home: Path) -> None:
    """Print how many lines the outcomes file has, and one line of each status."""
    lines = [json.loads(line) for line in (home / OUTCOMES).read_text().splitlines()]
    one_of_each = {line["status"]: line for line in lines}
    print(f"\n{OUTCOMES}: {len(lines):,} lines, one per address, such as")
    for line in one_of_each.values():
        print(f"  {json.dumps(line)}")


def enrolled_by_airflow(summary: dict[str, Any]) -> dict[str, int]:
    """Return the counts of the task's summary, under the names that both sides have."""
    counts = summary["counts"]
    words = ("enrolled", "already_enrolled", "suppressed")
    return {
        "warehouse rows": summary["total"],
        **{word: counts[word] for word in words},
        "not sent (invalid, duplicate)": counts["invalid"] + counts["duplicate"],
        "anything else": summary["total"] - sum(counts[word] for word in (*words, "invalid", "duplicate")),
    }


def enrolled_in_sandbox(url: str, rows: list[str], seeded: list[dict[str, Any]]) -> dict[str, int]:
    """Return the counts of what the sandbox received and holds now, without Airflow."""
    received = Counter(
        address.lower() for request in ask(url, "requests") for address in request["addresses"] or []
    )
    before = {row["email"].lower() for row in seeded}
    now = Counter(row["email"].lower() for row in ask(url, "enrollments", sequence_slug=SEQUENCE))
    enrolled = sum(now.values()) - len(seeded)
    already = sum(1 for address in received if address in before)
    return {
        "warehouse rows": len(rows),
        "enrolled": enrolled,
        "already_enrolled": already,
        "suppressed": len(received) - enrolled - already,
        "not sent (invalid, duplicate)": len(rows) - len(received),
        "anything else": sum(received.values()) - len(received),
    }


def print_table(ours: dict[str, int], theirs: dict[str, int]) -> None:
    """Print both counts side by side."""
    print(f"\n{'':<32}{'Airflow':>10}{'sandbox':>10}")
    for word, count in ours.items():
        print(f"{word:<32}{count:>10,}{theirs[word]:>10,}{'' if count == theirs[word] else '   <- differs'}")
    print()


if __name__ == "__main__":
    sys.exit(main())
