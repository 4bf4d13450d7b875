"""Sources that are larger or smaller than a DAG allows: nothing is sent."""

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
from tests.support.requests_sent import bulk_requests
from tests.support.summary import counts
from tests.support.task import Task

PEOPLE = [f"person{number}@example.com" for number in range(40)]


class Enrollment(Task):
    """A task that enrolls, and what it gets."""

    def __init__(self, emails, **arguments):
        super().__init__()
        self.arguments = {"emails": emails, "sequence_slug": "onboarding", **arguments}

    def make(self):
        return MeisaBulkEnrollOperator(task_id="task", **self.arguments)


class Sync(Enrollment):
    """A task that syncs contacts."""

    def __init__(self, contacts, **arguments):
        super().__init__(None)
        self.arguments = {"contacts": contacts, "ledger": "users", "first_run": "send", **arguments}

    def make(self):
        return MeisaSyncContactsOperator(task_id="task", **self.arguments)


@pytest.fixture(autouse=True)
def _meisa(meisa_connection):
    meisa_connection(extra={"rate_limits": "none"})


def plans(folder):
    return [file.name for file in folder.iterdir()] if folder.exists() else []


@pytest.mark.parametrize("emails", [[], PEOPLE[:9], [*PEOPLE[:9], PEOPLE[0], "broken"]])
def test_fewer_contacts_than_the_least_send_nothing(meisa_sandbox, tmp_path, emails):
    task = Enrollment(emails, min_contacts=10, staging_path=tmp_path / "plans")
    with pytest.raises(
        AirflowFailException, match=r"valid contacts, fewer than min_contacts=10. Nothing was sent"
    ):
        task.run()
    assert bulk_requests(meisa_sandbox) == []
    assert plans(tmp_path / "plans") == []
    assert counts(task.run(emails=PEOPLE[:10])) == {"enrolled": 10}


def test_contacts_of_a_refused_source_are_not_recorded(ledgers, meisa_sandbox):
    ours = {"ledger": "reactivation", "again_after": "never", "first_run": "record", "min_contacts": 10}
    task = Enrollment(PEOPLE[:9], **ours)
    with pytest.raises(AirflowFailException, match="min_contacts=10"):
        task.run()
    assert counts(task.run(min_contacts=None, first_run="send")) == {"enrolled": 9}


def test_unchanged_contacts_count_as_contacts(ledgers, meisa_sandbox):
    rows = [{"email": each} for each in PEOPLE]
    task = Sync(rows, min_contacts=40)
    task.run()
    assert counts(task.next_night().run()) == {"unchanged": 40}
    with pytest.raises(AirflowFailException, match="39 valid contacts"):
        task.next_night(contacts=rows[1:]).run()


def test_more_rows_than_the_share_of_the_last_run_send_nothing(meisa_sandbox):
    task = Enrollment(PEOPLE[:10], max_share_of_last=2.0)
    task.run()
    assert counts(task.next_night(emails=PEOPLE[:20]).run()) == {"already_enrolled": 10, "enrolled": 10}
    sent = len(bulk_requests(meisa_sandbox))
    more = [*PEOPLE, "one@example.com"]
    with pytest.raises(
        AirflowFailException,
        match=r"has 41 rows, and had 20 in the last run: more than max_share_of_last=2 allows",
    ):
        task.next_night(emails=more).run()
    assert len(bulk_requests(meisa_sandbox)) == sent
    assert counts(task.run(max_share_of_last=None))["enrolled"] == 21


def test_first_run_has_no_share(meisa_sandbox):
    assert counts(Enrollment(PEOPLE, max_share_of_last=1.1).run()) == {"enrolled": 40}


def test_run_after_one_without_rows_has_no_share(meisa_sandbox):
    task = Enrollment([], max_share_of_last=1.1)
    task.run()
    assert counts(task.next_night(emails=PEOPLE).run()) == {"enrolled": 40}


def test_preview_shows_any_size(meisa_sandbox):
    report = Enrollment(PEOPLE, min_contacts=100, preview=True).run()
    assert report["to_send"] == 40


def test_last_preview_is_not_the_last_run(meisa_sandbox):
    task = Enrollment(PEOPLE[:2], max_share_of_last=2.0, preview=True)
    task.run()
    assert counts(task.next_night(emails=PEOPLE, preview=False).run()) == {"enrolled": 40}


@pytest.mark.parametrize("value", [0, -1, "2", True, float("inf"), float("nan")])
def test_share_must_be_a_number_above_zero(meisa_sandbox, value):
    with pytest.raises(AirflowFailException, match="max_share_of_last must be a number above 0"):
        Enrollment(PEOPLE, max_share_of_last=value).run()
    assert bulk_requests(meisa_sandbox) == []
