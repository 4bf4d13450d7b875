"""The commands, in this process or in one of their own, against the sandbox."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from typing import NamedTuple

import pytest

from airflow_provider_meisa.cli.__main__ import main

MODULE = [sys.executable, "-m", "airflow_provider_meisa.cli"]


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def meisa(meisa_connection, monkeypatch, capfd):
    """Run a command as the program does, and return its exit status and output."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")  # so that what a command sets here goes with the test
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def carry_out(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return Ended(ended.value.code, *capfd.readouterr())

    return carry_out


@pytest.fixture
def typed(meisa, monkeypatch):
    """Type a response on a terminal."""
    opened = []

    def type_reply(text):
        keyboard, terminal = pty.openpty()
        opened.append(keyboard)
        os.write(keyboard, text.encode())
        monkeypatch.setattr("sys.stdin", os.fdopen(terminal))

    yield type_reply
    for keyboard in opened:
        os.close(keyboard)


@pytest.fixture
def heeds_ctrl_c():
    """Let the commands of a test react to Ctrl+C, which a background job and its children ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def started(meisa_connection, heeds_ctrl_c):
    """Start a command in a process of its own."""
    processes = []

    def start(*arguments, **options):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([*MODULE, *map(str, arguments)], text=True, **streams)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@pytest.fixture
def people(tmp_path):
    """Write a file of contacts."""

    def write(count, *others, name="people.txt"):
        file = tmp_path / name
        lines = [*(f"person{number}@example.com" for number in range(count)), *others]
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    return write
