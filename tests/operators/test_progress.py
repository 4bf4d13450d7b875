"""How far a task has come, as those see it who look from outside of its worker (Airflow 3.3)."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_meisa.api.outcomes import ENROLL_STATUSES
from airflow_provider_meisa.bulk import runner
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.reporting import KEY, Progress, State
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from tests.support.people import people
from tests.support.task import FakeTaskState, NoProgressTaskState

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"
PEOPLE = people(2600)


@pytest.fixture
def task(task, mocker):
    """Write the progress whenever it changes."""
    mocker.patch("airflow_provider_meisa.bulk.reporting._SECONDS", 0.0)
    return task


def states(ours):
    return [written["state"] for written in ours.state.progress]


def found(counts):
    return {status: count for status, count in counts.items() if count}


def test_it_has_the_fields_of_the_contract_and_no_address(task):
    ours = task([*PEOPLE[:600], "broken@"])
    ours.run()
    last = ours.state.get(KEY)
    assert list(last) == [
        "sequence_slug",
        "meisa_conn_id",
        "state",
        "done",
        "total",
        "counts",
        "requests",
        "rate_limited",
        "waiting_until",
        "updated_at",
    ]
    assert (last["sequence_slug"], last["meisa_conn_id"]) == ("onboarding", "meisa_default")
    assert (last["state"], last["done"], last["total"], last["requests"]) == ("complete", 601, 601, 4)
    assert len(last["counts"]) == 9
    assert found(last["counts"]) == {"enrolled": 600, "invalid": 1}
    assert datetime.fromisoformat(last["updated_at"]).tzinfo == UTC
    assert "@" not in json.dumps(ours.state.progress)


def test_every_field_and_every_state_is_on_the_page(task):
    ours = task(PEOPLE[:3])
    ours.run()
    message = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert message == [*ours.state.get(KEY), *get_args(State)]


def test_it_is_written_from_before_the_first_request_to_the_end(task):
    ours = task(PEOPLE, max_in_flight=1)
    ours.run()
    assert [(w["state"], w["done"], w["total"]) for w in ours.state.progress] == [
        ("sending", 0, None),
        *(("sending", done, 2600) for done in (500, 1000, 1500, 2000, 2500, 2600)),
        ("complete", 2600, 2600),
    ]


def test_a_retry_begins_with_what_was_done(task, meisa_sandbox):
    ours = task(PEOPLE, max_in_flight=1)
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=2, times=1)
    with pytest.raises(AirflowFailException):
        ours.run()
    stopped = ours.state.progress[-1]
    assert (stopped["state"], stopped["done"], stopped["total"]) == ("stopped", 1000, 2600)
    assert found(stopped["counts"]) == {"enrolled": 1000, "untried": 1600}
    ours.state.progress.clear()
    ours.run()
    assert (ours.state.progress[0]["state"], ours.state.progress[0]["done"]) == ("sending", 1000)
    assert states(ours)[-1] == "complete"


@pytest.mark.parametrize(
    "arguments",
    [{"sequence_slug": "winback"}, {"max_contacts": 3}],
    ids=["a sequence that takes nobody", "too many addresses"],
)
def test_a_run_that_may_not_begin_is_stopped(task, arguments):
    ours = task(PEOPLE[:10], **arguments)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert states(ours) == ["sending", "stopped"]


def test_a_process_that_dies_between_two_batches_says_so_if_it_can(task):
    ours = task(PEOPLE, max_in_flight=1)
    ours.state.fail_at = 4
    with pytest.raises(RuntimeError):
        ours.run()
    assert states(ours)[-1] == "stopped"


def test_a_task_that_is_red_because_of_its_addresses_was_complete(task):
    ours = task([*PEOPLE[:10], "broken"], max_invalid=0)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert states(ours)[-1] == "complete"


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_a_deferral_says_until_when_it_waits(task, meisa_connection, short_deferrals):
    meisa_connection(extra={"rate_limits": "2/2s"})
    ours = task(PEOPLE[:1600], **short_deferrals)
    ours.run()
    waits = [written for written in ours.state.progress if written["state"] == "waiting"]
    assert len(waits) == len(ours.deferrals) >= 2
    for written, trigger in zip(waits, ours.deferrals, strict=True):
        until = datetime.fromisoformat(written["waiting_until"])
        assert abs(until.timestamp() - trigger.moment) <= 1
    assert all(w["waiting_until"] is None for w in ours.state.progress if w["state"] != "waiting")
    assert (states(ours)[-1], ours.state.get(KEY)["done"]) == ("complete", 1600)


def test_a_wait_that_is_slept_says_until_when_too(task, meisa_connection, mocker):
    mocker.patch.object(runner, "_SHORT", 0.2)
    meisa_connection(extra={"rate_limits": "2/1s"})
    ours = task(PEOPLE[:1100], max_in_flight=1)
    ours.run()
    assert "waiting" in states(ours)
    assert states(ours)[states(ours).index("waiting") + 1] == "sending"


def test_a_preview_has_no_progress(task):
    ours = task(PEOPLE, preview=True)
    ours.run()
    assert ours.state.progress == []


def test_while_only_figures_change_it_is_written_every_two_seconds():
    now = [0.0]
    state = FakeTaskState()
    progress = Progress(state, {}, ENROLL_STATUSES, clock=lambda: now[0])
    for _ in range(100):
        now[0] += 0.1
        progress.write("sending", Checkpoint())
    assert len(state.progress) == 5
    progress.write("waiting", Checkpoint(), until=datetime.now(UTC) + timedelta(hours=1))
    progress.write("sending", Checkpoint())
    progress.write("complete", Checkpoint())
    assert len(state.progress) == 8


def test_that_it_cannot_be_written_does_not_fail_the_run(task, caplog):
    ours = task(PEOPLE[:600])
    ours.state = NoProgressTaskState()
    assert ours.run()["counts"]["enrolled"] == 600
    assert "Progress could not be written: RuntimeError" in caplog.text


def test_where_airflow_keeps_no_state_there_is_none():
    Progress(None, {}, ENROLL_STATUSES).write("sending", Checkpoint())


def test_airflow_has_it_in_its_database_when_the_task_has_ended(run_task):
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session

    ran = run_task(MeisaBulkEnrollOperator, emails=PEOPLE[:600], sequence_slug="onboarding")
    assert ran.state == "success"
    with create_session() as session:
        row = session.query(TaskStateStoreModel).filter_by(dag_id=ran.dag_id, key=KEY).one()
        value = row.value if isinstance(row.value, dict) else json.loads(row.value)
    assert (value["state"], value["done"]) == ("complete", 600)
