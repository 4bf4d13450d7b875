"""One contact created or updated by a task: what Meisa gets, how the task ends, what it leaves, what it hides."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG, task

from airflow_provider_meisa.api.endpoints import contacts
from airflow_provider_meisa.operators.contacts import MeisaUpsertContactOperator
from airflow_provider_meisa.operators.parameters import SOURCES
from tests.test_privacy_of_runs import rendered_fields

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "upsert-contact.md"
FULL = {
    "external_id": "ext-77814420917",
    "first_name": "Jane",
    "last_name": "Roe",
    "display_name": "Jane R.",
    "source": "import",
    "custom_fields": {"plan": "gold", "company": {"name": "Roe Inc"}},
    "tag_names": ["vip", "eu"],
}
PRIVATE = ("jane", "Jane", "Roe", "77814420917", "gold", "Inc", "vip")


@pytest.fixture
def upsert(run_task, no_backoff):
    def run(email="jane@example.com", **arguments):
        return run_task(MeisaUpsertContactOperator, contact_email=email, **arguments)

    return run


def test_every_field_reaches_meisa(upsert, meisa_sandbox):
    ran = upsert(**FULL)
    assert ran.state == "success"
    (kept,) = meisa_sandbox.contacts()
    assert ran.xcom("task") == {
        "id": kept["id"],
        "created": True,
        "address": "j***@***.com",
        "meisa_conn_id": "meisa_default",
    }
    assert {name: kept[name] for name in FULL if name != "tag_names"} == {
        name: value for name, value in FULL.items() if name != "tag_names"
    }
    assert [tag["name"] for tag in kept["tags"]] == FULL["tag_names"]


def test_a_second_run_updates_the_same_contact(upsert, meisa_sandbox):
    first = upsert(external_id="42", custom_fields={"plan": "free", "n": 1}).xcom("task")
    second = upsert("new@example.com", external_id="42", custom_fields={"plan": "team"}).xcom("task")
    assert (first["created"], second["created"], second["id"]) == (True, False, first["id"])
    (kept,) = meisa_sandbox.contacts()
    assert (kept["email"], kept["custom_fields"]) == ("new@example.com", {"plan": "team", "n": 1})


@pytest.mark.parametrize("native", [True, False])
def test_all_fields_are_templates(upsert, meisa_sandbox, native):
    ran = upsert(
        "{{ params.who }}@example.com",
        external_id="id-{{ params.who }}",
        first_name="{{ params.who }}",
        source="{{ params.source }}",
        custom_fields="{{ params.data | tojson }}",
        tag_names="{{ params.tags | tojson }}",
        display_name="{{ params.empty }}",
        params={
            "who": "kay",
            "source": "signup",
            "data": {"plan": "team"},
            "tags": ["a", "b"],
            "empty": "",
        },
        render_template_as_native_obj=native,
    )
    assert ran.state == "success"
    (kept,) = meisa_sandbox.contacts()
    assert (kept["email"], kept["external_id"], kept["first_name"]) == ("kay@example.com", "id-kay", "kay")
    assert (kept["source"], kept["custom_fields"], kept["display_name"]) == ("signup", {"plan": "team"}, "")
    assert [tag["name"] for tag in kept["tags"]] == ["a", "b"]


def test_templates_inside_a_dict_and_a_list_are_rendered(upsert, meisa_sandbox):
    upsert(custom_fields={"last_run": "{{ run_id }}"}, tag_names=["run-{{ ds_nodash }}"])
    (kept,) = meisa_sandbox.contacts()
    assert kept["custom_fields"]["last_run"].startswith("manual__")
    assert re.fullmatch(r"run-\d{8}", kept["tags"][0]["name"])


def test_the_output_of_a_task_is_its_upstream(run, meisa_sandbox):
    with DAG("upsert_from_xcom", schedule=None) as dag:

        @task
        def people():
            return {"plan": "team"}

        MeisaUpsertContactOperator(
            task_id="sync", contact_email="ada@example.com", custom_fields={"inner": people()}
        )
    assert dag.get_task("sync").upstream_task_ids == {"people"}
    assert run(dag).states == {"people": "success", "sync": "success"}
    assert meisa_sandbox.contacts()[0]["custom_fields"] == {"inner": {"plan": "team"}}


def test_it_can_be_mapped(run, meisa_sandbox):
    with DAG("upsert_mapped", schedule=None) as dag:
        MeisaUpsertContactOperator.partial(task_id="sync", source="import").expand_kwargs(
            [{"contact_email": f"p{n}@example.com", "external_id": str(n)} for n in range(3)]
        )
    assert set(run(dag).states.values()) == {"success"}
    assert {contact["external_id"] for contact in meisa_sandbox.contacts()} == {"0", "1", "2"}


@pytest.mark.parametrize("broken", ["no at sign", "", "@example.com", "x" * 300 + "@example.com", None])
def test_what_is_no_address_fails_before_sending(upsert, meisa_sandbox, everything_written, broken):
    assert upsert(broken, retries=2).state == "failed"
    assert meisa_sandbox.requests() == []
    assert "contact_email is not an address: " in everything_written()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"email": ["a@example.com", "b@example.com"]}, "contact_email holds 2 addresses; pass one, or map"),
        ({"email": []}, "contact_email holds 0 addresses"),
        ({"external_id": 42}, "external_id must be a text, not 42"),
        ({"external_id": " "}, "external_id is empty"),
        ({"first_name": 7}, "first_name must be a text"),
        ({"last_name": ["Roe"]}, "last_name must be a text"),
        ({"source": "airflow"}, "source must be one of: api, import, manual, signup, initial_sync"),
        ({"source": "{{ 'nowhere' }}"}, "source must be one of"),
        ({"custom_fields": "{'a': 1}"}, "custom_fields is a text that is not JSON"),
        ({"custom_fields": "[1]"}, "custom_fields must be a dict"),
        ({"custom_fields": {"plan": timedelta(1)}}, "custom_fields under 'plan' holds a value of type"),
        ({"tag_names": "vip"}, "tag_names is a text that is not JSON"),
        ({"tag_names": '"vip"'}, "tag_names must be a list of texts, not a text"),
        ({"tag_names": ["vip", 7]}, "tag_names[1] must be a text, not 7"),
        ({"meisa_conn_id": ""}, "meisa_conn_id is empty"),
    ],
    ids=str,
)
def test_a_parameter_of_another_type_fails_before_sending(
    upsert, meisa_sandbox, everything_written, arguments, message
):
    assert upsert(**arguments, retries=2).state == "failed"
    assert meisa_sandbox.requests() == []
    assert message in everything_written()


def test_sources_are_those_of_the_endpoint():
    assert SOURCES == contacts.SOURCES


@pytest.mark.parametrize("kind", ["reset_after", "html", "status"])
def test_a_lost_response_is_sent_again_in_the_same_try(upsert, meisa_sandbox, kind):
    meisa_sandbox.fault(kind, times=1)
    assert upsert(**FULL).state == "success"
    assert len(meisa_sandbox.contacts()) == 1
    assert len(meisa_sandbox.requests()) == 2


@pytest.mark.parametrize(("kind", "params"), [("reset_after", {}), ("status", {"status": 500})])
def test_a_response_that_stays_lost_is_retried_by_airflow(upsert, meisa_sandbox, kind, params):
    meisa_sandbox.fault(kind, times=5, **params)
    assert upsert(retries=1, retry_delay=timedelta(0)).state == "success"
    assert len(meisa_sandbox.contacts()) == 1
    assert len(meisa_sandbox.requests()) == 6


def test_a_response_without_id_is_retried_and_then_fails(upsert, meisa_sandbox, everything_written):
    meisa_sandbox.fault("status", status=200, body={"email": "jane@example.com"})
    assert upsert(retries=1, retry_delay=timedelta(0)).state == "failed"
    assert len(meisa_sandbox.requests()) == 2
    assert "has no id of the contact" in everything_written()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_fails_without_a_retry(upsert, meisa_sandbox, status):
    meisa_sandbox.fault("status", status=status)
    assert upsert(retries=2, retry_delay=timedelta(0)).state == "failed"
    assert len(meisa_sandbox.requests()) == 1


def test_a_conflict_fails_and_changes_nothing(upsert, meisa_sandbox, everything_written):
    upsert("ada@example.com", external_id="42")
    upsert("kay@example.com", external_id="43")
    before = meisa_sandbox.contacts()
    assert upsert("kay@example.com", external_id="42", retries=2).state == "failed"
    assert meisa_sandbox.contacts() == before
    written = everything_written()
    assert "does not accept the request (409)" in written
    assert "kay@" not in written


def test_a_key_of_another_environment_changes_nothing(upsert, meisa_sandbox, meisa_connection):
    meisa_connection(extra={"environment": "test"})
    assert upsert().state == "failed"
    assert meisa_sandbox.contacts() == []


@pytest.mark.parametrize("fault", [None, "reset_after", "status"])
def test_nothing_of_the_contact_is_shown(upsert, meisa_sandbox, everything_written, fault):
    if fault == "status":
        meisa_sandbox.fault(
            "status", status=400, body={"detail": "Jane Roe (ext-77814420917, gold, vip) of Roe Inc"}
        )
    elif fault:
        meisa_sandbox.fault(fault)
    ran = upsert(**FULL)
    assert ran.state == ("failed" if fault else "success")
    places = [everything_written(), json.dumps(rendered_fields(ran.dag_id), default=str)]
    places += [] if fault else [json.dumps(ran.xcom("task"))]
    for place in places:
        assert not [word for word in PRIVATE if word in place]


def test_no_link_to_a_sequence_is_left(upsert):
    assert upsert().xcom("task", key="meisa_dashboard") is None


def test_the_example_of_the_page_works(run, meisa_sandbox):
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)
    conf = {"email": "ada@example.com", "user_id": 42, "plan": "team"}
    assert run(names["dag"], run_conf=conf).state == "success"
    (kept,) = meisa_sandbox.contacts()
    assert (kept["external_id"], kept["custom_fields"]["plan"]) == ("42", "team")
