"""The commands `ledger …`, on ledgers that tasks have written."""

import csv
import json
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from airflow_provider_meisa.bulk.ledger import Ledger, State
from tests.support.clock import Clock
from tests.support.ledgers import MINUTE, NOON, SUBJECT
from tests.support.summary import counts
from tests.support.sync_task import SyncTask, contact_ledger
from tests.support.sync_task import row as contact
from tests.support.task import Task

pytestmark = pytest.mark.usefixtures("ledgers")

RUN = "dag/task/run"
PEOPLE = ["ada@example.com", "grace@example.com", "mary@example.com"]


@pytest.fixture
def nightly(meisa_connection, no_backoff):
    """Make a task with the ledger reactivation."""
    return lambda given=PEOPLE, **more: Task(
        given, **{"ledger": "reactivation", "again_after": timedelta(days=90), **more}
    )


def row(ended):
    """The only row that a command has printed as JSON."""
    assert ended.err == ""
    (only,) = json.loads(ended.out)
    return only


def test_show_has_subject_states_and_runs(meisa, nightly, meisa_sandbox):
    nightly([*PEOPLE, "unsubscribed@example.com"]).run()
    shown = row(meisa("ledger", "show", "reactivation", "-o", "json"))
    (run,) = shown.pop("runs")
    assert shown == {
        "ledger": "reactivation",
        "entries": 4,
        "parts": 1,
        "base_url": f"{meisa_sandbox.url}/api/v1",
        "environment": "live",
        "product": "Sandbox",
        "job": "enroll",
        "target": "onboarding",
        "record_id": "address",
        "states": {"accepted": 3, "cleared": 1},
    }
    assert (run["run"], run["ended"]) == (RUN, True)


def test_show_prints_three_tables_without_an_address(meisa, nightly):
    nightly().run()
    ended = meisa("ledger", "show", "reactivation", "-o", "plain")
    first_words = [line.split()[0] for line in ended.out.splitlines()]
    assert first_words == ["ledger", "reactivation", "state", "accepted", "run", RUN]
    assert "@" not in ended.out


def test_unknown_ledger_is_an_error_that_names_its_folder(meisa, ledgers):
    ended = meisa("ledger", "show", "winback")
    assert ended == (
        2,
        "",
        f"There is no ledger at {ledgers}/winback. Check its name, and [meisa] ledger_path.\n",
    )


def test_ledger_of_another_key_is_an_error(meisa, nightly, monkeypatch):
    nightly().run()
    monkeypatch.setenv("AIRFLOW__MEISA__LEDGER_KEY", "a secret")
    ended = meisa("ledger", "show", "reactivation")
    assert (ended.status, ended.out) == (2, "")
    assert "another [meisa] ledger_key" in ended.err


def test_cleared_run_is_sent_again_by_the_next_night(meisa, nightly):
    task = nightly()
    task.run()
    task.next_night(emails=[*PEOPLE, "new@example.com"]).run()
    done = row(meisa("ledger", "clear", "reactivation", "--run", RUN, "--yes", "-o", "json"))
    assert done == {"ledger": "reactivation", "cleared": 3, "unchanged": 0, "invalid": 0}
    summary = task.next_night().run()
    assert counts(summary) == {"already_enrolled": 3, "enrolled_before": 1}


def test_cleared_contacts_of_a_file_are_sent_again(meisa, nightly, tmp_path):
    task = nightly()
    task.run()
    file = tmp_path / "again.csv"
    file.write_text("id,mail\n1,ADA@Example.com\n2,unknown@example.com\n3,no address\n4,ada@example.com\n")
    words = ("ledger", "clear", "reactivation", file, "--column", "mail", "--yes", "-o", "json")
    assert row(meisa(*words)) == {"ledger": "reactivation", "cleared": 1, "unchanged": 2, "invalid": 1}
    assert row(meisa(*words)) == {"ledger": "reactivation", "cleared": 0, "unchanged": 3, "invalid": 1}
    assert counts(task.next_night().run()) == {"already_enrolled": 1, "enrolled_before": 2}


