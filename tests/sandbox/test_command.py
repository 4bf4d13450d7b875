"""The command, as a program of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import requests

from airflow_provider_meisa.sandbox import __main__ as command
from airflow_provider_meisa.sandbox import extra

COMMAND = [sys.executable, "-m", "airflow_provider_meisa.sandbox"]


@contextmanager
def running(*arguments):
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_first_line_is_its_address_and_it_stops_cleanly_when_told(tmp_path, number):
    kept = tmp_path / "kept.db"
    with running("--port", "0", "--database", str(kept), "--key", "meisa_test_mine=sequences:read") as (
        process,
        url,
    ):
        headers = {"X-API-Key": "meisa_test_mine"}
        response = requests.get(f"{url}/api/v1/ping/", headers=headers, timeout=10).json()
        assert (response["environment"], response["scopes"]) == ("test", ["sequences:read"])
        process.send_signal(number)
        process.wait(timeout=20)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0
    assert rest.splitlines()[0] == f"Database: {kept}"
    assert f"{url}/api/v1" in rest
    assert errors == ""
    assert "meisa_" not in rest
    assert kept.exists()


def test_without_a_database_it_says_where_the_temporary_one_is():
    with running("--rate-limits", "1/minute", "--latency", "1", "--key", "meisa_live_all") as (process, url):
        assert "temporary" in process.stdout.readline()
        statuses = [
            requests.get(
                f"{url}/api/v1/ping/", headers={"X-API-Key": "meisa_live_all"}, timeout=10
            ).status_code
            for _ in range(2)
        ]
        assert statuses == [200, 429]


def test_a_port_in_use_ends_it_with_a_word_on_what_to_do():
    with running() as (_process, url):
        port = url.rpartition(":")[2]
        done = subprocess.run(
            [*COMMAND, "--port", port], capture_output=True, text=True, timeout=20, check=False
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"meisa-sandbox: The sandbox cannot listen on 127.0.0.1 port {port}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate-limits", "often"], "write it like"),
        (["--host", "0.0.0.0"], "--allow-public"),
        (["--key", "k=fly"], "Unknown scope 'fly'"),
        (["--database", "/nowhere/at/all.db"], "choose another file"),
    ],
)
def test_arguments_that_make_no_sense_end_it_with_a_word_on_what_to_do(arguments, words, capsys):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert command.main(arguments) == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.out == ""


def _stop_on_the_last_words(words, **_options):
    if "Ctrl+C" in words:
        os.kill(os.getpid(), signal.SIGTERM)


def test_it_runs_and_returns_within_this_process_too(mocker):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    mocker.patch("builtins.print", side_effect=_stop_on_the_last_words)
    try:
        assert command.main([]) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_without_the_extra_it_says_how_to_install_it(mocker, capsys):
    mocker.patch.object(extra, "find_spec", return_value=None)
    assert command.main([]) == 1
    shown = capsys.readouterr().err
    assert "fastapi and uvicorn" in shown
    assert "pip install 'airflow-provider-meisa[sandbox]'" in shown


def test_it_tells_its_version_and_its_options():
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=20, check=True)
    for option in ("--host", "--port", "--database", "--rate-limits", "--latency", "--key", "--allow-public"):
        assert option in done.stdout
