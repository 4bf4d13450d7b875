"""What the operators are given: streams that can be read once, slugs that cannot be one."""

import pytest
from airflow.exceptions import AirflowException

from airflow_provider_meisa.assets.sequences import meisa_sequence
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from tests.support.people import people
from tests.support.requests_sent import bulk_requests, writes
from tests.support.summary import counts
from tests.support.task import Task

PEOPLE = people(1200)


@pytest.fixture
def bulk(run_task):
    def run(emails, **arguments):
        return run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug="onboarding", **arguments)

    return run


def test_a_stream_that_can_be_read_once_loses_no_contact_to_max_contacts(bulk, meisa_sandbox):
    ran = bulk((address for address in PEOPLE), max_contacts=2000)
    assert counts(ran.xcom("task")) == {"enrolled": 1200}
    assert [len(request["addresses"]) for request in bulk_requests(meisa_sandbox)] == [500, 500, 200]


def test_a_stream_that_a_template_gives_is_counted_and_then_sent(bulk):
    ran = bulk(
        "{{ params.rows | map(attribute=0) }}",
        params={"rows": [[address] for address in PEOPLE]},
        render_template_as_native_obj=True,
        max_contacts=1200,
    )
    assert counts(ran.xcom("task")) == {"enrolled": 1200}


def test_a_stream_of_too_many_is_refused_before_anybody_is_sent(bulk, meisa_sandbox):
    assert bulk(iter(PEOPLE), max_contacts=1000).state == "failed"
    assert bulk_requests(meisa_sandbox) == []


def test_a_stream_that_changed_is_read_again_where_a_restart_is_wanted(meisa_connection, meisa_sandbox):
    ours = Task(PEOPLE, max_in_flight=1, on_changed_audience="restart")
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=1)
    with pytest.raises(AirflowException):
        ours.run()
    meisa_sandbox.clear_faults()
    summary = ours.lose_plan().run(emails=map(str, reversed(PEOPLE)))
    assert summary["total"] == 1200
    assert counts(summary) == {"enrolled": 700, "already_enrolled": 500}


@pytest.mark.parametrize(
    ("slug", "message"),
    [
        ("onboarding ", "has white space around it"),
        (" onboarding", "has white space around it"),
        (7, "is of type int; pass a text"),
    ],
)
def test_what_cannot_be_a_slug_is_refused_before_anybody_is_sent(
    run_task, meisa_sandbox, everything_written, slug, message
):
    one = {"contact_email": "ada@example.com", "outlets": [meisa_sequence("onboarding")]}
    many = {"emails": PEOPLE[:3], "outlets": [meisa_sequence("onboarding")]}
    assert run_task(MeisaEnrollOperator, sequence_slug=slug, **one).state == "failed"
    assert run_task(MeisaBulkEnrollOperator, sequence_slug=slug, **many).state == "failed"
    assert writes(meisa_sandbox) == []
    assert f"sequence_slug {message}" in everything_written()
