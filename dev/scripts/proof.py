"""Run every command that proves a claim of the documentation, one after the other, and write their durations.

``python dev/scripts/proof.py`` writes the table into ``docs/proof.md`` if all of them passed; each command writes its
own figures into its page. Run nothing else meanwhile: two of them measure.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from timed import ROOT, run_all, table, write_between

PAGE = ROOT / "docs" / "proof.md"
BEGIN, END = "<!-- written by make proof -->", "<!-- end of what make proof writes -->"
COMMANDS = {
    "make package": "wheel and sdist, checked, and the wheel installed without extras",
    "make matrix": "the wheel on Airflow 2.11 to 3.3 and Python 3.11 to 3.13",
    "make distributed": "Celery with PostgreSQL and Redis, and the loss of its processes",
    "make chaos": "every fault in every scenario for every operator",
    "make fuzz": "input from Hypothesis",
    "make bench": "speed, memory, growth, load, pace and slots against peers",
}


def main() -> int:
    """Run all commands, even after a failure; return 1 if one failed."""
    took, failed = run_all(COMMANDS)
    rows = {f"`{command}`": f"{COMMANDS[command]} | {took[command] / 60:.1f}" for command in COMMANDS}
    rows["together"] = f"| {sum(took.values()) / 60:.1f}"
    shown = table("Command | What it tests | Minutes", rows)
    print(shown)
    if failed:
        print(f"Failed: {', '.join(failed)}. {PAGE.name} is unchanged.")
        return 1
    write_between(
        PAGE,
        BEGIN,
        END,
        f"All passed on {datetime.now(UTC):%Y-%m-%d}; the times include installations.\n\n{shown}",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
