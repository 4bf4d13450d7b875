"""One run of the campaign: people, a sandbox, a task, a fault and a scenario, until all addresses have a status."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_meisa.bulk.outcome_file import text_of_cell
from tests.chaos.cases import BULK, IMPATIENT, SINGLE
from tests.chaos.factories import Expected, Person, changed, make_contacts, of, with_history
from tests.chaos.ledgers import LedgerOnDisk, Snapshot, keeps_away
from tests.chaos.sandbox_process import SandboxProcess
from tests.chaos.shapes import is_readable
from tests.chaos.task_setup import HIGH, KEY, SHORT, SLUG, arguments_of, arm, connect, task_of

if TYPE_CHECKING:
    from tests.chaos.processes import Ended, Task

_MOST_TRIES = 4


@dataclass
class Try:
    """What is known after one try of the task."""

    ended: Ended
    summary: dict | None
    lines: list | None
    before: dict | None
    """The checkpoint it began with."""
    restarts: bool
    """Whether all addresses had a status, and the task was cleared since."""
    first_request: int
    """How many requests had come in before it."""
    people: list
    """Who was in the source."""
    ledger_before: Snapshot
    ledger: Snapshot
    """What was in the ledger before it and after it."""
    lost: bool
    """Whether the plan was lost before it."""
    enrolled: set
    """The contacts that Meisa had enrolled for us when it had ended."""


@dataclass
class Run:
    """A run, during it and after its end."""

    case: object
    people: list
    meisa: SandboxProcess
    task: Task
    arguments: dict
    limits: str
    folder: Path
    tries: list = field(default_factory=list)
    enrollments: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    orphans: list = field(default_factory=list)
    """Of tries that were still alive when another began: the checkpoint at that time, and how they ended."""
    deferrals: int = 0
    ledger: LedgerOnDisk | None = None
    history: Snapshot = field(default_factory=Snapshot)
    """What was in the ledger before the run."""
    everybody: list = field(default_factory=list)
    """Who was in the source before, on this night and the one before."""
    times: dict = field(default_factory=dict)
    finished: set = field(default_factory=set)
    """How often each contact was enrolled before the run."""
    second: Run | None = None
    """The run of the second night."""

    @property
    def is_readable(self):
        """Whether the addresses can be read out of the source without guessing."""
        return is_readable(self.case)


def run_case(case, folder):
    """Play a run to its end.

    :param folder: where everything that it leaves goes.
    """
    rng = case.rng()
    people, history = make_contacts(rng, many=case.many), {}
    if case.has_ledger:
        people, history = with_history(rng, people)
    if case.operator == "single":
        people = [rng.choice([one for one in people if one.expected is not Expected.AGAIN])]
    limits = SHORT if case.scenario in ("short of requests", "deferred") else HIGH
    with SandboxProcess(KEY, rate_limits=limits, latency_ms=rng.choice((0, 3))) as meisa:
        meisa.unsubscribe(sorted(of(people, Expected.SUPPRESSED)))
        meisa.seed(SLUG, sorted(of(people, Expected.THERE)))
        meisa.seed(SLUG, sorted(of(people, Expected.BEFORE)), "completed")
        connect(meisa.url, folder, limits, timeout=1 if case.fault in IMPATIENT else 20)
        arguments = arguments_of(case, rng, people, folder)
        run = Run(case, people, meisa, task_of(case, arguments, folder), arguments, limits, folder)
        if case.has_ledger:
            _open_ledger(run, rng, history)
        arm(case, rng, meisa)
        SCENARIOS[case.scenario](run, rng)
        meisa.clear_faults()
        if run.is_readable:
            _recover(run)
        meisa.wait_until_idle()
        run.enrollments, run.requests = meisa.enrollments(SLUG), meisa.requests()
        if case.has_ledger:
            run.second = _second_night(run, rng)
    return run


def _open_ledger(run, rng, history):
    run.ledger = LedgerOnDisk(run.folder, run.meisa.url)
    run.ledger.write(rng, history)
    run.history = run.ledger.snapshot()


def _second_night(run, rng):
    """Play the next run of the task, after all contacts have finished the sequence: Meisa would enroll them again."""
    run.meisa.seed(SLUG, sorted(row["email"] for row in run.enrollments), "completed")
    history = run.ledger.snapshot()
    people, finished = _people_of_second_night(rng, run, history)
    arguments = {**run.arguments, "emails": [person.raw for person in people], "max_failed": None}
    task = task_of(run.case, arguments, run.folder, run_id="night-2", earlier=run.tries[-1].summary)
    second = Run(run.case, people, run.meisa, task, arguments, run.limits, run.folder)
    second.ledger, second.history = run.ledger, history
    second.everybody = run.everybody + run.people
    second.finished = finished
    second.times = {row["email"]: row["times_enrolled"] for row in run.enrollments}
    place = rng.randint(1, 8) * rng.choice((1, -1))
    _tries(second, **rng.choice(({}, {"die_at": place}, {"die_at_part": place})))
    _recover(second)
    run.meisa.wait_until_idle()
    second.enrollments, second.requests = run.meisa.enrollments(SLUG), run.meisa.requests()
    return second


def _people_of_second_night(rng, run, history):
    """Return who is in the source then; what is true of them is what the ledger has, and else what was true before.

    Also return those who were in the sequence before this task, and have finished it: the ledger lacks them if the only
    request for them was refused.
    """
    now, entries = time.time(), history.entries
    hashes = {key: each for each, key in run.ledger.hashes({person.key for person in run.people}).items()}
    known = [
        Person(person.raw, Expected.BEFORE)
        if person.expected not in (Expected.FORGOTTEN, Expected.AGAIN)
        and hashes[person.key] in entries
        and keeps_away(entries[hashes[person.key]], now)
        else person
        for person in run.people
    ]
    finished = of(known, Expected.THERE)
    known = [
        Person(person.raw, Expected.NEW) if person.expected is Expected.THERE else person for person in known
    ]
    return changed(rng, known, 50_000), finished


# What happens to a task.


def _whole(run, **death):
    """Let the task have one try, through all its deferrals."""
    before, first = _begin(run)
    ended = run.task.wait(run.task.start(**death))
    while ended.how == "deferred":
        run.deferrals += 1
        time.sleep(max(0.0, ended.deferral[0]["moment"] - time.time()))
        ended = run.task.wait(run.task.start(ended.deferral))
    return _record(run, ended, before, first)


def _begin(run):
    before = run.task.state()
    is_over = bool(before and before["complete"] and before["max_tries"] == run.task.max_tries)
    lost = run.case.loses_plan and not is_over and (run.task.run_id, run.task.tries) == ("run", 1)
    if lost:
        _lose_disk(run)
    ledger = run.ledger.snapshot() if run.ledger else Snapshot()
    first = len(run.meisa.requests()), ledger, lost
    run.task.begin()
    return before, first


def _lose_disk(run):
    """Do what the loss of a worker's disk does, some time after which the source has changed."""
    shutil.rmtree(run.folder / "staging", ignore_errors=True)
    run.everybody += run.people
    run.people = changed(random.Random(str(run.case)), run.people, 10_000)
    run.arguments["emails"] = [person.raw for person in run.people]


