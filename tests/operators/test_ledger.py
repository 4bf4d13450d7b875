"""The ledger of a bulk enrollment: over many runs, each contact is enrolled once."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRunType  # what a task gets: not a text when printed

from airflow_provider_meisa.bulk.ledger import Ledger, State, Subject
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.support.people import people
from tests.support.requests_sent import addresses_sent, bulk_requests
from tests.support.summary import counts
from tests.support.task import fake_context

pytestmark = pytest.mark.usefixtures("ledgers")

PEOPLE = people(1100)
DAYS_90 = timedelta(days=90)


@pytest.fixture
def nightly(task):
    """Make a task with a ledger."""
    return lambda given=PEOPLE, **arguments: task(
        given, **{"ledger": "reactivation", "again_after": DAYS_90, **arguments}
    )


@pytest.fixture
def ledger(ledgers, meisa_sandbox):
    """Open the ledger, as of a number of days ago."""

    def opened(days_ago=0, name="reactivation"):
        subject = Subject(
            base_url=f"{meisa_sandbox.url}/api/v1",
            environment="live",
            product="Sandbox",
            job="enroll",
            target="onboarding",
            record_id="address",
        )
        return Ledger.open(ledgers, name, subject, clock=lambda: time.time() - days_ago * 86400)

    return opened


def states(ledger):
    """Count the entries of a ledger by state."""
    found = [entry.state for _, entry in ledger.entries()]
    return {state: found.count(state) for state in set(found)}


def finish(sandbox):
    """Let all contacts of the sequence finish it: Meisa would enroll them again."""
    enrolled = [row["email"] for row in sandbox.enrollments("onboarding")]
    sandbox.seed_enrollments("onboarding", enrolled, "completed")


def times_enrolled(sandbox):
    return {row["email"]: row["times_enrolled"] for row in sandbox.enrollments("onboarding")}


def interrupt(ours, sandbox, skip=1):
    """Run a first attempt that sends some batches, and then stops."""
    sandbox.fault("status", status=401, path="bulk-enroll", skip=skip, times=1)
    with pytest.raises(AirflowFailException):
        ours.run(max_in_flight=1)
    return ours


def test_contacts_who_finished_are_not_enrolled_again(nightly, meisa_sandbox, ledger):
    ours = nightly()
    assert counts(ours.run()) == {"enrolled": 1100}
    finish(meisa_sandbox)
    summary = ours.next_night(emails=[*PEOPLE, "new@example.com"]).run()
    assert counts(summary) == {"enrolled": 1, "enrolled_before": 1100}
    assert summary["ledger"]["entries"] == 1101
    assert set(times_enrolled(meisa_sandbox).values()) == {1}
    assert states(ledger()) == {State.ACCEPTED: 1101}


def test_night_without_new_contacts_sends_no_batch(nightly, meisa_sandbox):
    ours = nightly()
    ours.run()
    before = len(bulk_requests(meisa_sandbox))
    assert counts(ours.next_night().run()) == {"enrolled_before": 1100}
    assert len(bulk_requests(meisa_sandbox)) == before


@pytest.mark.parametrize(
    ("again_after", "days_ago", "sent"),
    [(DAYS_90, 89, 0), (DAYS_90, 91, 2), ("never", 5000, 0), (timedelta(hours=1), 1, 2)],
)
def test_contact_is_enrolled_again_after_that_time(
    nightly, meisa_sandbox, ledger, again_after, days_ago, sent
):
    days_ago = min(days_ago, (datetime.now(UTC) - datetime(2020, 1, 2, tzinfo=UTC)).days)
    given = ["ada@example.com", "grace@example.com"]
    ledger(days_ago).write([(each, 0) for each in given], State.ACCEPTED, by="an earlier run")
    summary = nightly(given, again_after=again_after).run()
    assert (summary["counts"]["enrolled"], summary["counts"]["enrolled_before"]) == (sent, 2 - sent)
    assert len(times_enrolled(meisa_sandbox)) == sent


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.INTENT, "enrolled_before"),
        (State.RECORDED, "enrolled_before"),
        (State.PRESENT, "enrolled_before"),
        (State.ACCEPTED, "enrolled_before"),
        (State.CLEARED, "enrolled"),
        (State.FORGOTTEN, "suppressed"),
    ],
)
def test_state_of_contact_decides(nightly, meisa_sandbox, ledger, state, status):
    ledger(1).write([("ada@example.com", 0)], state, by="an earlier run")
    assert counts(nightly(["Ada@Example.com"]).run()) == {status: 1}
    assert len(times_enrolled(meisa_sandbox)) == (status == "enrolled")


def test_contact_forgotten_during_run_is_not_sent(nightly, meisa_sandbox, ledger):
    """Who is forgotten after the plan was made, and before the batch is sent, is left out."""
    ours = nightly()
    forget = ledger().forget
    operator = ours.make()
    ours.make = lambda: operator
    send = operator.make_job().__class__.check

    def check(job, client, **options):
        forget([PEOPLE[0], PEOPLE[7]], by="a person")
        return send(job, client, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_meisa.jobs.enroll.EnrollJob.check", check)
        assert counts(ours.run()) == {"enrolled": 1098, "suppressed": 2}
    assert PEOPLE[0] not in addresses_sent(meisa_sandbox)


def test_refused_contacts_are_sent_again_by_the_next_run(nightly, meisa_sandbox, ledger):
    meisa_sandbox.put_contacts({PEOPLE[0]: "unsubscribed"})
    ours = nightly()
    assert counts(ours.run()) == {"enrolled": 1099, "suppressed": 1}
    assert states(ledger()) == {State.ACCEPTED: 1099, State.CLEARED: 1}
    meisa_sandbox.put_contacts({PEOPLE[0]: "subscribed"})
    assert counts(ours.next_night().run()) == {"enrolled": 1, "enrolled_before": 1099}


def test_request_that_did_nothing_leaves_no_trace(nightly, meisa_sandbox, ledger):
    ours = interrupt(nightly(), meisa_sandbox)
    assert states(ledger()) == {State.ACCEPTED: 500, State.CLEARED: 500}
    assert counts(ours.run()) == {"enrolled": 1100}
    assert states(ledger()) == {State.ACCEPTED: 1100}


def test_refused_resend_leaves_contacts_in_doubt(nightly, meisa_sandbox, ledger, short_deferrals):
    """Meisa has enrolled them, the response was lost, and the request that was sent again met a 429."""
    wait = {"Retry-After": "1"}
    meisa_sandbox.fault("reset_after", path="bulk-enroll", times=1)
    meisa_sandbox.fault("status", status=429, headers=wait, path="bulk-enroll", times=1)
    ours = nightly(PEOPLE[:500], **short_deferrals)
    operator = ours.make()
    with pytest.raises(TaskDeferred):
        operator.execute(ours.context())
    assert states(ledger()) == {State.INTENT: 500}
    summary = ours.lose_plan().run()
    assert counts(summary) == {"already_enrolled": 500}
    assert summary["possibly_by_this_run"] == 500


def test_refusals_that_stop_a_run_leave_contacts_in_doubt(nightly, meisa_sandbox, ledger, mocker):
    """Meisa has enrolled them, the response was lost, and it refuses the request that is sent again."""
    mocker.patch("airflow_provider_meisa.bulk.refusals.MOST_REFUSALS", 1)
    refusal = {"emails": ["Not valid."]}
    meisa_sandbox.fault("reset_after", path="bulk-enroll", times=1)
    meisa_sandbox.fault("status", status=400, body=refusal, path="bulk-enroll", times=1)
    ours = nightly(PEOPLE[:500], max_in_flight=1)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert states(ledger()) == {State.INTENT: 500}
    assert "held_back" not in ledger().properties
    assert counts(ours.next_night().run()) == {"enrolled_before": 500}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}


def test_lost_response_keeps_contacts_in_doubt_from_later_runs(nightly, meisa_sandbox, ledger):
    meisa_sandbox.fault("reset_after", path="bulk-enroll", times=2)
    ours = nightly(on_ambiguous="fail")
    with pytest.raises(AirflowFailException):
        ours.run()
    assert ours.ti.xcoms["return_value"]["in_doubt"] == 500
    assert states(ledger()) == {State.INTENT: 500}
    meisa_sandbox.clear_faults()
    summary = ours.next_night().run()
    assert counts(summary) == {"enrolled": 600, "enrolled_before": 500}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}


# Retries.


def test_retry_continues_and_both_attempts_add_up(nightly, meisa_sandbox):
    ours = interrupt(nightly(), meisa_sandbox)
    assert counts(ours.run()) == {"enrolled": 1100}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}


@pytest.mark.parametrize(
    ("given", "total"),
    [
        (PEOPLE, 1100),
        (PEOPLE[::-1], 1100),
        ([], 500),
        (PEOPLE[200:], 1100),
        ([*PEOPLE, "new@example.com"], 1101),
    ],
    ids=["same", "reversed", "none", "some gone", "one more"],
)
def test_lost_plan_is_made_again_and_counts_add_up(nightly, meisa_sandbox, ledger, given, total):
    """The worker's disk is gone, and the table has changed: the retry sends what is left, and nothing twice."""
    ours = interrupt(nightly(), meisa_sandbox)
    summary = ours.lose_plan().run(emails=given)
    assert counts(summary) == {"enrolled": total}
    assert summary["total"] == total
    assert set(times_enrolled(meisa_sandbox).values()) == {1}
    assert len(times_enrolled(meisa_sandbox)) == total
    assert states(ledger()) == {State.ACCEPTED: total} | ({} if total > 500 else {State.CLEARED: 500})


