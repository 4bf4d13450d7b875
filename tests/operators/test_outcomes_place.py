"""The end of the log and the summary show where the outcomes file is."""

from __future__ import annotations

import logging

import pytest
from airflow.providers.common.compat.sdk import AirflowException

EMAILS = ["ada@example.com", "alan@example.com", "broken"]


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="airflow.task.meisa")
    return lambda: [text for text in caplog.messages if text.startswith("Outcomes file ")]


@pytest.mark.parametrize("name", ["all.jsonl", "all.csv", "all.csv.gz"])
def test_log_ends_with_place_and_number_of_lines(task, tmp_path, lines, name):
    task(EMAILS, outcomes_path=tmp_path / name).run()
    assert lines() == [f"Outcomes file {tmp_path / name}: 3 lines"]


def test_rejects_of_a_stopped_run_are_logged_and_written(task, tmp_path, lines, meisa_sandbox):
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", times=1)
    with pytest.raises(AirflowException):
        task(EMAILS, outcomes_path=tmp_path / "rejects.jsonl", rejects_only=True).run()
    assert lines() == [f"Outcomes file {tmp_path / 'rejects.jsonl'}: 3 lines"]
    assert (tmp_path / "rejects.jsonl").read_text().count("untried") == 2


def test_one_line_is_not_called_lines(task, tmp_path, lines):
    task(EMAILS, outcomes_path=tmp_path / "rejects.jsonl", rejects_only=True).run()
    assert lines() == [f"Outcomes file {tmp_path / 'rejects.jsonl'}: 1 line"]


def test_relative_path_becomes_absolute(task, tmp_path, lines, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summary = task(EMAILS, outcomes_path="out/all.jsonl").run()
    assert summary["outcomes_path"] == str(tmp_path / "out" / "all.jsonl")
    assert lines() == [f"Outcomes file {summary['outcomes_path']}: 3 lines"]
    assert (tmp_path / "out" / "all.jsonl").exists()


def test_path_that_leads_upwards_stays_refused(task, tmp_path, monkeypatch, meisa_sandbox):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AirflowException, match="must not lead upwards"):
        task(EMAILS, outcomes_path="../all.jsonl").run()
    assert not meisa_sandbox.requests()
