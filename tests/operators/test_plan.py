"""Plan, then apply: what a plan has is what is sent, by a retry, after a deferral, and by a task of its own."""

import json
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.support.people import people
from tests.support.requests_sent import addresses_sent, bulk_requests
from tests.support.summary import counts

PEOPLE = people(1100)
MANY = people(2600)
OLD = json.loads((Path(__file__).parents[1] / "data" / "checkpoint_e1a97d6.json").read_text())


class OnlyOnce:
    """A source that can be read once."""

    def __init__(self, given):
        self.given = given
        self.readings = 0

    def __iter__(self):
        self.readings += 1
        yield from self.given


def interrupted(task, sandbox, given=PEOPLE, **arguments):
    """Return a task whose first attempt has sent one batch."""
    ours = task(given, max_in_flight=1, **arguments)
    sandbox.fault("status", status=401, path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowFailException):
        ours.run()
    return ours


@pytest.mark.parametrize(
    "given",
    [[], ["new@example.com", *PEOPLE], PEOPLE[::-1], PEOPLE[700:]],
    ids=["none", "new", "reversed", "less"],
)
def test_retry_sends_what_was_planned_whatever_the_source_gives(task, meisa_sandbox, given):
    ours = interrupted(task, meisa_sandbox)
    assert counts(ours.run(emails=given)) == {"enrolled": 1100}
    assert addresses_sent(meisa_sandbox)[-600:] == PEOPLE[500:]


def test_source_is_read_once_over_deferrals(task, meisa_connection, meisa_sandbox, short_deferrals):
    meisa_connection(extra={"rate_limits": "2/1s"})
    ours = task(PEOPLE, **short_deferrals)
    operator = ours.make()
    source = OnlyOnce(PEOPLE)
    ours.make = lambda: setattr(operator, "emails", source) or operator
    assert counts(ours.run()) == {"enrolled": 1100}
    assert ours.deferrals
    assert source.readings == 1


@pytest.mark.parametrize(
    "given", [MANY, [*MANY, "new@example.com"], MANY[:2000]], ids=["same", "more", "fewer"]
)
def test_lost_plan_is_made_again_where_the_beginning_is_the_same(task, meisa_sandbox, given):
    ours = interrupted(task, meisa_sandbox, MANY)
    summary = ours.lose_plan().run(emails=given)
    assert (summary["counts"]["enrolled"], summary["total"]) == (len(given), len(given))


@pytest.mark.parametrize("given", [[], PEOPLE[::-1], PEOPLE[1:], ["new@example.com", *PEOPLE]])
def test_lost_plan_of_another_source_stops_and_names_the_cures(task, meisa_sandbox, given):
    ours = interrupted(task, meisa_sandbox)
    before = len(bulk_requests(meisa_sandbox))
    with pytest.raises(
        AirflowFailException, match=r"plan of this run, .*\.json, is lost.*restart.*staging_path"
    ):
        ours.lose_plan().run(emails=given)
    assert len(bulk_requests(meisa_sandbox)) == before


def test_approved_plan_is_sent_although_the_source_has_changed(task, meisa_sandbox):
    report = task([*PEOPLE, "broken", PEOPLE[0]], preview=True).run()
    assert report["plan"]
    meisa_sandbox.put_contacts({PEOPLE[3]: "unsubscribed"})
    summary = task(["new@example.com"], plan=report["plan"], skip_suppressed=True).run()
    assert counts(summary) == {"enrolled": 1099, "suppressed": 1, "invalid": 1, "duplicate": 1}
    assert set(addresses_sent(meisa_sandbox)) == {*PEOPLE} - {PEOPLE[3]}


def test_approved_plan_is_resumed(task, meisa_sandbox):
    report = task(PEOPLE, preview=True).run()
    ours = interrupted(task, meisa_sandbox, plan=report["plan"])
    assert counts(ours.run(emails=[])) == {"enrolled": 1100}
    assert sorted(addresses_sent(meisa_sandbox)[500:][-600:]) == sorted(PEOPLE[500:])


def test_approved_plan_that_is_gone_stops(task, meisa_sandbox):
    report = task(PEOPLE, preview=True).run()
    ours = task(PEOPLE, plan=report["plan"])
    with pytest.raises(AirflowFailException, match=r"The approved plan .* is missing"):
        ours.lose_plan().run()
    assert bulk_requests(meisa_sandbox) == []


@pytest.mark.parametrize("plan", ["people.json", "#1", "/tmp/plan.json", "/tmp/plan.txt#1", "{{ nothing }}"])
def test_plan_that_no_preview_gave_stops(task, meisa_sandbox, plan):
    with pytest.raises(AirflowFailException, match="the value of 'plan' in the report of a preview"):
        task(PEOPLE, plan=plan).run()
    assert meisa_sandbox.requests() == []


def test_approved_plan_of_another_preview_or_sequence_stops(task, meisa_sandbox):
    first = task(PEOPLE, preview=True).run()["plan"]
    second = task(PEOPLE[:5], preview=True).run()["plan"]
    for arguments in ({"plan": first}, {"plan": second, "sequence_slug": "trial"}):
        with pytest.raises(AirflowFailException, match="missing, or it is for another sequence"):
            task(PEOPLE, **arguments).run()
    assert bulk_requests(meisa_sandbox) == []


def test_approved_plan_with_too_many_stops(task, meisa_sandbox):
    plan = task(PEOPLE, preview=True, max_contacts=10).run()["plan"]
    with pytest.raises(AirflowFailException, match="max_contacts=1,099 "):
        task([], plan=plan, max_contacts=1099).run()
    assert bulk_requests(meisa_sandbox) == []


@pytest.mark.parametrize("kept", [OLD, {**OLD, "next_batch": 0, "in_flight": []}, {**OLD, "complete": True}])
def test_checkpoint_of_an_older_version_is_refused(task, meisa_sandbox, kept):
    ours = task(PEOPLE)
    ours.state.set("meisa", kept)
    with pytest.raises(AirflowFailException, match=r"another version.*delete it: the task's state 'meisa'"):
        ours.run()
    assert meisa_sandbox.requests() == []
    del ours.state.values["meisa"]
    assert counts(ours.clear().run()) == {"enrolled": 1100}


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept too", "carried only"])
def test_task_deferred_during_the_upgrade_is_refused(task, meisa_sandbox, is_kept):
    ours = task(PEOPLE)
    if is_kept:
        ours.state.set("meisa", OLD)
    event = {"status": "go", "cursor": OLD, "moment": 1764032400.0}
    with pytest.raises(AirflowFailException, match="another version"):
        ours.make().resume(ours.context(), event)
    assert meisa_sandbox.requests() == []


def test_plan_is_removed_with_the_last_attempt(task, plans_folder, meisa_sandbox):
    ours = interrupted(task, meisa_sandbox)
    assert len(list(plans_folder.glob("*/*"))) == 2
    ours.run()
    assert list(plans_folder.glob("*/*")) == []
