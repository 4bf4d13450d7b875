"""Test the built wheel on every line of Airflow: ``python dev/matrix/all.py ["2.11 3.3/3.12"]``.

Without lines, it tests all and writes the table into ``docs/versions.md``. A version takes about five minutes, most of
it waiting for rate limits on purpose, so several run at a time.
Everything listens on loopback and stops by itself. The environments are created in a temporary folder.
"""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import commands
import examples
import page
import scheduler
import world
from environment import EXTRAS, FOR_THE_EXAMPLES, Environment, Failed, build_wheel, output_of
from home import Home
from lines import Line, interpreter, wanted

_AT_ONCE = 3


def main(only: str) -> int:
    """Test the selected lines; return 1 if a step failed."""
    begun = time.monotonic()
    rows, missing = [], []
    with tempfile.TemporaryDirectory(prefix="meisa-matrix-", ignore_cleanup_errors=True) as folder:
        wheel = build_wheel(Path(folder) / "wheel")
        tries = []
        for line, python in wanted(only):
            if (found := interpreter(python)) is None:
                print(f"Airflow {line.airflow}: no Python {python} found, skipped.")
                missing.append(f"{python} (Airflow {line.airflow})")
                continue
            tries.append((line, found, wheel, Path(folder) / f"{line.name}-{python}"))
        # Processes, because leaving the block ends them together with their children.
        with multiprocessing.Pool(_AT_ONCE, initializer=_stop_on_signal) as pool:
            for row in pool.imap(_try_line, tries):
                rows.append(row)
                print(page.table([row]).splitlines()[-1], *row.reasons, sep="\n", flush=True)
    if not only:
        page.write(rows, missing, (time.monotonic() - begun) / 60)
    print("", page.table(rows), sep="\n")
    return 1 if any(row.reasons for row in rows) else 0


def _try_line(wanted: tuple[Line, Path, Path, Path]) -> page.Row:
    """Test one version, from its installation to its scheduler."""
    line, python, wheel, folder = wanted
    begun = time.monotonic()
    row = page.Row([line.airflow, _version(python)])
    environment = Environment(folder / "environment")
    home = Home(folder / "home", environment)
    _note(row, lambda: _install(environment, home, python, wheel, line))
    if not row.reasons:
        for step in _steps(line, environment, home, folder):
            _note(row, step)
    row.cells += ["–"] * (len(page.HEAD) - 1 - len(row.cells))
    row.cells.append(f"{time.monotonic() - begun:.0f}")
    return row


def _install(environment: Environment, home: Home, python: Path, wheel: Path, line: Line) -> str:
    environment.make(python, wheel, line, EXTRAS, FOR_THE_EXAMPLES)
    home.migrate()
    return "yes"


def _steps(line: Line, environment: Environment, home: Home, folder: Path) -> list[Callable[[], str]]:
    dags_test = partial(examples.run, line, environment, home)
    return [
        partial(commands.modules, home),
        partial(commands.description, home),
        partial(_with_sandbox, home, commands.connection),
        partial(_with_sandbox, home, partial(commands.terminal, line)),
        partial(dags_test, folder / "worker", deferrable=False),
        partial(dags_test, folder / "deferrable", deferrable=True),
        partial(scheduler.run, line, home),
    ]


def _with_sandbox(home: Home, ask: Callable[[Home, world.Sandbox], str]) -> str:
    with world.sandbox(home.environment) as sandbox:
        return ask(home, sandbox)


def _note(row: page.Row, step: Callable[[], str]) -> None:
    try:
        row.cells.append(step())
    except (Failed, subprocess.SubprocessError, OSError) as error:
        row.cells.append("**failed**")
        row.reasons.append(f"{' '.join(row.cells[:2])}, {page.HEAD[len(row.cells) - 1]}: {error}")


def _version(python: Path) -> str:
    return output_of([python, "--version"]).split()[1]


def _stop_on_signal() -> None:
    signal.signal(signal.SIGTERM, _stop)


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.exit(1)  # raises SystemExit, so that child processes are stopped, too


if __name__ == "__main__":
    _stop_on_signal()
    sys.exit(main(" ".join(sys.argv[1:])))