def test_contacts_in_doubt_are_marked_after_a_lost_plan(nightly, meisa_sandbox, ledger):
    meisa_sandbox.fault("reset_after", path="bulk-enroll", skip=1, times=2)
    ours = nightly(max_in_flight=1)
    with pytest.raises(AirflowException):
        ours.run()
    assert ours.ti.xcoms["return_value"]["in_doubt"] == 500
    summary = ours.lose_plan().run(emails=PEOPLE[::-1])
    assert counts(summary) == {"enrolled": 600, "already_enrolled": 500}
    assert summary["possibly_by_this_run"] == 500
    assert set(times_enrolled(meisa_sandbox).values()) == {1}
    assert ledger().count == 1100


def test_doubts_are_counted_after_a_lost_plan(nightly, meisa_sandbox):
    """The first batch was sent again by the first attempt, which then stopped."""
    meisa_sandbox.fault("reset_after", path="bulk-enroll", times=1)
    ours = interrupt(nightly(), meisa_sandbox)
    assert ours.ti.xcoms["return_value"]["possibly_by_this_run"] == 500
    summary = ours.lose_plan().run()
    assert counts(summary) == {"already_enrolled": 500, "enrolled": 600}
    assert summary["possibly_by_this_run"] == 500


def test_retry_after_the_end_reports_the_ledger(nightly, ledger):
    """The attempt is interrupted when all is sent: Airflow removes its XCom, and the next night compares with it."""
    ours = nightly()
    ours.run()
    ours.ti.xcoms.clear()
    summary = ours.run()
    assert counts(summary) == {"enrolled": 1100}
    assert (summary["ledger"]["name"], summary["ledger"]["entries"]) == ("reactivation", 1100)


