"""Figures of the report: medians with their spread, tables, and the machine."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = {
    "Airflow": "apache-airflow",
    "requests": "requests",
    "urllib3": "urllib3",
    "HTTP provider": "apache-airflow-providers-http",
    "redis": "redis",
    "uvloop": "uvloop",
    "airflow-provider-meisa": "airflow-provider-meisa",
}


@dataclass(frozen=True)
class Spread:
    """The results of the repetitions of one measurement."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def text(self, digits: int = 2) -> str:
        """Return the median, and the lowest and highest if they differ."""
        middle, *ends = (f"{x:,.{digits}f}" for x in (self.median, min(self.values), max(self.values)))
        return middle if len(self.values) == 1 else f"{middle} ({ends[0]}–{ends[1]})"


def over(these: Spread, those: Spread) -> Spread:
    """Divide repetition by repetition, because adjacent ones ran under the same conditions."""
    return Spread([a / b for a, b in zip(these.values, those.values, strict=True)])


@dataclass(frozen=True)
class Table:
    """One table of the report.

    :param about: a paragraph before it: what was measured and how.
    """

    title: str
    about: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return it in Markdown."""
        lines = [self.head, ["---"] + ["---:"] * (len(self.head) - 1), *self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"## {self.title}\n\n{self.about}\n\n{table}\n"


def status(value: float, target: float, *, at_least: bool = False) -> str:
    """Return whether a target is met, as a cell of a table."""
    met = value >= target if at_least else value <= target
    return f"{'≥' if at_least else '≤'} {target:g}: {'met' if met else '**missed**'}"


def machine() -> str:
    """Describe this machine, its versions and the day."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    facts = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} cores ({_cpu()}), {memory:.0f} GiB of memory, load {load:.1f} at the beginning",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        ", ".join(f"{name} {found}" for name, found in _versions()),
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> list[tuple[str, str]]:
    found = []
    for name, package in _PACKAGES.items():
        try:
            found.append((name, version(package)))
        except PackageNotFoundError:
            found.append((name, "not installed"))
    return found
