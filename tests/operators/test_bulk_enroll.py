import json
from datetime import timedelta

import pytest

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from tests.support.people import people
from tests.support.requests_sent import batches_sent, writes

PEOPLE = people(1200)


@pytest.fixture
def bulk(run_task):
    def run(emails, sequence_slug="onboarding", **arguments):
        return run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug=sequence_slug, **arguments)

    return run


def test_each_contact_of_a_list_is_enrolled(bulk, meisa_sandbox):
    ran = bulk(["ada@example.com", "grace@example.com"])
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 2}
    assert {row["email"] for row in meisa_sandbox.enrollments("onboarding")} == {
        "ada@example.com",
        "grace@example.com",
    }


def test_the_summary_has_the_fields_of_the_contract(bulk):
    summary = bulk(["ada@example.com", "not an address"]).xcom("task")
    assert list(summary) == [
        "job",
        "sequence_slug",
        "meisa_conn_id",
        "environment",
        "total",
        "counts",
        "reasons",
        "possibly_twice",
        "possibly_by_this_run",
        "in_doubt",
        "complete",
        "stopped_by",
        "requests",
        "retries",
        "rate_limited",
        "waited_s",
        "elapsed_s",
        "resumed",
        "ledger",
        "outcomes_path",
        "attention",
        "attention_truncated",
    ]
    assert summary["total"] == sum(summary["counts"].values()) == 2
    assert summary["complete"] is True
    (entry,) = summary["attention"]
    assert entry["status"] == "invalid"
    assert "not an address" not in json.dumps(summary)


def test_every_kind_of_address_gets_its_status(bulk, meisa_sandbox):
    meisa_sandbox.seed_enrollments("onboarding", ["already@example.com"])
    ran = bulk(
        [
            "new@example.com",
            "NEW@EXAMPLE.COM",
            " already@example.com ",
            "unsubscribed@example.com",
            "no-at-sign",
            "sp ace@example.com",
            None,
            "ünïcode@example.com",
            "x" * 300 + "@example.com",
        ],
    )
    assert ran.state == "success"
    assert ran.counts() == {
        "enrolled": 1,
        "duplicate": 1,
        "already_enrolled": 1,
        "suppressed": 1,
        "invalid": 5,
    }


def test_501_addresses_go_in_two_requests_and_1200_in_three(bulk, meisa_sandbox):
    bulk(PEOPLE[:501])
    assert [len(batch) for batch in batches_sent(meisa_sandbox)] == [500, 1]
    bulk(PEOPLE, sequence_slug="reactivation")
    assert [len(batch) for batch in batches_sent(meisa_sandbox)[2:]] == [500, 500, 200]


def test_10000_addresses_are_each_sent_exactly_once(bulk, meisa_sandbox):
    everyone = people(10_000)
    ran = bulk(everyone)
    assert ran.counts() == {"enrolled": 10_000}
    assert sorted(address for batch in batches_sent(meisa_sandbox) for address in batch) == sorted(everyone)


@pytest.mark.parametrize(
    ("on_empty", "state"), [("success", "success"), ("skip", "skipped"), ("fail", "failed")]
)
def test_an_empty_list_ends_as_on_empty_says_and_sends_nothing(bulk, meisa_sandbox, on_empty, state):
    ran = bulk([], on_empty=on_empty)
    assert ran.state == state
    assert ran.xcom("task")["total"] == 0
    assert writes(meisa_sandbox) == []


@pytest.mark.parametrize(
    "emails",
    ["ada@example.com", "{{ 'ada@example.com' }}", b"ada@example.com", {"ada@example.com": 1}, 7, None],
    ids=["text", "template", "bytes", "mapping", "number", "none"],
)
def test_what_is_no_list_fails_before_anything_is_sent(bulk, meisa_sandbox, everything_written, emails):
    assert bulk(emails).state == "failed"
    assert writes(meisa_sandbox) == []
    assert "list" in everything_written()


def test_a_template_that_gives_a_list_is_enrolled(bulk):
    template = "{{ ['ada@example.com', 'grace@example.com'] }}"
    assert bulk(template).counts() == {"enrolled": 2}
    assert bulk(template, "reactivation", render_template_as_native_obj=True).counts() == {"enrolled": 2}
    assert bulk(
        "{{ params.emails | tojson }}", "onboarding", params={"emails": ["kay@example.com"]}
    ).counts() == {"enrolled": 1}


