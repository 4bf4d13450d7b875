"""The progress of a long run: a bar on a terminal, elsewhere a line for each long wait."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from airflow_provider_meisa.cli.sentences import say_wait

_REDRAWN = 4  # times a second


class Screen:
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
        """Show how many addresses have their verdict."""
        self._bar.update(self._task, completed=done)

    def wait(self, seconds: float) -> None:
        """Count a wait down; callable from any thread."""
        if self._bar.disable:
            say_wait(seconds)
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
