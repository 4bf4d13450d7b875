"""What OpenLineage's own provider makes of our tasks, read from the events it sends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DAGS = """
from airflow.sdk import DAG

from airflow_provider_meisa.assets import meisa_sequence
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator

MANY = {"sequence_slug": "onboarding", "emails": [*(f"person{n}@example.com" for n in range(700)), "broken"]}

with DAG("lineage", schedule=None):
    many = MeisaBulkEnrollOperator(task_id="many", **MANY)
    many >> MeisaBulkEnrollOperator(task_id="red", **MANY, max_invalid=0)
    MeisaBulkEnrollOperator(task_id="preview", **MANY, preview=True)
    FileToMeisaSequenceOperator(
        task_id="file", path="people.csv", sequence_slug="reactivation", outlets=[meisa_sequence("reactivation")]
    )
"""


@pytest.fixture
def events(airflow_database, meisa_connection, tmp_path):
    """Run the DAG where OpenLineage writes to a file; return the last event of each task."""
    (tmp_path / "lineage_dag.py").write_text(DAGS)
    (tmp_path / "people.csv").write_text("email\nada@example.com\neve@example.com\n")
    transport = {"type": "file", "log_file_path": str(tmp_path / "events"), "append": True}
    subprocess.run(
        [Path(sys.executable).with_name("airflow"), "dags", "test", "lineage"],
        cwd=tmp_path,
        env={
            **os.environ,
            "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        },
        capture_output=True,
        check=False,
    )
    text = (tmp_path / "events").read_text()
    assert "person1@" not in text
    assert "ada@" not in text
    return {event["job"]["name"].rpartition(".")[2]: event for event in map(json.loads, text.splitlines())}


def test_the_events_of_openlineage_name_file_and_sequence_and_count_those_who_were_enrolled(events, tmp_path):
    many = events["many"]
    assert many["eventType"] == "COMPLETE"
    assert many["inputs"] == []
    (output,) = many["outputs"]
    assert (output["namespace"], output["name"]) == ("meisa", "sequences/onboarding")
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 700

    # A failed task has enrolled as well: here contacts that are in the sequence already.
    assert events["red"]["eventType"] == "FAIL"
    assert events["red"]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 0
    assert events["preview"]["outputs"] == []

    (read,), (written,) = events["file"]["inputs"], events["file"]["outputs"]
    assert (read["namespace"], read["name"]) == ("file", str(tmp_path / "people.csv"))
    assert (written["namespace"], written["name"]) == ("meisa", "sequences/reactivation")
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 2