def test_an_address_with_braces_is_not_run_as_a_template(bulk, meisa_sandbox):
    assert bulk(["{ada}@example.com"]).counts() == {"enrolled": 1}
    assert batches_sent(meisa_sandbox) == [["{ada}@example.com"]]


def test_rows_of_one_column_are_read_as_addresses(bulk):
    assert bulk([("ada@example.com",), ["grace@example.com"]]).counts() == {"enrolled": 2}


@pytest.mark.parametrize(
    ("slug", "hint"),
    [("onbording", "onboarding"), ("winback", "draft"), ("legacy", "paused")],
    ids=["unknown", "draft", "paused"],
)
def test_a_sequence_that_takes_no_contact_fails_before_anything_is_sent(
    bulk, everything_written, meisa_sandbox, slug, hint
):
    ran = bulk(PEOPLE[:600], sequence_slug=slug, retries=3)
    assert ran.state == "failed"
    assert batches_sent(meisa_sandbox) == []
    assert hint in everything_written()


def test_where_the_key_may_not_read_sequences_an_inactive_one_fails_with_every_contact_untried(
    bulk, meisa_sandbox, meisa_connection
):
    meisa_sandbox.add_key("meisa_live_enroller", ["sequences:enroll"])
    meisa_connection(password="meisa_live_enroller")
    ran = bulk(PEOPLE[:600], sequence_slug="winback", max_in_flight=1)
    assert ran.state == "failed"
    assert ran.counts() == {"untried": 600}
    assert ran.xcom("task")["complete"] is False
    assert len(batches_sent(meisa_sandbox)) == 1


@pytest.mark.parametrize(
    ("scopes", "written"),
    [
        (["sequences:enroll"], "The key lacks sequences:read. The first batch shows"),
        (["sequences:enroll", "sequences:read"], "Meisa forbids this (403)."),
    ],
)
def test_check_that_is_forbidden_blames_the_scope_only_if_it_is_missing(
    bulk, meisa_sandbox, meisa_connection, everything_written, scopes, written
):
    meisa_sandbox.add_key("meisa_live_enroller", scopes)
    meisa_connection(password="meisa_live_enroller")
    if "sequences:read" in scopes:
        meisa_sandbox.fault("status", status=403, path="api/list", times=None)
    ran = bulk(PEOPLE[:3])
    assert ran.counts() == {"enrolled": 3}
    assert written in everything_written()
    assert ("lacks sequences:read" in everything_written()) == ("sequences:read" not in scopes)


def test_a_key_without_the_scope_fails_with_its_name(
    bulk, meisa_sandbox, meisa_connection, everything_written
):
    meisa_sandbox.add_key("meisa_live_reader", ["sequences:read"])
    meisa_connection(password="meisa_live_reader")
    assert bulk(PEOPLE[:3], retries=3).state == "failed"
    assert "sequences:enroll" in everything_written()


def test_a_network_failure_leaves_the_task_for_airflow_to_retry(bulk, meisa_sandbox):
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", times=None)
    ran = bulk(PEOPLE[:600], retries=1, retry_delay=timedelta(0))
    assert ran.state == "failed"
    assert ran.counts() == {"unreported": 500, "untried": 100}
    assert len(batches_sent(meisa_sandbox)) == 2


def test_what_a_retry_cannot_mend_is_not_retried(bulk, meisa_sandbox):
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", times=None)
    assert bulk(PEOPLE[:600], retries=1, retry_delay=timedelta(0)).state == "failed"
    assert len(batches_sent(meisa_sandbox)) == 1


def test_a_response_that_leaves_addresses_out_makes_the_task_red(bulk, meisa_sandbox):
    meisa_sandbox.fault("bulk_shape", shape="results", drop=2)
    ran = bulk(PEOPLE[:10])
    assert ran.state == "failed"
    assert ran.counts() == {"enrolled": 8, "unreported": 2}
    assert [entry["status"] for entry in ran.xcom("task")["attention"]] == ["unreported"] * 2


@pytest.mark.parametrize(
    ("limit", "state"), [(2, "success"), (0.2, "success"), (1, "failed"), (0.1, "failed"), (None, "success")]
)
def test_max_failed_is_a_number_or_a_share(bulk, meisa_sandbox, limit, state):
    meisa_sandbox.fault("bulk_shape", shape="results", drop=2)
    assert bulk(PEOPLE[:10], max_failed=limit).state == state


