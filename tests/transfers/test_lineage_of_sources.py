"""Where addresses come from, by OpenLineage's names."""

from pathlib import Path

import pytest

from airflow_provider_meisa.transfers.sources.lineage import file_dataset
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("/data/people.csv", "file", "/data/people.csv"),
        ("file:///data/people.csv", "file", "/data/people.csv"),
        ("people.csv", "file", str(Path.cwd() / "people.csv")),
        ("a b?#.csv", "file", str(Path.cwd() / "a b?#.csv")),
        ("s3://bucket/drop/people.csv.gz", "s3://bucket", "drop/people.csv.gz"),
        ("s3://aws_default@bucket/people.csv", "s3://bucket", "people.csv"),
        ("gs://bucket/people.csv?token=secret", "gs://bucket", "people.csv"),
    ],
)
def test_a_file_has_the_name_that_others_give_it(uri, namespace, name):
    dataset = file_dataset(uri)
    assert (dataset.namespace, dataset.name) == (namespace, name)


def inputs(**arguments):
    operator = SqlToMeisaSequenceOperator(task_id="task", sequence_slug="onboarding", **arguments)
    found = operator.get_openlineage_facets_on_complete(None)
    return [(dataset.namespace, dataset.name) for dataset in found.inputs]


def test_the_tables_of_a_query_have_the_names_that_the_databases_own_operators_give_them(
    postgres, postgres_port
):
    sql = "SELECT c.email FROM contacts c JOIN shop.orders o ON o.contact = c.id WHERE c.email <> 'a@b.org';"
    server = f"postgres://127.0.0.1:{postgres_port}"
    assert inputs(sql=sql, conn_id="postgres") == [
        (server, "postgres.public.contacts"),
        (server, "postgres.shop.orders"),
    ]


def test_a_database_that_knows_nothing_of_openlineage_gives_no_inputs(warehouse):
    assert inputs(sql="SELECT email FROM contacts", conn_id="warehouse") == []
