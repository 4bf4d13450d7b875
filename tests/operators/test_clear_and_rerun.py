"""What is sent again, with a ledger and without: a test for each line of the table in the docs.

All contacts have finished the sequence in between, so that Meisa would enroll them again.
"""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.bulk.ledger import Ledger
from airflow_provider_meisa.jobs.enroll import EnrollJob
from tests.support.people import people
from tests.support.requests_sent import bulk_requests
from tests.support.summary import counts

pytestmark = pytest.mark.usefixtures("ledgers")

PEOPLE = people(1100)
NEW = "new@example.com"
ONCE, TWICE = {1}, {2}
WITHOUT_AND_WITH = pytest.mark.parametrize("ledger", [None, "reactivation"], ids=["without", "with"])


@pytest.fixture
def ours(task, ledger):
    """A task with the ledger of the test, or without one."""
    kept = {"ledger": ledger, "again_after": timedelta(days=90)} if ledger else {}
    return task(PEOPLE, max_in_flight=1, **kept)


def finish(sandbox):
    enrolled = [row["email"] for row in sandbox.enrollments("onboarding")]
    sandbox.seed_enrollments("onboarding", enrolled, "completed")


def times_enrolled(sandbox, emails=PEOPLE):
    """Return how often the contacts were enrolled."""
    found = {row["email"]: row["times_enrolled"] for row in sandbox.enrollments("onboarding")}
    return {found.get(each, 0) for each in emails}


def fail_at_batch(ours, sandbox, number, status):
    """Run an attempt that fails after so many batches, which the contacts finish."""
    sandbox.fault("status", status=status, path="bulk-enroll", skip=number, times=1)
    with pytest.raises(AirflowException):
        ours.run()
    finish(sandbox)


