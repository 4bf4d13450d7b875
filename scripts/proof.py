"""Run every command that proves what we claim, one after the other, and write how long each took.

``python scripts/proof.py`` writes the table into ``docs/proof.md`` if all of them passed; each command writes its own
figures where they belong. They want the machine for themselves: two of them measure.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "proof.md"
BEGIN, END = "<!-- written by make proof -->", "<!-- end of what make proof writes -->"
COMMANDS = {
    "package": "wheel and sdist, checked, and the wheel installed alone",
    "matrix": "the wheel on Airflow 2.11 to 3.3 and Python 3.11 to 3.13",
    "distributed": "Celery with PostgreSQL and Redis, and what it survives",
    "chaos": "every fault in every story for every operator",
    "fuzz": "input that Hypothesis makes up",
    "bench": "speed, memory, growth, load, pace and slots against peers",
}


def main() -> int:
    """Run all of them, also after one that failed; return 1 if one did."""
    took, failed = {}, []
    for name in COMMANDS:
        print(f"make {name} …", flush=True)
        begun = time.monotonic()
        if subprocess.run(["make", name], cwd=ROOT, check=False).returncode:
            failed.append(name)
        took[name] = (time.monotonic() - begun) / 60
    table = _table(took)
    print(table)
    if failed:
        print(f"These failed: {', '.join(failed)}. {PAGE.name} stays as it was.")
        return 1
    text = f"All passed on {datetime.now(UTC):%Y-%m-%d}; what they install is included.\n\n{table}"
    inside = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    PAGE.write_text(inside.sub(lambda _: f"\n{text}\n\n", PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _table(took: dict[str, float]) -> str:
    rows = [f"| `make {name}` | {COMMANDS[name]} | {minutes:.1f} |" for name, minutes in took.items()]
    return "\n".join(
        [
            "| Command | What it tries | Minutes |",
            "| --- | --- | ---: |",
            *rows,
            f"| together | | {sum(took.values()):.1f} |",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
