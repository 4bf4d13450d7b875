"""What a command prints: messages, rows, the progress of a long run; and its exit status."""

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
_LONG = 5.0  # seconds; a shorter wait gets no line
_REDRAWN = 4  # times a second

Row = dict[str, Any]

# Messages: everything that is not a result, on standard error; of the logs, only those of this package.


def print_message(message: str) -> None:
    """Print a message on standard error."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def ask(question: str) -> bool:
    """Ask a question on the terminal; only ``y`` and ``yes`` agree."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_wait(seconds: float) -> None:
    """Print how long a wait lasts and when it ends, if it is long."""
    if seconds > _LONG:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        print_message(f"Waiting {seconds:,.0f} s, until {until:%H:%M:%S} UTC.")


@contextmanager
def logs_to_stderr(*, verbose: bool) -> Iterator[None]:
    """Print the logs of this package: warnings, or everything if ``verbose``. Ignore warnings of Python."""
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


# Rows: the result of a command, in the requested format.


def show(rows: Sequence[Row], output: str) -> None:
    """Print rows as Airflow's other commands do. In JSON and YAML, numbers stay numbers.

    :param output: ``table``, ``json``, ``yaml`` or ``plain``.
    """
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    console = AirflowConsole()
    listed: Any = list(rows)  # Airflow annotates a dict, but passes lists itself
    match output:
        case "json":
            console.print_as_json(listed)
        case "yaml":
            console.print_as_yaml(listed)
        case "plain":
            if rows:  # without rows, Airflow prints a sentence, which a program would read as a row
                console.print_as([_in_words(row) for row in rows], "plain")
        case _:
            words = [_in_words(row) for row in rows]
            console.print_as([{name: escape(text) for name, text in row.items()} for row in words], "table")


def _in_words(row: Row) -> dict[str, str]:
    return {name: _text(value) for name, value in row.items()}


def _text(value: object) -> str:
    """Return a value as one printable line, without control sequences that a terminal would obey."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {of_it}" for name, of_it in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value is None else redact(str(value))


# The progress of a long run: a bar on a terminal, otherwise a line for each long wait.


class ProgressBar:
    """Shows the progress of a run on standard error, for a ``with`` block.

    :param total: the number of addresses.
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
        """Show how many addresses have a status."""
        self._bar.update(self._task, completed=done)

    def wait(self, seconds: float) -> None:
        """Count down a wait. Any thread may call it."""
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
        if not self._bar.disable:  # rich 13 prints an empty line when a disabled bar stops
            self._bar.stop()


class _Countdown(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.fields["until"] - time.monotonic()
        if left <= 0:
            return Text("")
        minutes, seconds = divmod(round(left), 60)
        return Text(f"waiting {minutes}:{seconds:02}")


# The exit status, and one sentence for each expected error.


class ExitStatus(IntEnum):
    """The exit status of a command."""

    FINE = 0
    FAILED = 1
    """Meisa responded with an error or not at all, the file is missing, or too many addresses failed."""
    USAGE_ERROR = 2
    """The arguments, the connection or the content of the file are invalid."""
    INTERRUPTED = 130
    """Ctrl+C, as shells report it."""


def command(perform: Callable[[Namespace], ExitStatus]) -> Callable[[Namespace], NoReturn]:
    """Return a command that ends the process with its exit status."""

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
        except (MeisaError, AirflowException) as error:  # Airflow's: from the connection to an object store
            print_message(str(error))
            return ExitStatus.FAILED
        except KeyboardInterrupt:
            print_message("Interrupted.")
            return ExitStatus.INTERRUPTED
