"""Write the pins of older lines of Airflow again: ``python dev/matrix/constraints.py ["3.1 3.2"]``.

Development dependencies are pinned for the newest line only, in a file that ``pip freeze`` writes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from environment import EXTRAS, FOR_THE_EXAMPLES, output_of, outside
from lines import ROOT, Line, wanted

# This package needs a newer version than that of the line's day; it supports all lines.
YOUNGER = "apache-airflow-providers-common-compat"
BEFORE = "2026-11-20"


def pin(line: Line) -> int:
    """Write the file of a line, and return the number of packages it pins.

    :raises Failed: if no set of packages is compatible.
    """
    with tempfile.TemporaryDirectory(prefix="meisa-pins-") as folder:
        asked, pinned = Path(folder) / "asked.txt", Path(folder) / "pinned.txt"
        ours = f"airflow-provider-meisa[{EXTRAS}] @ {ROOT.as_uri()}"
        asked.write_text("\n".join([ours, f"apache-airflow=={line.airflow}", *FOR_THE_EXAMPLES]))
        output_of([*_command(line), asked, "--output-file", pinned], outside())
        names = [
            text for text in pinned.read_text().splitlines() if not text.startswith("airflow-provider-meisa")
        ]
    line.constraints.write_text("\n".join(names) + "\n")
    return len(names)


def _command(line: Line) -> list[str | Path]:
    plain = ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url"]
    days = ["--exclude-newer", line.day, "--exclude-newer-package", f"{YOUNGER}={BEFORE}"]
    uv = Path(sys.executable).with_name("uv")
    return [uv, "pip", "compile", *plain, *days, "--python-version", line.pythons[0]]


if __name__ == "__main__":
    for each in dict.fromkeys(line for line, _ in wanted(" ".join(sys.argv[1:])) if line.day):
        print(f"{each.constraints.name}: {pin(each)} packages")
