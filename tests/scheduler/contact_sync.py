"""A warehouse of 20,000 people, a Meisa that has them, and the DAG that keeps the two in step."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import closing

from tests.scheduler.nights import connect
from tests.support.contacts import seed_contacts
from tests.support.waiting import wait_until

NAME = "synced"
PEOPLE = 20_000
LIMITS = "3000/minute"
LATENCY_MS = 60

DAG = '''
"""Keep contacts in step with a table."""
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaContactsOperator

with DAG("synced", schedule=None, is_paused_upon_creation=False):
    SqlToMeisaContactsOperator(
        task_id="task",
        sql="SELECT id, email, first_name, plan, mrr FROM people ORDER BY id",
        conn_id="warehouse",
        meisa_conn_id="synced",
        fields={"email": "email", "external_id": "id", "first_name": "first_name"},
        custom_fields=["plan", "mrr"],
        ledger="people",
        first_run="record",
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
'''
TABLE = """
CREATE TABLE people AS
SELECT
    number AS id,
    'person' || number || '@example.com' AS email,
    'First' || number %% 997 AS first_name,
    (ARRAY['free', 'pro', 'team'])[number %% 3 + 1] AS plan,
    (number %% 10000 / 100.0)::numeric(10, 2) AS mrr
FROM generate_series(1, %s) AS number
"""


class ContactSync:
    """The table, the Meisa, and the runs of the DAG.

    :param airflow: an Airflow at work.
    :param sandbox: the Meisa that the connection ``synced`` leads to.
    :param port: of the PostgreSQL with the database ``warehouse``.
    """

    def __init__(self, airflow, sandbox, port):
        self.airflow = airflow
        self.sandbox = sandbox
        self._port = port
        self._run(TABLE, (PEOPLE,))
        seed_contacts(sandbox.database, map(_sent, self._rows()))
        self._seeded_events = len(sandbox.automation_events())

    def change(self):
        """Change 200 rows: 140 plans, 30 addresses and 30 names that are now NULL."""
        self._run("UPDATE people SET plan = 'enterprise' WHERE id % 100 = 0 AND id <= 14000")
        self._run("UPDATE people SET email = 'new' || id || '@example.com' WHERE id % 100 = 1 AND id < 3000")
        self._run("UPDATE people SET first_name = NULL WHERE id % 100 = 2 AND id < 3000")

    def begin(self):
        """Start a run and return its id."""
        return self.airflow.trigger(NAME)

    def play(self, run=None):
        """Wait for the success of a run, and return its summary.

        :param run: by default a new one.
        """
        run = run or self.begin()
        assert self.airflow.ended(NAME, run) == "success", self.airflow.log(NAME, run)
        return self.airflow.xcom(NAME, run)

    def kill(self, after):
        """Kill the process of the task once so many upserts have come in; return how many had come in by then."""
        wait_until(lambda: len(self.upserts()) >= after, f"{after} upserts have come in", every=0.02)
        (pid,) = self.airflow.task_processes()
        os.kill(pid, signal.SIGKILL)
        return len(self.upserts())

    def upserts(self):
        """Return the upserts that came in."""
        return [each for each in self.sandbox.requests() if each["path"].endswith("/contacts/upsert/")]

    def statuses(self):
        """Count the statuses of all responses."""
        return Counter(each["status"] for each in self.sandbox.requests())

    def events(self):
        """Count what automations have seen since the contacts were there."""
        return Counter(each["name"] for each in self.sandbox.automation_events()[self._seeded_events :])

    def table(self):
        """Return the table as Meisa should have it, by id."""
        return {str(row[0]): _contact(_sent(row)) for row in self._rows()}

    def held(self):
        """Return what Meisa has, by id."""
        return {each["external_id"]: _contact(each) for each in self.sandbox.contacts()}

    def _rows(self):
        return self._run("SELECT id, email, first_name, plan, mrr FROM people ORDER BY id")

    def _run(self, statement, parameters=None):
        with closing(connect(self._port, "warehouse")) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def deploy(airflow):
    """Write the DAG's file, before Airflow starts."""
    (airflow.dags / "contact_sync.py").write_text(DAG)


def _sent(row):
    number, email, name, plan, mrr = row
    return {
        "external_id": str(number),
        "email": email,
        "first_name": name or "",
        "custom_fields": {"plan": plan, "mrr": float(mrr)},
    }


def _contact(found):
    return found["email"], found["first_name"], found["custom_fields"]
