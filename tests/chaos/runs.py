"""One run of the campaign: people, a sandbox, a task, a fault and a story, until everybody has a verdict."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_meisa.bulk.outcome_file import text_of_cell
from tests.chaos.cases import BULK, IMPATIENT, SINGLE
from tests.chaos.crowd import Truth, crowd, of
from tests.chaos.neighbours import Neighbour
from tests.chaos.shapes import is_readable
from tests.chaos.stage import AMPLE, KEY, SHORT, SLUG, arguments_of, arm, connect, task_of

if TYPE_CHECKING:
    from tests.chaos.lives import Ended, Task

_MOST_TRIES = 4


@dataclass
class Try:
    """What is known after one try of the task."""

    ended: Ended
    account: dict | None
    lines: list | None
    before: dict | None
    """The checkpoint it began with."""
    begins_anew: bool
    """Whether everybody had a verdict, and the task was cleared since."""
    first_request: int
    """How many requests had come in before it."""


@dataclass
class Run:
    """A run, while it goes on and when it is over."""

    case: object
    people: list
    meisa: Neighbour
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

    @property
    def is_readable(self):
        """Whether the addresses can be read out of the source without guessing."""
        return is_readable(self.case)


def perform(case, folder):
    """Play a run to its end.

    :param folder: where everything that it leaves goes.
    """
    chance = case.chance()
    people = crowd(chance, many=case.many)
    if case.operator == "single":
        people = [chance.choice([one for one in people if one.truth is not Truth.AGAIN])]
    limits = SHORT if case.story in ("short of requests", "deferred") else AMPLE
    with Neighbour(KEY, rate_limits=limits, latency_ms=chance.choice((0, 3))) as meisa:
        meisa.unsubscribe(sorted(of(people, Truth.SUPPRESSED)))
        meisa.seed(SLUG, sorted(of(people, Truth.THERE)))
        connect(meisa.url, folder, limits, timeout=1 if case.fault in IMPATIENT else 20)
        arguments = arguments_of(case, chance, people, folder)
        run = Run(case, people, meisa, task_of(case, arguments, folder), arguments, limits, folder)
        arm(case, chance, meisa)
        STORIES[case.story](run, chance)
        meisa.clear_faults()
        if run.is_readable:
            _recover(run)
        meisa.wait_until_idle()
        run.enrollments, run.requests = meisa.enrollments(SLUG), meisa.requests()
    return run


# What happens to a task.


def _whole(run, **death):
    """Let the task have one try, through all its deferrals."""
    before, first = _begin(run)
    ended = run.task.wait(run.task.start(**death))
    while ended.how == "deferred":
        run.deferrals += 1
        time.sleep(max(0.0, ended.deferral[0]["moment"] - time.time()))
        ended = run.task.wait(run.task.start(ended.deferral))
    return _note(run, ended, before, first)


def _begin(run):
    before, first = run.task.state(), len(run.meisa.requests())
    run.task.begin()
    return before, first


def _note(run, ended, before, first):
    ours = ended.how != "killed"
    account = run.task.xcom() if ours else None
    lines = read_outcomes(run) if account and run.arguments.get("outcomes_path") else None
    anew = bool(before and before["complete"] and before["max_tries"] != run.task.max_tries)
    run.tries.append(Try(ended, account, lines, before, anew, first))
    return ended


def _tries(run, **death):
    """Try as often as Airflow does while it may help."""
    for _ in range(_MOST_TRIES):
        if _whole(run, **death).how in ("success", "skipped", "failed"):
            return
        death = {}


def _recover(run):
    """Clear the task, now that nothing is in the way, until everybody has a verdict."""
    run.arguments["on_ambiguous"] = "resend"
    for _ in range(_MOST_TRIES):
        if is_over(run):
            return
        run.task.clear()
        _whole(run)


def is_over(run):
    """Say whether the latest try has accounted for everybody."""
    if not run.tries:
        return False
    last = run.tries[-1]
    if run.case.operator == "single":
        return last.account is not None
    return bool(last.account and last.account["complete"] and last.ended.how in ("success", "failed"))


def _retried(run, _chance):
    _tries(run)


def _killed_as_it_notes(run, chance):
    batches = len(run.people) // 500 + 1
    die_at = chance.randint(1, 2 * batches + 2) * chance.choice((1, -1))
    _tries(run, die_at=die_at)


def _killed_as_it_records(run, chance):
    _tries(run, die_recording=chance.randint(1, len(run.people) // 500 + 3))


def _killed_as_it_sends(run, chance):
    _interrupt(run, chance, signal.SIGKILL)


def _told_to_stop(run, chance):
    _interrupt(run, chance, signal.SIGTERM)


def _interrupt(run, chance, sign):
    before, first = _begin(run)
    pid = run.task.start()
    _send_when(run, pid, chance, sign)
    ended = run.task.wait(pid)
    _note(run, ended, before, first)
    _tries(run)


def _orphaned(run, chance):
    """Stop a try, let another finish, and wake the first: it may end what it has begun, no more."""
    before, first = _begin(run)
    orphan, number = run.task.start(), run.task.tries
    stopped = _send_when(run, orphan, chance, signal.SIGSTOP) and _is_stopped(orphan)
    if stopped:
        kept = run.task.state()
        _tries(run)
        os.kill(orphan, signal.SIGCONT)
        run.orphans.append((kept, _end_of(run, orphan, number)))
    else:
        _note(run, run.task.wait(orphan), before, first)
        _tries(run)


def _end_of(run, pid, number):
    latest, run.task.tries = run.task.tries, number
    ended = run.task.wait(pid)
    run.task.tries = latest
    return ended


def _send_when(run, pid, chance, sign):
    """Send a signal when so many batches have come in; say whether the process was there to get it."""
    path = SINGLE if run.case.operator == "single" else BULK
    wanted = 1 if run.case.operator == "single" else chance.randint(1, len(run.people) // 500 + 1)
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


def _wrong_shape(run, _chance):
    """Try, and where that fails clear the task: a wrong shape must not succeed then either."""
    _tries(run)
    if not run.is_readable:
        run.task.clear()
        _whole(run)


def _cleared(run, _chance):
    _tries(run)
    run.task.clear()
    _whole(run)


STORIES = {
    "retried": _retried,
    "killed as it notes": _killed_as_it_notes,
    "killed as it sends": _killed_as_it_sends,
    "killed as it records": _killed_as_it_records,
    "told to stop": _told_to_stop,
    "orphaned": _orphaned,
    "cleared": _cleared,
    "short of requests": _retried,
    "deferred": _retried,
    "wrong shape": _wrong_shape,
}


def read_outcomes(run):
    """Read the outcomes file as anybody would: ``[(address, verdict, reason)]``."""
    path = Path(run.arguments["outcomes_path"])
    if not path.exists():
        return None
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.name.endswith(".gz") else content).decode()
    if ".csv" in path.name:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        return [(text_of_cell(row["address"]), row["verdict"], text_of_cell(row["reason"])) for row in rows]
    return [(row["address"], row["verdict"], row["reason"]) for row in map(json.loads, text.splitlines())]
