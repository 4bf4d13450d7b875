"""What is said that is no result: sentences on standard error, and of the logs only our own."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

_OURS = ("airflow.task.meisa", "airflow_provider_meisa")
_LONG = 5.0  # seconds; a shorter wait is not worth a line


def say(sentence: str) -> None:
    """Say something on standard error."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def say_wait(seconds: float) -> None:
    """Say until when a wait lasts, if it is long."""
    if seconds > _LONG:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        say(f"Waiting {seconds:,.0f} s, until {until:%H:%M:%S} UTC.")


@contextmanager
def logs_said(*, verbose: bool) -> Iterator[None]:
    """Say what our code logs: warnings, or if ``verbose`` everything. What else would be in the way is dropped."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in _OURS:
            stack.enter_context(_said(logging.getLogger(name), logging.INFO if verbose else logging.WARNING))
        yield


@contextmanager
def _said(logger: logging.Logger, level: int) -> Iterator[None]:
    before = logger.level, logger.propagate
    speaker = _Speaker()
    logger.addHandler(speaker)
    logger.propagate = False
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(speaker)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Speaker(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())
