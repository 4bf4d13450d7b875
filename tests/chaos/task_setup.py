"""What a run begins with: connections, a source with people in it, an operator, and a fault."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sqlite3
from contextlib import closing
from datetime import timedelta

from airflow_provider_meisa.api import client
from airflow_provider_meisa.api.rate_limit.storage import file as rate_limit_file
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.hooks import configuration
from airflow_provider_meisa.operators import bulk
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.chaos.cases import BULK, FAULTS, SINGLE
from tests.chaos.factories import AGAIN_AFTER
from tests.chaos.processes import Task
from tests.chaos.shapes import shape_of

KEY = "meisa_live_topsecretkey"
SLUG = "onboarding"
LEDGER = "nightly"
HIGH = "1000/0.2s"
SHORT = "3/0.5s"

_GATEWAY_TRIES = 5


def connect(url, folder, limits, *, timeout):
    """Point the connections at the sandbox and at the warehouse."""
    extra = {"rate_limit_storage": f"file://{folder}/rate_limits", "timeout": timeout, "rate_limits": limits}
    meisa = {"conn_type": "meisa", "host": url, "password": KEY, "extra": extra}
    warehouse = {"conn_type": "sqlite", "host": str(folder / "warehouse.db")}
    os.environ["AIRFLOW_CONN_MEISA_DEFAULT"] = json.dumps(meisa)
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(warehouse)


def arguments_of(case, rng, people, folder):
    """Draw the parameters of the operator, and put the people where it finds them."""
    if case.operator == "single":
        return {"contact_email": people[0].raw, "on_ambiguous": rng.choice(("resend", "resend", "fail"))}
    suffix = rng.choice((".jsonl", ".jsonl.gz", ".csv", ".csv.gz"))
    deferred = case.scenario == "deferred"
    return {
        **_source(case, rng, people, folder),
        **({"ledger": LEDGER, "again_after": timedelta(days=AGAIN_AFTER)} if case.has_ledger else {}),
        "max_failed": rng.choice((None, None, 0)),
        "skip_suppressed": rng.random() < 0.25,
        "max_contacts": rng.choice((None, None, 10_000)),
        "outcomes_path": str(folder / "outcomes" / f"run{suffix}"),
        "staging_path": str(folder / "staging"),
        "on_ambiguous": rng.choice(("resend", "resend", "resend", "fail")),
        "max_in_flight": rng.randint(1, 5),
        "deferrable": deferred,
        "defer_after": 0.2 if deferred else 30.0,
    }


def _source(case, rng, people, folder):
    """Put the people where the operator finds them."""
    raws = [person.raw for person in people]
    operator, is_shaped = case.operator, case.scenario == "wrong shape"
    if operator == "bulk" and is_shaped:
        return shape_of(case)(raws)
    if operator in ("bulk", "ledger"):
        return {"emails": [[raw] for raw in raws] if rng.random() < 0.3 else raws}
    if operator == "sql":
        with closing(sqlite3.connect(folder / "warehouse.db")) as database, database:
            database.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT)")
            database.executemany("INSERT INTO contacts (email) VALUES (?)", [(raw,) for raw in raws])
        sql = shape_of(case) if is_shaped else "SELECT email FROM contacts ORDER BY id"
        return {"sql": sql, "conn_id": "warehouse"}
    name = rng.choice(("people.csv", "people.csv.gz", "people.jsonl", "people.jsonl.gz", "people.tsv"))
    path = folder / name
    with (gzip.open if name.endswith(".gz") else open)(path, "wt", encoding="utf-8", newline="") as file:
        if "jsonl" in name:
            file.writelines(json.dumps({"email": raw}) + "\n" for raw in raws)
        else:
            writer = csv.writer(file, delimiter="\t" if ".tsv" in name else ",")
            writer.writerows([("id", "email"), *enumerate(raws)])
    # The writer puts a value with a tab in quotes, which a .tsv does not have by default.
    return {"path": str(path), "quoting": "standard" if ".tsv" in name else None}


def task_of(case, arguments, folder, **run):
    """Make the task.

    :param run: which run of it; see `Task`.
    """
    operator = {
        "bulk": MeisaBulkEnrollOperator,
        "ledger": MeisaBulkEnrollOperator,
        "sql": SqlToMeisaSequenceOperator,
        "file": FileToMeisaSequenceOperator,
        "single": MeisaEnrollOperator,
    }[case.operator]
    patches = [
        (client, "_BACKOFF", lambda _state: 0.0),
        (Settings, "resend_after", 0.4),
        (client, "_HOUR", 0.2),  # so that a century ends with the windows here
        (rate_limit_file, "_LONGEST_LOCK", 0.5),
        (bulk, "SHORTEST_DEFERRAL", 0.1),
        (bulk, "_WAKE_EARLY", 0.1),
        (configuration, "ledger_path", lambda: str(folder / "ledgers")),
    ]
    kept = folder / run.get("run_id", "")
    kept.mkdir(exist_ok=True)
    return Task(
        lambda: operator(task_id="task", sequence_slug=SLUG, **arguments),
        kept,
        folder / "log",
        patches,
        **run,
    )


def arm(case, rng, meisa):
    """Arm the fault of the run, for some of its requests."""
    fault = FAULTS[case.fault]
    if fault is None:
        return
    if fault["kind"] == "bad_addresses":  # a bad address stays one
        meisa.fault(**fault)
        return
    path = rng.choice([*[SINGLE if case.operator == "single" else BULK] * 5, ""])
    times = rng.choice((1, 1, 2, _GATEWAY_TRIES + 1))
    meisa.fault(**fault, path=path, times=times, skip=rng.choice((0, 0, 1, 2)) if case.many else 0)
