import json

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_meisa.operators.redacted import Redacted, RedactedField, unwrap
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (["ada@example.com", "grace@example.com"], "2 hidden values"),
        (["ada@example.com"] * 12_431, "12,431 hidden values"),
        ({"name": "Ada"}, "1 hidden field"),
        ({"name": "Ada", "plan": "team"}, "2 hidden fields"),
        ("ada@example.com", "1 hidden value"),
        ("['ada@example.com', 'grace@example.com']", "hidden values in a text"),
        ("{{ params.email }}", "{{ params.email }}"),
        ("{{ 'ada@example.com' }}", "{{ '<address>' }}"),
        (7, "hidden"),
    ],
)
def test_a_private_value_shows_its_size_or_its_template(value, shown):
    assert str(Redacted(value)) == repr(Redacted(value)) == shown
    assert unwrap(Redacted(value)) is value


def test_a_list_of_addresses_is_shown_as_their_number():
    many = MeisaBulkEnrollOperator(
        task_id="many", sequence_slug="onboarding", emails=(f"p{n}@example.com" for n in range(3))
    )
    assert str(many.emails) == "hidden"  # a stream has no number
    many.emails = ["ada@example.com"] * 12_431
    assert str(many.emails) == "12,431 addresses"
    one = MeisaEnrollOperator(task_id="one", sequence_slug="onboarding", contact_email="ada@example.com")
    assert str(one.contact_email) == "1 address"


def test_only_a_value_with_a_template_inside_is_rendered():
    assert Redacted(["ada@example.com"] * 1000).template_fields == ()
    assert Redacted(["{{ params.email }}"]).template_fields == ("value",)
    assert Redacted({"a": [{"b": "{% if x %}y{% endif %}"}]}).template_fields == ("value",)


def test_a_private_field_is_private_however_it_is_set():
    class Task:
        field = RedactedField()

    task = Task()
    task.field = "ada@example.com"
    task.field = task.field
    assert str(task.field) == "1 hidden value"
    task.field = None
    assert task.field is None
    assert isinstance(Task.field, RedactedField)


def test_a_serialized_dag_holds_no_address():
    with DAG("private", schedule=None) as dag:
        MeisaBulkEnrollOperator(task_id="many", sequence_slug="onboarding", emails=["ada@example.com"])
        MeisaEnrollOperator(
            task_id="one",
            sequence_slug="onboarding",
            contact_email="ada@example.com",
            metadata={"name": "Lovelace"},
        )
    stored = json.dumps(DagSerialization.to_dict(dag))
    assert "example.com" not in stored
    assert "Lovelace" not in stored
    assert "1 address" in stored
    assert "1 hidden field" in stored


def test_the_output_of_another_task_makes_it_an_upstream():
    with DAG("upstream", schedule=None):
        first = MeisaBulkEnrollOperator(task_id="first", sequence_slug="onboarding", emails=[])
        second = MeisaBulkEnrollOperator(task_id="second", sequence_slug="onboarding", emails=first.output)
    assert second.upstream_task_ids == {"first"}


def test_an_output_that_stands_inside_a_private_value_makes_its_task_the_upstream():
    with DAG("upstream", schedule=None):
        one, many = (EmptyOperator(task_id=name) for name in ("one", "many"))
        single = MeisaEnrollOperator(
            task_id="single", contact_email="a@b.example", sequence_slug="s", metadata={"plan": one.output}
        )
        bulk = MeisaBulkEnrollOperator(task_id="bulk", emails=[one.output, many.output], sequence_slug="s")
    assert single.upstream_task_ids == {"one"}
    assert bulk.upstream_task_ids == {"one", "many"}