@pytest.mark.parametrize(
    ("limit", "state"), [(1, "success"), (0, "failed"), (0.5, "success"), (0.1, "failed"), (None, "success")]
)
def test_max_invalid_is_a_number_or_a_share(bulk, limit, state):
    assert bulk(["ada@example.com", "broken"], max_invalid=limit).state == state


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_failed": -1},
        {"max_failed": 1.5},
        {"max_invalid": "1"},
        {"on_empty": "ignore"},
        {"on_ambiguous": "hope"},
    ],
    ids=str,
)
def test_a_choice_that_does_not_exist_fails_before_anything_is_sent(
    bulk, meisa_sandbox, everything_written, wrong
):
    assert bulk(PEOPLE[:2], **wrong).state == "failed"
    assert writes(meisa_sandbox) == []
    assert f"{next(iter(wrong))} must be" in everything_written()


def test_a_lost_response_is_asked_for_again_and_its_addresses_are_possibly_ours(
    bulk, meisa_sandbox, monkeypatch
):
    meisa_sandbox.fault("reset_after", path="bulk-enroll", times=1)
    ran = bulk(PEOPLE[:3])
    assert ran.state == "success"
    assert ran.counts() == {"already_enrolled": 3}
    assert ran.xcom("task")["retries"] == 1
    assert len(meisa_sandbox.enrollments("onboarding")) == 3


def test_a_lost_response_is_not_sent_again_where_that_is_not_wanted(bulk, meisa_sandbox):
    meisa_sandbox.fault("reset_after", path="bulk-enroll", times=1)
    ran = bulk(PEOPLE[:3], on_ambiguous="fail")
    assert ran.state == "failed"
    assert ran.counts() == {"unreported": 3}
    assert len(batches_sent(meisa_sandbox)) == 1


@pytest.mark.meisa_sandbox(rate_limits="3/1s")
def test_a_limit_tighter_than_ours_is_waited_out(bulk, meisa_sandbox):
    ran = bulk(PEOPLE[:1200] + [f"more{number}@example.com" for number in range(1300)])
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 2500}
    assert ran.xcom("task")["rate_limited"] >= 1


@pytest.mark.meisa_sandbox(rate_limits="3/1s")
def test_inside_the_limits_of_the_connection_no_request_is_refused(bulk, meisa_sandbox, meisa_connection):
    meisa_connection(extra={"rate_limits": "3/1s"})
    ran = bulk(PEOPLE[:1200] + [f"more{number}@example.com" for number in range(1300)])
    assert ran.counts() == {"enrolled": 2500}
    assert ran.xcom("task")["rate_limited"] == 0
    assert ran.xcom("task")["waited_s"] > 0.5


def test_override_unsubscribe_needs_the_opt_in_of_the_connection(bulk, meisa_sandbox, meisa_connection):
    assert bulk(["unsubscribed@example.com"], override_unsubscribe=True).state == "failed"
    assert batches_sent(meisa_sandbox) == []
    meisa_connection(extra={"allow_override_unsubscribe": True})
    assert bulk(["unsubscribed@example.com"], override_unsubscribe=True).counts() == {"enrolled": 1}


def test_a_key_of_the_wrong_environment_enrolls_no_contact(bulk, meisa_sandbox, meisa_connection):
    meisa_connection(extra={"environment": "test"})
    assert bulk(["ada@example.com"]).state == "failed"
    assert batches_sent(meisa_sandbox) == []


def test_an_unknown_connection_fails_and_is_named(bulk, everything_written):
    assert bulk(["ada@example.com"], meisa_conn_id="nobody_made_this").state == "failed"
    assert "nobody_made_this" in everything_written()


def test_source_that_fails_midway_sends_no_one(run_task, meisa_sandbox, tmp_path):
    from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator

    source = tmp_path / "people.csv"
    source.write_text("email\n" + "\n".join(PEOPLE) + "\none,too,many\n")
    ran = run_task(FileToMeisaSequenceOperator, path=str(source), sequence_slug="onboarding", max_in_flight=1)
    assert ran.state == "failed"
    assert writes(meisa_sandbox) == []