def test_contacts_in_doubt_who_are_gone_are_unreported(nightly, meisa_sandbox):
    meisa_sandbox.fault("reset_after", path="bulk-enroll", skip=1, times=2)
    ours = nightly(max_in_flight=1)
    with pytest.raises(AirflowException):
        ours.run()
    with pytest.raises(AirflowFailException, match="500 failed or unreported"):
        ours.lose_plan().run(emails=PEOPLE[1000:])
    summary = ours.ti.xcoms["return_value"]
    assert counts(summary) == {"enrolled": 600, "unreported": 500}
    assert (summary["total"], summary["in_doubt"]) == (1100, 500)


def test_outcomes_file_has_each_row_of_the_new_plan(nightly, meisa_sandbox, tmp_path, caplog):
    path = tmp_path / "outcomes.jsonl"
    ours = interrupt(nightly(outcomes_path=str(path)), meisa_sandbox)
    summary = ours.lose_plan().run(emails=PEOPLE[100:])
    assert counts(summary) == {"enrolled": 1100}
    assert path.read_text().count("enrolled") == 1000
    assert "100 enrolled of earlier attempts have left the source" in caplog.text
    assert "lines for" not in caplog.text


def test_two_lost_plans_still_add_up(nightly, meisa_sandbox):
    ours = interrupt(nightly(people(2100)), meisa_sandbox)
    interrupt(ours.lose_plan(), meisa_sandbox)
    summary = ours.lose_plan().run(emails=people(2100)[::-1])
    assert counts(summary) == {"enrolled": 2100}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}


