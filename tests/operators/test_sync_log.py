"""The log of contact syncs: it counts contacts, and has one line for several of them."""

from __future__ import annotations

import re

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from tests.support.sync_task import SyncTask, row

ROWS = [row(number) for number in range(40)]
FIELD = {"custom_fields": ["Not valid."]}

pytestmark = [pytest.mark.meisa_sandbox(rate_limits="none"), pytest.mark.usefixtures("ledgers", "no_backoff")]


@pytest.fixture
def task(meisa_connection):
    """Return a task whose rows are all new."""
    meisa_connection(extra={"rate_limits": "none"})
    return lambda **arguments: SyncTask(ROWS, max_in_flight=1, **arguments)


@pytest.fixture
def log_lines(caplog):
    """Return the lines of the task's log since the last call."""
    caplog.set_level("INFO", logger="airflow.task.meisa")

    def found():
        lines = [record.getMessage() for record in caplog.records if record.name == "airflow.task.meisa"]
        caplog.clear()
        return lines

    return found


def test_sync_logs_first_contact_and_then_many_together(task, log_lines):
    task().run()
    lines = log_lines()
    start = lines.index("::group::Contacts")
    first, rest = lines[start + 1 : lines.index("::endgroup::", start)]
    assert re.match(r"Contacts: 1 created \(1 of 40 sent, 2%, about \d+ s left\)", first)
    assert re.match(r"Contacts: 39 created \(40 of 40 sent, 100%, about 0 s left\)", rest)
    assert re.match(r"Sending 40 of 40 contacts with a live key", lines[start - 1])
    assert "contacts: 40 contacts: 40 created" in lines


def test_share_is_that_of_changed_contacts(task, log_lines):
    ours = task()
    ours.run()
    log_lines()
    ours.night([row(number, plan="team" if number < 4 else "free") for number in range(40)])
    lines = [line.partition(",")[0] for line in log_lines() if " sent" in line]
    assert lines == ["Contacts: 1 updated", "Contacts: 3 updated (4 of 4 sent"]


def test_errors_of_the_task_name_contacts(task):
    with pytest.raises(AirflowFailException, match=r"no valid contact in 1 rows"):
        task(max_invalid=None).run(contacts=[row(1, email="broken")])
    with pytest.raises(AirflowFailException, match=r"Fix the contacts, or raise the limit"):
        task(max_invalid=0).run(contacts=[row(1), row(2, email="broken")])
    with pytest.raises(AirflowSkipException, match=r"The input has no contacts"):
        task(on_empty="skip").run(contacts=[])


def test_every_refused_contact_has_a_line(task, log_lines, meisa_sandbox):
    for number in (7, 8, 9):
        meisa_sandbox.fault("status", status=400, body=FIELD, path="upsert", skip=number, times=1)
    task(max_failed=3).run()
    failed = [line for line in log_lines() if "the request has failed" in line]
    assert len(failed) == 3
    assert all(re.match(r"Contact \d+: the request has failed: ", line) for line in failed)


@pytest.mark.meisa_sandbox(rate_limits="12/2s")
def test_share_counts_contacts_of_the_stretches_before_a_deferral(
    task, log_lines, meisa_connection, short_deferrals
):
    meisa_connection(extra={"rate_limits": "12/2s"})
    ours = task(**short_deferrals)
    ours.run()
    assert ours.deferrals
    sent = [int(found[1]) for line in log_lines() if (found := re.search(r"\((\d+) of 40 sent", line))]
    assert sent == sorted(sent)
    assert sent[-1] == 40
