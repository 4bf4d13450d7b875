"""The page on the commands shows their real output."""

import re
import shlex
from pathlib import Path

import pytest

from airflow_provider_meisa.cli.__main__ import parser
from airflow_provider_meisa.cli.output import ExitStatus
from tests.support.commands import named_commands
from tests.support.people import people as people_of
from tests.support.task import Task

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "cli.md").read_text(encoding="utf-8")
SHOWN = {
    shlex.join(words): block.splitlines()[1:]
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    if (words := shlex.split(block.splitlines()[0].removeprefix("$ airflow meisa ")))
}
RUN = "nightly/enroll/scheduled__2026-11-25T00:00:00+00:00"
TIME = r"\d+-\d+-\d+T\d+:\d+:\d+Z"
INTERRUPTED = [command for command, lines in SHOWN.items() if "Interrupted." in lines]


def alike(lines):
    """Leave out what differs from run to run: figures, and with them the width of columns."""
    words = (" ".join(re.sub(rf"{TIME}|\d[\d.,:]*\b", "N", line).split()) for line in lines)
    return sorted(line for line in words if line.strip("=+ "))


def test_the_page_shows_every_command():
    unshown = {
        name
        for name, _ in named_commands()
        if not any(f"{command} ".startswith(f"{name} ") for command in SHOWN)
    }
    assert unshown == set()


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_of_the_page_is_understood(command):
    parser().parse_args(shlex.split(command))


@pytest.mark.parametrize(
    "command", [command for command, lines in SHOWN.items() if lines and command not in INTERRUPTED]
)
def test_a_command_says_what_the_page_shows(
    command, meisa, meisa_sandbox, meisa_connection, typed, people, monkeypatch, tmp_path
):
    meisa_connection(extra={"rate_limit_storage": f"file://{tmp_path}/rate_limits"})
    people(600, "person1@example.com", "no address", "bounced@example.com", name="leads.txt")
    text = (tmp_path / "leads.txt").read_text()
    (tmp_path / "leads.csv").write_text(f"email\n{text}")
    monkeypatch.chdir(tmp_path)
    if command.startswith("ledger"):
        monkeypatch.setenv("AIRFLOW__MEISA__LEDGER_PATH", str(tmp_path))
        night = Task(people_of(9), ledger="reactivation", again_after="never")
        night.ti.dag_id, night.ti.task_id, night.ti.run_id = RUN.split("/")
        night.run()
        Task(people_of(600, start=100), outcomes_path=str(tmp_path / "outcomes.csv")).run()
        (tmp_path / "requests.txt").write_text("person1@example.com\nperson700@example.com\n")
    if command.startswith("enrollments"):
        meisa_sandbox.seed_enrollments("onboarding", ["person7@example.com"])
    typed("y\n")
    ended = meisa(*shlex.split(command))
    message = (ended.out + ended.err).replace("[y/N] ", "[y/N] y\n")
    assert alike(message.splitlines()) == alike(SHOWN[command])


def test_the_page_names_every_exit_status():
    assert set(map(int, re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE))) == set(ExitStatus)


def test_the_page_explains_every_option_of_enroll_file():
    (command,) = (command for name, command in named_commands() if name == "enroll-file")
    flags = {flag for argument in command.arguments for flag in argument.flags if flag.startswith("--")}
    assert {flag for flag in flags if f"`{flag}" not in PAGE} <= {"--sequence", "--output", "--verbose"}
