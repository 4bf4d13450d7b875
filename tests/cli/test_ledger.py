"""The commands `ledger …`, on ledgers that tasks have written."""

import json
from datetime import timedelta

import pytest

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
