"""What the log of a task shows of its failure."""

import logging
import traceback

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
)

from airflow_provider_meisa.hooks.failures import FailureLog
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from tests.support.task import fake_context


@pytest.fixture
def failed(meisa_connection, no_backoff, caplog):
    """Run a task that fails; return its exception, and what is logged as an error."""

    def run(kind=MeisaBulkEnrollOperator, **arguments):
        task = kind(task_id="task", **{"sequence_slug": "onboarding", **arguments})
        with pytest.raises(AirflowException) as raised:
            task.execute(fake_context())
        lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        return raised.value, lines

    return run


def frames_of_ours(error):
    """Return the modules of this package in a traceback as Python prints it, with causes."""
    printed = "".join(traceback.format_exception(error))
    return [line for line in printed.splitlines() if "airflow_provider_meisa/" in line]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"emails": ["a@example.com"], "sequence_slug": "onbording"},
            "MeisaSequenceNotFoundError: No sequence has",
        ),
        ({"emails": ["broken"]}, "onboarding: no valid address in 1 rows"),
    ],
)
def test_failure_is_one_line_without_frames_of_ours(failed, arguments, message):
    error, [line] = failed(**arguments)
    assert isinstance(error, AirflowFailException)
    assert line.startswith(message)
    assert line.endswith(" Airflow does not retry the task.")
    assert len(frames_of_ours(error)) <= 3


def test_failure_of_one_contact_is_one_line(failed, meisa_connection):
    meisa_connection(password="meisa_live_revoked")
    error, [line] = failed(MeisaEnrollOperator, contact_email="a@example.com")
    assert line.startswith("MeisaKeyError: POST /sequences/enroll/: Meisa does not accept the API key (401).")
    assert len(frames_of_ours(error)) <= 1


def test_failure_that_is_retried_says_so(failed, meisa_sandbox):
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", times=None)
    error, [line] = failed(emails=["a@example.com"])
    assert not isinstance(error, AirflowFailException)
    assert line.endswith(" Airflow retries the task, if it has retries left.")
    assert type(error.__cause__).__name__ == "MeisaServerError"


def test_unknown_connection_is_one_line(failed):
    error, [line] = failed(emails=["a@example.com"], meisa_conn_id="nowhere")
    assert isinstance(error, AirflowNotFoundException)
    assert "nowhere" in line
    assert line.endswith(" Airflow retries the task, if it has retries left.")
    assert len(frames_of_ours(error)) <= 3
    assert "in get_connection" not in "".join(traceback.format_exception(error))


def test_unknown_connection_of_a_function_keeps_its_traceback(caplog):
    with pytest.raises(AirflowNotFoundException) as raised, FailureLog():
        raise AirflowNotFoundException("The conn_id `warehouse` isn't defined")
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(raised.traceback) == 1


def test_exception_of_other_code_keeps_its_traceback(caplog):
    with pytest.raises(AirflowException) as raised, FailureLog():
        raise AirflowException("of a function of yours")
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(raised.traceback) == 1


def test_bug_keeps_its_traceback(caplog):
    with pytest.raises(ZeroDivisionError), FailureLog():
        _ = 1 / 0
    assert not caplog.records


def test_debug_has_the_whole_traceback(failed, caplog):
    caplog.set_level(logging.DEBUG, logger="airflow.task.meisa")
    failed(emails=["a@example.com"], sequence_slug="onbording")
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.levelno == logging.DEBUG
