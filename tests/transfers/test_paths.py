"""Paths as text, as `pathlib.Path` and as `ObjectStoragePath`, with templates in them and blanks around them."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, task
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_meisa.decorators.meisa_enroll import meisa_enroll_task
from airflow_provider_meisa.operators.location import locate
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from airflow_provider_meisa.transfers.sources.lineage import file_dataset
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.support.requests_sent import writes

ADA = "ada@example.com"


class Folder:
    """A path of a library of its own."""

    def __init__(self, path):
        self._path = str(path)

    def __fspath__(self):
        return self._path


KINDS = {
    "text": str,
    "file URI": lambda path: f"file://{path}",
    "Path": pathlib.Path,
    "PurePosixPath": pathlib.PurePosixPath,
    "PathLike": Folder,
    "ObjectStoragePath": lambda path: ObjectStoragePath(f"file://{path}"),
    "local ObjectStoragePath": lambda path: ObjectStoragePath(str(path)),
}


@pytest.fixture(params=KINDS)
def made(request):
    return KINDS[request.param]


@pytest.fixture
def people(tmp_path):
    path = tmp_path / "people-7.csv"
    path.write_text(f"email\n{ADA}\n")
    return path


def outcomes(path):
    return [json.loads(line)["address"] for line in path.read_text().splitlines()]


def test_every_kind_of_path_is_taken_and_rendered(run_task, tmp_path, meisa_sandbox, people, made):
    ran = run_task(
        FileToMeisaSequenceOperator,
        path=made(tmp_path / "people-{{ params.number }}.csv"),
        outcomes_path=made(tmp_path / "{{ params.number }}" / "out.jsonl"),
        staging_path=made(tmp_path / "{{ params.number }}" / "staged"),
        sequence_slug="onboarding",
        params={"number": 7},
    )
    assert ran.state == "success"
    assert outcomes(tmp_path / "7" / "out.jsonl") == [ADA]
    assert list((tmp_path / "7" / "staged").iterdir()) == []


def test_query_takes_every_kind_of_path(run_task, tmp_path, warehouse, meisa_sandbox, made):
    warehouse.fill([ADA])
    ran = run_task(
        SqlToMeisaSequenceOperator,
        sql="SELECT email FROM contacts",
        conn_id="warehouse",
        outcomes_path=made(tmp_path / "{{ dag.dag_id }}.jsonl"),
        staging_path=made(tmp_path / "staged"),
        sequence_slug="onboarding",
    )
    assert ran.state == "success"
    assert outcomes(tmp_path / f"{ran.dag_id}.jsonl") == [ADA]


def test_function_takes_every_kind_of_path(run, tmp_path, meisa_sandbox, made):
    with DAG("function_with_path", schedule=None) as dag:
        meisa_enroll_task(
            task_id="task", sequence_slug="onboarding", outcomes_path=made(tmp_path / "out.jsonl")
        )(lambda: [ADA])()
    assert run(dag).states == {"task": "success"}
    assert outcomes(tmp_path / "out.jsonl") == [ADA]


def test_mapped_tasks_take_every_kind_of_path(run, tmp_path, meisa_sandbox, made):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "people.csv").write_text(f"email\n{folder.name}@example.com\n")

    with DAG("mapped_with_paths", schedule=None) as dag:
        FileToMeisaSequenceOperator.partial(
            task_id="task", sequence_slug="onboarding", staging_path=made(tmp_path / "staged")
        ).expand_kwargs(
            [{"path": made(one / "people.csv"), "outcomes_path": made(one / "out.jsonl")} for one in folders]
        )
    ran = run(dag)
    assert set(ran.states.values()) == {"success"}
    assert [outcomes(one / "out.jsonl") for one in folders] == [["one@example.com"], ["two@example.com"]]


def test_path_may_be_the_output_of_a_task(run, people, tmp_path, meisa_sandbox):
    with DAG("path_of_upstream", schedule=None) as dag:
        where = task(lambda: ObjectStoragePath(f"file://{people}"), task_id="where")()
        FileToMeisaSequenceOperator(
            task_id="task", path=where, sequence_slug="onboarding", outcomes_path=tmp_path / "out.jsonl"
        )
    assert run(dag).states == {"where": "success", "task": "success"}
    assert outcomes(tmp_path / "out.jsonl") == [ADA]


@pytest.mark.parametrize("before", ["", " ", "\n", "\ufeff"])
@pytest.mark.parametrize("behind", [" ", "\n", " \t\r\n", "\u00a0", "\u200b"])
@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_blanks_around_a_path_do_not_count(tmp_path, people, kind, before, behind):
    assert locate(kind(f"{before}{people}{behind}")) == people


def test_blanks_that_a_template_leaves_do_not_count(run_task, tmp_path, people, meisa_sandbox):
    ran = run_task(
        FileToMeisaSequenceOperator,
        path=f"\n{{% if true %}}\n{people}\n{{% endif %}} ",
        outcomes_path=f"{tmp_path}/out.jsonl\n",
        staging_path=f" {tmp_path}/staged ",
        sequence_slug="onboarding",
    )
    assert ran.state == "success"
    assert outcomes(tmp_path / "out.jsonl") == [ADA]
    assert (tmp_path / "staged").is_dir()


@pytest.mark.parametrize("blank", ["", " ", "\n \t"])
def test_blank_path_is_empty(run_task, meisa_sandbox, everything_written, blank):
    ran = run_task(FileToMeisaSequenceOperator, path=blank, format="csv", sequence_slug="onboarding")
    assert ran.state == "failed"
    assert writes(meisa_sandbox) == []
    assert "A path is empty; give a local path or a URI." in everything_written()


@pytest.mark.parametrize("value", [b"/tmp/x.csv", 7, ["x.csv"], {"path": "x.csv"}])
def test_other_than_a_path_is_refused(run_task, meisa_sandbox, everything_written, value):
    ran = run_task(FileToMeisaSequenceOperator, path=value, format="csv", sequence_slug="onboarding")
    assert ran.state == "failed"
    assert writes(meisa_sandbox) == []
    assert "path must be a" in everything_written()


def test_lineage_of_a_path_is_that_of_its_text(people, made):
    assert file_dataset(made(people)) == file_dataset(str(people))
    assert FileToMeisaSequenceOperator(
        task_id="task", path=made(people), sequence_slug="onboarding"
    ).lineage_inputs() == [file_dataset(str(people))]


def test_connection_in_an_object_is_kept():
    operator = FileToMeisaSequenceOperator(
        task_id="task",
        path=ObjectStoragePath("s3://bucket/people.csv", conn_id="lake"),
        outcomes_path=ObjectStoragePath("s3://other@bucket/out.csv"),
        sequence_slug="onboarding",
    )
    assert operator.path == "s3://lake@bucket/people.csv"
    assert operator.outcomes_path == "s3://other@bucket/out.csv"


# A store without folders, as S3 is: one is there as long as something is in it.


@pytest.fixture
def bucket(memory_store, monkeypatch):
    for name in ("mkdir", "makedirs"):
        monkeypatch.setattr(MemoryFileSystem, name, lambda *_, **__: None)
    if memory_store.exists("/bucket"):
        memory_store.rm("/bucket", recursive=True)
    return memory_store


@pytest.mark.parametrize("kind", [str, ObjectStoragePath])
def test_store_without_folders_is_written(run_task, bucket, meisa_sandbox, kind):
    bucket.pipe("/bucket/people.csv", f"email\n{ADA}\n".encode())
    ran = run_task(
        FileToMeisaSequenceOperator,
        path=kind("memory://bucket/people.csv"),
        outcomes_path=kind("memory://bucket/new/out.jsonl"),
        staging_path=kind("memory://bucket/staged"),
        sequence_slug="onboarding",
    )
    assert ran.state == "success"
    assert sorted(bucket.find("/bucket")) == ["/bucket/new/out.jsonl", "/bucket/people.csv"]
    assert json.loads(bucket.cat("/bucket/new/out.jsonl"))["address"] == ADA


def test_no_path_object_is_left_in_a_task(tmp_path):
    task = MeisaBulkEnrollOperator(
        task_id="task", emails=[ADA], sequence_slug="onboarding", staging_path=tmp_path, outcomes_path=None
    )
    assert task.staging_path == os.fspath(tmp_path)
    assert task.outcomes_path is None


def test_blanks_around_a_plan_do_not_count(run_task, tmp_path, people, meisa_sandbox):
    task = {"path": people, "staging_path": tmp_path / "staged", "sequence_slug": "onboarding"}
    planned = run_task(FileToMeisaSequenceOperator, preview=True, **task).xcom("task")["plan"]
    people.write_text("email\nbob@example.com\n")
    ran = run_task(FileToMeisaSequenceOperator, plan=f"\n{planned} \n", **task)
    assert ran.state == "success"
    assert [row["email"] for row in meisa_sandbox.enrollments("onboarding")] == [ADA]


def test_blank_plan_is_refused(run_task, people, meisa_sandbox):
    ran = run_task(FileToMeisaSequenceOperator, path=people, plan=" \n", sequence_slug="onboarding")
    assert ran.state == "failed"
    assert writes(meisa_sandbox) == []
