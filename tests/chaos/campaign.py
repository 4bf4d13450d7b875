"""Play the whole campaign, or a part: ``python -m tests.chaos.campaign [--only CASE] [--write]``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "proof.md"
BEGIN, END = "<!-- written by make chaos -->", "<!-- end of what make chaos writes -->"


def _home():
    """Give Airflow a home of its own; it reads where that is when it is first imported."""
    home = tempfile.mkdtemp(prefix="meisa-chaos-")
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    return home


def broken_by(case):
    """Play one run, and return what was broken in it and how many tries it had."""
    from tests.chaos.invariants import violations
    from tests.chaos.runs import run_case

    with tempfile.TemporaryDirectory(prefix="meisa-chaos-run-") as folder:
        run = run_case(case, Path(folder))
        last = run.second or run
        return violations(run), len(run.tries) + (len(last.tries) if run.second else 0), len(last.requests)


def repeat(case):
    """Return the command that plays one run again."""
    return f"python -m tests.chaos.campaign --only '{case}'"


def _play(case):
    began = time.monotonic()
    try:
        found, tries, requests = broken_by(case)
    except Exception as error:  # noqa: BLE001 (a run that breaks is a finding, not the end of the campaign)
        found, tries, requests = [f"{type(error).__name__}: {error}"], 0, 0
    return case, found, tries, requests, time.monotonic() - began


def _say(case, found):
    print(f"BROKEN  {case}")
    for complaint in found:
        print(f"        {complaint}")
    print(f"        again: {repeat(case)}", flush=True)


def _table(results, seconds):
    """Write what was played as Markdown."""
    scenarios = Counter(case.scenario for case, *_ in results)
    tries, requests = sum(result[2] for result in results), sum(result[3] for result in results)
    broken = sum(bool(found) for _, found, *_ in results)
    lines = [
        (
            f"{len(results):,} runs, {tries:,} attempts of tasks, {requests:,} requests, {seconds / 60:.0f} minutes: "
            f"{broken} broken."
        ),
        "",
        "| Story | Runs | Broken |",
        "| --- | ---: | ---: |",
        *(
            f"| {scenario} | {count} | {sum(bool(found) for case, found, *_ in results if case.scenario == scenario)} |"
            for scenario, count in scenarios.items()
        ),
    ]
    return "\n".join(lines)


def _write(text):
    page = PAGE.read_text()
    inside = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    PAGE.write_text(inside.sub(lambda _: f"\n{text}\n\n", page))


def main():
    """Play, print what was broken, and return 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one run, as it is named where it broke; or a part of its name")
    parser.add_argument("--sample", type=int, help="about how many runs")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/proof.md")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    home = _home()
    from tests.chaos.cases import sample, table

    cases = sample(asked.sample) if asked.sample else table()
    cases = [case for case in cases if not asked.only or asked.only in str(case)]
    began, results = time.monotonic(), []
    import tests.chaos.invariants  # noqa: F401 (Airflow takes seconds to load: once, before the processes part)

    with multiprocessing.get_context("fork").Pool(asked.processes) as pool:
        for result in pool.imap_unordered(_play, cases):
            results.append(result)
            if result[1]:
                _say(*result[:2])
            if len(results) % 50 == 0:
                print(f"{len(results)} of {len(cases)} runs, {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    text = _table(results, time.monotonic() - began)
    print(text)
    if asked.write:
        _write(text)
    return 1 if any(found for _, found, *_ in results) or not results else 0


if __name__ == "__main__":
    sys.exit(main())