def test_plan_lost_again_before_its_first_batch_still_adds_up(nightly, meisa_sandbox, short_deferrals):
    """The second attempt finds fewer rows, and waits before it sends; the third finds all of them again."""
    ours = interrupt(nightly(skip_suppressed=True), meisa_sandbox)
    meisa_sandbox.fault("status", status=429, headers={"Retry-After": "1"}, path="unsubscribed", times=9)
    ours.lose_plan().arguments |= {"emails": PEOPLE[200:], **short_deferrals}
    with pytest.raises(TaskDeferred):
        ours.make().execute(ours.context())
    meisa_sandbox.clear_faults()
    summary = ours.lose_plan().run(emails=PEOPLE)
    assert counts(summary) == {"enrolled": 1100}
    assert summary["total"] == 1100


def test_deferrals_keep_the_ledger_and_other_runs_away(
    nightly, meisa_sandbox, meisa_connection, short_deferrals, ledger
):
    meisa_connection(extra={"rate_limits": "2/1s"})
    ours = nightly(**short_deferrals)
    assert counts(ours.run()) == {"enrolled": 1100}
    assert ours.deferrals
    assert states(ledger()) == {State.ACCEPTED: 1100}
    assert ledger().parts == len(ours.deferrals) + 1


def test_other_run_that_has_not_ended_stops_this_one(nightly, meisa_sandbox, ledger):
    writer = ledger().writer("another run", repeat="ambiguous")
    writer.start()
    ours = nightly()
    with pytest.raises(AirflowException, match="The run another run writes the same ledger") as raised:
        ours.run()
    assert not isinstance(raised.value, AirflowFailException)
    assert bulk_requests(meisa_sandbox) == []
    writer.end()
    assert counts(ours.run()) == {"enrolled": 1100}


def test_run_between_two_attempts_is_respected(nightly, meisa_sandbox):
    """Another DAG enrolls some of the planned contacts before the retry: they are not sent again."""
    ours = interrupt(nightly(), meisa_sandbox)
    other = nightly(PEOPLE[900:])
    other.ti.run_id = "another"
    other.ti.earlier = [ours.ti]
    assert counts(other.run()) == {"enrolled": 200}
    finish(meisa_sandbox)
    assert counts(ours.run()) == {"enrolled": 900, "enrolled_before": 200}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}


def test_cleared_task_sends_only_what_is_not_in_the_ledger(nightly, meisa_sandbox):
    ours = nightly()
    ours.run()
    finish(meisa_sandbox)
    assert counts(ours.clear().run(emails=[*PEOPLE, "new@example.com"])) == {
        "enrolled": 1,
        "enrolled_before": 1100,
    }


def test_cleared_run_is_sent_again_after_ledger_clear(nightly, meisa_sandbox, ledger):
    ours = nightly()
    ours.run()
    finish(meisa_sandbox)
    ledger().clear_run("dag/task/run", by="a person")
    assert counts(ours.clear().run()) == {"enrolled": 1100}
    assert set(times_enrolled(meisa_sandbox).values()) == {2}


# First runs, and ledgers that are lost.


def test_first_run_can_record_without_a_request(nightly, meisa_sandbox, ledger):
    ours = nightly(first_run="record")
    assert counts(ours.run()) == {"enrolled_before": 1100}
    assert bulk_requests(meisa_sandbox) == []
    assert states(ledger()) == {State.RECORDED: 1100}
    summary = ours.next_night(emails=[*PEOPLE, "new@example.com"]).run()
    assert counts(summary) == {"enrolled": 1, "enrolled_before": 1100}


