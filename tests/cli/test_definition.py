"""One definition of the commands, for Airflow's own command and for this package's program."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow import __version__
from airflow.cli.cli_config import DefaultHelpParser
from airflow.cli.cli_parser import _add_command
from packaging.version import Version

from airflow_provider_meisa.cli.__main__ import parser
from airflow_provider_meisa.cli.definition import get_cli_commands
from airflow_provider_meisa.get_provider_info import get_provider_info
from tests.support.commands import named_commands

AIRFLOW = Path(sys.executable).with_name("airflow")
MODULE = [sys.executable, "-m", "airflow_provider_meisa.cli"]
# Before 3.2 a provider cannot add commands to Airflow's own.
PROGRAMS = [MODULE, [AIRFLOW, "meisa"]] if Version(__version__) >= Version("3.2") else [MODULE]
MINIMUM = {
    "ping": [],
    "sequences": ["--status", "all"],
    "enrollments": ["ada@example.com"],
    "rate-limits": ["-o", "json"],
    "preview": ["a.csv", "--sequence", "onboarding", "--encoding", "cp1252"],
    "enroll-file": ["a.csv", "--sequence", "onboarding", "--max-failed", "0.1", "--column", "2", "-y"],
    "ledger clear": ["reactivation", "--run", "dag/task/run", "-y"],
    "ledger compact": ["reactivation"],
    "ledger export": ["reactivation", "-o", "jsonl"],
    "ledger forget": ["reactivation", "-", "-y"],
    "ledger record": ["reactivation", "a.jsonl", "--sequence", "onboarding", "--outcomes"],
    "ledger show": ["reactivation", "-o", "json"],
    "probe": ["--sequence", "onboarding", "-v"],
    "sandbox": ["--port", "8765", "--key", "a", "--key", "b"],
}


def airflow_parser():
    whole = DefaultHelpParser(prog="airflow")
    groups = whole.add_subparsers()
    for group in get_cli_commands():
        _add_command(groups, group)
    return whole


def without_function(options):
    return {
        name: value for name, value in vars(options).items() if name not in ("func", "function", "subcommand")
    }


@pytest.mark.parametrize("name", [name for name, _ in named_commands()])
def test_airflow_reads_a_command_as_our_own_program_does(name):
    words = [*name.split(), *MINIMUM[name]]
    theirs, ours = airflow_parser().parse_args(["meisa", *words]), parser().parse_args(words)
    assert without_function(theirs) == without_function(ours)
    assert theirs.func.__name__ == ours.function.rpartition(".")[2]


def test_airflow_is_told_of_the_commands():
    assert get_provider_info()["cli"] == [f"{get_cli_commands.__module__}.{get_cli_commands.__name__}"]


def test_defining_the_commands_loads_nothing_but_the_standard_library():
    program = (
        "import sys; from airflow.cli import cli_config; before = set(sys.modules);"
        "from airflow_provider_meisa.cli.definition import get_cli_commands; get_cli_commands();"
        "print(*(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    foreign = {name for name in ran.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names}
    ours = "airflow_provider_meisa"  # an editable install loads the package itself before us
    assert foreign | {ours} == {ours, f"{ours}.cli", f"{ours}.cli.commands", f"{ours}.cli.definition"}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda words: words[-1])
def test_a_command_responses_and_ends_with_its_status(program, meisa_sandbox, meisa_connection):
    fine = subprocess.run([*program, "ping", "-o", "json"], capture_output=True, text=True, check=False)
    assert fine.returncode == 0
    assert json.loads(fine.stdout)[0]["environment"] == "live"
    assert fine.stderr == ""
    wrong = subprocess.run(
        [*program, "ping", "--conn-id", "nowhere"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert wrong.stderr.startswith("There is no connection 'nowhere'.")
    assert "Traceback" not in wrong.stderr


@pytest.fixture
def in_database(airflow_database, meisa_sandbox):
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    fields = {"host": meisa_sandbox.url, "password": meisa_sandbox.key, "extra": "{}"}
    with create_session() as session:
        session.add(Connection("meisa_in_database", "meisa", **fields))
    yield "meisa_in_database"
    with create_session() as session:
        session.query(Connection).filter_by(conn_id="meisa_in_database").delete()


def test_a_connection_of_airflows_database_is_found(in_database):
    ran = subprocess.run(
        [*PROGRAMS[-1], "ping", "--conn-id", in_database, "-o", "plain"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "250"},
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[1].startswith("live")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["ping", "-o", "xml"],
        ["enroll-file", "a.csv"],
        ["enroll-file", "a.csv", "--sequence", "onboarding", "--max-failed", "1.5"],
        ["enroll-file", "a.csv", "--sequence", "onboarding", "--max-failed", "-1"],
        ["enroll-file", "a.csv", "--sequence", "onboarding", "--max-failed", "some"],
        ["enroll-file", "a.csv", "--sequence", "onboarding", "--max-failed", "nan"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_understood_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(words)
    assert ended.value.code == 2
    assert "usage: airflow-meisa" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "limit"), [("5", 5), ("0.5", 0.5), ("1.0", 1.0), ("None", None)])
def test_the_most_failures_are_a_number_a_share_or_no_limit(text, limit):
    options = parser().parse_args(["enroll-file", "a", "--sequence", "s", "--max-failed", text])
    assert options.max_failed == limit
    assert type(options.max_failed) is type(limit)
