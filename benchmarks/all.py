"""Run every benchmark and write the report: ``python benchmarks/all.py [--full]``.

It takes about fifteen minutes, with ``--full`` about half an hour. Servers listen on loopback and stop by themselves.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import growth
import ledger
import load
import pace
import slots
import speed
import sync
from figures import machine

REPORT = Path(__file__).resolve().parent / "RESULTS.md"

_ABOUT = """# Benchmarks

Written by `make bench`. Peers are measured in the same run, on the same machine. Compare the ratios: seconds depend on
the machine. For repetitions, a table has the median and, in brackets, the lowest and the highest.
"""


def main(*, full: bool) -> None:
    """Measure everything, one after the other, and write the report."""
    begun = time.monotonic()
    parts = [_ABOUT, machine() + "\n"]
    subjects = (
        lambda **_: speed.tables(),
        growth.tables,
        ledger.tables,
        sync.tables,
        load.tables,
        pace.tables,
        slots.tables,
    )
    for subject in subjects:
        for table in subject(full=full):
            print(table.markdown(), flush=True)
            parts.append(table.markdown())
    REPORT.write_text("\n".join(parts))
    print(f"{REPORT.name} is written; it took {(time.monotonic() - begun) / 60:.1f} minutes.")


if __name__ == "__main__":
    main(full="--full" in sys.argv)
