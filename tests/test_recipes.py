"""The DAGs of the recipes do what their pages promise."""

from __future__ import annotations

import json
import runpy
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.airflow_process import forget_runs, load_example
from tests.support.mail_server import mail_server

EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    """Run statements in the database of the connection ``warehouse``."""
    path = tmp_path / "warehouse.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def execute(statement, rows=None):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement) if rows is None else connection.executemany(statement, rows)

    return execute


def enrolled(sandbox, slug, **arguments):
    """Return how often each contact of a sequence was enrolled."""
    return {row["email"]: row["times_enrolled"] for row in sandbox.enrollments(slug, **arguments)}


def finish(sandbox, slug):
    """Let all contacts finish a sequence, so that Meisa would enroll them again."""
    sandbox.seed_enrollments(slug, enrolled(sandbox, slug), "completed")


# Backfill


@pytest.fixture
def day(example, warehouse, ledgers):
    """Run the DAG for a day of three with a sign-up each; the first contact signs up twice."""
    warehouse("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, signed_up_on DATE)")
    signups = [
        ("first@example.com", "2026-03-01"),
        ("second@example.com", "2026-03-02"),
        ("first@example.com", "2026-03-03"),
        ("third@example.com", "2026-03-03"),
    ]
    warehouse("INSERT INTO users (email, signed_up_on) VALUES (?, ?)", signups)
    return lambda number: example("backfill", logical_date=datetime(2026, 3, number + 1, tzinfo=UTC))


def test_backfill_enrolls_each_contact_once(day, meisa_sandbox):
    assert day(3).counts("enroll") == {"enrolled": 2}
    finish(meisa_sandbox, "onboarding")
    assert day(1).counts("enroll") == {"enrolled_before": 1}
    assert day(2).counts("enroll") == {"enrolled": 1}
    people = ("first@example.com", "second@example.com", "third@example.com")
    assert enrolled(meisa_sandbox, "onboarding") == dict.fromkeys(people, 1)


# Development and production


@pytest.fixture
def trial_users(run, warehouse, ledgers, meisa_connection, meisa_sandbox):
    """Run the DAG with a connection for each environment."""
    warehouse("CREATE TABLE users (user_id INTEGER PRIMARY KEY, email TEXT, plan TEXT)")
    warehouse("INSERT INTO users (email, plan) VALUES (?, ?)", [("ada@example.com", "trial")])
    meisa_sandbox.add_key("meisa_test_key", environment="test")
    meisa_connection("meisa_test", password="meisa_test_key", extra={"environment": "test"})
    meisa_connection("meisa_live", extra={"environment": "live"})
    forget_runs("trial_users_test", "trial_users_live")
    dags = runpy.run_path(str(EXAMPLES / "environments.py"))
    return lambda environment: run(dags[f"trial_users_{environment}"])


def test_rehearsal_enrolls_in_the_test_environment_alone(trial_users, meisa_sandbox):
    assert trial_users("test").counts("enroll") == {"enrolled": 1}
    assert enrolled(meisa_sandbox, "onboarding") == {}
    assert enrolled(meisa_sandbox, "onboarding", environment="test") == {"ada@example.com": 1}


def test_live_run_after_rehearsal_enrolls_all(trial_users, meisa_sandbox):
    trial_users("test")
    assert trial_users("live").counts("enroll") == {"enrolled": 1}
    assert enrolled(meisa_sandbox, "onboarding") == {"ada@example.com": 1}


