"""DAGs whose runs give the same contacts, and backfills of them."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.requests_sent import bulk_requests
from tests.support.waiting import wait_until

DAGS = '''
"""Enroll the signups of the last three days, every day: each contact comes three times."""
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator

SIGNUPS = """
    SELECT 'signup' || number || '@example.com' AS email
    FROM generate_series(
        (DATE '{{{{ ds }}}}' - DATE '2026-09-30') * 200,
        (DATE '{{{{ ds }}}}' - DATE '2026-09-30') * 200 + 599
    ) AS number
    ORDER BY number
"""

for name, arguments in {of!r}.items():
    with DAG(
        name,
        schedule="@daily",
        start_date=datetime(2026, 10, 1),
        end_date=datetime(2026, 10, 6),
        catchup=False,
        max_active_runs=6,
        is_paused_upon_creation=False,
    ) as dag:
        SqlToMeisaSequenceOperator(
            task_id="task",
            sql=SIGNUPS,
            conn_id="warehouse",
            sequence_slug=name,
            meisa_conn_id=name,
            ledger=name,
            again_after="never",
            retry_delay=timedelta(seconds=2),
            **arguments,
        )
    globals()[name] = dag
'''
FIRST, LAST, RUNS = "2026-10-01T00:00:00Z", "2026-10-06T00:00:00Z", 6
SIGNUPS = {f"signup{number}@example.com" for number in range(200, 1_800)}

# What differs from a DAG whose author has given only a ledger.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "backfilled": {"retries": 0},
    "backfilled_and_deferred": {"retries": 0, "deferrable": True, "defer_after": 10},
    "backfilled_at_once": {"retries": 30, "max_active_tis_per_dag": 6},
    "backfilled_and_killed": {"retries": 2, "max_in_flight": 1},
}


class Backfill:
    """A DAG and its Meisa.

    :param airflow: an Airflow at work.
    """

    def __init__(self, airflow, sandbox, name):
        self.name = name
        self.sandbox = sandbox
        self._airflow = airflow
        self._number = 0
        sandbox.put_sequence(name)

    def start(self):
        """Start six days at once."""
        wait_until(lambda: self._ask("GET", f"dags/{self.name}").ok, f"the DAG {self.name} is known")
        wish = {"dag_id": self.name, "from_date": FIRST, "to_date": LAST, "max_active_runs": RUNS}
        response = self._ask("POST", "backfills", json=wish)
        response.raise_for_status()
        self._number = response.json()["id"]

    def wait(self):
        """Wait until all runs have ended."""
        wait_until(
            lambda: self._ask("GET", f"backfills/{self._number}").json()["completed_at"],
            f"the backfill of {self.name} has ended",
            within=240,
            every=0.5,
        )

    def kill_worker(self):
        """Kill the process of the first run amid its second batch."""
        self.sandbox.fault("slow", path="bulk-enroll", seconds=3, skip=1, times=1)
        self.start()
        wait_until(lambda: len(bulk_requests(self.sandbox)) == 2, "the second batch has come in")
        (running,) = [task["id"] for task in self.tasks() if task["state"] == "running"]
        (pid,) = [
            pid
            for pid in self._airflow.task_processes()
            if running.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(pid, signal.SIGKILL)

    def tasks(self):
        """Return what the API says of each task."""
        response = self._ask("GET", f"dags/{self.name}/dagRuns/~/taskInstances")
        response.raise_for_status()
        return response.json()["task_instances"]

    def summaries(self):
        """Return the summary of each task."""
        return [self._airflow.xcom(self.name, task["dag_run_id"]) for task in self.tasks()]

    def times_accepted(self):
        """Count how often Meisa has accepted each contact."""
        accepted = [each for each in bulk_requests(self.sandbox) if each["status"] == 200]
        return Counter(address for each in accepted for address in each["addresses"])

    def logs(self):
        """Return what the first attempts have logged."""
        return [self._airflow.log(self.name, task["dag_run_id"]) for task in self.tasks()]

    def _ask(self, method, path, **arguments):
        return self._airflow._ask(method, path, **arguments)


def deploy(airflow):
    """Write the DAGs' file, before Airflow starts."""
    (airflow.dags / "backfills.py").write_text(DAGS.format(of=dict(ARGUMENTS)))