@pytest.mark.parametrize("reply", ["n", "", "yesterday"])
def test_clear_writes_nothing_without_consent(meisa, nightly, typed, reply):
    task = nightly()
    task.run()
    typed(f"{reply}\n")
    ended = meisa("ledger", "clear", "reactivation", "--run", RUN)
    assert (ended.status, ended.out) == (1, "")
    assert "Clear 3 records in the ledger reactivation? Later runs send them again. [y/N]" in ended.err
    assert counts(task.next_night().run()) == {"enrolled_before": 3}


def test_clear_asks_and_a_yes_clears(meisa, nightly, typed):
    nightly().run()
    typed("y\n")
    ended = meisa("ledger", "clear", "reactivation", "--run", RUN, "-o", "plain")
    assert (ended.status, ended.out.split()[4:]) == (0, ["reactivation", "3", "0", "0"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give a file, or a run with --run, and not both."),
        (["a.txt", "--run", RUN], "Give a file, or a run with --run, and not both."),
        (["--run", RUN], "There is no terminal to ask for confirmation."),
        (["-"], "There is no terminal to ask for confirmation."),
        (["--run", "dag/task/other", "-y"], "does not know the run dag/task/other"),
        (["nowhere.txt", "-y"], "There is no file nowhere.txt"),
    ],
)
def test_clear_with_wrong_input_writes_nothing(meisa, nightly, words, message):
    task = nightly()
    task.run()
    ended = meisa("ledger", "clear", "reactivation", *words)
    assert ended.status == (1 if "nowhere.txt" in words else 2)
    assert message in ended.err
    assert counts(task.next_night().run()) == {"enrolled_before": 3}


def test_file_without_a_record_id_is_an_error(meisa, nightly, tmp_path):
    nightly().run()
    file = tmp_path / "ids.csv"
    file.write_text("email\n42\n43\n")
    ended = meisa("ledger", "clear", "reactivation", file, "--yes")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(
        "Rows without a valid record id, which is made of address: 2 of 2. Nothing was"
    )


def test_clear_warns_of_a_run_under_way(meisa, nightly, ledgers):
    nightly().run()
    Ledger.open_existing(ledgers, "reactivation").writer("dag/task/other", repeat="ambiguous").start()
    ended = meisa("ledger", "clear", "reactivation", "--run", "dag/task/other", "--yes")
    assert ended.status == 0
    assert "The run has not ended: records that it sends from now on are not cleared." in ended.err


def test_clear_counts_records_of_minutes_shared_with_another_run(meisa, ledgers):
    """A run adds a record a minute; in its second minute, a command records another one."""
    clock = Clock(NOON)
    with Ledger.open(ledgers, "shared", SUBJECT, clock=clock).writer(RUN, repeat="ambiguous") as writer:
        for address in PEOPLE:
            writer.add(address, State.ACCEPTED)
            if address == PEOPLE[1]:
                again = Ledger.open(ledgers, "shared", SUBJECT, clock=clock)
                again.write([("new@example.com", 0)], State.RECORDED, by="airflow meisa ledger record")
            clock.now += MINUTE
    ended = meisa("ledger", "clear", "shared", "--run", RUN, "--yes", "-o", "json")
    assert ended.err == (
        "2 records of minutes in which another run wrote too: not cleared, because their run is not known. To send "
        "them again, clear them with a file.\n"
    )
    assert json.loads(ended.out) == [{"ledger": "shared", "cleared": 2, "unchanged": 0, "invalid": 0}]


def test_forgotten_contact_is_never_sent_again(meisa, nightly, tmp_path):
    task = nightly()
    task.run()
    file = tmp_path / "people.txt"
    file.write_text("Ada@example.com\nnew@example.com\n")
    done = row(meisa("ledger", "forget", "reactivation", file, "--yes", "-o", "json"))
    assert done == {"ledger": "reactivation", "forgotten": 2, "unchanged": 0, "invalid": 0}
    assert row(meisa("ledger", "forget", "reactivation", file, "--yes", "-o", "json"))["unchanged"] == 2
    meisa("ledger", "clear", "reactivation", "--run", RUN, "--yes")
    meisa("ledger", "clear", "reactivation", file, "--yes")
    meisa("ledger", "record", "reactivation", file, "--sequence", "onboarding", "--yes")
    summary = task.next_night(emails=[*PEOPLE, "new@example.com"]).run()
    assert counts(summary) == {"suppressed": 2, "already_enrolled": 2}


