"""The table of results, in ``docs/versions.md``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lines import ROOT

PAGE = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- begin: written by `make matrix` -->", "<!-- end: written by `make matrix` -->"

HEAD = (
    "Airflow",
    "Python",
    "Installs",
    "Modules",
    "Description",
    "Connections",
    "Terminal",
    "`dags test`",
    "`dags test`, deferrable",
    "Scheduler, deferrable",
    "Seconds",
)


@dataclass
class Row:
    """The results of one version.

    :param cells: the text of each column.
    :param reasons: the reason of each failure.
    """

    cells: list[str]
    reasons: list[str] = field(default_factory=list)


def table(rows: Sequence[Row]) -> str:
    """Return the results in Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(rows: Sequence[Row], missing: Sequence[str], minutes: float) -> None:
    """Replace the results of an earlier run in the page."""
    lines = [f"Tested on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes.", "", table(rows)]
    if missing:
        lines += ["", f"Not tested, because the interpreter was not found: Python {', '.join(missing)}."]
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: "\n".join(["", *lines, "", ""]), text, count=1), encoding="utf-8")
