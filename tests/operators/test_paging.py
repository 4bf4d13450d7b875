"""Lists in pages: as few requests as can be, and links of another host do no harm."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.endpoints.sequences import check_active, find_sequences, list_sequences
from airflow_provider_meisa.api.errors import MeisaSequenceNotFoundError, MeisaUnreadableResponseError
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from tests.support.paging_server import KEY, paging_server

LINKS = {
    "inner host": lambda query: f"http://meisa-web-7.internal:8000/api/v1/sequences/api/list/?{query}",
    "no prefix": lambda query: f"/api/v1/sequences/api/list/?{query}",
    "another scheme": lambda query: f"https://127.0.0.1/sequences/api/list/?{query}",
    "query only": lambda query: f"?{query}",
    "no query": lambda query: "http://meisa-web-7.internal/sequences/api/list/page/2/",
    "true": lambda query: True,
    "an object": lambda query: {"href": f"?{query}"},
    "broken": lambda query: "http://[meisa",
}
SILENT = {"no query", "true", "an object", "broken"}


@pytest.fixture
def server():
    with paging_server() as running:
        yield running


@pytest.fixture
def client(server):
    with MeisaClient(Settings(api_key=KEY, base_url=server.url, rate_limit_storage="memory")) as made:
        yield made


def test_list_is_asked_in_the_largest_pages(server, client):
    assert len(list_sequences(client, status="all")) == 150
    assert [query.get("offset", "0") for query in server.asked] == ["0", "100"]
    assert {query["limit"] for query in server.asked} == {"100"}


@pytest.mark.parametrize("place", [0, 42, 99])
def test_search_for_a_slug_ends_with_its_page(server, client, place):
    assert check_active(client, f"sequence-{place}").slug == f"sequence-{place}"
    assert len(server.asked) == 1


def test_search_for_several_slugs_ends_with_the_last(server, client):
    assert {"sequence-1", "sequence-98"} < {
        one.slug for one in find_sequences(client, ["sequence-98", "sequence-1"])
    }
    assert len(server.asked) == 1
    find_sequences(client, ["sequence-1", "sequence-120"])
    assert len(server.asked) == 3


def test_missing_slug_is_told_after_the_last_page(server, client):
    with pytest.raises(MeisaSequenceNotFoundError, match="Close ones: sequence-149"):
        check_active(client, "sequence-1499")
    assert len(server.asked) == 2


@pytest.mark.parametrize("style", ["offset", "page", "cursor"])
@pytest.mark.parametrize("name", sorted(LINKS.keys() - SILENT))
def test_only_the_query_of_a_link_counts(server, client, style, name):
    server.link, server.style = LINKS[name], style
    assert [one.slug for one in list_sequences(client, status="all")] == [row["slug"] for row in server.rows]
    assert all(query["status"] == "all" for query in server.asked)


@pytest.mark.parametrize("name", sorted(SILENT))
def test_link_that_says_nothing_is_replaced_by_the_offset(server, client, name):
    server.link = LINKS[name]
    server.rows *= 3
    assert len(list_sequences(client)) == 450
    assert [query.get("offset", "0") for query in server.asked] == ["0", "100", "200", "300", "400"]


def test_server_that_gives_the_same_page_again_is_noticed(server, client):
    server.link, server.style = LINKS["true"], "cursor"
    with pytest.raises(MeisaUnreadableResponseError, match="have no end"):
        list_sequences(client)
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", LINKS)
def test_enrolling_goes_on_whatever_the_links_say(run_task, meisa_connection, server, name):
    server.link = LINKS[name]
    meisa_connection(host=server.url, password=KEY)
    ran = run_task(MeisaBulkEnrollOperator, emails=["ada@example.com"], sequence_slug="sequence-149")
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 1}
    assert len(server.asked) == 2


@pytest.mark.parametrize(("slug", "requests"), [("sequence-7", 1), (["sequence-7", "sequence-149"], 2)])
def test_sensor_asks_as_little_as_it_can(run_task, meisa_connection, server, slug, requests):
    server.link = LINKS["inner host"]
    meisa_connection(host=server.url, password=KEY)
    assert run_task(MeisaSequenceSensor, sequence_slug=slug).state == "success"
    assert len(server.asked) == requests


def test_tasks_and_sensors_of_a_key_share_their_requests(run, meisa_connection, server, tmp_path):
    extra = {"rate_limit_storage": f"file://{tmp_path}/limits"}
    meisa_connection(host=server.url, password=KEY, extra=extra)
    with DAG("shared_requests", schedule=None) as dag:
        for number in range(5):
            sensor = MeisaSequenceSensor(
                task_id=f"wait_{number}", sequence_slug=f"sequence-{number}", deferrable=number > 2
            )
            sensor >> MeisaBulkEnrollOperator(
                task_id=f"enroll_{number}",
                sequence_slug=f"sequence-{140 + number}",
                emails=["ada@example.com"],
            )
    assert set(run(dag).states.values()) == {"success"}
    assert len(server.asked) == 3  # the first page for a sensor, both for the first enrollment


def test_sequence_paused_since_a_sensor_saw_it_gets_no_contact(
    run_task, meisa_connection, meisa_sandbox, tmp_path
):
    meisa_connection(extra={"rate_limit_storage": f"file://{tmp_path}/limits"})
    assert run_task(MeisaSequenceSensor, sequence_slug="onboarding").state == "success"
    meisa_sandbox.put_sequence("onboarding", name="Onboarding", status="paused")
    ran = run_task(MeisaBulkEnrollOperator, sequence_slug="onboarding", emails=["ada@example.com"])
    assert ran.state == "failed"
    assert meisa_sandbox.enrollments("onboarding") == []
    summary = ran.xcom("task")
    assert "has the status 'paused'" in summary["stopped_by"]
    assert ran.counts() == {"untried": 1}
