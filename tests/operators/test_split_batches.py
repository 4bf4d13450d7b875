"""A batch with an address that Meisa refuses: the others are enrolled, each once."""

from collections import Counter

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from tests.support.people import people
from tests.support.requests_sent import bulk_requests
from tests.support.summary import counts

PEOPLE = people(1200)
BAD = "person700@example.com"
FIELD_ERROR = "Enter a valid email address."


@pytest.fixture
def refuse(meisa_sandbox):
    """Let the sandbox refuse each bulk request that holds one of these addresses, in one of several forms."""

    def arm(*addresses, form="places"):
        meisa_sandbox.fault("bad_addresses", addresses=list(addresses), form=form)

    return arm


def enrolled(sandbox):
    return Counter(
        address
        for request in bulk_requests(sandbox)
        if (request["status"] or 500) < 300
        for address in request["addresses"]
    )


@pytest.mark.parametrize("form", ["places", "list", "path", "names", "sentence"])
def test_named_address_is_invalid_and_all_others_enrolled(task, refuse, meisa_sandbox, form):
    refuse(BAD, form=form)
    summary = task(PEOPLE).run()
    assert counts(summary) == {"enrolled": 1199, "invalid": 1}
    assert summary["requests"] == 6  # the key, the sequence, three batches, and one of them again
    assert enrolled(meisa_sandbox) == dict.fromkeys({*PEOPLE} - {BAD}, 1)


def test_unnamed_address_is_found_by_halves(task, refuse, meisa_sandbox):
    refuse(BAD, form="nothing")
    summary = task(PEOPLE, max_failed=1).run()
    assert counts(summary) == {"enrolled": 1199, "failed": 1}
    assert len(bulk_requests(meisa_sandbox)) <= 3 + 2 * 9
    assert summary["requests"] == len(meisa_sandbox.requests())
    assert enrolled(meisa_sandbox) == dict.fromkeys({*PEOPLE} - {BAD}, 1)


def test_reason_is_in_summary_and_outcomes_without_the_address(task, refuse, tmp_path, everything_written):
    refuse(BAD)
    path = tmp_path / "outcomes.csv"
    summary = task(PEOPLE, outcomes_path=str(path)).run()
    assert summary["attention"][0]["reason"] == FIELD_ERROR
    assert BAD not in everything_written()
    lines = path.read_text().splitlines()
    assert len(lines) == 1201
    assert len({line.split(",")[0] for line in lines}) == 1201
    assert f'"{BAD}",invalid,"{FIELD_ERROR}",2,701' in lines


def test_bad_first_batch_stops_nothing(task, refuse, meisa_sandbox):
    refuse(PEOPLE[0], PEOPLE[3])
    assert counts(task(PEOPLE).run()) == {"enrolled": 1198, "invalid": 2}


def test_everything_refused_stops_after_twenty(task, refuse, meisa_sandbox):
    refuse("example.com", form="nothing")
    with pytest.raises(AirflowFailException, match="does not accept the request"):
        task(PEOPLE).run()
    assert len(bulk_requests(meisa_sandbox)) == 20
    assert not enrolled(meisa_sandbox)


def test_few_refused_of_few_fail_the_task(task, refuse):
    refuse("example.com", form="nothing")
    with pytest.raises(AirflowFailException, match="2 failed"):
        task(PEOPLE[:2]).run()


@pytest.mark.parametrize("crash_after", [1, 2, 3, 5, 8])
def test_retry_resumes_a_split_batch(task, refuse, meisa_sandbox, crash_after, tmp_path):
    """What a piece has enrolled is not sent again, whatever the attempt had still to find."""
    path = tmp_path / "outcomes.jsonl"
    meisa_sandbox.fault("reset_before", path="bulk-enroll", skip=1 + crash_after, times=4)
    refuse(BAD, form="nothing")
    ours = task(PEOPLE, max_in_flight=1, max_failed=1, outcomes_path=str(path))
    with pytest.raises(AirflowException):
        ours.run()
    meisa_sandbox.clear_faults()
    refuse(BAD, form="nothing")
    assert counts(ours.run()) == {"enrolled": 1199, "failed": 1}
    assert enrolled(meisa_sandbox) == dict.fromkeys({*PEOPLE} - {BAD}, 1)
    assert len(path.read_text().splitlines()) == 1200


def test_refusal_about_the_sequence_stops_at_once(task, meisa_sandbox):
    meisa_sandbox.fault(
        "status", status=400, body={"detail": "Plan limit of this workspace reached."}, path="bulk-enroll"
    )
    with pytest.raises(AirflowFailException, match="Plan limit"):
        task(PEOPLE).run()
    assert len(bulk_requests(meisa_sandbox)) == 1
