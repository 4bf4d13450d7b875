"""The tested lines of Airflow, and the interpreters they are tested on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYENV = Path.home() / ".pyenv" / "versions"


@dataclass(frozen=True)
class Line:
    """A minor version of Airflow.

    :param name: such as 3.2.
    :param airflow: its newest patch release.
    :param day: its pins are the newest packages of that day. Empty: the pins are those of development.
    :param pythons: the interpreters it is tested on.
    """

    name: str
    airflow: str
    day: str = ""
    pythons: tuple[str, ...] = ("3.11",)

    @property
    def constraints(self) -> Path:
        """The file of its pins."""
        return ROOT / "constraints" / f"airflow-{self.name}.txt"

    @property
    def number(self) -> tuple[int, ...]:
        """Its name as numbers, for comparison."""
        return tuple(int(part) for part in self.name.split("."))


# Airflow 3.0.6 and 3.2.2 do not start with later packages, so each line has the packages of its own time.
LINES = (
    Line("2.11", "2.11.2", "2026-04-01"),
    Line("3.0", "3.0.6", "2025-09-10"),
    Line("3.1", "3.1.8", "2026-04-01"),
    Line("3.2", "3.2.2", "2026-06-01"),
    Line("3.3", "3.3.2", pythons=("3.11", "3.12", "3.13")),
)


def interpreter(version: str) -> Path | None:
    """Find a Python of a minor version, on the path or in pyenv."""
    found = shutil.which(f"python{version}")
    candidates = [Path(found)] if found else []
    candidates += sorted(PYENV.glob(f"{version}.*/bin/python{version}"), reverse=True)
    return next((path for path in candidates if _runs(path)), None)


def wanted(only: str) -> Iterator[tuple[Line, str]]:
    """Yield lines with an interpreter each: all of them, or those in ``only``.

    :param only: names of lines, separated by commas or spaces, each with or without an interpreter: ``2.11 3.3/3.12``.
    :raises SystemExit: if a name is unknown.
    """
    every = [(line, python) for line in LINES for python in line.pythons]
    for name in (names := only.replace(",", " ").split()):
        if not any(_is_named(pair, name) for pair in every):
            raise SystemExit(f"Unknown line {name}: choose from {', '.join(line.name for line in LINES)}.")
    yield from (pair for pair in every if not names or any(_is_named(pair, name) for name in names))


def _is_named(pair: tuple[Line, str], name: str) -> bool:
    line, python = pair
    return name in {line.name, f"{line.name}/{python}"}


def _runs(path: Path) -> bool:
    # pyenv puts a shim on the path even if that version is not installed.
    return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0
