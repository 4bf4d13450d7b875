"""The law on sources of a wrong shape objects to what it forbids, and each shape occurs."""

import dataclasses

import pytest

from tests.chaos.cases import OPERATORS, table
from tests.chaos.invariants import violations
from tests.chaos.processes import Ended
from tests.chaos.runs import run_case
from tests.chaos.shapes import READABLE, WRONG, is_readable, shape_of

CASES = [case for case in table() if case.scenario == "wrong shape"]


@pytest.fixture(scope="module", params=["bulk", "sql"])
def run(request, tmp_path_factory):
    case = next(one for one in CASES if one.operator == request.param and not is_readable(one))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MEISA_DEFAULT", "WAREHOUSE"):
            patch.setenv(f"AIRFLOW_CONN_{name}", "")  # put back after the run, which sets them
        return run_case(case, tmp_path_factory.mktemp("run"))


def violations_of(run):
    return "\n".join(violations(run))


def test_a_wrong_shape_meets_no_objection(run):
    assert violations_of(run) == ""
    assert len(run.tries) == 2


def test_a_request_is_noticed(run, monkeypatch):
    monkeypatch.setattr(run, "requests", [{"method": "POST", "path": "/sequences/enroll/"}])
    assert "1 requests were made" in violations_of(run)


@pytest.mark.parametrize("how", ["success", "skipped", "retry", "crashed"])
def test_a_try_that_ended_otherwise_is_noticed(run, monkeypatch, how):
    changed = dataclasses.replace(run.tries[0], ended=Ended(how))
    monkeypatch.setattr(run, "tries", [changed, *run.tries[1:]])
    assert "of a wrong shape ended" in violations_of(run)


def test_an_account_is_noticed(run, monkeypatch):
    monkeypatch.setattr(run, "tries", [dataclasses.replace(run.tries[0], summary={"total": 3}), run.tries[1]])
    assert "left an account" in violations_of(run)


def test_an_enrollment_is_noticed(run, monkeypatch):
    monkeypatch.setattr(run, "enrollments", [*run.enrollments, {"email": "new@example.com"}])
    assert "has changed who is in the sequence" in violations_of(run)


def test_every_shape_occurs():
    assert {case.operator for case in CASES} == set(READABLE) == set(WRONG) < set(OPERATORS)
    for operator, shapes in [*READABLE.items(), *WRONG.items()]:
        played = [shape_of(case) for case in CASES if case.operator == operator]
        assert all(shape in played for shape in shapes)