def test_recording_that_fails_records_no_one(nightly, meisa_sandbox, ledger):
    with pytest.raises(AirflowFailException):
        nightly([*PEOPLE, 42], first_run="record").run()
    assert ledger().count == 0


def test_first_run_can_fail(nightly, meisa_sandbox):
    with pytest.raises(AirflowFailException, match=r"first_run is 'fail'.*'send'.*'record'"):
        nightly(first_run="fail").run()
    assert bulk_requests(meisa_sandbox) == []


def test_emptied_ledger_fails_before_anything_is_sent(nightly, meisa_sandbox, ledgers):
    ours = nightly()
    ours.run()
    ours.ti.xcoms["return_value"]["ledger"]["at"] = date = "2026-11-25T02:00:00Z"
    finish(meisa_sandbox)
    for part in (ledgers / "reactivation").iterdir():
        part.unlink()
    with pytest.raises(AirflowFailException, match=f'accept_lost_ledger="{date}"'):
        ours.next_night().run()
    assert set(times_enrolled(meisa_sandbox).values()) == {1}
    assert counts(ours.run(accept_lost_ledger=date)) == {"enrolled": 1100}
    # The parameter stays in the DAG, and does not accept the next loss.
    for part in (ledgers / "reactivation").iterdir():
        part.unlink()
    with pytest.raises(AirflowFailException, match="accept_lost_ledger"):
        ours.next_night().run()


def test_renamed_ledger_fails_before_anything_is_sent(nightly, meisa_sandbox):
    ours = nightly()
    ours.run()
    with pytest.raises(AirflowFailException, match=r"other has 0 entries.*1,100 in reactivation"):
        ours.next_night(ledger="other").run()


def test_task_that_ran_without_ledger_must_say_what_its_first_run_does(nightly, meisa_sandbox):
    ours = nightly(ledger=None, again_after=None)
    ours.run()
    ours.next_night(ledger="reactivation", again_after="never")
    with pytest.raises(AirflowFailException, match="set first_run"):
        ours.run()
    assert counts(ours.run(first_run="record")) == {"enrolled_before": 1100}


def test_ledger_of_another_sequence_fails(nightly, meisa_sandbox):
    meisa_sandbox.put_sequence("other")
    ours = nightly()
    ours.run()
    with pytest.raises(AirflowFailException, match="the sequence or sync_name is 'other'"):
        ours.next_night(sequence_slug="other").run()


@pytest.mark.parametrize("path", ["ping", "sequences"])
def test_run_that_failed_before_it_sent_is_no_earlier_run(nightly, meisa_sandbox, path):
    """A wrong key in the first night, which is corrected."""
    ours = nightly()
    meisa_sandbox.fault("status", status=401, path=path, times=1)
    with pytest.raises(AirflowFailException, match="401"):
        ours.run()
    assert counts(ours.next_night().run()) == {"enrolled": 1100}


def test_run_that_succeeded_without_summary_is_an_earlier_run(nightly, meisa_sandbox, ledgers):
    """XComs were cleaned, and the ledger is lost."""
    ours = nightly()
    ours.run()
    ours.ti.xcoms.clear()
    for part in (ledgers / "reactivation").iterdir():
        part.unlink()
    with pytest.raises(AirflowFailException, match="no summary of it is left"):
        ours.next_night().run()


def test_failed_run_without_ledger_is_an_earlier_run(nightly, meisa_sandbox):
    """It has sent, and its summary says so."""
    ours = interrupt(nightly(ledger=None, again_after=None), meisa_sandbox)
    with pytest.raises(AirflowFailException, match="set first_run"):
        ours.next_night(ledger="reactivation", again_after="never").run()


# Plans that a person approves.


def test_preview_counts_the_enrolled_before_and_writes_nothing(nightly, meisa_sandbox, ledger):
    ours = nightly()
    ours.run()
    before = ledger().parts
    report = ours.next_night(emails=[*PEOPLE, "new@example.com"], preview=True).run()
    assert report["counts"]["enrolled_before"] == 1100
    assert (report["to_send"], report["total"], report["ledger"]["entries"]) == (1, 1101, 1100)
    assert (ledger().parts, ledger().count) == (before, 1100)


