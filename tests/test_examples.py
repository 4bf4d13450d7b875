import json
import runpy
import sqlite3
import threading
from collections import Counter
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pendulum
import pytest

from airflow_provider_meisa.operators.redacted import unwrap
from tests.support.airflow_process import forget_runs, load_example

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    path = tmp_path / "warehouse.sqlite"
    connection = sqlite3.connect(path, check_same_thread=False)  # the thread of a person changes it, too
    connection.execute(
        "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, last_seen_days INTEGER, last_seen_on DATE)"
    )
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def fill(*addresses, days=180, seen_on=None):
        connection.executemany(
            "INSERT INTO contacts (email, last_seen_days, last_seen_on) VALUES (?, ?, ?)",
            [(address, days, seen_on and seen_on.isoformat()) for address in addresses],
        )
        connection.commit()

    def remove(address):
        connection.execute("DELETE FROM contacts WHERE email = ?", (address,))
        connection.commit()

    fill.remove = remove
    yield fill
    connection.close()


def test_lapsed_contacts_of_the_warehouse_are_enrolled_and_no_contact_else(example, warehouse, meisa_sandbox):
    lapsed = [f"lapsed{number}@example.com" for number in range(700)]
    warehouse(*lapsed, "LAPSED1@example.com", "unsubscribed@example.com", "broken")
    warehouse("recent@example.com", days=3)
    ran = example("warehouse_to_sequence")
    assert set(ran.states.values()) == {"success"}
    assert {row["email"] for row in meisa_sandbox.enrollments("reactivation")} == set(lapsed)
    assert (
        ran.xcom("report") == "700 of 703 enrolled with 3 requests; 1 suppressed, 0 in the sequence already"
    )


def test_too_many_broken_addresses_make_the_warehouse_dag_red_after_the_others_were_enrolled(
    example, warehouse, meisa_sandbox
):
    warehouse("ada@example.com", "broken")
    ran = example("warehouse_to_sequence")
    assert (ran.states["enroll"], ran.states["report"]) == ("failed", "upstream_failed")
    assert [row["email"] for row in meisa_sandbox.enrollments("reactivation")] == ["ada@example.com"]


def test_a_contact_that_signs_up_is_enrolled_once(example, meisa_sandbox):
    assert set(example("enroll_one").states.values()) == {"success"}
    ran = example("enroll_one")
    assert ran.xcom("sequences_before") == ["onboarding"]
    assert ran.states["enroll"] == "skipped"
    (row,) = meisa_sandbox.enrollments("onboarding")
    assert (row["email"], row["metadata"], row["trigger_source"]) == (
        "ada@example.com",
        {"plan": "team"},
        "airflow",
    )


def test_each_segment_goes_into_its_own_sequence(example, meisa_sandbox):
    ran = example("mapped_sequences")
    assert set(ran.states.values()) == {"success"}
    assert ran.xcom("total") == 3
    assert len(meisa_sandbox.enrollments("onboarding")) == 2
    assert [row["email"] for row in meisa_sandbox.enrollments("reactivation")] == ["edsger@example.com"]


def test_those_a_function_finds_are_enrolled(example, meisa_sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    buyers = {"ada@example.com": True, "grace@example.com": False, "edsger@example.com": True}
    for number, (email, is_first) in enumerate(buyers.items()):
        (tmp_path / f"{number}.json").write_text(json.dumps({"email": email, "is_first": is_first}))
    ran = example("taskflow_enroll", run_conf={"folder": str(tmp_path)})
    assert ran.xcom("report") == "2 of 2 first buyers enrolled"
    enrolled = [row["email"] for row in meisa_sandbox.enrollments("onboarding")]
    assert enrolled == ["ada@example.com", "edsger@example.com"]


def test_a_dag_that_waits_for_an_enrollment_has_nothing_to_say_when_it_is_started_by_hand(example):
    # That the event starts it, and what it says then: tests/scheduler/test_after_enrollment.py.
    assert example("after_enrollment").xcom("report") == []


class Person:
    """Responds to the request for approval of a running DAG, as the page of required actions does."""

    def __init__(self, response, look):
        self.response, self.look = response, look
        self.seen = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._wait_and_response)

    def _wait_and_response(self):
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select
        from sqlalchemy.exc import OperationalError

        while not self.over.wait(0.1):
            # SQLite has one writer at a time: where the run is just writing, try again.
            with suppress(OperationalError), create_session() as session:
                query = select(TaskInstance).where(TaskInstance.state == "awaiting_input")
                if (waiting := session.scalars(query).first()) is not None:
                    if self.seen is None:
                        self.seen = self.look()
                    # Not the end: the run may still write that the task waits, over this response.
                    self._answer(waiting, session)

    def _answer(self, waiting, session):
        from airflow.models.trigger import handle_event_submit
        from airflow.triggers.base import TriggerEvent

        answered = {"responded_at": datetime.now(UTC), "responded_by_user": None, "params_input": {}}
        event = {**answered, "chosen_options": [self.response]} if self.response else NO_RESPONSE
        handle_event_submit(TriggerEvent(event), task_instance=waiting, session=session)

    def __enter__(self):
        # Before there are two threads: in two at once Airflow's models cannot be imported.
        from airflow.models import dag, serialized_dag, trigger  # noqa: F401
        from sqlalchemy.orm import configure_mappers

        configure_mappers()
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.over.set()
        self.thread.join()


