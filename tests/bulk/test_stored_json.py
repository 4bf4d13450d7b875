"""JSON that outlives a process: what was not written by this version is refused, and shows no address."""

import json
import math
import traceback

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.rate_limit.state import LONGEST, State, from_json, to_json
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.plan import PlanStore
from tests.support.jobs import ENROLL, enroll_batches

ADDRESS = "ada@example.com"
ENTRY = {"address": "a***@***.com", "status": "failed", "reason": "refused"}
WHOLE = Checkpoint(plan="p", next_batch=3, in_flight=(2,), counts={"failed": 1}, attention=(ENTRY,)).as_json()


def shown(error):
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"version": None},
        {"plan": 7},
        {"fingerprint": None},
        {"next_batch": -1},
        {"next_batch": 1.0},
        {"next_batch": "3"},
        {"next_batch": True},
        {"requests": math.nan},
        {"waited": math.nan},
        {"waited": math.inf},
        {"waited": 10**400},
        {"started_at": -0.5},
        {"resend_at": 1e12},
        {"resend_at": False},
        {"resumed": 1},
        {"complete": "no"},
        {"in_flight": {}},
        {"in_flight": [2, -2]},
        {"unsent": [[0]]},
        {"resent": "0"},
        {"counts": []},
        {"counts": {"failed": -1}},
        {"counts": {"failed": 1.5}},
        {"counts": {ADDRESS: 1}},
        {"attention": {}},
        {"attention": [ADDRESS]},
        {"attention": [{**ENTRY, "reason": 1}]},
        {"attention": [{**ENTRY, "row": ADDRESS}]},
        {"attention": [{"address": ADDRESS}]},
        {ADDRESS: ADDRESS},
    ],
    ids=repr,
)
def test_checkpoint_with_one_wrong_value_is_refused(change):
    assert Checkpoint.from_json(WHOLE).as_json() == WHOLE
    with pytest.raises(MeisaInputError, match="another version of this provider") as caught:
        Checkpoint.from_json({**WHOLE, **change})
    assert ADDRESS not in shown(caught.value)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_checkpoint_without_one_field_is_refused(name):
    with pytest.raises(MeisaInputError, match="Nothing was sent"):
        Checkpoint.from_json({field: value for field, value in WHOLE.items() if field != name})


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1"},
        {"id": 7},
        {"file": None},
        {"job": 3},
        {"identity": {"sequence_slug": 3}},
        {"identity": "onboarding"},
        {"batches": -1},
        {"batches": "1"},
        {"total": None},
        {"to_send": 1.5},
        {"requests": True},
        {"counts": [ADDRESS]},
        {"counts": {"invalid": -1}},
        {"reasons": {"invalid: no @": ADDRESS}},
        {ADDRESS: ADDRESS},
    ],
    ids=repr,
)
def test_plan_with_one_wrong_value_counts_for_nothing(tmp_path, change):
    store = PlanStore(tmp_path, "name")
    plan = store.write(ENROLL, enroll_batches([ADDRESS, "broken"]))
    store.note.write_text(json.dumps({**json.loads(store.note.read_text()), **change}))
    assert store.load(plan.id) is None
    again = store.write(ENROLL, enroll_batches([ADDRESS]))
    assert store.load(again.id) == again


@pytest.mark.parametrize(
    "name", ["version", "id", "file", "job", "identity", "batches", "total", "to_send", "counts", "reasons"]
)
def test_plan_without_one_field_counts_for_nothing(tmp_path, name):
    store = PlanStore(tmp_path, "name")
    plan = store.write(ENROLL, enroll_batches([ADDRESS]))
    note = json.loads(store.note.read_text())
    del note[name]
    store.note.write_text(json.dumps(note))
    assert store.load(plan.id) is None


USED = to_json(State(log=(1, 2), open=(("a", 3),), granted_at=4, refused_at=5, back_off_for=6, interval=7))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"log": [1, "2"]},
        {"log": [-1]},
        {"log": None},
        {"open": [["a"]]},
        {"open": [[1, 3]]},
        {"open": [["a", 3.5]]},
        {"granted_at": True},
        {"refused_at": 5.5},
        {"back_off_for": LONGEST + 1},
        {"interval": -1},
        {"depth": 0},
        {"colour": "blue"},
    ],
    ids=repr,
)
def test_state_of_a_key_with_one_wrong_value_is_refused(change):
    assert to_json(from_json(json.loads(json.dumps(USED)))) == USED
    with pytest.raises(ValueError, match="not a state"):
        from_json(json.loads(json.dumps({**USED, **change})))


@pytest.mark.parametrize("name", sorted(USED))
def test_state_of_a_key_without_one_field_is_refused(name):
    with pytest.raises(ValueError, match="not a state"):
        from_json({field: value for field, value in USED.items() if field != name})


@pytest.mark.parametrize("value", [None, 7, "text", [], [["version", 1]]], ids=repr)
def test_state_of_a_key_that_is_not_an_object_is_refused(value):
    with pytest.raises(ValueError, match="not a state"):
        from_json(value)