def test_approved_plan_leaves_out_the_enrolled_since(nightly, meisa_sandbox):
    approved = nightly(preview=True)
    approved.ti.task_id = "preview"
    plan = approved.run()["plan"]
    other = nightly(PEOPLE[:100])
    other.ti.run_id = "another"
    other.run()
    finish(meisa_sandbox)
    ours = nightly(plan=plan)
    ours.ti.earlier = [other.ti]
    assert counts(ours.run()) == {"enrolled": 1000, "enrolled_before": 100}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}


def test_plan_and_recording_exclude_each_other(nightly, meisa_sandbox):
    approved = nightly(preview=True)
    approved.ti.task_id = "preview"
    plan = approved.run()["plan"]
    with pytest.raises(AirflowFailException, match="so no plan can be approved"):
        nightly(plan=plan, first_run="record").run()


# Record ids.


def users(*rows):
    return [{"user_id": user_id, "email": email} for user_id, email in rows]


def test_contact_whose_address_changed_is_not_enrolled_again(nightly, meisa_sandbox):
    ours = nightly(users((1, "ada@example.com"), (2, "grace@example.com")), record_id="user_id")
    assert counts(ours.run()) == {"enrolled": 2}
    ours.next_night(
        emails=users((1, "ada@new.example.com"), ("2", "grace@example.com"), (3, "kay@example.com"))
    )
    assert counts(ours.run()) == {"enrolled": 1, "enrolled_before": 2}
    assert set(times_enrolled(meisa_sandbox)) == {"ada@example.com", "grace@example.com", "kay@example.com"}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(None, "ada@example.com")], {"invalid": 1}),
        ([(" ", "ada@example.com")], {"invalid": 1}),
        ([(True, "ada@example.com")], {"invalid": 1}),
        ([(2.0**53, "ada@example.com")], {"invalid": 1}),
        ([(1, "ada@example.com"), (1.0, "ada@other.example.com")], {"enrolled": 1, "duplicate": 1}),
        ([(1, "ada@example.com"), (2, "ADA@example.com")], {"enrolled": 1, "duplicate": 1}),
        ([(1, "no address")], {"invalid": 1}),
    ],
    ids=["null", "blank", "bool", "inexact", "one id twice", "one address twice", "bad address"],
)
def test_bad_record_ids_are_not_sent(nightly, meisa_sandbox, rows, expected):
    ours = nightly(users(*rows), record_id="user_id", on_nothing_valid="success")
    assert counts(ours.run()) == expected
    assert len(times_enrolled(meisa_sandbox)) == expected.get("enrolled", 0)


def test_record_ids_survive_a_lost_plan_and_a_suppression(nightly, meisa_sandbox):
    meisa_sandbox.put_contacts({PEOPLE[3]: "unsubscribed"})
    rows = users(*enumerate(PEOPLE))
    ours = interrupt(nightly(rows, record_id="user_id", skip_suppressed=True), meisa_sandbox)
    summary = ours.lose_plan().run(emails=rows[::-1])
    assert counts(summary) == {"enrolled": 1099, "suppressed": 1}
    assert set(times_enrolled(meisa_sandbox).values()) == {1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"emails": users((1, "ada@example.com")), "record_id": "id"}, "no column 'id' for record_id"),
        ({"emails": ["ada@example.com"], "record_id": "user_id"}, "not a record"),
        ({"record_id": "user_id", "ledger": None, "again_after": None}, "record_id needs a ledger"),
        ({"record_id": "user_id", "email_column": 0}, "columns with names"),
        ({"record_id": 7}, "record_id"),
    ],
)
def test_wrong_record_id_stops_before_anything_is_sent(nightly, meisa_sandbox, arguments, message):
    given = arguments.get("emails", PEOPLE)
    ours = nightly(given, **{name: value for name, value in arguments.items() if name != "emails"})
    with pytest.raises(AirflowFailException, match=message):
        ours.run()
    assert bulk_requests(meisa_sandbox) == []


