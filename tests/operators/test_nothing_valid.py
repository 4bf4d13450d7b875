"""A run with rows and not one valid address does not succeed, unless its author says so."""

import pytest

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from tests.support.requests_sent import writes

NOTHING_VALID = {
    "NULLs": [None, None, None],
    "names": ["Ada Lovelace", "Bob"],
    "empty texts": ["", " ", None],
    "numbers as text": ["1", "2"],
    "a page of names": [["Ada", "Bob"]],
}


@pytest.fixture
def bulk(run_task):
    def run(emails, **arguments):
        return run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug="onboarding", **arguments)

    return run


@pytest.mark.parametrize("emails", NOTHING_VALID.values(), ids=NOTHING_VALID)
def test_a_run_without_a_valid_address_fails(bulk, meisa_sandbox, everything_written, emails):
    ran = bulk(emails)
    assert ran.state == "failed"
    summary = ran.xcom("task")
    assert summary["total"] == summary["counts"]["invalid"] > 0
    assert not any(request["path"].endswith("bulk-enroll/") for request in meisa_sandbox.requests())
    assert f"no valid address in {summary['total']} rows" in everything_written()


@pytest.mark.parametrize(
    ("choice", "state"), [("success", "success"), ("skip", "skipped"), ("fail", "failed")]
)
@pytest.mark.parametrize("preview", [False, True])
def test_the_choice_decides(bulk, choice, state, preview):
    ran = bulk([None, "broken"], on_nothing_valid=choice, preview=preview)
    assert ran.state == state
    assert ran.xcom("task")["counts"]["invalid"] == 2


@pytest.mark.parametrize("emails", [[None, "ada@example.com"], ["ada@example.com"] * 2, []])
def test_one_valid_address_is_enough(bulk, emails):
    assert bulk(emails).state == "success"
    assert bulk(emails, preview=True).state == "success"


def test_a_limit_on_invalid_addresses_fails_first(bulk, everything_written):
    assert bulk([None, None], max_invalid=0, on_nothing_valid="skip").state == "failed"
    assert "2 invalid (max_invalid=0)" in everything_written()


def test_an_unknown_choice_fails_before_the_first_request(bulk, meisa_sandbox, everything_written):
    assert bulk(["ada@example.com"], on_nothing_valid="succeed").state == "failed"
    assert writes(meisa_sandbox) == []
    assert "on_nothing_valid must be one of: success, skip, fail" in everything_written()


def test_all_that_meisa_calls_invalid_fails(bulk, meisa_sandbox):
    ran = bulk(["adaé@example.com", "bobé@example.com"])
    assert ran.xcom("task")["counts"]["invalid"] == 2
    assert ran.state == "failed"


def test_a_file_without_a_valid_address_fails(run_task, meisa_sandbox, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("id,email\n1,Ada\n2,\n")
    ran = run_task(FileToMeisaSequenceOperator, path=str(file), sequence_slug="onboarding")
    assert ran.state == "failed"
    assert ran.xcom("task")["counts"]["invalid"] == 2
