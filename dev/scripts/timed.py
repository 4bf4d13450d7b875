"""Run commands one after the other, and write their durations into a page."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_all(commands: Iterable[str]) -> tuple[dict[str, float], list[str]]:
    """Run all commands, even after a failure; return the seconds of each, and which failed."""
    took, failed = {}, []
    for command in commands:
        print(f"{command} …", flush=True)
        begun = time.monotonic()
        if subprocess.run(command.split(), cwd=ROOT, check=False).returncode:
            failed.append(command)
        took[command] = time.monotonic() - begun
    return took, failed


def table(head: str, rows: Mapping[str, str]) -> str:
    """Return a table in Markdown, with figures in the last column.

    :param head: the column heads, such as ``Command | Minutes``.
    :param rows: the first cell of each row, and its other cells.
    """
    columns = head.count("|") + 1
    rule = "| " + " | ".join(["---"] * (columns - 1) + ["---:"]) + " |"
    return "\n".join([f"| {head} |", rule, *(f"| {first} | {rest} |" for first, rest in rows.items())])


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace the text between two markers of a page."""
    inside = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    page.write_text(inside.sub(lambda _: f"\n{text}\n\n", page.read_text(encoding="utf-8")), encoding="utf-8")