NO_RESPONSE = {"error": "Nobody has answered in time.", "error_type": "timeout"}


def state_of_the_run(ran):
    """Return the state of the DAG's latest run, by which Airflow notifies people or does not."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(DagRun.state).where(DagRun.dag_id == ran.dag_id).order_by(DagRun.id.desc())
        return str(session.scalars(query).first())


@pytest.fixture
def night(example, warehouse, meisa_sandbox, tmp_path, ledgers):
    """Run the DAG of the night with a person who responds; return its result."""
    forget_runs("nightly_reactivation")
    lapsed_that_day = date(2026, 3, 4) - timedelta(days=90)
    warehouse(
        "ada@example.com", "grace@example.com", "unsubscribed@example.com", "broken", seen_on=lapsed_that_day
    )
    after_midnight = datetime(2026, 3, 5, tzinfo=UTC)

    def run_night(response, folder=tmp_path, logical_date=after_midnight, before_the_response=lambda: None):
        before = len(meisa_sandbox.enrollments("reactivation"))

        def look():
            before_the_response()
            return len(meisa_sandbox.enrollments("reactivation"))

        with Person(response, look=look) as person:
            ran = example("nightly_reactivation", run_conf={"folder": str(folder)}, logical_date=logical_date)
        assert person.seen in (None, before)
        return ran

    return run_night


REJECTS = {"suppressed: on Meisa's list of unsubscribed addresses": 1, "invalid: no @": 1}


def test_at_night_people_are_mailed_once_a_person_has_approved(night, meisa_sandbox):
    ran = night("Approve")
    assert ran.xcom("preview")["to_send"] == 2
    assert len(meisa_sandbox.enrollments("reactivation")) == 2
    assert ran.xcom("rejects") == REJECTS
    assert state_of_the_run(ran) == "success"


def test_approved_contacts_are_sent_although_the_table_has_changed(night, warehouse, meisa_sandbox):
    """Between the preview and the response a row comes and one goes, and an approved contact unsubscribes."""

    def change():
        warehouse.remove("ada@example.com")
        warehouse("late@example.com", seen_on=date(2026, 3, 4) - timedelta(days=90))
        meisa_sandbox.put_contacts({"grace@example.com": "unsubscribed"})

    ran = night("Approve", before_the_response=change)
    assert ran.xcom("preview")["to_send"] == 2
    assert [row["email"] for row in meisa_sandbox.enrollments("reactivation")] == ["ada@example.com"]
    assert ran.xcom("enroll")["counts"]["suppressed"] == 2


def test_the_rejects_are_read_from_a_store_as_from_a_disk(night):
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    attach("memory", fs=MemoryFileSystem())
    assert night("Approve", folder="memory://bucket/rejects").xcom("rejects") == REJECTS


def test_an_approved_night_sends_no_alert(night, slack):
    night("Approve")
    assert slack.texts == []


def test_a_person_who_says_no_ends_the_night_without_a_mail_and_without_an_alarm(night, meisa_sandbox):
    ran = night("Reject")
    assert (ran.states["enroll"], ran.xcom("rejects")) == ("skipped", {})
    assert state_of_the_run(ran) == "success"
    assert meisa_sandbox.enrollments("reactivation") == []


def test_a_night_on_which_no_contact_responses_ends_without_a_mail_and_red(night, meisa_sandbox):
    ran = night(None)
    assert (ran.states["enroll"], ran.xcom("rejects")) == ("upstream_failed", {})
    assert state_of_the_run(ran) == "failed"
    assert meisa_sandbox.enrollments("reactivation") == []


def test_a_preview_that_failed_makes_the_run_red_and_leaves_no_rejects(night, meisa_sandbox):
    meisa_sandbox.put_sequence("reactivation", status="paused")
    ran = night("Approve")
    assert ran.states["preview"] == "failed"
    assert (ran.states["rejects"], ran.xcom("rejects")) == ("success", {})
    assert state_of_the_run(ran) == "failed"


def test_a_failed_enrollment_makes_the_run_red_and_its_rejects_are_counted_all_the_same(
    night, meisa_sandbox, slack
):
    meisa_sandbox.fault("status", path="bulk-enroll", status=403)
    ran = night("Approve")
    (text,) = slack.texts
    assert text.startswith("nightly_reactivation.enroll failed: {")
    assert "'untried': 2" in text
    assert (ran.states["enroll"], ran.states["rejects"]) == ("failed", "success")
    assert ran.xcom("rejects").items() > REJECTS.items()
    assert sum(ran.xcom("rejects").values()) == 4
    assert state_of_the_run(ran) == "failed"


def lapsing_on(year, month, day):
    """Return the last visit of a contact whose 91st day without one is that day."""
    return date(year, month, day) - timedelta(days=91)


def times_enrolled(sandbox):
    return {row["email"]: row["times_enrolled"] for row in sandbox.enrollments("reactivation")}


def test_three_nights_enroll_each_contact_once(night, warehouse, meisa_sandbox):
    """Each night selects all lapsed contacts, although those of the nights before have finished the sequence."""
    warehouse("second@example.com", seen_on=lapsing_on(2026, 3, 6))
    warehouse("third@example.com", seen_on=lapsing_on(2026, 3, 7))
    warehouse("fourth@example.com", seen_on=lapsing_on(2026, 3, 8))
    warehouse("recent@example.com", days=3, seen_on=date(2026, 3, 1))
    previews = []
    for day in (5, 6, 7):
        ran = night("Approve", logical_date=datetime(2026, 3, day, tzinfo=UTC))
        assert set(ran.states.values()) == {"success"}
        report = ran.xcom("preview")
        previews.append((report["to_send"], report["counts"]["enrolled_before"]))
        meisa_sandbox.seed_enrollments("reactivation", times_enrolled(meisa_sandbox), "completed")
    assert previews == [(2, 0), (1, 2), (1, 3)]
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(
        ("ada@example.com", "grace@example.com", "second@example.com", "third@example.com"), 1
    )


def test_a_second_run_of_a_night_enrolls_no_contact_again(night, meisa_sandbox):
    night("Approve")
    meisa_sandbox.seed_enrollments("reactivation", times_enrolled(meisa_sandbox), "completed")
    ran = night("Approve", logical_date=datetime(2026, 3, 5, 12, tzinfo=UTC))  # as a manual run at noon
    assert ran.counts("enroll")["enrolled_before"] == 2
    assert times_enrolled(meisa_sandbox) == {"ada@example.com": 1, "grace@example.com": 1}


def test_a_run_without_logical_date_selects_all_lapsed_contacts(night, meisa_sandbox):
    ran = night("Approve", logical_date=None)
    assert set(ran.states.values()) == {"success"}
    assert set(times_enrolled(meisa_sandbox)) == {"ada@example.com", "grace@example.com"}


@pytest.mark.parametrize(
    ("end", "lapsed"),
    [("2026-03-05", "2025-12-05"), ("2024-03-02", "2023-12-03")],
    ids=["a day", "a leap year"],
)
def test_the_query_selects_90_days_without_a_visit(end, lapsed):
    from airflow.sdk.execution_time import macros

    preview = load_example("nightly_reactivation").get_task("preview")
    preview.render_template_fields(
        {"data_interval_end": pendulum.parse(end), "dag_run": None, "macros": macros}
    )
    assert unwrap(preview.parameters) == {"lapsed": lapsed}


@pytest.fixture
def users(tmp_path, monkeypatch, ledgers):
    """The table of users in the warehouse, whose rows a test replaces; and a folder for ledgers."""
    path = tmp_path / "users.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def fill(rows):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE IF EXISTS users")
            connection.execute(
                "CREATE TABLE users (user_id INT, email TEXT, first_name TEXT, plan TEXT, mrr REAL)"
            )
            connection.executemany("INSERT INTO users VALUES (?, ?, 'Ada', ?, 1.5)", rows)

    return fill


def test_sync_records_first_and_then_sends_changes(example, users, meisa_sandbox):
    users([(number, f"p{number}@example.com", "free") for number in range(20)])
    assert example("sync_contacts").counts("sync") == {"unchanged": 20}
    assert meisa_sandbox.contacts() == []
    users([(number, f"p{number}@example.com", "team" if number < 3 else "free") for number in range(21)])
    assert example("sync_contacts").counts("sync") == {"created": 4, "unchanged": 17}
    assert {contact["external_id"] for contact in meisa_sandbox.contacts()} == {"0", "1", "2", "20"}


def test_sync_after_a_full_resync_sends_only_changes(run, users, meisa_sandbox, monkeypatch):
    def sync():
        dag = load_example("sync_contacts")
        dag.dag_id = "sync_after_full_resync"  # a ledger is missed by a task that has filled it before
        return run(dag).counts("sync")

    connection = {"conn_type": "http", "host": meisa_sandbox.api_url, "password": meisa_sandbox.key}
    monkeypatch.setenv("AIRFLOW_CONN_MEISA_API", json.dumps(connection))
    users([(number, f"p{number}@example.com", "free") for number in range(20)])
    before = ROOT / "docs" / "_before" / "full_resync.py"
    assert set(run(runpy.run_path(str(before))["full_resync"]()).states.values()) == {"success"}
    created = meisa_sandbox.automation_events()
    assert Counter(event["name"] for event in created) == {"contact_created": 20}
    assert sync() == {"unchanged": 20}
    users([(number, f"p{number}@example.com", "team" if number < 3 else "free") for number in range(20)])
    assert sync() == {"updated": 3, "unchanged": 17}
    changes = [(event["name"], event["about"]) for event in meisa_sandbox.automation_events()[20:]]
    assert changes == [("contact_updated", ["custom_fields.plan"])] * 3


def test_contacts_are_synced_and_then_enrolled(example, users, meisa_sandbox):
    users([(1, "trial@example.com", "trial"), (2, "team@example.com", "team")])
    ran = example("sync_then_enroll")
    assert (ran.counts("sync"), ran.counts("enroll")) == ({"created": 2}, {"enrolled": 1})
    again = example("sync_then_enroll")
    assert (again.counts("sync"), again.counts("enroll")) == ({"unchanged": 2}, {"enrolled_before": 1})
    assert [row["email"] for row in meisa_sandbox.enrollments("onboarding")] == ["trial@example.com"]


def test_outcomes_and_unsubscribed_are_in_the_warehouse(example, warehouse, meisa_sandbox, tmp_path, ledgers):
    forget_runs("outcomes_to_warehouse")
    warehouse("ada@example.com", "UNSUBSCRIBED@example.com", "grace@example.com", "broken")
    for _ in range(2):
        ran = example("outcomes_to_warehouse", run_conf={"folder": str(tmp_path)})
        assert set(ran.states.values()) == {"success"}
    with closing(sqlite3.connect(tmp_path / "warehouse.sqlite")) as connection:
        unsubscribed = connection.execute("SELECT email FROM meisa_unsubscribed").fetchall()
        query = "SELECT address, status FROM meisa_outcomes ORDER BY load_id, line_number"
        outcomes = connection.execute(query).fetchall()
    assert ("unsubscribed@example.com",) in unsubscribed
    assert len(outcomes) == 6
    assert Counter(outcomes) == {
        ("ada@example.com", "enrolled"): 1,
        ("grace@example.com", "enrolled"): 1,
        ("ada@example.com", "enrolled_before"): 1,
        ("grace@example.com", "enrolled_before"): 1,
        ("broken", "invalid"): 2,
    }


def test_outcomes_of_a_failed_enrollment_are_loaded(example, warehouse, meisa_sandbox, tmp_path, ledgers):
    forget_runs("outcomes_to_warehouse")
    meisa_sandbox.fault("status", path="bulk-enroll", status=403)
    warehouse("ada@example.com")
    ran = example("outcomes_to_warehouse", run_conf={"folder": str(tmp_path)})
    assert ran.states == {
        "unsubscribed": "success",
        "enroll": "failed",
        "outcomes": "success",
        "report": "upstream_failed",
    }
    assert state_of_the_run(ran) == "failed"
    with closing(sqlite3.connect(tmp_path / "warehouse.sqlite")) as connection:
        assert connection.execute("SELECT status FROM meisa_outcomes").fetchall() != []