def _record(run, ended, before, first):
    ours = ended.how != "killed"
    summary = run.task.xcom() if ours else None
    lines = read_outcomes(run) if summary and run.arguments.get("outcomes_path") else None
    again = bool(before and before["complete"] and before["max_tries"] != run.task.max_tries)
    # First Meisa, then the ledger: the intent of what was sent meanwhile was there before.
    enrolled = _enrolled_by_us(run) if run.ledger else set()
    after = run.ledger.snapshot() if run.ledger else Snapshot()
    requests, ledger_before, lost = first
    run.tries.append(
        Try(ended, summary, lines, before, again, requests, run.people, ledger_before, after, lost, enrolled)
    )
    return ended


def _enrolled_by_us(run):
    return {row["email"] for row in run.meisa.enrollments(SLUG) if row["trigger_source"] != "sandbox"}


def _tries(run, **death):
    """Try as often as Airflow does while it may help."""
    for _ in range(_MOST_TRIES):
        if _whole(run, **death).how in ("success", "skipped", "failed"):
            return
        death = {}


def _recover(run):
    """Clear the task, now that nothing is in the way, until all addresses have a status."""
    run.arguments["on_ambiguous"] = "resend"
    for _ in range(_MOST_TRIES):
        if is_over(run):
            return
        run.task.clear()
        _whole(run)


