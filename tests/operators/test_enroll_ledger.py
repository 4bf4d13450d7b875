"""The ledger of a task that enrolls one contact."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException

from airflow_provider_meisa.bulk.ledger import Ledger, State
from airflow_provider_meisa.operators.sequences import MeisaEnrollOperator
from tests.support.task import Task

pytestmark = pytest.mark.usefixtures("ledgers", "meisa_connection", "no_backoff")


class OneContact(Task):
    """The task of one contact."""

    def __init__(self, email="ada@example.com", **arguments):
        super().__init__(**{"ledger": "welcome", "again_after": "never", **arguments})
        self.arguments |= {"contact_email": email}
        del self.arguments["emails"]

    def make(self):
        self.operator = MeisaEnrollOperator(task_id="task", **self.arguments)
        return self.operator


@pytest.fixture
def states(ledgers):
    return lambda: [entry.state for _, entry in Ledger.open_existing(ledgers, "welcome").entries()]


def finish(sandbox):
    enrolled = [row["email"] for row in sandbox.enrollments("onboarding")]
    sandbox.seed_enrollments("onboarding", enrolled, "completed")


def times_enrolled(sandbox):
    return [row["times_enrolled"] for row in sandbox.enrollments("onboarding")]


def test_contact_who_finished_is_not_enrolled_again(meisa_sandbox, states):
    ours = OneContact()
    value = ours.run()
    assert (value["status"], value["ledger"]["entries"]) == ("enrolled", 1)
    finish(meisa_sandbox)
    assert ours.next_night(contact_email="ADA@example.com").run()["status"] == "enrolled_before"
    assert times_enrolled(meisa_sandbox) == [1]
    assert states() == [State.ACCEPTED]


@pytest.mark.parametrize(
    ("choice", "raised"), [("skip", AirflowSkipException), ("fail", AirflowFailException)]
)
def test_enrolled_before_ends_as_on_already_enrolled_says(meisa_sandbox, choice, raised):
    ours = OneContact(on_already_enrolled=choice)
    ours.run()
    with pytest.raises(raised, match="enrolled_before"):
        ours.next_night().run()
    assert times_enrolled(meisa_sandbox) == [1]


def test_two_contacts_share_a_ledger(meisa_sandbox, states):
    assert OneContact().run()["status"] == "enrolled"
    assert OneContact("grace@example.com").run()["status"] == "enrolled"
    assert states() == [State.ACCEPTED] * 2


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"kind": "status", "status": 401}, State.CLEARED),
        ({"kind": "status", "status": 400}, State.CLEARED),
        ({"kind": "reset_after"}, State.INTENT),
        ({"kind": "status", "status": 500}, State.INTENT),
    ],
    ids=["401", "400", "lost", "500"],
)
def test_failed_request_leaves_what_is_certain(meisa_sandbox, states, fault, state):
    meisa_sandbox.fault(path="/enroll/", times=3, **fault)
    ours = OneContact(on_ambiguous="fail")
    with pytest.raises(AirflowFailException):
        ours.run()
    assert states() == [state]
    meisa_sandbox.clear_faults()
    expected = "enrolled" if state is State.CLEARED else "enrolled_before"
    assert ours.next_night().run()["status"] == expected


def test_retry_of_lost_response_sends_again_and_says_so(meisa_sandbox, states):
    meisa_sandbox.fault("reset_after", path="/enroll/", times=2)
    ours = OneContact()
    with pytest.raises(AirflowException):
        ours.run()
    assert states() == [State.INTENT]
    value = ours.run()
    assert (value["status"], value["reason"]) == ("already_enrolled", "possibly by this run")
    assert times_enrolled(meisa_sandbox) == [1]
    assert states() == [State.PRESENT]


def test_forgotten_contact_is_suppressed(meisa_sandbox, ledgers):
    OneContact("grace@example.com").run()
    Ledger.open_existing(ledgers, "welcome").forget(["ada@example.com"], by="a person")
    value = OneContact().run()
    assert (value["status"], value["reason"]) == ("suppressed", "forgotten on request")
    assert len(times_enrolled(meisa_sandbox)) == 1


def test_first_run_can_record_the_contact(meisa_sandbox, states):
    assert OneContact(first_run="record").run()["status"] == "enrolled_before"
    assert states() == [State.RECORDED]
    assert times_enrolled(meisa_sandbox) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"again_after": None}, "belong together"), ({"again_after": timedelta(-1)}, "again_after must be")],
)
def test_wrong_parameter_stops_before_anything_is_asked(meisa_sandbox, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        OneContact(**arguments).run()
    assert meisa_sandbox.requests() == []
