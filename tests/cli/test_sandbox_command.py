"""`sandbox` starts the sandbox's own program."""

import json
import os
import signal
import subprocess
import sys

import pytest

from airflow_provider_meisa.cli.commands import SANDBOX
from airflow_provider_meisa.sandbox import __main__ as program

COMMAND = [sys.executable, "-m", "airflow_provider_meisa.cli", "sandbox"]


def test_it_takes_what_the_program_takes():
    theirs = {
        option.option_strings[0]: (option.type, option.nargs, option.metavar)
        for option in program._parser()._actions
        if option.dest not in ("help", "version")
    }
    ours = {
        argument.flags[0]: (
            argument.options.get("type"),
            0 if argument.options.get("action") == "store_true" else None,
            argument.options.get("metavar"),
        )
        for argument in SANDBOX
    }
    assert ours == theirs


@pytest.fixture
def sandbox():
    processes = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def test_it_runs_with_its_options_until_it_is_stopped(sandbox, tmp_path, meisa_connection, meisa):
    process = sandbox(
        *("--database", str(tmp_path / "kept.db"), "--rate-limits", "2/hour", "--latency", "1"),
        *("--key", "meisa_test_mine=sequences:read", "--key", "meisa_live_mine"),
    )
    url = process.stdout.readline().strip()
    meisa_connection(host=url, password="meisa_test_mine")
    (row,) = json.loads(meisa("ping", "-o", "json").out)
    assert (row["environment"], row["scopes"]) == ("test", ["sequences:read"])
    assert (tmp_path / "kept.db").exists()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def test_what_the_sandbox_refuses_ends_it_with_a_sentence(sandbox):
    process = sandbox("--host", "0.0.0.0")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert "--allow-public" in err
    assert "Traceback" not in err


def test_without_the_extra_it_says_how_to_install_it(sandbox, tmp_path):
    (tmp_path / "sitecustomize.py").write_text('import sys\nsys.modules["fastapi"] = None\n')
    process = sandbox(PYTHONPATH=str(tmp_path))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert "pip install 'airflow-provider-meisa[sandbox]'" in err
    assert "Traceback" not in err
