"""`preview` and `enroll-file`: confirmation, requests, statuses."""

import json
import os
import pty
import stat

import pytest

from tests.support.requests_sent import bulk_requests

INTO = ("--sequence", "onboarding")


def counts(ended):
    (summary,) = json.loads(ended.out)
    return {status: count for status, count in summary["counts"].items() if count}


def statuses(file):
    return {line["address"]: line["status"] for line in map(json.loads, file.read_text().splitlines())}


def test_preview_says_what_would_be_sent_and_sends_nothing(meisa, meisa_sandbox, people):
    file = people(600, "person1@example.com", "no address", "bounced@example.com")
    ended = meisa("preview", file, *INTO, "-o", "json")
    assert ended.status == 0
    assert json.loads(ended.out) == [
        {
            "sequence_slug": "onboarding",
            "environment": "live",
            "total": 603,
            "to_send": 600,
            "requests": 2,
            "seconds": 0.0,
            "duplicate": 1,
            "invalid": 1,
            "suppressed": 1,
        }
    ]
    assert bulk_requests(meisa_sandbox) == []


def test_preview_says_where_the_key_may_not_ask_who_unsubscribed(
    meisa, meisa_sandbox, meisa_connection, people
):
    meisa_sandbox.add_key("meisa_live_narrow", ["sequences:read"])
    meisa_connection(password="meisa_live_narrow")
    ended = meisa("preview", people(3), *INTO, "-o", "plain")
    assert ended.out.splitlines()[1].split()[-1] == "-"


def test_yes_enrolls_every_contact_and_says_what_became_of_them(meisa, meisa_sandbox, people):
    file = people(1200, "person7@example.com", "no address", "unsubscribed@example.com")
    ended = meisa("enroll-file", file, *INTO, "--yes")
    assert ended.status == 0
    assert [line.split() for line in ended.out.splitlines()[2:] if line.strip()] == [
        ["enrolled", "|", "1200"],
        ["suppressed", "|", "1"],
        ["invalid", "|", "1"],
        ["duplicate", "|", "1"],
    ]
    assert "***: invalid, no @\n" in ended.err
    assert "4 requests, " in ended.err
    assert "@example.com" not in ended.out + ended.err
    assert {row["times_enrolled"] for row in meisa_sandbox.enrollments("onboarding")} == {1}
    assert len(meisa_sandbox.enrollments("onboarding")) == 1200


def test_programs_get_the_whole_summary(meisa, people):
    ended = meisa("enroll-file", people(2), *INTO, "-y", "-o", "json")
    (summary,) = json.loads(ended.out)
    assert summary["complete"] is True
    assert (summary["total"], summary["counts"]["enrolled"], summary["requests"]) == (2, 2, 2)
    assert ended.err == ""


@pytest.mark.parametrize("response", ["y\n", "YES\n"])
def test_a_person_who_agrees_has_seen_the_numbers(meisa, meisa_sandbox, typed, people, response):
    typed(response)
    ended = meisa("enroll-file", people(3, "bounced@example.com"), *INTO)
    assert ended.status == 0
    assert ended.err.startswith(
        "onboarding, with a live key: 3 of 4 addresses to send, without 1 suppressed; 1 request, about 0 s.\n"
        "Enroll them? [y/N] "
    )
    assert len(meisa_sandbox.enrollments("onboarding")) == 3


def test_a_person_who_lets_the_suppressed_be_mailed_is_told_how_many_they_are(
    meisa, meisa_sandbox, meisa_connection, typed, people
):
    meisa_connection(extra={"allow_override_unsubscribe": True})
    typed("y\n")
    file = people(1, "bounced@example.com", "unsubscribed@example.com", "no address")
    ended = meisa("enroll-file", file, *INTO, "--override-unsubscribe", "-o", "json")
    assert (
        "3 of 4 addresses to send, 2 of them suppressed: they will be mailed, without 1 invalid; 1 request,"
        in ended.err
    )
    assert counts(ended) == {"enrolled": 3, "invalid": 1}
    assert len(meisa_sandbox.enrollments("onboarding")) == 3


def test_a_person_is_told_so_only_where_a_contact_is_suppressed(
    meisa, meisa_sandbox, meisa_connection, typed, people
):
    meisa_connection(extra={"allow_override_unsubscribe": True})
    typed("n\n")
    ended = meisa("enroll-file", people(2), *INTO, "--override-unsubscribe")
    assert "2 of 2 addresses to send; 1 request," in ended.err


@pytest.mark.parametrize("response", ["n\n", "\n", "\x04", "yup\n"])
def test_any_other_response_sends_nothing(meisa, meisa_sandbox, typed, people, response):
    typed(response)
    ended = meisa("enroll-file", people(3), *INTO)
    assert ended.status == 1
    assert ended.err.endswith("Nothing was sent.\n")
    assert bulk_requests(meisa_sandbox) == []