def test_forget_asks_first(meisa, nightly, typed, tmp_path):
    nightly().run()
    file = tmp_path / "people.txt"
    file.write_text("ada@example.com\n")
    typed("\n")
    ended = meisa("ledger", "forget", "reactivation", file)
    assert ended.status == 1
    assert "Forget 1 record in the ledger reactivation?" in ended.err
    shown = row(meisa("ledger", "show", "reactivation", "-o", "json"))
    assert shown["states"] == {"accepted": 3}


def test_forget_reads_standard_input_and_prints_no_address(started, nightly):
    nightly().run()
    process = started("ledger", "forget", "reactivation", "-", "-y", "-o", "plain", stdin=subprocess.PIPE)
    out, err = process.communicate("ada@example.com\ngrace@example.com\n", timeout=60)
    assert (process.returncode, out.split()[4:], err) == (0, ["reactivation", "2", "0", "0"], "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ada@example.com\nada@\n", "Rows without a valid record id, which is made of address: 1 of 2."),
        ("", "Nothing was written: the file has no rows"),
    ],
)
def test_forget_takes_no_file_with_invalid_rows(meisa, nightly, tmp_path, text, message):
    nightly().run()
    file = tmp_path / "people.txt"
    file.write_text(text)
    ended = meisa("ledger", "forget", "reactivation", file, "--yes")
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert row(meisa("ledger", "show", "reactivation", "-o", "json"))["states"] == {"accepted": 3}


@pytest.mark.parametrize(
    ("record_id", "known", "given"),
    [
        ("external_id", ["42", "a7"], "42\n a7 \n"),
        ("external_id, else address", ["U1", "ada@example.com"], "U1\nAda@Example.com\n"),
    ],
)
def test_ids_of_a_contact_sync_are_forgotten(meisa, ledgers, tmp_path, record_id, known, given):
    subject = replace(SUBJECT, job="sync_contacts", record_id=record_id)
    Ledger.open(ledgers, "contacts", subject).write([(each, 1) for each in known], State.ACCEPTED, by="night")
    file = tmp_path / "ids.txt"
    file.write_text(given)
    assert meisa("ledger", "forget", "contacts", file, "--yes").status == 0
    after = Ledger.open(ledgers, "contacts", subject).known_all(known)
    assert [entry.state for entry in after] == [State.FORGOTTEN] * 2


@pytest.mark.meisa_sandbox(rate_limits="none")
def test_values_of_a_forgotten_contact_are_removed(meisa, meisa_connection, ledgers, meisa_sandbox, tmp_path):
    meisa_connection(extra={"rate_limits": "none"})
    task = SyncTask([contact(number) for number in range(5)])
    task.run()
    folder = ledgers / "users" / "values"
    before = {entry for _, entry in contact_ledger(ledgers, meisa_sandbox).within("values").entries()}
    file = tmp_path / "ids.txt"
    file.write_text("0\n99\n")
    assert row(meisa("ledger", "forget", "users", file, "--yes", "-o", "json"))["forgotten"] == 2
    entries = [entry for _, entry in contact_ledger(ledgers, meisa_sandbox).within("values").entries()]
    forgotten = [entry for entry in entries if entry.state is State.FORGOTTEN]
    assert len(forgotten) == len(entries) / 5
    assert {entry.values_hash for entry in forgotten} == {0}
    assert {entry for entry in entries if entry not in forgotten} <= before
    assert len(list(folder.iterdir())) == 1  # no older part still has the values
    changed = [contact(number, plan="team") for number in range(2)]
    assert counts(task.night(changed)) == {"updated": 1, "suppressed": 1}


