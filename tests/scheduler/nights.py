"""A warehouse of users, and the DAG that enrolls the lapsed ones every night."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import closing
from datetime import date, timedelta

import psycopg2

from airflow_provider_meisa.bulk.ledger import Ledger
from tests.support.requests_sent import bulk_requests
from tests.support.waiting import wait_until

DAG = '''
"""Enroll lapsed users, every night."""
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator

with DAG("nightly", schedule=None, is_paused_upon_creation=False):
    SqlToMeisaSequenceOperator(
        task_id="task",
        sql="{sql}",
        conn_id="warehouse",
        sequence_slug="reactivation",
        meisa_conn_id="nightly",
        ledger="reactivation",
        again_after=timedelta(days=90),
        staging_path="{disk}",
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
'''
LAPSED_FOR_90_DAYS = "SELECT email FROM users WHERE days_away >= 90 ORDER BY id"
LAPSED_FOR_60_DAYS = "SELECT u.email AS email FROM users u WHERE u.days_away >= 60 ORDER BY u.email DESC"
SEQUENCE = "reactivation"


class Nights:
    """What happens in the warehouse, in Meisa and on the worker's disk, night after night.

    :param airflow: an Airflow at work.
    :param sandbox: the Meisa that the connection ``nightly`` leads to.
    :param port: of the PostgreSQL with the database ``warehouse``.
    """

    def __init__(self, airflow, sandbox, port):
        self.airflow = airflow
        self.sandbox = sandbox
        self._port = port
        self._night = date(2026, 11, 1)
        self._run("CREATE TABLE users (id serial PRIMARY KEY, email text, days_away int)")
        sandbox.put_sequence(SEQUENCE)

    def use_query(self, sql):
        """Deploy the DAG with another query."""
        deploy(self.airflow, sql)

    def lapse(self, users, days_away=90):
        """Let more users be away for so many days, and return their addresses."""
        rows = self._run(
            "INSERT INTO users (email, days_away) SELECT 'user' || lpad(number::text, 5, '0') || '@example.com', %s "
            "FROM generate_series((SELECT count(*) FROM users), (SELECT count(*) FROM users) + %s - 1) AS number "
            "RETURNING email",
            (days_away, users),
        )
        return [email for (email,) in rows]

    def log_in(self, *emails):
        """Let lapsed users come back: the query no longer gives them."""
        self._run("UPDATE users SET days_away = 0 WHERE email IN %s RETURNING id", (emails,))

    def begin(self):
        """Start the run of the next night and return its id."""
        self._night += timedelta(days=1)
        return self.airflow.trigger("nightly", f"{self._night}T02:00:00Z")

    def state(self, run):
        """Wait for the end of a night, and return the state of its task."""
        return self.airflow.ended("nightly", run)

    def play(self, run=None):
        """Wait for the success of a night, let its contacts finish the sequence, and return its summary.

        :param run: by default the next night, which is started.
        """
        run = run or self.begin()
        state = self.state(run)
        assert state == "success", self.log(run)
        self._finish_sequence()
        return self.airflow.xcom("nightly", run)

    def tries(self, run):
        """Return how many attempts a night took."""
        return self.airflow.task("nightly", run)["try_number"]

    def log(self, run):
        """Return what the first attempt of a night has logged."""
        return self.airflow.log("nightly", run)

    def lose_worker(self, after):
        """Kill the task's process once so many batches of its run have come in, and remove its disk.

        :return: how many batches had come in by then.
        """
        begun = len(self.requests())
        wait_until(lambda: len(self.requests()) >= begun + after, f"{after} batches have come in", every=0.02)
        (pid,) = self.airflow.task_processes()
        os.kill(pid, signal.SIGKILL)
        sent = len(self.requests()) - begun
        shutil.rmtree(_disk_of(self.airflow))
        return sent

    def lose_ledger(self):
        """Remove all that is in the folder of the ledger."""
        for part in (self.airflow.home / "ledgers" / "reactivation").iterdir():
            part.unlink()

    def ledger(self):
        """Open the ledger."""
        return Ledger.open_existing(self.airflow.home / "ledgers", "reactivation")

    def requests(self):
        """Return the bulk enrollments that came in."""
        return bulk_requests(self.sandbox)

    def times_enrolled(self):
        """Return how often each contact was enrolled."""
        return {row["email"]: row["times_enrolled"] for row in self.sandbox.enrollments(SEQUENCE)}

    def _finish_sequence(self):
        emails = [row["email"] for row in self.sandbox.enrollments(SEQUENCE)]
        self.sandbox.seed_enrollments(SEQUENCE, emails, "completed")

    def _run(self, statement, parameters=()):
        with closing(connect(self._port, "warehouse")) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def deploy(airflow, sql=LAPSED_FOR_90_DAYS):
    """Write the DAG's file. Airflow must find it when it starts; each task reads it again."""
    (airflow.dags / "nightly.py").write_text(DAG.format(sql=sql, disk=_disk_of(airflow)))


def _disk_of(airflow):
    return airflow.home / "disk"


def connect(port, database):
    """Connect to a PostgreSQL on loopback; each statement is committed at once."""
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="meisa", dbname=database)
    connection.autocommit = True
    return connection
