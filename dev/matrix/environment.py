"""Fresh environments with the built wheel, without development dependencies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lines import ROOT, Line

EXTRAS = "parquet,redis,sandbox,sql"
FOR_THE_EXAMPLES = ("apache-airflow-providers-sqlite", "apache-airflow-providers-standard")

_LONG = 600.0  # seconds; far longer than any of the commands takes


class Failed(Exception):  # noqa: N818 - it reads as the result of a step
    """A step failed; the text says what was found instead."""


def output_of(command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Run a command and return its output.

    :raises Failed: if it ended with an error, with its lines about errors and its last lines.
    """
    ran = subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=_LONG
    )
    if ran.returncode:
        words = " ".join(Path(part).name for part in map(str, command[:4]))
        raise Failed(f"{words} … ended with {ran.returncode}:\n{_telling(ran.stdout + ran.stderr)}")
    return ran.stdout


def _telling(printed: str) -> str:
    """Return the lines that name an error, and the last ones."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines()
    named = [line for line in lines if re.match(r"\s*[\w.]*(Error|Exception)\b", line)]
    return "\n".join([*named[-5:], *lines[-10:]])


def outside() -> dict[str, str]:
    """Return this process's environment without the variables of Airflow, Python and make."""
    meant = ("AIRFLOW", "_AIRFLOW", "COV", "PYTHON", "VIRTUAL_ENV", "MAKE")
    return {name: value for name, value in os.environ.items() if not name.startswith(meant)}


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    output_of([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder])
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    :param folder: its folder.
    """

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def airflow(self) -> Path:
        """Its ``airflow`` command."""
        return self.folder / "bin" / "airflow"

    def make(
        self, interpreter: Path, wheel: Path, line: Line, extras: str, others: Sequence[str] = ()
    ) -> None:
        """Create it from scratch, and install a wheel with extras, one version of Airflow and its pins.

        :raises Failed: if a package cannot be installed, or the installed packages are incompatible.
        """
        output_of([interpreter, "-m", "venv", "--clear", self.folder], outside())
        ours = f"airflow-provider-meisa{f'[{extras}]' if extras else ''} @ {wheel.as_uri()}"
        wishes = [ours, f"apache-airflow=={line.airflow}", *others]
        pip: list[str | Path] = [self.python, "-m", "pip", "--disable-pip-version-check"]
        output_of([*pip, "install", "--quiet", "--constraint", line.constraints, *wishes], outside())
        output_of([*pip, "check"], outside())
