"""A run that ends early, by Ctrl+C, a kill or a failure, and resumes."""

import json
import os
import pty
import signal

import pytest

from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from tests.support.requests_sent import bulk_requests, times_sent
from tests.support.waiting import wait_until

INTO = ("--sequence", "onboarding")


def read_until(stream, words):
    """Read a file descriptor until these words appear."""
    message = b""
    while words.encode() not in message:
        message += os.read(stream, 4096)
    return message.decode()


@pytest.fixture
def tight(meisa_connection, tmp_path):
    """Set rate limits that allow the list of sequences and two batches."""

    def limit(text="3/30s"):
        meisa_connection(extra={"rate_limit_storage": f"file://{tmp_path}/rate_limits", "rate_limits": text})

    limit()
    return limit


def test_ctrl_c_stops_a_wait_at_once_and_the_same_command_goes_on_exactly(
    meisa, meisa_sandbox, tight, started, people, tmp_path
):
    outcomes, resume = tmp_path / "outcomes.jsonl", tmp_path / "resume.json"
    command = ("enroll-file", people(1800), *INTO, "-y", "--outcomes-path", outcomes, "--resume-file", resume)
    process = started(*command)
    assert process.stderr.readline().startswith("Waiting ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err == (
        "Stopping: no further requests are sent.\n"
        "Stopped after 1,000 of 1,800 addresses: 1,000 enrolled. Run the same command again to resume there.\n"
        "Interrupted.\n"
    )
    assert resume.stat().st_mode & 0o777 == 0o600
    assert "@" not in resume.read_text()

    tight("1000/hour")
    ended = meisa(*command, "-o", "json")
    assert ended.status == 0
    assert ended.err == "Resuming after 1,000 of 1,800 addresses.\n"
    (summary,) = json.loads(ended.out)
    assert (summary["total"], summary["counts"]["enrolled"], summary["resumed"]) == (1800, 1800, True)
    assert set(times_sent(meisa_sandbox).values()) == {1}
    assert len(outcomes.read_text().splitlines()) == 1800
    assert not resume.exists()


def test_a_terminal_shows_a_bar_and_counts_a_wait_down(meisa_sandbox, tight, started, people, tmp_path):
    progress_bar, terminal = pty.openpty()
    outcomes = tmp_path / "outcomes.jsonl"
    process = started("enroll-file", people(1800), *INTO, "-y", "--outcomes-path", outcomes, stderr=terminal)
    shown = read_until(progress_bar, "1,000 of 1,800 addresses waiting 0:2")
    process.send_signal(signal.SIGINT)
    shown += read_until(progress_bar, "Interrupted.")
    assert process.wait(timeout=20) == 130
    os.close(terminal)
    os.close(progress_bar)
    assert "0 of 1,800 addresses" in shown
    assert "Without --resume-file, the next run sends every address again." in shown
    assert "Waiting " not in shown
    assert len(outcomes.read_text().splitlines()) == 1000
    assert list(tmp_path.glob("outcomes*")) == [outcomes]


def test_a_killed_run_goes_on_and_sends_only_the_doubtful_batch_again(
    meisa, meisa_sandbox, meisa_connection, started, people, tmp_path
):
    resume = tmp_path / "resume.json"
    command = ("enroll-file", people(1500), *INTO, "-y", "--resume-file", resume, "-o", "json")
    meisa_sandbox.fault("slow", seconds=3, path="bulk-enroll", skip=1, times=1)
    process = started(*command)
    wait_until(
        lambda: (
            resume.exists() and json.loads(resume.read_text())["checkpoint"]["counts"] == {"enrolled": 1000}
        )
    )
    process.kill()
    process.wait(timeout=20)
    meisa_sandbox.clear_faults()
    ended = meisa(*command)
    assert ended.status == 0
    (summary,) = json.loads(ended.out)
    assert summary["total"] == 1500
    assert {row["times_enrolled"] for row in meisa_sandbox.enrollments("onboarding")} == {1}
    assert max(times_sent(meisa_sandbox).values()) <= 2
    assert sum(times_sent(meisa_sandbox).values()) <= 2000


def test_a_failure_that_concerns_every_contact_stops_the_run_and_the_same_command_goes_on(
    meisa, meisa_sandbox, people, tmp_path
):
    resume = tmp_path / "resume.json"
    command = ("enroll-file", people(2600), *INTO, "-y", "--resume-file", resume, "-o", "json")
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1)
    stopped = meisa(*command)
    assert stopped.status == 1
    (summary,) = json.loads(stopped.out)
    assert summary["complete"] is False
    assert (summary["counts"]["enrolled"], summary["counts"]["untried"]) == (500, 2100)
    assert "does not accept the API key" in stopped.err
    assert "Run the same command again to resume there." in stopped.err
    meisa_sandbox.clear_faults()
    ended = meisa(*command)
    assert ended.status == 0
    assert json.loads(ended.out)[0]["counts"]["enrolled"] == 2600
    assert {row["times_enrolled"] for row in meisa_sandbox.enrollments("onboarding")} == {1}
    assert not resume.exists()