def test_required_environment_stops_live_run(trial_users, meisa_sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW__MEISA__REQUIRED_ENVIRONMENT", "test")
    assert trial_users("live").states == {"enroll": "failed"}
    assert trial_users("test").states == {"enroll": "success"}
    assert enrolled(meisa_sandbox, "onboarding") == {}


# Secrets backends


@pytest.fixture
def read_backends_again():
    """Let Airflow read which backends there are, before the test and after it."""
    from airflow.sdk.configuration import clear_secrets_backends_cache

    clear_secrets_backends_cache()
    yield
    clear_secrets_backends_cache()


@pytest.mark.usefixtures("read_backends_again")
def test_connection_of_secrets_backend_is_checked(example, meisa_sandbox, file, monkeypatch):
    fields = {"conn_type": "meisa", "host": meisa_sandbox.url, "password": meisa_sandbox.key}
    path = file("connections.json", json.dumps({"meisa_default": fields}))
    backend = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", backend)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps({"connections_file_path": str(path)}))
    monkeypatch.delenv("AIRFLOW_CONN_MEISA_DEFAULT")
    ran = example("check_connections")
    assert ran.states == {"check[0]": "success"}
    assert ran.xcom("check", map_index=0) == "live"


def test_key_without_scope_fails_the_check(example, meisa_sandbox, meisa_connection):
    meisa_sandbox.add_key("meisa_live_narrow", scopes=["sequences:enroll"])
    meisa_connection(password="meisa_live_narrow")
    assert example("check_connections").states == {"check[0]": "failed"}
    assert [sent["path"] for sent in meisa_sandbox.requests()] == ["/api/v1/ping/"]


# dbt and Cosmos


@pytest.fixture
def model(warehouse, ledgers):
    """Build the model as dbt does: replace the table."""
    forget_runs("after_dbt")

    def build(*rows):
        warehouse("DROP TABLE IF EXISTS lapsed_contacts")
        warehouse("CREATE TABLE lapsed_contacts (contact_id INTEGER, email TEXT)")
        warehouse("INSERT INTO lapsed_contacts VALUES (?, ?)", rows)

    return build


def test_each_build_of_the_model_enrolls_new_contacts(example, model, meisa_sandbox):
    model((1, "ada@example.com"), (2, "grace@example.com"))
    assert example("after_dbt", logical_date=None).counts("enroll") == {"enrolled": 2}
    finish(meisa_sandbox, "reactivation")
    model((1, "ada@example.org"), (2, "grace@example.com"), (3, "edsger@example.com"))
    ran = example("after_dbt", logical_date=None)
    assert ran.counts("enroll") == {"enrolled": 1, "enrolled_before": 2}
    people = ("ada@example.com", "grace@example.com", "edsger@example.com")
    assert enrolled(meisa_sandbox, "reactivation") == dict.fromkeys(people, 1)


def test_empty_model_skips_the_task(example, model, meisa_sandbox):
    model()
    assert example("after_dbt", logical_date=None).states == {"enroll": "skipped"}
    assert enrolled(meisa_sandbox, "reactivation") == {}


def test_dag_is_scheduled_on_the_asset_of_cosmos():
    dag = load_example("after_dbt")
    (asset,) = dag.timetable.asset_condition.objects
    assert asset.uri == "postgres://warehouse.example.com:5432/analytics/marts/lapsed_contacts"


# Alerts


@pytest.fixture
def mails(monkeypatch):
    """Return the mails that the server of the connection ``smtp_default`` has taken."""
    with mail_server() as server:
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
        host, port = server.server_address
        fields = {"conn_type": "smtp", "host": host, "port": port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(fields))
        yield server.mails


def run_alerts(example, path):
    return example("alerts", run_conf={"path": str(path)})


def test_success_posts_the_counts_to_slack(example, file, slack, mails):
    ran = run_alerts(
        example, file("signups.csv", "email\nada@example.com\ngrace@example.com\nunsubscribed@example.com\n")
    )
    assert ran.states == {"enroll": "success"}
    assert slack.texts == [f"alerts.enroll {ran.run_id}: 3 in onboarding: 2 enrolled, 1 suppressed"]
    assert mails == []


def test_failure_posts_and_mails_counts_without_address(example, file, slack, mails):
    ran = run_alerts(example, file("signups.csv", "email\nada@example.com\nbroken\n"))
    assert ran.states == {"enroll": "failed"}
    line = f"alerts.enroll {ran.run_id}: 2 in onboarding: 1 enrolled, 1 invalid"
    assert slack.texts == [line]
    (mail,) = mails
    assert (mail["Subject"], mail["To"]) == ("Enrollment failed", "data-oncall@example.com")
    (part,) = mail.get_payload()
    text = part.get_payload(decode=True).decode()
    assert line in text
    assert "ada@" not in text


def test_run_that_stops_early_posts_the_reason(example, file, slack, mails, meisa_sandbox):
    meisa_sandbox.fault("status", path="bulk-enroll", status=403)
    ran = run_alerts(example, file("signups.csv", "email\nada@example.com\n"))
    assert ran.states == {"enroll": "failed"}
    (text,) = slack.texts
    assert "1 untried (stopped: " in text


def test_task_that_sends_nothing_posts_where_to_look(example, tmp_path, slack, mails):
    ran = run_alerts(example, tmp_path / "missing.csv")
    assert ran.states == {"enroll": "failed"}
    assert slack.texts == [f"alerts.enroll {ran.run_id}: no summary, see the log"]
    assert len(mails) == 1