def test_without_a_terminal_and_without_yes_nothing_is_asked_or_sent(meisa, meisa_sandbox, people):
    ended = meisa("enroll-file", people(3), *INTO)
    assert (ended.status, ended.out) == (2, "")
    assert "Pass --yes" in ended.err
    assert meisa_sandbox.requests() == []


def test_a_key_that_may_not_list_sequences_enrolls_only_without_a_preview(
    meisa, meisa_sandbox, meisa_connection, typed, people
):
    meisa_sandbox.add_key("meisa_live_narrow", ["sequences:enroll"])
    meisa_connection(password="meisa_live_narrow")
    typed("y\n")
    ended = meisa("enroll-file", people(3), *INTO)
    assert ended.status == 2
    assert "lacks the scope sequences:read" in ended.err
    assert "Or pass --yes" in ended.err
    assert bulk_requests(meisa_sandbox) == []
    assert meisa("enroll-file", people(3), *INTO, "--yes").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--sequence", "onbording"), 1, "No sequence has the slug 'onbording'. Close ones: onboarding."),
        (("--sequence", "winback"), 1, "has the status 'draft'"),
        ((*INTO, "--format", "csv", "--column", "mail"), 2, "no column 'mail'"),
        ((*INTO, "--outcomes-path", "outcomes.txt"), 2, "must end in .jsonl"),
        (
            (*INTO, "--outcomes-path", "/proc/outcomes.csv"),
            1,
            "outcomes at /proc/outcomes.csv cannot be written",
        ),
        ((*INTO, "--resume-file", "/proc/resume.json"), 1, "/proc/resume.json cannot be written"),
        ((*INTO, "--resume-file", "/"), 1, "The resume file / cannot be read: Is a directory"),
        (
            (*INTO, "--override-unsubscribe"),
            2,
            "set the extra allow_override_unsubscribe of the connection 'meisa_default' to true",
        ),
        ((*INTO, "--conn-id", "nowhere"), 2, "There is no connection 'nowhere'"),
        (("--sequence", "none", "--resume-file", "resume.json"), 1, "No sequence has the slug 'none'"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_sent(
    meisa, meisa_sandbox, people, monkeypatch, arguments, status, words
):
    file = people(3, "no address")
    monkeypatch.chdir(file.parent)
    ended = meisa("enroll-file", file, *arguments, "--yes")
    assert ended.status == status
    assert words in ended.err
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert bulk_requests(meisa_sandbox) == []
    assert not list(file.parent.glob("*resume*"))


def test_a_missing_file_and_a_line_that_cannot_be_read_are_found_before_anything_is_sent(
    meisa, meisa_sandbox, tmp_path
):
    ended = meisa("enroll-file", tmp_path / "none.csv", *INTO, "--yes")
    assert (ended.status, ended.err) == (1, f"There is no file {tmp_path}/none.csv.\n")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"email": "ada@example.com"}\n' * 2000 + "{ada@example.com\n")
    ended = meisa("enroll-file", broken, *INTO, "--yes")
    assert (ended.status, ended.err) == (2, f"{broken}, line 2,001: not JSON.\n")
    assert meisa_sandbox.requests() == []


def test_a_column_is_named_or_numbered(meisa, meisa_sandbox, tmp_path):
    file = tmp_path / "contacts.data"
    file.write_text("1\tada@example.com\n2\tgrace@example.com\n")
    assert meisa("enroll-file", file, *INTO, "-y", "--format", "tsv", "--column", "1").status == 0
    named = tmp_path / "contacts.csv"
    named.write_text("id,Mail\n3,mary@example.com\n")
    assert meisa("enroll-file", named, *INTO, "-y", "--column", "mail").status == 0
    assert {row["email"] for row in meisa_sandbox.enrollments("onboarding")} == {
        "ada@example.com",
        "grace@example.com",
        "mary@example.com",
    }


@pytest.mark.parametrize("command", [("preview",), ("enroll-file", "-y")], ids=lambda words: words[0])
def test_a_file_of_another_encoding_is_read_if_that_is_said(meisa, meisa_sandbox, tmp_path, command):
    file = tmp_path / "from_windows.csv"
    file.write_bytes("name,email\nZoë,zoe@example.com\n".encode("cp1252"))
    ended = meisa(*command, file, *INTO)
    assert (ended.status, ended.err) == (2, f"{file}: the text is not UTF-8.\n")
    assert bulk_requests(meisa_sandbox) == []
    assert meisa(*command, file, *INTO, "--encoding", "cp1252").status == 0


@pytest.mark.parametrize(
    ("limit", "status"), [((), 1), (("--max-failed", "0.5"), 0), (("--max-failed", "none"), 0)]
)
def test_failed_addresses_make_the_command_fail_unless_they_are_allowed(
    meisa, meisa_sandbox, people, limit, status
):
    refused = {"results": [{"email": f"person{n}@example.com", "status": "failed"} for n in range(500)]}
    meisa_sandbox.fault("status", status=200, body=refused, path="bulk-enroll", times=1)
    ended = meisa("enroll-file", people(1500), *INTO, "-y", *limit)
    assert ended.status == status
    assert ("500 failed or unreported (max_failed=0).\n" in ended.err) is (status == 1)
    assert "p***@***.com: failed" in ended.err
    assert "set --outcomes-path to write them all" in ended.err
    assert "person1" not in ended.out + ended.err


