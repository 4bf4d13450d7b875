"""The commands `ledger …`, on ledgers that tasks have written."""

import json
from datetime import timedelta

import pytest

from airflow_provider_meisa.bulk.ledger import Ledger
from tests.support.summary import counts
from tests.support.task import Task

RUN = "dag/task/run"
PEOPLE = ["ada@example.com", "grace@example.com", "mary@example.com"]


@pytest.fixture(autouse=True)
def ledgers(tmp_path, monkeypatch):
    """The folder of all ledgers, as a platform team sets it."""
    folder = tmp_path / "ledgers"
    monkeypatch.setenv("AIRFLOW__MEISA__LEDGER_PATH", str(folder))
    return folder


@pytest.fixture
def nightly(meisa_connection, no_backoff):
    """Make a task with the ledger reactivation."""
    return lambda given=PEOPLE: Task(given, ledger="reactivation", again_after=timedelta(days=90))


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
        "The file has 2 rows, and 2 of them have no valid record id, which is made of: address"
    )


def test_clear_warns_of_a_run_under_way(meisa, nightly, ledgers):
    nightly().run()
    Ledger.open_existing(ledgers, "reactivation").writer("dag/task/other", repeat="ambiguous").start()
    ended = meisa("ledger", "clear", "reactivation", "--run", "dag/task/other", "--yes")
    assert ended.status == 0
    assert "The run has not ended: records that it sends from now on are not cleared." in ended.err