@pytest.fixture
def stopped(meisa, meisa_sandbox, people, tmp_path):
    """Return the resume file of a run that stopped after its first batch."""
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1)
    resume = tmp_path / "resume.json"
    assert meisa("enroll-file", people(1200), *INTO, "-y", "--resume-file", resume).status == 1
    meisa_sandbox.clear_faults()
    return resume


def test_a_person_who_goes_on_is_asked_about_what_is_left(meisa, meisa_sandbox, people, typed, tmp_path):
    resume = tmp_path / "resume.json"
    command = ("enroll-file", people(2000), *INTO, "--resume-file", resume)
    meisa_sandbox.put_contacts(
        dict.fromkeys(["person3@example.com", "person1700@example.com"], "unsubscribed")
    )
    # The first batch succeeded. The second and those in flight with it were refused; the rest was never sent.
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1)
    assert meisa(*command, "-y").status == 1
    meisa_sandbox.clear_faults()
    sent = len(bulk_requests(meisa_sandbox))

    typed("y\n")
    ended = meisa(*command)
    assert ended.status == 0
    assert len(bulk_requests(meisa_sandbox)) - sent == 3
    assert ended.err.startswith(
        "Resuming after 500 of 2,000 addresses.\n"
        "onboarding, with a live key: 1,499 of 1,500 remaining addresses to send, without 1 suppressed; "
        "3 requests, about 0 s.\n"
    )


def test_another_audience_is_refused_on_resume(meisa, meisa_sandbox, stopped, people):
    sent = len(bulk_requests(meisa_sandbox))
    people(1200)
    other = people(1100, name="others.txt")
    other.write_text(other.read_text().replace("person3@", "nobody@"))
    ended = meisa("enroll-file", other, *INTO, "-y", "--resume-file", stopped)
    assert ended.status == 2
    assert "The file no longer has the addresses" in ended.err
    assert f"remove {stopped}" in ended.err
    assert len(bulk_requests(meisa_sandbox)) == sent


@pytest.mark.parametrize(
    "other",
    [("--sequence", "reactivation"), (*INTO, "--conn-id", "meisa_other")],
    ids=["sequence", "connection"],
)
def test_a_resume_file_of_another_run_is_refused(
    meisa, meisa_connection, meisa_sandbox, stopped, people, other
):
    meisa_connection("meisa_other")
    sent = len(bulk_requests(meisa_sandbox))
    ended = meisa("enroll-file", people(1200), *other, "-y", "--resume-file", stopped)
    assert ended.status == 2
    assert "belongs to another run" in ended.err
    assert len(bulk_requests(meisa_sandbox)) == sent


@pytest.mark.parametrize(
    "content",
    [
        "email\nada@example.com\n",
        "[]",
        '{"run": {}}',
        '{"run": [], "checkpoint": {}}',
        '{"run": {"sequence_slug": 7}, "checkpoint": {}}',
        '{"run": {}, "checkpoint": {"version": 99}}',
        json.dumps({"run": {}, "checkpoint": Checkpoint().as_json(), "ada@example.com": 1}),
        "[" * 100_000,
    ],
    ids=lambda content: content[:40],
)
def test_a_file_that_is_no_resume_file_is_refused_and_left_as_it_is(
    meisa, meisa_sandbox, people, tmp_path, content
):
    precious = tmp_path / "precious.csv"
    precious.write_text(content)
    ended = meisa("enroll-file", people(3), *INTO, "-y", "--resume-file", precious)
    assert ended.status == 2
    assert "was not written by this version of this command" in ended.err
    assert "ada@example.com" not in ended.err
    assert precious.read_text() == content
    assert meisa_sandbox.requests() == []


def test_a_resume_file_that_can_no_longer_be_written_stops_the_run(
    meisa, meisa_sandbox, people, tmp_path, mocker
):
    resume = tmp_path / "folder" / "resume.json"
    resume.parent.mkdir()
    from airflow_provider_meisa.api.endpoints import sequences

    bulk_enroll = sequences.bulk_enroll

    def enroll_and_lose_the_folder(*arguments, **options):
        reply = bulk_enroll(*arguments, **options)
        resume.parent.rename(tmp_path / "gone")
        return reply

    mocker.patch.object(sequences, "bulk_enroll", enroll_and_lose_the_folder)
    ended = meisa("enroll-file", people(1200), *INTO, "-y", "--resume-file", resume)
    assert ended.status == 1
    assert "resume.json cannot be written: No such file or directory." in ended.err
    assert "Stopped after 500 of 1,200 addresses" in ended.err
    assert len(bulk_requests(meisa_sandbox)) == 1