@WITHOUT_AND_WITH
def test_killed_task_sends_nothing_again(ours, meisa_sandbox, monkeypatch):
    """Airflow ends the task while a batch is in flight, and lets it record the response."""
    send = EnrollJob.send

    def send_and_kill(job, *given, **arguments):
        ours.operator.on_kill()
        return send(job, *given, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(EnrollJob, "send", send_and_kill)
        with pytest.raises(AirflowException):
            ours.run()
    finish(meisa_sandbox)
    assert counts(ours.run()) == {"enrolled": 1100}
    assert times_enrolled(meisa_sandbox) == ONCE


@WITHOUT_AND_WITH
def test_lost_worker_sends_the_batch_in_flight_again(ours, meisa_sandbox, ledgers, monkeypatch):
    """The process is killed outright after its second request: it leaves what was there when the request began."""
    send, sent, kept = EnrollJob.send, [], ledgers.with_name("kept")

    def send_and_die(job, *given, **arguments):
        sent.append(given)
        if len(sent) == 2 and ledgers.exists():
            shutil.copytree(ledgers, kept)
        return send(job, *given, **arguments)

    ours.state.fail_at = 3  # two intents and one result were kept
    with monkeypatch.context() as patch:
        patch.setattr(EnrollJob, "send", send_and_die)
        with pytest.raises(RuntimeError):
            ours.run()
    ours.state.fail_at = None
    if kept.exists():
        shutil.rmtree(ledgers)
        kept.rename(ledgers)
    finish(meisa_sandbox)
    summary = ours.run()
    assert summary["possibly_twice"] == 500
    assert counts(summary) == {"enrolled": 1100}
    assert times_enrolled(meisa_sandbox, PEOPLE[:500]) == ONCE
    assert times_enrolled(meisa_sandbox, PEOPLE[500:1000]) == TWICE
    assert times_enrolled(meisa_sandbox, PEOPLE[1000:]) == ONCE


@WITHOUT_AND_WITH
def test_responses_without_a_checkpoint_are_in_the_ledger(ours, meisa_sandbox, ledger):
    ours.state.fail_at = 3  # two intents and one result were kept
    with pytest.raises(RuntimeError):
        ours.run()
    ours.state.fail_at = None
    finish(meisa_sandbox)
    assert counts(ours.run()) == {"enrolled": 1100}
    assert times_enrolled(meisa_sandbox, PEOPLE[500:1000]) == (ONCE if ledger else TWICE)


@WITHOUT_AND_WITH
def test_orphaned_process_sends_nothing(ours, meisa_sandbox):
    ours.state.fail_at = 0
    with pytest.raises(RuntimeError):
        ours.run()
    assert bulk_requests(meisa_sandbox) == []


@WITHOUT_AND_WITH
def test_retry_sends_only_the_batch_in_doubt_again(ours, meisa_sandbox):
    fail_at_batch(ours, meisa_sandbox, 1, 500)
    assert counts(ours.run()) == {"enrolled": 1100}
    assert times_enrolled(meisa_sandbox) == ONCE
    assert [len(each["addresses"]) for each in bulk_requests(meisa_sandbox)] == [500, 500, 500, 100]


@WITHOUT_AND_WITH
def test_retry_after_every_address_got_its_status_sends_nothing(ours, meisa_sandbox, monkeypatch):
    """The worker is lost before Airflow learns of the end."""
    with monkeypatch.context() as patch:
        patch.setattr(
            "airflow_provider_meisa.operators.bulk.set_asset_extra",
            lambda *_: (_ for _ in ()).throw(RuntimeError("lost")),
        )
        with pytest.raises(RuntimeError, match="lost"):
            ours.run()
    finish(meisa_sandbox)
    assert counts(ours.run()) == {"enrolled": 1100}
    assert times_enrolled(meisa_sandbox) == ONCE


@WITHOUT_AND_WITH
def test_task_cleared_after_it_ended_early_continues(ours, meisa_sandbox):
    fail_at_batch(ours, meisa_sandbox, 1, 401)
    assert counts(ours.clear().run()) == {"enrolled": 1100}
    assert times_enrolled(meisa_sandbox) == ONCE


@WITHOUT_AND_WITH
def test_task_cleared_after_its_end_sends_what_is_not_in_the_ledger(ours, meisa_sandbox, ledger):
    ours.run()
    finish(meisa_sandbox)
    summary = ours.clear().run(emails=[*PEOPLE, NEW])
    assert counts(summary) == ({"enrolled": 1, "enrolled_before": 1100} if ledger else {"enrolled": 1101})
    assert times_enrolled(meisa_sandbox) == (ONCE if ledger else TWICE)


@pytest.mark.parametrize("ledger", ["reactivation"])
def test_task_cleared_after_its_end_sends_the_refused_again(ours, meisa_sandbox):
    meisa_sandbox.put_contacts({PEOPLE[0]: "unsubscribed"})
    assert counts(ours.run()) == {"enrolled": 1099, "suppressed": 1}
    finish(meisa_sandbox)
    meisa_sandbox.put_contacts({PEOPLE[0]: "subscribed"})
    assert counts(ours.clear().run()) == {"enrolled": 1, "enrolled_before": 1099}
    assert times_enrolled(meisa_sandbox) == ONCE


@WITHOUT_AND_WITH
def test_lost_disk_sends_the_batch_in_doubt_again(ours, meisa_sandbox):
    """The source gives the same addresses: with a ledger and without, the retry continues."""
    fail_at_batch(ours, meisa_sandbox, 1, 500)
    assert counts(ours.lose_plan().run()) == {"enrolled": 1100}
    assert times_enrolled(meisa_sandbox) == ONCE
    assert [len(each["addresses"]) for each in bulk_requests(meisa_sandbox)] == [500, 500, 500, 100]


@WITHOUT_AND_WITH
def test_cleared_task_that_is_retried_counts_once(ours, meisa_sandbox, ledger):
    """The attempts before the clear are another enrollment; those after it add up."""
    ours.run(emails=PEOPLE[:500])
    finish(meisa_sandbox)
    ours.clear().arguments["emails"] = PEOPLE
    fail_at_batch(ours, meisa_sandbox, 1, 401)
    summary = ours.run()
    assert counts(summary) == ({"enrolled": 600, "enrolled_before": 500} if ledger else {"enrolled": 1100})
    assert times_enrolled(meisa_sandbox, PEOPLE[500:]) == ONCE


@WITHOUT_AND_WITH
def test_rerun_sends_what_is_not_in_the_ledger(ours, meisa_sandbox, ledger):
    ours.run()
    finish(meisa_sandbox)
    summary = ours.next_night(emails=[*PEOPLE, NEW]).run()
    assert counts(summary) == ({"enrolled": 1, "enrolled_before": 1100} if ledger else {"enrolled": 1101})
    assert times_enrolled(meisa_sandbox) == (ONCE if ledger else TWICE)


@WITHOUT_AND_WITH
def test_backfill_sends_what_is_not_in_the_ledger(ours, meisa_sandbox, ledger):
    """Each run gives a part of the contacts of the run before it."""
    sent = []
    for first in (0, 300, 600):
        sent.append(ours.run(emails=PEOPLE[first : first + 500])["counts"]["enrolled"])
        finish(meisa_sandbox)
        ours.next_night()
    assert sent == ([500, 300, 300] if ledger else [500, 500, 500])
    assert times_enrolled(meisa_sandbox, PEOPLE[300:500]) == (ONCE if ledger else TWICE)


@WITHOUT_AND_WITH
def test_lost_plan_of_changed_source_continues_with_a_ledger_only(ours, meisa_sandbox, ledger):
    fail_at_batch(ours, meisa_sandbox, 1, 401)
    ours.lose_plan()
    if not ledger:
        with pytest.raises(AirflowFailException, match=r"(?s)is lost.*on_changed_audience"):
            ours.run(emails=PEOPLE[1:])
        assert len(bulk_requests(meisa_sandbox)) == 2
        return
    assert counts(ours.run(emails=PEOPLE[1:])) == {"enrolled": 1100}
    assert times_enrolled(meisa_sandbox) == ONCE


@pytest.mark.parametrize("ledger", ["reactivation"])
def test_older_run_cleared_after_later_ones_sends_nothing_again(ours, meisa_sandbox):
    """A clear of an old run does not see the summaries of the later ones, but their entries."""
    ours.run(emails=PEOPLE[:500])
    finish(meisa_sandbox)
    old_state, old_ti = ours.state, ours.ti
    ours.next_night(emails=PEOPLE).run()
    finish(meisa_sandbox)
    ours.state, ours.ti = old_state, old_ti
    assert counts(ours.clear().run()) == {"enrolled_before": 1100}
    assert times_enrolled(meisa_sandbox) == ONCE


@pytest.mark.parametrize("ledger", ["reactivation"])
def test_run_is_sent_again_after_it_was_cleared_in_the_ledger(ours, meisa_sandbox, ledgers):
    ours.run(emails=PEOPLE[:500])
    ours.next_night(emails=PEOPLE).run()
    finish(meisa_sandbox)
    Ledger.open_existing(ledgers, "reactivation").clear_run("dag/task/run", by="a person")
    assert counts(ours.next_night().run()) == {"enrolled": 500, "enrolled_before": 600}
    assert times_enrolled(meisa_sandbox, PEOPLE[:500]) == TWICE
    assert times_enrolled(meisa_sandbox, PEOPLE[500:]) == ONCE
