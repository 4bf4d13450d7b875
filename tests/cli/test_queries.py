"""The commands that only read."""

import json
from argparse import Namespace

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.utils import yaml

from airflow_provider_meisa.cli.output import command
from airflow_provider_meisa.hooks.meisa import NEEDED_BY


def rows(ended):
    return json.loads(ended.out)


def test_ping_says_what_the_key_is_and_what_it_may_not_do(meisa, meisa_sandbox, meisa_connection):
    meisa_sandbox.add_key("meisa_test_narrow", ["sequences:enroll"], "test")
    meisa_connection(password="meisa_test_narrow")
    ended = meisa("ping", "-o", "json")
    assert ended.status == 0
    (row,) = rows(ended)
    assert (row["environment"], row["scopes"]) == ("test", ["sequences:enroll"])
    assert row["missing"].keys() == NEEDED_BY.keys() - {"sequences:enroll"}
    assert "MeisaSequenceSensor" in row["missing"]["sequences:read"]
    assert "sequences:read: MeisaSequenceSensor" in meisa("ping").out


def test_ping_fails_for_a_key_of_another_environment(meisa, meisa_connection):
    meisa_connection(extra={"environment": "test"})
    ended = meisa("ping")
    assert ended.status == 1
    assert "live" in ended.out
    assert ended.err == (
        "The extra environment of the connection 'meisa_default' is test, but its API key is of live. "
        "Change the API key, or the extra environment.\n"
    )


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"password": ""}, 2, "The API key is empty"),
        ({"extra": {"rate_limits": "often"}}, 2, "rate limit 'often'"),
        ({"password": "meisa_live_unknown"}, 1, "does not accept the API key (401)"),
    ],
    ids=["no key", "limits that cannot be read", "a key that Meisa does not know"],
)
def test_a_connection_that_cannot_be_used_is_one_sentence(meisa, meisa_connection, changes, status, words):
    meisa_connection(**changes)
    ended = meisa("ping")
    assert ended.status == status
    assert words in ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert "meisa_live" not in ended.err


def test_a_meisa_that_cannot_be_reached_ends_with_1(meisa, meisa_connection, no_backoff):
    meisa_connection(host="http://127.0.0.1:9")
    ended = meisa("sequences")
    assert ended.status == 1
    assert "no connection to Meisa" in ended.err
    assert "Attempt 2 of 5 follows" in ended.err


def test_what_airflow_refuses_is_a_sentence_too(capsys):
    @command
    def reach_a_store(_options):
        raise AirflowNotFoundException("The conn_id `my_bucket` isn't defined")

    with pytest.raises(SystemExit) as ended:
        reach_a_store(Namespace(verbose=False))
    assert ended.value.code == 1
    assert capsys.readouterr().err == "The conn_id `my_bucket` isn't defined\n"


def test_ctrl_c_while_asking_ends_with_130(meisa, mocker):
    mocker.patch("airflow_provider_meisa.api.transport.Transport.send", side_effect=KeyboardInterrupt)
    assert meisa("ping") == (130, "", "Interrupted.\n")


def test_sequences_are_the_active_ones_or_all(meisa):
    active, everyone = (meisa("sequences", *more, "-o", "json") for more in ([], ["--status", "all"]))
    assert {row["slug"] for row in rows(active)} == {"onboarding", "reactivation"}
    assert {row["status"] for row in rows(everyone)} == {"active", "draft", "paused"}
    assert rows(meisa("sequences", "--search", "React", "-o", "json")) == [
        {"slug": "reactivation", "name": "Reactivation", "status": "active", "total_enrolled": 0}
    ]


def test_every_format_shows_the_same_rows(meisa):
    listed = rows(meisa("sequences", "-o", "json"))
    assert yaml.safe_load(meisa("sequences", "-o", "yaml").out) == listed
    plain = meisa("sequences", "-o", "plain").out.splitlines()
    table = meisa("sequences").out.splitlines()
    assert plain[0].split() == [word.strip() for word in table[0].split("|")] == list(listed[0])
    assert plain[1].split() == ["onboarding", "Onboarding", "active", "0"]
    assert [word.strip() for word in table[2].split("|")] == ["onboarding", "Onboarding", "active", "0"]