def test_ledger_keeps_to_one_record_id(nightly, meisa_sandbox):
    ours = nightly(users((1, "ada@example.com")), record_id="user_id")
    ours.run()
    with pytest.raises(AirflowFailException, match="what the record id is made of"):
        ours.next_night(record_id=None, emails=["ada@example.com"]).run()


def test_record_ids_of_a_query_and_a_file(task, meisa_sandbox, tmp_path, monkeypatch):
    database = tmp_path / "warehouse.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE users (User_Id INT, email TEXT)")
        connection.execute("INSERT INTO users VALUES (1, 'ada@example.com')")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(database)}))
    file = tmp_path / "users.csv"
    file.write_text("user_id,email\n1,ada@new.example.com\n2,grace@example.com\n")
    shared = {"task_id": "task", "sequence_slug": "onboarding", "ledger": "users", "again_after": "never"}
    query = SqlToMeisaSequenceOperator(
        sql="SELECT * FROM users", conn_id="warehouse", record_id="user_id", **shared
    )
    drop = FileToMeisaSequenceOperator(path=file, record_id="user_id", **shared)
    assert counts(query.execute(fake_context())) == {"enrolled": 1}
    context = fake_context()
    context["ti"].run_id = "next"
    assert counts(drop.execute(context)) == {"enrolled": 1, "enrolled_before": 1}


# Words in the log.


@pytest.mark.parametrize(
    ("run_type", "arguments", "warned"),
    [
        (DagRunType.SCHEDULED, {"ledger": None, "again_after": None}, True),
        (DagRunType.BACKFILL, {"ledger": None, "again_after": None}, True),
        (DagRunType.ASSET_TRIGGERED, {"ledger": None, "again_after": None}, True),
        ("scheduled", {"ledger": None, "again_after": None}, True),
        (DagRunType.MANUAL, {"ledger": None, "again_after": None}, False),
        (DagRunType.SCHEDULED, {}, False),
        (DagRunType.SCHEDULED, {"ledger": None, "again_after": None, "preview": True}, False),
    ],
)
def test_schedule_without_ledger_is_warned_of(nightly, meisa_sandbox, caplog, run_type, arguments, warned):
    ours = nightly(["ada@example.com"], **arguments)
    context = ours.context() | {"dag_run": SimpleNamespace(run_type=run_type)}
    ours.context = lambda: context
    ours.run()
    assert ("on a schedule without a ledger" in caplog.text) == warned


def test_log_names_batches_in_doubt(nightly, meisa_sandbox, caplog):
    meisa_sandbox.fault("reset_after", path="bulk-enroll", skip=1, times=2)
    ours = nightly(max_in_flight=1)
    with pytest.raises(AirflowException):
        ours.run()
    ours.run()
    assert "In doubt from an earlier attempt: batch 2. " in caplog.text
    assert (
        "Enrolled possibly by an earlier request of this run: 500; possibly twice: 0; in doubt: 0"
        in caplog.text
    )


# Parameters.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"again_after": None}, "belong together"),
        ({"ledger": None}, "belong together"),
        ({"again_after": timedelta(0)}, "again_after must be"),
        ({"again_after": "always"}, "again_after must be"),
        ({"again_after": 90}, "again_after must be"),
        ({"ledger": ""}, "ledger"),
        ({"ledger": 7}, "ledger"),
        ({"ledger": "../up"}, "ledger"),
        ({"first_run": "maybe"}, "first_run"),
        ({"accept_lost_ledger": True}, "accept_lost_ledger"),
    ],
)
def test_wrong_parameter_stops_before_anything_is_asked(nightly, meisa_sandbox, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        nightly(**arguments).run()
    assert bulk_requests(meisa_sandbox) == []


def test_only_one_task_at_a_time_uses_a_ledger(nightly):
    assert nightly().make().max_active_tis_per_dag == 1
    assert nightly(max_active_tis_per_dag=3).make().max_active_tis_per_dag == 3
    assert nightly(ledger=None, again_after=None).make().max_active_tis_per_dag is None


def test_default_args_say_how_many_use_a_ledger(nightly):
    with DAG("dag", schedule=None, default_args={"max_active_tis_per_dag": 3}):
        assert nightly().make().max_active_tis_per_dag == 3
