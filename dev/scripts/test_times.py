"""Run the tests at each of their speeds, and write the durations into ``CONTRIBUTING.md`` if all passed.

Run nothing else meanwhile: ``python dev/scripts/test_times.py``.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from timed import ROOT, run_all, table, write_between

PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- written by make times -->", "<!-- end of what make times writes -->"
PYTEST = ".venv/bin/python -m pytest -q"
COMMANDS = {
    f"{PYTEST} tests/api/test_limits.py": ("Run one test", "a file that imports no Airflow"),
    f"{PYTEST} tests/operators/test_bulk_enroll.py": ("Run one test", "a file that runs tasks in Airflow"),
    "make unit": ("Run what you touched", "all tests that import no Airflow"),
    "make test": ("Run what you touched", "these, and Airflow in one process"),
    "make system": ("Run everything", "Airflow's processes, and a browser"),
}


def main() -> int:
    """Run all commands, even after a failure; return 1 if one failed."""
    took, failed = run_all(COMMANDS)
    rows = {
        f"{what} | `{command.removeprefix('.venv/bin/python -m ')}`": f"{tests} | {took[command]:.0f}"
        for command, (what, tests) in COMMANDS.items()
    }
    shown = table("To | Command | Tests | Seconds", rows)
    print(shown)
    if failed:
        print(f"Failed: {', '.join(failed)}. {PAGE.name} is unchanged.")
        return 1
    write_between(
        PAGE, BEGIN, END, f"Measured on {datetime.now(UTC):%Y-%m-%d} with {os.cpu_count()} cores:\n\n{shown}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