def test_recorded_contacts_are_not_sent(meisa, nightly, meisa_sandbox, people):
    file = people(3, "Person1@example.com", "no address")
    words = ("ledger", "record", "reactivation", file, "--sequence", "onboarding", "--yes", "-o", "json")
    assert row(meisa(*words)) == {"ledger": "reactivation", "recorded": 3, "unchanged": 1, "invalid": 1}
    summary = nightly(["PERSON0@example.com", "person1@example.com", "new@example.com"]).run()
    assert counts(summary) == {"enrolled": 1, "enrolled_before": 2}
    assert [each["email"] for each in meisa_sandbox.enrollments("onboarding")] == ["new@example.com"]


def test_record_keeps_the_day_of_known_contacts(meisa, nightly, people, ledgers):
    task = nightly(["person0@example.com", "person1@example.com"])
    task.run()
    meisa("ledger", "clear", "reactivation", people(1), "--yes")
    words = ("ledger", "record", "reactivation", people(3), "--sequence", "onboarding", "--yes", "-o", "json")
    assert row(meisa(*words)) == {"ledger": "reactivation", "recorded": 2, "unchanged": 1, "invalid": 0}
    shown = row(meisa("ledger", "show", "reactivation", "-o", "json"))
    assert shown["states"] == {"recorded": 2, "accepted": 1}


@pytest.mark.parametrize("name", ["outcomes.csv", "outcomes.jsonl", "outcomes.csv.gz", "outcomes.jsonl.gz"])
def test_record_takes_the_enrolled_contacts_of_an_outcomes_file(
    meisa, nightly, meisa_sandbox, tmp_path, name
):
    meisa_sandbox.seed_enrollments("onboarding", ["ada@example.com"])
    given = [*PEOPLE, "=1+1@example.com", "unsubscribed@example.com", "bad"]
    Task(given, outcomes_path=str(tmp_path / name)).run()
    words = ("--sequence", "onboarding", "--outcomes", "--yes", "-o", "json")
    done = row(meisa("ledger", "record", "reactivation", tmp_path / name, *words))
    assert done == {"ledger": "reactivation", "recorded": 4, "unchanged": 0, "invalid": 0}
    assert counts(nightly(given).run()) == {"enrolled_before": 4, "suppressed": 1, "invalid": 1}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "email\nada@example.com\n", "a.csv is not an outcomes file"),
        ("a.jsonl", '"ada@example.com"\n', "a.jsonl is not an outcomes file"),
        ("a.jsonl", '{"address": 1, "status": "enrolled"}\n', "a.jsonl is not an outcomes file"),
        ("a.jsonl", "{", "a.jsonl, line 1: not JSON."),
        ("a.csv", "address,status,reason,batch\na@example.com,failed,,0\n", "no enrolled contacts"),
    ],
)
def test_record_takes_no_other_file_for_outcomes(meisa, tmp_path, ledgers, name, text, message):
    file = tmp_path / name
    file.write_text(text)
    ended = meisa("ledger", "record", "x", file, "--sequence", "onboarding", "--outcomes", "--yes")
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert not ledgers.exists()


def test_record_takes_no_ledger_of_another_sequence(meisa, nightly, people):
    nightly().run()
    ended = meisa("ledger", "record", "reactivation", people(2), "--sequence", "reactivation", "--yes")
    assert ended.status == 2
    assert "the sequence or sync_name" in ended.err


def test_record_asks_with_sequence_and_environment(meisa, typed, people, ledgers):
    typed("no\n")
    ended = meisa("ledger", "record", "reactivation", people(2), "--sequence", "onboarding")
    assert ended.status == 1
    assert (
        "Record 2 records as enrolled in onboarding, with a live key, in the ledger reactivation? "
        "Later runs leave them out. [y/N]"
    ) in ended.err
    assert not ledgers.exists()


