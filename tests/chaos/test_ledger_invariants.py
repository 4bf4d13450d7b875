"""The laws on a ledger object to what they forbid."""

import dataclasses

import pytest

from airflow_provider_meisa.bulk.ledger import State
from tests.chaos.cases import BULK, Case
from tests.chaos.invariants import violations
from tests.chaos.ledgers import Snapshot
from tests.chaos.runs import run_case

KILLED_AFTER_FIRST_RESULTS = 12  # the third write, with the plan lost


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MEISA_DEFAULT", "WAREHOUSE"):
            patch.setenv(f"AIRFLOW_CONN_{name}", "")  # put back after the run, which sets them
        case = Case("ledger", "no fault", "killed at the ledger", KILLED_AFTER_FIRST_RESULTS)
        return run_case(case, tmp_path_factory.mktemp("run"))


@pytest.fixture
def last(run, monkeypatch):
    """Change the last attempt of the first night."""

    def change(**changes):
        changed = dataclasses.replace(run.tries[-1], **changes)
        monkeypatch.setattr(run, "tries", [*run.tries[:-1], changed])

    return change


def violations_of(run):
    return "\n".join(violations(run))


def in_state(run, state):
    """Return the entries of this run in a state, of contacts that are still in the source."""
    there = run.ledger.hashes({person.key for person in run.people})
    entries = run.tries[-1].ledger.entries
    return {
        record: entry
        for record, entry in entries.items()
        if record in there and entry.state is state and entry != run.history.entries.get(record)
    }


def test_both_nights_meet_no_objection(run):
    assert violations_of(run) == ""
    assert run.tries[0].ended.how == "killed"
    assert [each.lost for each in run.tries][:2] == [False, True]
    assert run.second.tries[-1].summary["counts"]["enrolled_before"] > 100


@pytest.mark.parametrize("instead", [None, State.CLEARED])
def test_enrolled_contact_without_entry_is_noticed(run, last, instead):
    record, entry = next(iter(in_state(run, State.ACCEPTED).items()))
    entries = {**run.tries[-1].ledger.entries, record: instead and entry._replace(state=instead)}
    last(ledger=Snapshot(entries, run.tries[-1].ledger.ended))
    assert "1 of" in violations_of(run)
    assert "enrolled contacts are" in violations_of(run)


def test_doubt_without_cause_is_noticed(run, last):
    record, entry = next(iter(in_state(run, State.ACCEPTED).items()))
    entries = {**run.tries[-1].ledger.entries, record: entry._replace(state=State.INTENT)}
    last(ledger=Snapshot(entries, run.tries[-1].ledger.ended))
    assert "one is enrolled" in violations_of(run)


def test_contact_that_is_sent_the_next_night_is_noticed(run, monkeypatch):
    sent = next(each for each in run.requests if each["path"].endswith(BULK))
    monkeypatch.setattr(run.second, "requests", [*run.second.requests, sent])
    assert "one is sent who is" in violations_of(run)


def test_contact_that_is_enrolled_the_next_night_is_noticed(run, monkeypatch):
    row = run.second.enrollments[0]
    again = {**row, "times_enrolled": row["times_enrolled"] + 1}
    monkeypatch.setattr(run.second, "enrollments", [again, *run.second.enrollments[1:]])
    assert "one is enrolled 2 times" in violations_of(run)


def test_run_that_has_not_ended_in_the_ledger_is_noticed(run, last):
    last(ledger=Snapshot(run.tries[-1].ledger.entries, {"dag/task/run": False}))
    assert "these runs have not ended" in violations_of(run)


def test_wrong_number_of_entries_is_noticed(run, last):
    last(summary={**run.tries[-1].summary, "ledger": None})
    assert "the account is of None entries" in violations_of(run)


def test_count_without_the_contacts_who_left_is_noticed(run, last):
    counts = dict(run.tries[-1].summary["counts"])
    counts["enrolled"] -= 1
    last(summary={**run.tries[-1].summary, "counts": counts, "total": sum(counts.values())})
    assert "who left" in violations_of(run)


def test_address_in_the_ledger_is_noticed(run):
    file = run.ledger.root / "note"
    file.write_text("hush7x")
    assert "of the ledger shows an address" in violations_of(run)
    file.unlink()
