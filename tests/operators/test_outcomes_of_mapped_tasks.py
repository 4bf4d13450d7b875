"""Each mapped task has an outcomes file of its own, and no task breaks another one's."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task, task_group

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from tests.support.task import Task

GROUPS = [["ada@example.com", "alan@example.com"], ["grace@example.com"], ["edsger@example.com"]]


def addresses(path):
    return [json.loads(line)["address"] for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outcomes"


def files(folder):
    return {path.name: addresses(path) for path in folder.iterdir()}


def mapped(outcomes_path, dag_id, **arguments):
    with DAG(dag_id, schedule=None, **arguments) as dag:
        MeisaBulkEnrollOperator.partial(
            task_id="task",
            sequence_slug="onboarding",
            **({"outcomes_path": outcomes_path} if outcomes_path else {}),
        ).expand(emails=GROUPS)
    return dag


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".jsonl.gz", ".csv.gz"])
def test_each_mapped_task_has_its_own_file(run, meisa_sandbox, folder, suffix, everything_written):
    ran = run(mapped(f" {folder}/out.d/rejects{suffix}\n", f"mapped_file{suffix.replace('.', '_')}"))
    assert set(ran.states.values()) == {"success"}
    expected = [f"{folder}/out.d/rejects-{index}{suffix}" for index in range(3)]
    assert [ran.xcom(map_index=index)["outcomes_path"] for index in range(3)] == expected
    assert sorted(str(path) for path in (folder / "out.d").iterdir()) == expected
    assert f"The outcomes file has the map index in its name: rejects-2{suffix}" in everything_written()


def test_files_of_mapped_tasks_have_their_own_lines(run, meisa_sandbox, folder):
    assert set(run(mapped(folder / "all.jsonl", "mapped_lines")).states.values()) == {"success"}
    assert files(folder) == {f"all-{index}.jsonl": emails for index, emails in enumerate(GROUPS)}


def test_path_of_default_args_has_the_map_index_too(run, meisa_sandbox, folder):
    ran = run(mapped(None, "mapped_defaults", default_args={"outcomes_path": f"{folder}/all.jsonl"}))
    assert set(ran.states.values()) == {"success"}
    assert files(folder) == {f"all-{index}.jsonl": emails for index, emails in enumerate(GROUPS)}


def test_path_with_the_map_index_stays_as_it_is(run, meisa_sandbox, folder):
    ran = run(mapped(f"{folder}/{{{{ ti.map_index }}}}-rejects.jsonl", "mapped_template"))
    assert set(ran.states.values()) == {"success"}
    assert files(folder) == {f"{index}-rejects.jsonl": emails for index, emails in enumerate(GROUPS)}


@pytest.mark.parametrize("how", ["expand", "expand_kwargs", "xcom"])
def test_path_that_is_mapped_itself_stays_as_it_is(run, meisa_sandbox, folder, how):
    kwargs = [
        {"emails": emails, "outcomes_path": f"{folder}/{emails[0].partition('@')[0]}.jsonl"}
        for emails in GROUPS
    ]
    with DAG(f"mapped_paths_{how}", schedule=None) as dag:
        partial = MeisaBulkEnrollOperator.partial(task_id="task", sequence_slug="onboarding")
        if how == "xcom":
            partial.expand_kwargs(task(lambda: kwargs, task_id="arguments")())
        elif how == "expand_kwargs":
            partial.expand_kwargs(kwargs)
        else:
            paths = [one["outcomes_path"] for one in kwargs]
            MeisaBulkEnrollOperator.partial(
                task_id="task", sequence_slug="onboarding", emails=["ada@example.com"]
            ).expand(outcomes_path=paths)
    assert set(run(dag).states.values()) == {"success"}
    assert sorted(files(folder)) == ["ada.jsonl", "edsger.jsonl", "grace.jsonl"]


def test_mapped_task_group_has_a_file_for_each_index(run, meisa_sandbox, folder):
    (folder / "in").mkdir(parents=True)
    for index, emails in enumerate(GROUPS):
        (folder / "in" / f"{index}.csv").write_text("\n".join(["email", *emails]))
    with DAG("mapped_group", schedule=None) as dag:

        @task_group
        def each(path, outcomes):
            same = {"sequence_slug": "onboarding", "path": path}
            FileToMeisaSequenceOperator(task_id="one", outcomes_path=f"{folder}/out/all.jsonl", **same)
            FileToMeisaSequenceOperator(task_id="two", outcomes_path=outcomes, **same)

        each.expand_kwargs(
            [
                {"path": f"{folder}/in/{index}.csv", "outcomes": f"{folder}/out/group{index}.jsonl"}
                for index in range(3)
            ]
        )
    assert set(run(dag).states.values()) == {"success"}
    assert files(folder / "out") == {
        **{f"all-{index}.jsonl": emails for index, emails in enumerate(GROUPS)},
        **{f"group{index}.jsonl": emails for index, emails in enumerate(GROUPS)},
    }


def of_run(emails, index=-1, task_id="task", run_id="run", **arguments):
    made = Task(emails, **arguments)
    made.ti.map_index, made.ti.task_id, made.ti.run_id = index, task_id, run_id
    return made


def test_mapped_tasks_at_the_same_time_keep_their_lines(meisa_connection, meisa_sandbox, folder):
    many = [[f"person{number}.{index}@example.com" for number in range(1200)] for index in range(4)]
    tasks = [of_run(emails, index, outcomes_path=f"{folder}/all.jsonl") for index, emails in enumerate(many)]
    with ThreadPoolExecutor(4) as pool:
        summaries = list(pool.map(Task.run, tasks))
    assert [summary["outcomes_path"] for summary in summaries] == [
        f"{folder}/all-{index}.jsonl" for index in range(4)
    ]
    assert {name: sorted(lines) for name, lines in files(folder).items()} == {
        f"all-{index}.jsonl": sorted(emails) for index, emails in enumerate(many)
    }


def stopped(meisa_sandbox, **arguments):
    """Return a task whose first attempt was stopped after its first batch."""
    meisa_sandbox.fault("status", status=500, path="bulk", skip=1)
    made = of_run([f"person{number}@example.com" for number in range(600)], max_in_flight=1, **arguments)
    with pytest.raises(Exception, match="500"):
        made.run()
    meisa_sandbox.clear_faults()
    return made


def test_second_task_with_the_same_file_sends_nothing(
    meisa_connection, meisa_sandbox, no_backoff, resend_after, folder
):
    path = folder / "all.jsonl"
    first = stopped(meisa_sandbox, task_id="first", outcomes_path=path)
    second = of_run(["ada@example.com"], task_id="second", outcomes_path=path)
    before = len(meisa_sandbox.requests())
    with pytest.raises(AirflowFailException, match=r"The task first of this run has the same outcomes_path"):
        second.run()
    assert [each["method"] for each in meisa_sandbox.requests()[before:]] == ["GET"]
    assert first.run()["counts"]["enrolled"] + first.run()["counts"]["already_enrolled"] == 600
    assert len(addresses(path)) == 600
    assert second.run()["counts"]["enrolled"] == 1  # the first has ended


def test_file_of_another_run_is_replaced(meisa_connection, meisa_sandbox, no_backoff, resend_after, folder):
    path = folder / "all.jsonl"
    stopped(meisa_sandbox, outcomes_path=path)
    next_run = of_run(["ada@example.com"], run_id="next", outcomes_path=path)
    assert next_run.run()["counts"]["enrolled"] == 1
    assert files(folder) == {"all.jsonl": ["ada@example.com"]}
