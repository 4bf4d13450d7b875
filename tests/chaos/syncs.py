"""Contact syncs that are killed and disturbed, night after night: ``python -m tests.chaos.syncs [--only CASE]``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

UPSERT = "/contacts/upsert/"
DOMAIN = "private.example"
ROWS = 230
_HIGH = "1000/0.2s"
_SHORT = "60/0.4s"
_MOST_TRIES = 5
_SCENARIOS = ("retried", "killed as it sends", "told to stop", "orphaned", "cleared", "deferred")
_PLACES = {"killed as it notes": 6, "killed as it records": 5, "killed at the ledger": 14}
_NOT_FOR_ONE = ("bulk_shape", "bad_addresses")


@dataclass(frozen=True)
class Case:
    """One run: a fault, a scenario, and for a killed process the write at which it dies, negative for just after it."""

    fault: str
    scenario: str
    place: int = 0
    loses_plan: bool = False

    def __str__(self):
        lost = ", plan lost" if self.loses_plan else ""
        return f"sync, {self.fault}, {self.scenario}, {self.place}{lost}"

    def rng(self):
        """Return the dice of this run: the same ones every time."""
        return random.Random(str(self))


def table():
    """Return every run."""
    from tests.chaos.cases import FAULTS

    drawn = [
        Case(fault, scenario, loses_plan=number % 2 == 0)
        for number, (fault, what) in enumerate(FAULTS.items())
        if not what or what["kind"] not in _NOT_FOR_ONE
        for scenario in _SCENARIOS
    ]
    placed = [
        Case("no fault", scenario, side * place, loses_plan)
        for scenario, places in _PLACES.items()
        for place in range(1, places + 1)
        for side in ((1, -1) if scenario != "killed as it records" else (1,))
        for loses_plan in (False, True)
    ]
    return drawn + placed


def sample():
    """Return a part in which each fault, each scenario and some of the writes occur."""
    from tests.chaos.cases import FAULTS

    cases, seen, found = table(), set(), []
    random.Random(0).shuffle(cases)
    for case in cases:
        signs = {(FAULTS[case.fault] or {}).get("kind"), (case.scenario, min(abs(case.place), 3))}
        if not signs <= seen:
            found.append(case)
            seen |= signs
    return found


def _row(number, plan="free"):
    return {"external_id": str(number), "email": f"p{number}@{DOMAIN}", "plan": plan}


def tables_of(rng):
    """Return the tables of two nights, and what Meisa must hold after the second: ``{id: (address, plan)}``."""
    first = [_row(number) for number in range(ROWS)]
    changed = set(rng.sample(range(ROWS), 150))
    second = [_row(number, "team" if number in changed else "free") for number in range(10, ROWS + 25)]
    second[3]["email"] = f"moved@{DOMAIN}"
    # Two contacts move up by one address each, which is free once the other one has moved.
    second[60]["email"], second[61]["email"] = second[61]["email"], f"free@{DOMAIN}"
    held = {row["external_id"]: (row["email"], row["plan"]) for row in [*first[:10], *second]}
    rng.shuffle(second)
    bad = [{**_row(900), "email": "no address"}, {**_row(901), "external_id": None}, dict(second[5])]
    return first, [*second, *bad], held


class Play:
    """One run, and what it has left."""

    def __init__(self, case, folder, meisa):
        self.case, self.folder, self.meisa = case, folder, meisa
        self.rng = case.rng()
        self.first, self.second, self.held = tables_of(self.rng)
        self.summaries = []
        self.broken = []
        self._earlier = None

    def task(self, rows, run_id, **arguments):
        """Make the task of one night."""
        from airflow_provider_meisa.api import client
        from airflow_provider_meisa.api.settings import Settings
        from airflow_provider_meisa.hooks import configuration
        from airflow_provider_meisa.operators import bulk
        from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
        from tests.chaos.processes import Task

        patches = [
            (client, "_BACKOFF", lambda _state: 0.0),
            (Settings, "resend_after", 0.4),
            (client, "_HOUR", 0.2),
            (bulk, "SHORTEST_DEFERRAL", 0.1),
            (bulk, "_WAKE_EARLY", 0.1),
            (configuration, "ledger_path", lambda: str(self.folder / "ledgers")),
        ]
        deferred = self.case.scenario == "deferred"
        given = {
            "contacts": rows,
            "custom_fields": ["plan"],
            "ledger": "users",
            "first_run": "send",
            "max_failed": None,
            "outcomes_path": str(self.folder / "outcomes" / f"{run_id}.jsonl"),
            "staging_path": str(self.folder / "staging"),
            "max_in_flight": self.rng.randint(1, 5),
            "deferrable": deferred,
            "defer_after": 0.2 if deferred else 30.0,
            **arguments,
        }
        kept = self.folder / run_id
        kept.mkdir()
        made = lambda: MeisaSyncContactsOperator(task_id="task", **given)  # noqa: E731 (it is called in another process)
        return Task(made, kept, self.folder / "log", patches, run_id=run_id, earlier=self._earlier)

    def whole(self, task, **death):
        """Let the task have one try, through all its deferrals."""
        if self.case.loses_plan and task.run_id == "night 2" and task.tries == 1:
            shutil.rmtree(self.folder / "staging", ignore_errors=True)
        task.begin()
        return self._to_end(task, task.wait(task.start(**death)))

    def _to_end(self, task, ended):
        while ended.how == "deferred":
            time.sleep(max(0.0, ended.deferral[0]["moment"] - time.time()))
            ended = task.wait(task.start(ended.deferral))
        self._record(task, ended)
        return ended

    def _record(self, task, ended):
        summary = task.xcom() if ended.how != "killed" else None
        self.summaries.append((task.run_id, summary))
        if ended.how == "crashed":
            self.broken.append(f"an attempt crashed: {ended.error}")
        if summary and summary["complete"]:
            self._earlier = summary
        wanted = len(self.first if task.run_id == "night 1" else self.second)
        if summary and summary["complete"] and sum(summary["counts"].values()) != wanted:
            self.broken.append(
                f"{sum(summary['counts'].values())} of {wanted} rows have a status: {summary['counts']}"
            )

    def until_complete(self, task, ended=None):
        """Try, and then clear the task, until a summary is complete."""
        for _ in range(_MOST_TRIES):
            if ended and ended.how in ("success", "failed") and (task.xcom() or {}).get("complete"):
                return
            if ended and ended.how in ("success", "failed"):
                task.clear()
            ended = self.whole(task)
        self.broken.append(f"{task.run_id} is not complete after {_MOST_TRIES} attempts: {ended}")

    def upserts(self):
        """Return how many upserts have come in."""
        return sum(each["path"].endswith(UPSERT) for each in self.meisa.requests())

    def send_signal(self, pid, sign):
        """Send a signal after some upserts of the night; return whether the process was there."""
        wanted = self.upserts() + self.rng.randint(1, 120)
        while self.upserts() < wanted:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return False
            time.sleep(0.002)
        os.kill(pid, sign)
        return True

    def night_in_trouble(self, task):
        """Play the scenario."""
        scenario, place = self.case.scenario, self.case.place
        deaths = {
            "killed as it notes": {"die_at": place},
            "killed as it records": {"die_recording": place},
            "killed at the ledger": {"die_at_part": place},
        }
        signs = {
            "killed as it sends": signal.SIGKILL,
            "told to stop": signal.SIGTERM,
            "orphaned": signal.SIGSTOP,
        }
        if scenario not in signs:
            ended = self.whole(task, **deaths.get(scenario, {}))
            if scenario == "cleared":
                task.clear()
                ended = self.whole(task)
            return ended
        task.begin()
        pid, number = task.start(), task.tries
        hit = self.send_signal(pid, signs[scenario])
        if scenario != "orphaned" or not hit:
            return self._to_end(task, task.wait(pid))
        # It blocks the ledger until an hour has passed: a person stops it for good.
        time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        ended = task.wait(pid)
        task.tries = number
        return ended

    def play(self):
        """Play all nights, and return what was broken."""
        from tests.chaos.cases import FAULTS

        self.until_complete(self.task(self.first, "night 1"))
        fault = FAULTS[self.case.fault]
        if fault:
            times, skip = self.rng.choice((1, 2, 6, 40)), self.rng.choice((0, 1, 30))
            self.meisa.fault(**fault, path=UPSERT, times=times, skip=skip)
        task = self.task(self.second, "night 2")
        ended = self.night_in_trouble(task)
        self.meisa.clear_faults()
        self.until_complete(task, ended)
        # What was refused because of the fault is sent again after a week, or with `retry_refused`.
        self.until_complete(self.task(self.second, "night 3", retry_refused=True))
        self.meisa.wait_until_idle()
        self.check_contacts()
        before = self.upserts()
        self.until_complete(self.task(self.second, "night 4"))
        if self.upserts() != before:
            self.broken.append(f"{self.upserts() - before} upserts in a night without changes")
        self.check_ledger()
        return self.broken

    def check_contacts(self):
        """See that Meisa holds exactly the table."""
        found = {
            each["external_id"]: (each["email"], each["custom_fields"]["plan"])
            for each in self.meisa.contacts()
        }
        wrong = {key for key in {*found, *self.held} if found.get(key) != self.held.get(key)}
        if wrong:
            one = min(wrong)
            self.broken.append(
                f"{len(wrong)} contacts are not as in the table: {one} is {found.get(one)}, not {self.held.get(one)}"
            )

    def check_ledger(self):
        """See that no address is in the ledger, nor in what is kept of the task."""
        for file in [*self.folder.glob("ledgers/**/*"), *self.folder.glob("night */**/*")]:
            if file.is_file() and DOMAIN.encode() in file.read_bytes():
                self.broken.append(f"{file.name} shows an address")


def play(case, folder):
    """Play one run, and return what was broken."""
    from tests.chaos.cases import IMPATIENT
    from tests.chaos.sandbox_process import SandboxProcess
    from tests.chaos.task_setup import KEY, connect

    limits = _SHORT if case.scenario == "deferred" else _HIGH
    with SandboxProcess(KEY, rate_limits=limits) as meisa:
        connect(meisa.url, folder, limits, timeout=1 if case.fault in IMPATIENT else 20)
        return Play(case, folder, meisa).play()


def _play(case):
    with tempfile.TemporaryDirectory(prefix="meisa-chaos-sync-") as folder:
        try:
            return case, play(case, Path(folder))
        except Exception as error:  # noqa: BLE001 (a run that breaks is a finding, not the end of all of them)
            return case, [f"{type(error).__name__}: {error}"]


def main():
    """Play all runs, print what was broken, and return 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the name of a run")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    from tests.chaos.campaign import _home

    home = _home()
    import tests.chaos.processes  # noqa: F401 (Airflow takes seconds to load: once, before the processes part)

    cases = [case for case in table() if asked.only in str(case)]
    began, broken = time.monotonic(), 0
    with multiprocessing.get_context("fork").Pool(asked.processes) as pool:
        for case, found in pool.imap_unordered(_play, cases):
            broken += bool(found)
            if found:
                print(f"BROKEN  {case}", *found, sep="\n        ", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    print(f"{len(cases)} runs in {time.monotonic() - began:.0f} s: {broken} broken")
    return 1 if broken or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