def is_over(run):
    """Return whether the latest attempt has counted all addresses."""
    if not run.tries:
        return False
    last = run.tries[-1]
    if run.case.operator == "single":
        return last.summary is not None
    return bool(last.summary and last.summary["complete"] and last.ended.how in ("success", "failed"))


def _retried(run, _rng):
    _tries(run)


def _killed_in_checkpoint(run, rng):
    batches = len(run.people) // 500 + 1
    die_at = rng.randint(1, 2 * batches + 2) * rng.choice((1, -1))
    _tries(run, die_at=run.case.place or die_at)


def _killed_at_ledger(run, rng):
    puts = 2 * (len(run.people) // 500 + 1) + 5
    die_at = rng.randint(1, puts) * rng.choice((1, -1))
    _tries(run, die_at_part=run.case.place or die_at)


def _killed_in_outcomes(run, rng):
    _tries(run, die_recording=rng.randint(1, len(run.people) // 500 + 3))


def _killed_in_request(run, rng):
    _interrupt(run, rng, signal.SIGKILL)


def _stopped(run, rng):
    _interrupt(run, rng, signal.SIGTERM)


def _interrupt(run, rng, sign):
    before, first = _begin(run)
    pid = run.task.start()
    _send_when(run, pid, rng, sign)
    ended = run.task.wait(pid)
    _record(run, ended, before, first)
    _tries(run)


def _orphaned(run, rng):
    """Stop a try, let another finish, and wake the first: it may end what it has begun, no more."""
    before, first = _begin(run)
    orphan, number = run.task.start(), run.task.tries
    stopped = _send_when(run, orphan, rng, signal.SIGSTOP) and _is_stopped(orphan)
    if stopped:
        kept = run.task.state()
        _tries(run)
        os.kill(orphan, signal.SIGCONT)
        run.orphans.append((kept, _end_of(run, orphan, number)))
    else:
        _record(run, run.task.wait(orphan), before, first)
        _tries(run)


def _end_of(run, pid, number):
    latest, run.task.tries = run.task.tries, number
    ended = run.task.wait(pid)
    run.task.tries = latest
    return ended


def _send_when(run, pid, rng, sign):
    """Send a signal when so many batches have come in; say whether the process was there to get it."""
    path = SINGLE if run.case.operator == "single" else BULK
    wanted = 1 if run.case.operator == "single" else rng.randint(1, len(run.people) // 500 + 1)
    while sum(request["path"].endswith(path) for request in run.meisa.requests()) < wanted:
        if _is_over(pid):
            return False
        time.sleep(0.001)
    os.kill(pid, sign)
    return True


def _is_stopped(pid):
    """Wait until a signal has had its effect; the process may have ended before."""
    return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT).si_code == os.CLD_STOPPED


def _is_over(pid):
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wrong_shape(run, _rng):
    """Try, and where that fails clear the task: a wrong shape must not succeed then either."""
    _tries(run)
    if not run.is_readable:
        run.task.clear()
        _whole(run)


def _cleared(run, _rng):
    _tries(run)
    run.task.clear()
    _whole(run)


SCENARIOS = {
    "retried": _retried,
    "killed as it notes": _killed_in_checkpoint,
    "killed as it sends": _killed_in_request,
    "killed as it records": _killed_in_outcomes,
    "killed at the ledger": _killed_at_ledger,
    "told to stop": _stopped,
    "orphaned": _orphaned,
    "cleared": _cleared,
    "short of requests": _retried,
    "deferred": _retried,
    "wrong shape": _wrong_shape,
}


def read_outcomes(run):
    """Read the outcomes file as other programs do: ``[(address, status, reason)]``."""
    path = Path(run.arguments["outcomes_path"])
    if not path.exists():
        return None
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.name.endswith(".gz") else content).decode()
    if ".csv" in path.name:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        return [(text_of_cell(row["address"]), row["status"], text_of_cell(row["reason"])) for row in rows]
    return [(row["address"], row["status"], row["reason"]) for row in map(json.loads, text.splitlines())]
