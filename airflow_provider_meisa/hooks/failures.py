"""The failure of a task in its log: one line, and a short traceback for what is not a bug."""

from __future__ import annotations

import logging
from types import TracebackType

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

log = logging.getLogger("airflow.task.meisa")

_OURS = "airflow_provider_meisa."
_FINAL = (AirflowFailException, AirflowSensorTimeout)


class FailureLog:
    """Logs the failure of a task, before Airflow logs its traceback, and shortens that to Airflow's own frames.

    An exception from other code, such as that of a function of yours, keeps its traceback. Airflow takes the retry of
    a task from the exception and its ``__cause__``, so these stay as they are. With the log level DEBUG, the whole
    traceback is logged as well.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, AirflowException) or isinstance(error, AirflowSkipException):
            return
        if not _is_ours(trace) and not (
            isinstance(error, AirflowNotFoundException) and _is_of_airflow(trace)
        ):
            return
        log.error("%s %s", in_one_line(error), _what_follows(error))
        log.debug("The traceback of this failure", exc_info=error)
        _shorten(error)


def in_one_line(error: BaseException) -> str:
    """Return the message of an exception, after the class of the `MeisaError` that caused it."""
    cause = error.__cause__
    kind = f"{type(cause).__name__}: " if type(cause).__module__.startswith(_OURS) else ""
    text = " ".join(str(error).split())
    return f"{kind}{text}" if text.endswith((".", "!", "?")) else f"{kind}{text}."


def _what_follows(error: BaseException) -> str:
    if isinstance(error, _FINAL):
        return "Airflow does not retry the task."
    return "Airflow retries the task, if it has retries left."


def _is_ours(trace: TracebackType | None) -> bool:
    """Return whether an exception was raised by this package, as opposed to code that it calls."""
    *_, name = "", *_modules(trace)
    return name.startswith(_OURS)


def _is_of_airflow(trace: TracebackType | None) -> bool:
    """Return whether only this package and Airflow were running, and no function of a DAG."""
    return all(name.startswith((_OURS, "airflow.")) for name in _modules(trace))


def _modules(trace: TracebackType | None) -> list[str]:
    """Return the names of the modules in a traceback, the one that has raised last."""
    names = []
    while trace is not None:
        names.append(str(trace.tb_frame.f_globals.get("__name__", "")))
        trace = trace.tb_next
    return names


def _shorten(error: BaseException) -> None:
    """Remove the frames of an exception and those of its causes; a cause without frames is not shown by Airflow 3."""
    error.__traceback__ = None
    error.__suppress_context__ = True
    cause = error.__cause__
    if cause is not None:
        cause.__traceback__ = None
        cause.__cause__, cause.__suppress_context__ = None, True
