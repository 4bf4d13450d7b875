"""What a command prints, and how it ends: sentences, rows, the progress of a long run, its exit status."""

from __future__ import annotations

import functools
import logging
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from types import TracebackType
from typing import Any, NoReturn, Self

from airflow.providers.common.compat.sdk import AirflowException
from airflow.utils.providers_configuration_loader import providers_configuration_loaded
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from airflow_provider_meisa.api.errors import MeisaError, MeisaInputError
from airflow_provider_meisa.api.redaction import redact

_OURS = ("airflow.task.meisa", "airflow_provider_meisa")
_LONG = 5.0  # seconds; a shorter wait is not worth a line
_REDRAWN = 4  # times a second

Row = dict[str, Any]


# Sentences: what is said that is no result, on standard error, and of the logs only our own.


def print_message(message: str) -> None:
    """Say something on standard error."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def print_wait(seconds: float) -> None:
    """Say until when a wait lasts, if it is long."""
    if seconds > _LONG:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        print_message(f"Waiting {seconds:,.0f} s, until {until:%H:%M:%S} UTC.")


@contextmanager
def logs_to_stderr(*, verbose: bool) -> Iterator[None]:
    """Say what our code logs: warnings, or if ``verbose`` everything. What else would be in the way is dropped."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in _OURS:
            stack.enter_context(
                _logged(logging.getLogger(name), logging.INFO if verbose else logging.WARNING)
            )
        yield


@contextmanager
def _logged(logger: logging.Logger, level: int) -> Iterator[None]:
    before = logger.level, logger.propagate
    speaker = _MessageHandler()
    logger.addHandler(speaker)
    logger.propagate = False
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(speaker)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _MessageHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_message(record.getMessage())


# Rows: what a command has found, in the format that was asked for.


def show(rows: Sequence[Row], output: str) -> None:
    """Print rows as Airflow's other commands do; in JSON and YAML numbers stay numbers.

    :param output: ``table``, ``json``, ``yaml`` or ``plain``.
    """
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    console = AirflowConsole()
    listed: Any = list(rows)  # Airflow annotates a dict, and passes lists itself
    match output:
        case "json":
            console.print_as_json(listed)
        case "yaml":
            console.print_as_yaml(listed)
        case "plain":
            if rows:  # of none Airflow would print a sentence, which a program would take for a row
                console.print_as([_in_words(row) for row in rows], "plain")
        case _:
            words = [_in_words(row) for row in rows]
            console.print_as([{name: escape(text) for name, text in row.items()} for row in words], "table")


def _in_words(row: Row) -> dict[str, str]:
    return {name: _text(value) for name, value in row.items()}


def _text(value: object) -> str:
    """Put a value into one printable line: a terminal obeys what a foreign text may hold."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {of_it}" for name, of_it in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value is None else redact(str(value))


# The progress of a long run: a bar on a terminal, elsewhere a line for each long wait.


class ProgressBar:
    """Shows on standard error how far a run has come, for a ``with`` block.

    :param total: how many addresses there are.
    """

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} addresses"),
            _Countdown(),
            console=console,
            refresh_per_second=_REDRAWN,
            disable=not console.is_interactive,
        )
        self._task = self._bar.add_task("", total=total, until=0.0)

    def advance(self, done: int) -> None:
        """Show how many addresses have their status."""
        self._bar.update(self._task, completed=done)

    def wait(self, seconds: float) -> None:
        """Count a wait down; callable from any thread."""
        if self._bar.disable:
            print_wait(seconds)
        else:
            self._bar.update(self._task, until=time.monotonic() + seconds)

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.update(self._task, until=0.0)
        if not self._bar.disable:  # rich 13 ends a bar that is switched off with an empty line
            self._bar.stop()


class _Countdown(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.fields["until"] - time.monotonic()
        if left <= 0:
            return Text("")
        minutes, seconds = divmod(round(left), 60)
        return Text(f"waiting {minutes}:{seconds:02}")


# The end: an exit status, and a sentence for every error that is to be expected.


class ExitStatus(IntEnum):
    """The exit status of a command."""

    FINE = 0
    FAILED = 1
    """Meisa said no, did not answer, or too many addresses failed."""
    USAGE_ERROR = 2
    """The arguments, the connection or the file cannot be used."""
    INTERRUPTED = 130
    """Ctrl+C, as shells say it."""


def command(perform: Callable[[Namespace], ExitStatus]) -> Callable[[Namespace], NoReturn]:
    """Make a command that ends the process with its status."""

    @functools.wraps(perform)
    @providers_configuration_loaded
    def run(options: Namespace) -> NoReturn:
        raise SystemExit(int(_run_command(perform, options)))

    return run


def _run_command(perform: Callable[[Namespace], ExitStatus], options: Namespace) -> ExitStatus:
    with logs_to_stderr(verbose=options.verbose):
        try:
            return perform(options)
        except MeisaInputError as error:
            print_message(str(error))
            return ExitStatus.USAGE_ERROR
        except (MeisaError, AirflowException) as error:  # Airflow's: of the connection to a store of files
            print_message(str(error))
            return ExitStatus.FAILED
        except KeyboardInterrupt:
            print_message("Interrupted.")
            return ExitStatus.INTERRUPTED
