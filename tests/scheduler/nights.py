"""A warehouse of users, and the DAG that enrolls the lapsed ones every night."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import date, timedelta

import psycopg2
import pytest

from airflow_provider_meisa.bulk.ledger import Ledger
from tests.support.requests_sent import bulk_requests

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

    def finish_sequence(self):
        """Let all contacts in the sequence finish it: Meisa would enroll them again."""
        emails = [row["email"] for row in self.sandbox.enrollments(SEQUENCE)]
        self.sandbox.seed_enrollments(SEQUENCE, emails, "completed")

    def begin(self):
        """Start the run of the next night and return its id."""
        self._night += timedelta(days=1)
        return self.airflow.trigger("nightly", f"{self._night}T02:00:00Z")

    def state(self, run):
        """Wait for the end of a night, and return the state of its task."""
        return self.airflow.ended("nightly", run)

    def summary(self, run):
        """Wait for the success of a night, and return its summary."""
        state = self.state(run)
        assert state == "success", self.airflow.log("nightly", run)
        return self.airflow.xcom("nightly", run)

    def lose_disk(self):
        """Lose everything that the worker has kept on its disk."""
        shutil.rmtree(_disk_of(self.airflow))

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

    def _run(self, statement, parameters=()):
        with closing(connect(self._port, "warehouse")) as connection:
            with connection.cursor() as cursor:
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


@pytest.fixture
def nights(environment):
    """The nights of this test."""
    return Nights(environment.airflow, environment.sandboxes["nightly"], environment.port)
