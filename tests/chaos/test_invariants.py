"""The laws of the campaign object to what they forbid: a witness that never objects would prove nothing."""

import dataclasses
from collections import Counter

import pytest

from tests.chaos.cases import Case
from tests.chaos.invariants import violations
from tests.chaos.runs import run_case


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MEISA_DEFAULT", "WAREHOUSE"):
            patch.setenv(f"AIRFLOW_CONN_{name}", "")  # put back after the run, which sets them
        return run_case(Case("sql", "500", "killed as it notes", 0), tmp_path_factory.mktemp("run"))


@pytest.fixture
def last(run, monkeypatch):
    """The last attempt, of which a test changes what it left."""
    changed = dataclasses.replace(
        run.tries[-1], summary=dict(run.tries[-1].summary), lines=list(run.tries[-1].lines)
    )
    monkeypatch.setattr(run, "tries", [*run.tries[:-1], changed])
    return changed


def violations_of(run):
    return "\n".join(violations(run))


def test_a_run_in_which_all_went_well_meets_no_objection(run):
    assert violations_of(run) == ""
    assert len(run.tries) > 1


def test_a_line_that_is_missing_is_noticed(run, last):
    last.lines.pop()
    assert "lines that are not those" in violations_of(run)


def test_a_line_that_stands_twice_is_noticed(run, last):
    last.lines[0] = last.lines[1]
    assert "lines that are not those" in violations_of(run)


def test_a_count_that_differs_from_the_file_is_noticed(run, last):
    counts = Counter(last.summary["counts"])
    last.summary["counts"] = {**counts, "enrolled": counts["enrolled"] - 1, "failed": counts["failed"] + 1}
    assert "the file says otherwise" in violations_of(run)


def test_a_total_that_leaves_a_contact_out_is_noticed(run, last):
    last.summary["total"] -= 1
    assert "the account is of" in violations_of(run)


@pytest.mark.parametrize(
    "status", ["suppressed", "invalid", "failed", "already_enrolled", "unreported", "untried"]
)
def test_an_untrue_status_is_noticed(run, last, status):
    place = next(place for place, line in enumerate(last.lines) if line[1:] == ("enrolled", ""))
    last.lines[place] = (last.lines[place][0], status, "")
    assert f"is said to be {status}" in violations_of(run)


def test_an_enrollment_that_meisa_knows_nothing_of_is_noticed(run, monkeypatch):
    monkeypatch.setattr(run, "enrollments", run.enrollments[:-1])
    assert "inside=False" in violations_of(run)


def test_a_batch_that_is_sent_again_is_noticed(run, monkeypatch):
    monkeypatch.setattr(run, "requests", [*run.requests, run.requests[-1]])
    assert "sends again" in violations_of(run)


def test_a_request_that_met_the_limit_is_noticed(run, monkeypatch):
    monkeypatch.setattr(run, "requests", [*run.requests, {**run.requests[0], "status": 429}])
    assert "met the rate limit" in violations_of(run)


@pytest.mark.parametrize("secret", ["hush7x@private.example", "HUSH7", "meisa_live_topsecretkey"])
@pytest.mark.parametrize("place", ["log", "kept"])
def test_an_address_or_the_key_in_what_was_written_is_noticed(run, place, secret):
    file = run.task.log if place == "log" else run.task.kept / "return_value.xcom"
    before = file.read_text()
    file.write_text(f"{before} said {secret} ")
    assert f"{file.name} shows" in violations_of(run)
    file.write_text(before)


def test_a_checkpoint_that_grows_is_noticed(run):
    file = run.task.kept / "every.state"
    before = file.read_text()
    file.write_text(f"{before}{'x' * 2048}\n")
    assert "a checkpoint of 2048 bytes" in violations_of(run)
    file.write_text(before)


@pytest.mark.parametrize("name", ["outcomes/run.csv.parts", "staging/copy.jsonl"])
def test_what_is_left_behind_is_noticed(run, name):
    (run.folder / name).mkdir(parents=True)
    assert "left behind" in violations_of(run)
    (run.folder / name).rmdir()


def test_a_run_that_does_not_end_is_noticed(run, last):
    last.summary["complete"] = False
    assert "not everybody has a status" in violations_of(run)


def play(scenario, folder, monkeypatch):
    for name in ("MEISA_DEFAULT", "WAREHOUSE"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", "")
    return run_case(Case("bulk", "no fault", scenario, 0), folder)


def ends(run):
    return [each.ended.how for each in run.tries]


@pytest.mark.parametrize("scenario", ["killed as it notes", "killed as it sends", "killed as it records"])
def test_a_scenario_of_death_has_one(scenario, tmp_path, monkeypatch):
    assert ends(play(scenario, tmp_path, monkeypatch)) == ["killed", "success"]


def test_who_is_stopped_fails_and_is_tried_again(tmp_path, monkeypatch):
    assert ends(play("told to stop", tmp_path, monkeypatch)) == ["retry", "success"]


def test_an_orphan_is_still_there_when_another_has_ended(tmp_path, monkeypatch):
    assert len(play("orphaned", tmp_path, monkeypatch).orphans) == 1


def test_a_cleared_task_runs_twice(tmp_path, monkeypatch):
    assert ends(play("cleared", tmp_path, monkeypatch)) == ["success", "success"]


def test_who_is_short_of_requests_waits(tmp_path, monkeypatch):
    assert play("short of requests", tmp_path, monkeypatch).tries[-1].summary["waited_s"] > 0


def test_who_is_deferred_waits_in_the_triggerer(tmp_path, monkeypatch):
    assert play("deferred", tmp_path, monkeypatch).deferrals > 0
