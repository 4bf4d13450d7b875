"""One run of the campaign: people, a sandbox, a task, a fault and a story, until everybody has a verdict."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cases import BULK, FAULTS, SINGLE
from crowd import Truth, crowd, of
from lives import Ended, Task
from neighbours import Neighbour

from airflow_provider_meisa.api import client, quota_file
from airflow_provider_meisa.api.outcome_file import text_of_cell
from airflow_provider_meisa.operators import audience
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaOperator
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaOperator

KEY = "meisa_live_topsecretkey"
SLUG = "onboarding"

_MOST_TRIES = 4
_AMPLE = "1000/0.2s"
_SHORT = "9/0.6s"
_GATEWAY_TRIES = 5


@dataclass
class Try:
    """What is known after one try of the task."""

    ended: Ended
    account: dict | None
    lines: list | None
    before: dict | None
    """The checkpoint it began with."""
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
    """Checkpoints of tries that were still alive when another began."""


def perform(case, folder):
    """Play a run to its end.

    :param folder: where everything that it leaves goes.
    """
    chance = case.chance()
    people = crowd(chance, many=case.many)
    if case.operator == "single":
        people = [chance.choice([one for one in people if one.truth is not Truth.AGAIN])]
    limits = _SHORT if case.story in ("short of requests", "deferred") else _AMPLE
    with Neighbour(KEY, rate_limits=limits, latency_ms=chance.choice((0, 3))) as meisa:
        meisa.unsubscribe(sorted(of(people, Truth.SUPPRESSED)))
        meisa.seed(SLUG, sorted(of(people, Truth.THERE)))
        _connect(meisa.url, folder, limits, timeout=1 if case.fault == "too slow" else 20)
        arguments = _arguments(case, chance, people, folder)
        run = Run(case, people, meisa, _task(case, arguments, folder), arguments, limits, folder)
        _arm(case, chance, meisa)
        STORIES[case.story](run, chance)
        meisa.clear_faults()
        _recover(run)
        run.enrollments, run.requests = meisa.enrollments(SLUG), meisa.requests()
    return run


def _connect(url, folder, limits, *, timeout):
    extra = {"quota_store": f"file://{folder}/quota", "timeout": timeout, "rate_limits": limits}
    meisa = {"conn_type": "meisa", "host": url, "password": KEY, "extra": extra}
    warehouse = {"conn_type": "sqlite", "host": str(folder / "warehouse.db")}
    os.environ["AIRFLOW_CONN_MEISA_DEFAULT"] = json.dumps(meisa)
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(warehouse)


def _arguments(case, chance, people, folder):
    if case.operator == "single":
        return {"contact_email": people[0].raw, "on_ambiguous": chance.choice(("resend", "resend", "fail"))}
    suffix = chance.choice((".jsonl", ".jsonl.gz", ".csv", ".csv.gz"))
    deferred = case.story == "deferred"
    return {
        **_source(case.operator, chance, people, folder),
        "max_failed": chance.choice((None, None, 0)),
        "skip_suppressed": chance.random() < 0.25,
        "max_contacts": chance.choice((None, None, 10_000)),
        "outcomes_path": str(folder / "outcomes" / f"run{suffix}"),
        "on_ambiguous": chance.choice(("resend", "resend", "resend", "fail")),
        "max_in_flight": chance.randint(1, 5),
        "deferrable": deferred,
        "defer_after": 0.2 if deferred else 30.0,
    }


def _source(operator, chance, people, folder):
    """Put the people where the operator finds them."""
    raws = [person.raw for person in people]
    if operator == "bulk":
        return {"emails": [[raw] for raw in raws] if chance.random() < 0.3 else raws}
    if operator == "sql":
        with closing(sqlite3.connect(folder / "warehouse.db")) as database, database:
            database.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT)")
            database.executemany("INSERT INTO contacts (email) VALUES (?)", [(raw,) for raw in raws])
        sql = "SELECT email FROM contacts ORDER BY id"
        return {"sql": sql, "conn_id": "warehouse", "staging_path": str(folder / "staging")}
    name = chance.choice(("people.csv", "people.csv.gz", "people.jsonl", "people.jsonl.gz", "people.tsv"))
    path = folder / name
    with (gzip.open if name.endswith(".gz") else open)(path, "wt", encoding="utf-8", newline="") as file:
        if "jsonl" in name:
            file.writelines(json.dumps({"email": raw}) + "\n" for raw in raws)
        else:
            writer = csv.writer(file, delimiter="\t" if ".tsv" in name else ",")
            writer.writerows([("id", "email"), *enumerate(raws)])
    return {"path": str(path)}


def _task(case, arguments, folder):
    operator = {
        "bulk": MeisaBulkEnrollOperator,
        "sql": SqlToMeisaOperator,
        "file": FileToMeisaOperator,
        "single": MeisaEnrollOperator,
    }[case.operator]
    patches = [
        (client, "_BACKOFF", lambda _state: 0.0),
        (quota_file, "_LONGEST_LOCK", 0.5),
        (audience, "SHORTEST_DEFERRAL", 0.1),
        (audience, "_WAKE_EARLY", 0.1),
    ]
    return Task(
        lambda: operator(task_id="task", sequence_slug=SLUG, **arguments), folder, folder / "log", patches
    )


def _arm(case, chance, meisa):
    fault = FAULTS[case.fault]
    if fault is None:
        return
    path = chance.choice([*[SINGLE if case.operator == "single" else BULK] * 5, ""])
    times = chance.choice((1, 1, 2, _GATEWAY_TRIES + 1))
    meisa.fault(**fault, path=path, times=times, skip=chance.choice((0, 0, 1, 2)) if case.many else 0)


# What happens to a task.


def _whole(run, **death):
    """Let the task have one try, through all its deferrals."""
    before, first = _begin(run)
    ended = run.task.wait(run.task.start(**death))
    while ended.how == "deferred":
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
    run.tries.append(Try(ended, account, lines, before, first))
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
        run.orphans.append(run.task.state())
        _tries(run)
        os.kill(orphan, signal.SIGCONT)
    ended = _end_of(run, orphan, number)
    if not stopped:
        _note(run, ended, before, first)
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


def _cleared(run, _chance):
    _tries(run)
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
