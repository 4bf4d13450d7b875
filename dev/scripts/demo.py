"""Enroll the rows of a warehouse: run the example DAG, and compare Airflow's counts with the sandbox's."""

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

from playground import AIRFLOW, SEQUENCE, ask, environment, fill_sandbox, fill_warehouse, sandbox

DAG = "warehouse_to_sequence"
CONTACTS = 3000
OUTCOMES = "outcomes.jsonl"


def main() -> int:
    """Run the demo; return 0 if the counts agree."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="meisa-demo-") as folder:
        home = Path(folder)
        with sandbox(home) as url:
            rows = fill_warehouse(home, contacts=CONTACTS)
            fill_sandbox(url, rows)
            print(f"A sandbox of Meisa listens at {url}; the warehouse has {len(rows):,} lapsed contacts.")
            seeded = ask(url, "enrollments", sequence_slug=SEQUENCE)
            summary = run_dag(home, {**environment(home, url), "NO_COLOR": "1"})
            print_progress(home)
            print_outcomes(home)
            theirs = sandbox_summary(url, rows, seeded)
    ours = airflow_summary(summary)
    print_table(ours, theirs)
    print(f"{summary['requests']} requests, {time.monotonic() - started:.0f} s in total.")
    if ours != theirs:
        print("The counts of Airflow and the sandbox differ.")
        return 1
    print(
        "The counts of Airflow and the sandbox agree: every address has a status. All processes have stopped."
    )
    return 0


def run_dag(home: Path, env: dict[str, str]) -> dict[str, Any]:
    """Run the DAG with `airflow dags test`, and return the summary from XCom."""
    log = home / "airflow.log"
    parameters = json.dumps({"outcomes_path": str(home / OUTCOMES)})
    for command in (["db", "migrate"], ["dags", "test", DAG, "--conf", parameters]):
        print(f"airflow {' '.join(command[:3])} …", flush=True)
        with log.open("a") as output:
            code = subprocess.run(
                [AIRFLOW, *command], env=env, stdout=output, stderr=output, check=False
            ).returncode
        if code:
            sys.exit(f"airflow {command[0]} failed ({code}). The end of its log:\n{log.read_text()[-4000:]}")
    database = sqlite3.connect(home / "airflow.db")
    query = "SELECT value FROM xcom WHERE dag_id = ? AND task_id = 'enroll' AND key = 'return_value'"
    (value,) = database.execute(query, (DAG,)).fetchone()
    database.close()
    summary: dict[str, Any] = json.loads(json.loads(value) if value.startswith('"') else value)
    return summary


def print_progress(home: Path) -> None:
    """Print what the package has logged: its plan, its progress and its summary."""
    log = (home / "airflow.log").read_text()
    # Found by their logger, so that a message may change; the marks of groups are for the Airflow UI.
    lines = re.findall(r"^\S+ \[\w+ *\] (?!::)(.+?) *\[airflow\.task\.meisa\]", log, re.MULTILINE)
    if not lines:
        sys.exit(f"The log has no line of the task. Its end:\n{log[-4000:]}")
    print("\n" + "\n".join(f"  {line}" for line in lines))


def print_outcomes(home: Path) -> None:
    """Print how many lines the outcomes file has, and one line of each status."""
    lines = [json.loads(line) for line in (home / OUTCOMES).read_text().splitlines()]
    one_of_each = {line["status"]: line for line in lines}
    print(f"\n{OUTCOMES}: {len(lines):,} lines, one per address, such as")
    for line in one_of_each.values():
        print(f"  {json.dumps(line)}")


def airflow_summary(summary: dict[str, Any]) -> dict[str, int]:
    """Return the counts of the task's summary, under the names that both sides have."""
    counts = summary["counts"]
    words = ("enrolled", "already_enrolled", "suppressed")
    return {
        "warehouse rows": summary["total"],
        **{word: counts[word] for word in words},
        "not sent (invalid, duplicate)": counts["invalid"] + counts["duplicate"],
        "anything else": summary["total"] - sum(counts[word] for word in (*words, "invalid", "duplicate")),
    }


def sandbox_summary(url: str, rows: list[str], seeded: list[dict[str, Any]]) -> dict[str, int]:
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