def test_the_status_of_each_address_is_written_for_the_owner_alone(meisa, people, tmp_path):
    outcomes = tmp_path / "outcomes.jsonl"
    file = people(2, "no address", "bounced@example.com")
    assert meisa("enroll-file", file, *INTO, "-y", "--outcomes-path", outcomes).status == 0
    assert statuses(outcomes) == {
        "person0@example.com": "enrolled",
        "person1@example.com": "enrolled",
        "no address": "invalid",
        "bounced@example.com": "suppressed",
    }
    assert stat.S_IMODE(outcomes.stat().st_mode) == 0o600
    assert sorted(tmp_path.glob("outcomes*")) == [outcomes]


def test_only_rejects_are_written_if_so_asked(meisa, people, tmp_path):
    outcomes = tmp_path / "rejects.jsonl"
    file = people(2, "no address")
    ended = meisa("enroll-file", file, *INTO, "-y", "--outcomes-path", outcomes, "--rejects-only")
    assert statuses(outcomes) == {"no address": "invalid"}
    assert "outcomes file has" not in ended.err


def test_the_suppressed_are_not_even_sent_if_so_asked(meisa, meisa_sandbox, people):
    ended = meisa(
        "enroll-file", people(2, "bounced@example.com"), *INTO, "-y", "--skip-suppressed", "-o", "json"
    )
    assert counts(ended) == {"enrolled": 2, "suppressed": 1}
    (request,) = bulk_requests(meisa_sandbox)
    assert "bounced@example.com" not in request["addresses"]


def test_who_unsubscribed_is_mailed_only_if_the_connection_allows_it_and_a_person_was_told(
    meisa, meisa_sandbox, meisa_connection, typed, people
):
    meisa_connection(extra={"allow_override_unsubscribe": True})
    typed("y\n")
    ended = meisa(
        "enroll-file", people(1, "bounced@example.com"), *INTO, "--override-unsubscribe", "-o", "json"
    )
    assert counts(ended) == {"enrolled": 2}
    assert "unsubscribed contacts are enrolled too, and will be mailed" in ended.err
    assert {row["email"] for row in meisa_sandbox.enrollments("onboarding")} >= {"bounced@example.com"}


def test_a_key_of_another_environment_enrolls_no_contact(meisa, meisa_sandbox, meisa_connection, people):
    meisa_connection(extra={"environment": "test"})
    ended = meisa("enroll-file", people(3), *INTO, "-y", "-o", "json")
    assert ended.status == 1
    assert counts(ended) == {"untried": 3}
    assert "nothing was sent" in ended.err
    assert bulk_requests(meisa_sandbox) == []


def test_verbose_tells_of_each_batch(meisa, people):
    ended = meisa("enroll-file", people(600), *INTO, "-y", "-v")
    assert "Batch 1: 500 enrolled" in ended.err
    assert "Batch 2: 100 enrolled" in ended.err


def test_verbose_tells_of_each_request(meisa, people):
    ended = meisa("enroll-file", people(600), *INTO, "-y", "-v")
    assert [line for line in ended.err.splitlines() if line.startswith(("GET", "POST"))] == [
        "GET /sequences/api/list/",
        "POST /sequences/api/bulk-enroll/",
        "POST /sequences/api/bulk-enroll/",
    ]


def test_an_empty_file_is_no_failure(meisa, meisa_sandbox, people):
    ended = meisa("enroll-file", people(0), *INTO, "-y")
    assert (ended.status, ended.out) == (0, "No data found\n")


def test_output_is_clean_for_a_pipe_even_when_a_person_was_asked(started, people):
    keyboard, terminal = pty.openpty()
    asked = started("enroll-file", people(3), *INTO, "-o", "json", stdin=terminal)
    os.write(keyboard, b"y\n")
    out, err = asked.communicate(timeout=60)
    os.close(terminal)
    os.close(keyboard)
    assert asked.returncode == 0
    assert json.loads(out)[0]["counts"]["enrolled"] == 3
    assert "Enroll them? [y/N]" in err


def test_outcomes_of_a_file_have_the_numbers_of_their_rows(meisa, meisa_connection, tmp_path):
    file, outcomes = tmp_path / "people.csv", tmp_path / "outcomes.jsonl"
    file.write_text("email\nada@example.com\nbad\ngrace@example.com\n")
    words = ("enroll-file", file, "--sequence", "onboarding", "--yes", "--outcomes-path", outcomes)
    assert meisa(*words).status == 0
    lines = [json.loads(line) for line in outcomes.read_text().splitlines()]
    assert sorted((line["row"], line["address"]) for line in lines) == [
        (1, "ada@example.com"),
        (2, "bad"),
        (3, "grace@example.com"),
    ]