@pytest.mark.parametrize("output", ["csv", "jsonl"])
def test_export_has_hash_state_and_minute_of_each_entry(meisa, nightly, ledgers, people, output):
    nightly(["person0@example.com", "ada@example.com"]).run()
    meisa("ledger", "forget", "reactivation", people(1), "--yes")
    ended = meisa("ledger", "export", "reactivation", "-o", output)
    assert (ended.status, ended.err) == (0, "")
    if output == "csv":
        exported = list(csv.DictReader(ended.out.splitlines()))
    else:
        exported = [json.loads(line) for line in ended.out.splitlines()]
    known = {f"{each:016x}": entry for each, entry in Ledger.open_existing(ledgers, "reactivation").entries()}
    assert {each["hash"]: each["state"] for each in exported} == {
        name: entry.state.name.lower() for name, entry in known.items()
    }
    for each in exported:
        if each["state"] == "forgotten":
            assert not each["minute"]
        else:
            written = datetime.strptime(each["minute"], "%Y-%m-%dT%H:%M%z")
            assert written.timestamp() == known[each["hash"]].written_at


def test_export_ends_when_its_reader_does(started, ledgers):
    Ledger.open(ledgers, "large", SUBJECT).write(
        ((str(each), 0) for each in range(20_000)), State.ACCEPTED, by="x"
    )
    process = started("ledger", "export", "large")
    assert process.stdout.readline() == "hash,state,minute\n"
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


def test_compact_leaves_one_part(meisa, nightly):
    task = nightly()
    task.run()
    task.next_night(emails=[*PEOPLE, "new@example.com"]).run()
    done = row(meisa("ledger", "compact", "reactivation", "-o", "json"))
    assert done == {"ledger": "reactivation", "entries": 4, "parts_before": 2, "parts": 1}
    assert row(meisa("ledger", "compact", "reactivation", "-o", "json"))["parts_before"] == 1
    assert counts(task.next_night().run()) == {"enrolled_before": 4}


@pytest.mark.parametrize(
    ("name", "text", "more"),
    [
        ("ids.csv", "email,User_ID\nada@example.com,42\nb@example.com,a7\n", []),
        ("ids.csv", "42,x\na7,y\n42,z\n", ["--column", "0"]),
        ("ids.jsonl", '{"user_id": 42, "email": "ada@example.com"}\n{"user_id": "a7"}\n', []),
        ("ids.txt", "42\na7\n", []),
    ],
)
def test_ids_of_a_column_are_recorded_and_forgotten(meisa, nightly, tmp_path, name, text, more):
    file = tmp_path / name
    file.write_text(text)
    words = (file, *more, "--yes", "-o", "json")
    if "--column" in more:
        file.write_text(f"n,m\n{text}")
    recorded = meisa(
        "ledger", "record", "people", *words, "--sequence", "onboarding", "--record-id", "user_id"
    )
    assert row(recorded)["recorded"] == 2
    given = [{"email": "new@example.com", "user_id": 42}, {"email": "c@example.com", "user_id": 43}]
    task = nightly(given, ledger="people", record_id="user_id")
    assert counts(task.run()) == {"enrolled": 1, "enrolled_before": 1}
    assert row(meisa("ledger", "forget", "people", *words))["forgotten"] == 2
    assert counts(task.next_night().run()) == {"suppressed": 1, "enrolled_before": 1}


def test_ids_are_not_taken_from_a_column_of_another_name(meisa, tmp_path, ledgers):
    file = tmp_path / "people.csv"
    file.write_text("email\nada@example.com\n")
    words = ("--sequence", "onboarding", "--record-id", "user_id", "--yes")
    ended = meisa("ledger", "record", "people", file, *words)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("The file has no column 'user_id' for --column; ")
    ended = meisa("ledger", "record", "people", file, *words, "--column", "3")
    assert ended.err == "The file has no column 3 for --column; it has 1, from 0.\n"
    assert not ledgers.exists()


def test_outcomes_file_has_no_ids(meisa, people):
    words = ("--sequence", "onboarding", "--record-id", "user_id", "--outcomes", "--yes")
    ended = meisa("ledger", "record", "people", people(1), *words)
    assert ended.status == 2
    assert ended.err.startswith("An outcomes file has addresses, and no column for --record-id.")