def test_nothing_found_is_said(meisa):
    assert meisa("sequences", "--search", "nothing").out == "No data found\n"
    assert rows(meisa("sequences", "--search", "nothing", "-o", "json")) == []


def test_nothing_found_is_no_row_for_a_program(meisa):
    assert meisa("sequences", "--search", "nothing", "-o", "plain") == (0, "", "")


@pytest.mark.parametrize(
    ("command", "message"), [("ping", "GET /ping/\n"), ("sequences", "GET /sequences/api/list/\n")]
)
def test_verbose_tells_what_meisa_is_asked(meisa, command, message):
    assert meisa(command, "-v").err == message
    assert meisa(command).err == ""


def test_a_foreign_name_does_not_command_the_terminal(meisa, meisa_sandbox):
    meisa_sandbox.put_sequence("odd", "[red]\x1b[2Jodd[/blue] ada@example.com")
    for output in ("table", "plain", "json", "yaml"):
        ended = meisa("sequences", "--search", "odd", "-o", output)
        assert ended.status == 0
        assert "\x1b[2J" not in ended.out
        assert "odd" in ended.out
    assert "[red] [2Jodd[/blue] <address>" in meisa("sequences", "--search", "odd").out


@pytest.mark.parametrize("from_stdin", [False, True])
def test_enrollments_lists_the_sequences_of_a_contact_and_never_shows_the_address(
    meisa, meisa_sandbox, typed, from_stdin
):
    meisa_sandbox.seed_enrollments("onboarding", ["ada@example.com"], "paused")
    typed("ada@example.com\n")
    ended = meisa("enrollments", "-" if from_stdin else "ada@example.com", "-v", "-o", "json")
    assert ended.status == 0
    assert rows(ended) == [{"sequence_slug": "onboarding", "status": "paused"}]
    assert "ada" not in ended.out + ended.err


def test_a_contact_that_meisa_does_not_know_is_told_from_one_in_no_sequence(meisa, meisa_sandbox):
    meisa_sandbox.put_contacts({"grace@example.com": "subscribed"})
    assert meisa("enrollments", "grace@example.com") == (0, "No data found\n", "")
    ended = meisa("enrollments", "nobody@example.com")
    assert ended == (0, "No data found\n", "Meisa has no contact with this address.\n")


def test_no_address_at_all_is_an_error(meisa):
    assert meisa("enrollments", "-") == (
        2,
        "",
        "The address is empty. Pass one, or pass - and write it to standard input.\n",
    )


def test_rate_limit_says_what_is_left_and_spends_nothing(meisa, meisa_sandbox, meisa_connection, tmp_path):
    meisa_connection(
        extra={"rate_limit_storage": f"file://{tmp_path}/rate_limits", "rate_limits": "2/minute, 5/hour"}
    )
    (minute, hour) = rows(meisa("rate-limits", "-o", "json"))
    assert (minute["left"], minute["of"], minute["next_in_s"], minute["all_in_s"]) == (2, 2, 0.0, 0.0)
    meisa("ping")
    meisa("ping")
    (minute, hour) = rows(meisa("rate-limits", "-o", "json"))
    assert (minute["window"], minute["left"]) == ("2/minute", 0)
    assert 50 < minute["next_in_s"] <= minute["all_in_s"] <= 61
    assert (hour["window"], hour["left"], hour["next_in_s"]) == ("5/hour", 3, 0.0)
    assert len(meisa_sandbox.requests()) == 2


def test_rate_limit_says_that_a_memory_is_a_process_own(meisa):
    ended = meisa("rate-limits")
    assert ended.status == 0
    assert "requests of other processes are not counted here" in ended.err


def test_a_wait_longer_than_a_person_waits_is_refused_with_a_sentence(meisa, meisa_connection, tmp_path):
    meisa_connection(extra={"rate_limit_storage": f"file://{tmp_path}/rate_limits", "rate_limits": "1/hour"})
    assert meisa("ping").status == 0
    ended = meisa("ping")
    assert ended.status == 1
    assert "rate limit is reached for 3,6" in ended.err


def test_the_connection_is_the_one_that_is_named(meisa, meisa_connection):
    meisa_connection("meisa_other", password="meisa_test_sandbox")
    (row,) = rows(meisa("ping", "--conn-id", "meisa_other", "-o", "json"))
    assert row["environment"] == "test"
