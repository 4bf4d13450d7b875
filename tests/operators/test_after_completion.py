"""A task that is interrupted, or fails, when all addresses have a status: a retry sends none again."""

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.bulk.runner import BulkRunner
from airflow_provider_meisa.operators import bulk
from airflow_provider_meisa.operators.checkpoint_store import store_of
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from tests.support.people import people
from tests.support.requests_sent import bulk_requests, times_sent
from tests.support.summary import counts

PEOPLE = people(1100)
AGAIN = {"retries": 2, "retry_delay": timedelta(0)}


@pytest.fixture(params=["in the state", "in a Variable"])
def store(request, mocker):
    """Keep the checkpoint as Airflow 3.3 does, and as the ones before it."""
    if request.param == "in a Variable":
        mocker.patch.object(bulk, "store_of", lambda context: store_of({"ti": context["ti"]}))


def test_a_retry_of_a_task_that_failed_after_its_end_sends_no_contact_again(
    run_task, meisa_sandbox, store, monkeypatch
):
    fails = iter([AirflowException("the store does not answer")])
    cleanup = BulkRunner.cleanup

    def cleanup_at_last(runner):
        for error in fails:
            raise error
        cleanup(runner)

    monkeypatch.setattr(BulkRunner, "cleanup", cleanup_at_last)
    ran = run_task(MeisaBulkEnrollOperator, emails=PEOPLE, sequence_slug="onboarding", **AGAIN)
    assert ran.state == "success"
    assert list(fails) == []
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)
    summary = ran.xcom("task")
    assert counts(summary) == {"enrolled": 1100}
    assert (summary["complete"], summary["requests"]) == (True, len(meisa_sandbox.requests()))


def test_a_retry_after_a_callback_of_the_author_that_failed_sends_no_contact_again(run_task, meisa_sandbox):
    calls = []

    def post_execute(context, result):
        calls.append(result)
        if len(calls) == 1:
            raise RuntimeError("the author's own code")

    ran = run_task(
        MeisaBulkEnrollOperator,
        emails=PEOPLE,
        sequence_slug="onboarding",
        post_execute=post_execute,
        **AGAIN,
    )
    assert ran.state == "success"
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)
    assert [counts(result) for result in calls] == [{"enrolled": 1100}] * 2


def test_a_task_that_is_red_because_of_its_addresses_stays_so_when_it_is_tried_again(task, meisa_sandbox):
    ours = task([*PEOPLE, "broken"], max_invalid=0)
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="1 invalid"):
            ours.run()
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


def test_a_task_that_is_red_because_of_its_addresses_sends_all_again_once_it_is_cleared(task, meisa_sandbox):
    ours = task([*PEOPLE, "broken"], max_invalid=0)
    with pytest.raises(AirflowFailException):
        ours.run()
    assert counts(ours.clear().run(max_invalid=None)) == {"already_enrolled": 1100, "invalid": 1}
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE, 2)


def test_the_summary_is_there_although_the_outcomes_file_could_not_be_joined(task, meisa_sandbox, tmp_path):
    path = tmp_path / "outcomes.jsonl"

    class MeetsAFolder:
        """Finds a folder, at its end, where the file should be."""

        def __iter__(self):
            yield from PEOPLE
            path.mkdir(exist_ok=True)

    ours = task(MeetsAFolder(), outcomes_path=str(path))
    with pytest.raises(AirflowException):
        ours.run()
    assert counts(ours.ti.xcoms["return_value"]) == {"enrolled": 1100}
    path.rmdir()
    ours.run(emails=PEOPLE)
    assert len(path.read_text().splitlines()) == 1100
    assert times_sent(meisa_sandbox) == dict.fromkeys(PEOPLE, 1)


def test_a_batch_in_doubt_that_shall_not_be_sent_again_fails_without_a_retry_and_with_its_summary(
    run_task, meisa_sandbox
):
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=1, times=1)
    ran = run_task(
        MeisaBulkEnrollOperator,
        emails=PEOPLE,
        sequence_slug="onboarding",
        on_ambiguous="fail",
        max_in_flight=1,
        **AGAIN,
    )
    assert ran.state == "failed"
    assert counts(ran.xcom("task")) == {"enrolled": 500, "unreported": 500, "untried": 100}
    assert len(bulk_requests(meisa_sandbox)) == 2


def test_where_nothing_is_in_doubt_a_failure_is_retried_whatever_shall_become_of_those_in_doubt(
    run_task, meisa_sandbox
):
    meisa_sandbox.fault("status", status=502, path="list", times=1)
    ran = run_task(
        MeisaBulkEnrollOperator, emails=PEOPLE, sequence_slug="onboarding", on_ambiguous="fail", **AGAIN
    )
    assert ran.state == "success"
    assert counts(ran.xcom("task")) == {"enrolled": 1100}
