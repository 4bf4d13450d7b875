"""The diff of a contact sync next to reading the same rows into dictionaries: ``python benchmarks/sync.py [--full]``.

A table of users in SQLite and PostgreSQL, ten columns; a ledger of yesterday's rows. Each measurement is a process.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from contenders import KEY, NO_LIMIT, status_mib
from figures import Spread, Table, over, status

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

_MILLION = 1_000_000
_CHANGED, _NEW, _GONE = 200, 1_000, 1_000  # one row of this many
_TIMES = 5
_MOST_TIME = {_MILLION: 3.0, 3 * _MILLION: 3.5}
_MOST_MEMORY = 48.0
_MOST_MEMORY_FIRST = 64.0
_QUERY = "select * from {}"
_COLUMNS = "user_id, email, first_name, last_name, plan, mrr, active, seen_at, born, logins"
_TYPES = {
    "sqlite": "(user_id, email, first_name, last_name, plan, mrr, active, seen_at, born, logins)",
    "postgres": "(user_id bigint, email text, first_name text, last_name text, plan text, mrr numeric(10, 2), "
    "active boolean, seen_at timestamptz, born date, logins int)",
}
_MAPPING = {
    "fields": {
        "email": "email",
        "external_id": "user_id",
        "first_name": "first_name",
        "last_name": "last_name",
    },
    "custom_fields": ["plan", "mrr", "active", "seen_at", "born", "logins"],
}
_TOUCHED = 10  # a job writes one row of this many each night, although nothing in it changes
_AN_HOUR = 1_000
_CHUNK = 2_000


# Tables.


def _rows(count: int, *, today: bool) -> Iterator[tuple[Any, ...]]:
    """Generate users of yesterday, or of today: some are new, some have changed, and some have gone."""
    chance = random.Random(1)
    begin, since = datetime(2026, 1, 1, tzinfo=UTC), date(1970, 1, 1)
    for number in range(count + (count // _NEW if today else 0)):
        changes, goes = chance.randrange(_CHANGED) == 0, chance.randrange(_GONE) == 0
        if today and goes and number < count:
            continue
        yield (
            number,
            f"contact.{number:08}@example{number % 50}.com",
            f"First{number % 997}",
            f"Last{number % 9973}",
            "enterprise" if today and changes else ("free", "pro", "team")[number % 3],
            f"{number % 100_000 / 100:.2f}",
            number % 2 == 0,
            begin + timedelta(seconds=number),
            since + timedelta(days=number % 15_000),
            number % 500,
        )


def _fill(database: str, place: str, name: str, count: int, *, today: bool) -> None:
    with closing(_connect(database, place)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"create table {name} {_TYPES[database]}")
        rows = _rows(count, today=today)
        if database == "sqlite":
            texts = (
                (*row[:5], float(row[5]), int(row[6]), row[7].isoformat(), row[8].isoformat(), row[9])
                for row in rows
            )
            cursor.executemany(f"insert into {name} values ({', '.join('?' * 10)})", texts)
        else:
            with cursor.copy(f"copy {name} ({_COLUMNS}) from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
        connection.commit()


def _connect(database: str, place: str) -> Any:
    if database == "sqlite":
        return sqlite3.connect(place)
    import psycopg

    return psycopg.connect(f"host=127.0.0.1 port={place} user=meisa dbname=postgres")


class _Hook:
    """What of a database hook the source needs."""

    def __init__(self, database: str, place: str) -> None:
        self._database, self._place = database, place

    def get_conn(self) -> Any:
        """Connect."""
        return _connect(self._database, self._place)


# What is measured.


def into_dicts(database: str, place: str) -> int:
    """Read the rows of today into dictionaries, as a loop would."""
    count = 0
    with closing(_connect(database, place)) as connection:
        cursor = connection.cursor() if database == "sqlite" else connection.cursor(name="loop")
        cursor.execute(_QUERY.format("today"))
        names = None
        while rows := cursor.fetchmany(_CHUNK):
            names = names or [column[0] for column in cursor.description]
            for row in rows:
                dict(zip(names, row, strict=True))
            count += len(rows)
    return count


class _Key:
    """Responds to ``/ping/`` and to nothing else."""

    def send(self, _call: Any) -> Any:
        """Respond."""
        from airflow_provider_meisa.api.models import Response

        return Response(200, {"environment": "live", "product": {"name": "Bench"}})

    def close(self) -> None:
        """Do nothing, because nothing is open."""


def plan(where: tuple[str, str, str], table: str, first_run: str, started_at: float) -> Any:
    """Plan a sync, as an operator does, and return the plan."""
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.rate_limit.limits import parse_limits
    from airflow_provider_meisa.api.settings import Settings
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.options import LedgerOptions, RunOptions
    from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter
    from airflow_provider_meisa.bulk.plan import PlanStore
    from airflow_provider_meisa.bulk.reporting import RunReporter
    from airflow_provider_meisa.bulk.runner import BulkRunner
    from airflow_provider_meisa.jobs.sync_contacts import SyncContactsJob
    from airflow_provider_meisa.jobs.sync_contacts.mapping import ContactMapping
    from airflow_provider_meisa.transfers.sources.sql import read_rows

    database, place, root = where
    settings = Settings(
        api_key=KEY, base_url="http://127.0.0.1:1", allow_http=True, limits=parse_limits(NO_LIMIT)
    )
    client = MeisaClient(settings, transport=_Key())
    job = SyncContactsJob(mapping=ContactMapping(**_MAPPING), max_changes=None)
    ledger = LedgerOptions(
        root=Path(root),
        name="users",
        run=f"{table}{started_at}",
        first_run=first_run,
        is_first_run_given=True,
    )
    runner = BulkRunner(
        client,
        job,
        RunOptions(ledger=ledger),
        lambda: read_rows(_Hook(database, place), _QUERY.format(table), None),
        plans=PlanStore(Path(root) / "plans", "bench"),
        start=Checkpoint(started_at=started_at),
        save=lambda _: None,
        outcomes=OutcomeWriter(None),
        reporter=RunReporter(client, job),
    )
    with runner, client:
        made = runner.plan()
        runner.drop_plan()
        return made


def _import() -> None:
    """Load the modules: they are not part of what is measured."""
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/few.db"
        _fill("sqlite", place, "few", 10, today=False)
        plan(("sqlite", place, f"{folder}/few"), "few", "record", time.time())


def fill(database: str, place: str, _root: str, count: int) -> dict[str, Any]:
    """Make the tables of yesterday and of today."""
    for name in ("yesterday", "today"):
        _fill(database, place, name, count, today=name == "today")
    return {}


def first(database: str, place: str, root: str, _count: int) -> dict[str, Any]:
    """Plan a first sync that sends all rows, and return its memory above that of reading."""
    _import()
    into_dicts(database, place)
    before = status_mib("VmHWM")
    made = plan((database, place, f"{root}/first"), "yesterday", "send", time.time())
    return {"peak": status_mib("VmHWM") - before, "to_send": made.to_send}


def record(database: str, place: str, root: str, _count: int) -> dict[str, Any]:
    """Record the rows of yesterday."""
    plan((database, place, root), "yesterday", "record", time.time())
    return {}


def remember(database: str, place: str, root: str, _count: int) -> dict[str, Any]:
    """Plan the sync of today, and return its memory above that of reading."""
    _import()
    into_dicts(database, place)
    before = status_mib("VmHWM")
    plan((database, place, root), "today", "fail", time.time())
    return {"peak": status_mib("VmHWM") - before}


def compare(database: str, place: str, root: str, count: int) -> dict[str, Any]:
    """Time reading and planning, in turn."""
    took: dict[str, Any] = {"ours": [], "dicts": []}
    for number in range(_TIMES if count <= _MILLION else 3):
        begun = time.process_time(), time.perf_counter()
        made = plan((database, place, root), "today", "fail", time.time() + 60 * number)
        took["ours"].append(time.perf_counter() - begun[1])
        begun = time.process_time(), time.perf_counter()
        into_dicts(database, place)
        took["dicts"].append(time.perf_counter() - begun[1])
    took["report"] = {"total": made.total, "to_send": made.to_send, **made.facts.report, **made.counts}
    return took


@contextmanager
def _places(count: int) -> Iterator[dict[str, tuple[str, str]]]:
    """Make both databases with both tables, and a ledger of yesterday for each; yield their places and folders."""
    from tests.support.postgres import postgres_on_loopback

    with tempfile.TemporaryDirectory() as folder, postgres_on_loopback() as port:
        places = {"sqlite": f"{folder}/users.db", "postgres": str(port)}
        found = {}
        for database, place in places.items():
            root = f"{folder}/{database}"
            _child("fill", database, place, root, count)
            found[database] = (place, root)
        yield found


def tables(*, full: bool = False) -> list[Table]:
    """Measure both databases; ``full`` adds three million rows."""
    found = [each for count in (_MILLION, *([3 * _MILLION] if full else [])) for each in _measured(count)]
    return [
        _requests(found[0]["report"]),
        Table(
            "Contact sync: the diff",
            "A table of ten columns: half a percent of its rows have changed since yesterday, a thousandth is new, and "
            "a thousandth has gone. The time from the query to a complete plan, the ledger read included, next to "
            f"reading the same rows into dictionaries, {_TIMES} repetitions in turn (3 with three million). Memory is "
            "the peak resident set (VmHWM) less that after reading the rows.",
            (
                *("", "rows", "new", "changed", "gone", "diff s", "÷ dictionaries", "target"),
                *("peak MiB", "target", "first sync, MiB", "target"),
            ),
            [each["row"] for each in found],
        ),
    ]


def _requests(report: dict[str, int]) -> Table:
    """Compare the requests of one night; one contact is one request."""
    sent = report["to_send"]
    ways = {
        "this package": sent,
        "this package, a night without a change": 0,
        "a loop that sends rows whose `updated_at` is of that day": sent + report["total"] // _TOUCHED,
        "a loop that sends all rows": report["total"],
    }
    return Table(
        "Contact sync: requests of one night",
        f"Upserts for {report['total']:,} rows, of which {report['new']:,} are new and {report['changed']:,} have "
        f"changed, from the plan of that night. A row in {_TOUCHED} is written each night by a job that changes "
        "nothing that is sent. This package sends up to two more requests of its own.",
        ("", "upserts", "hours at 1000/hour"),
        [[way, f"{count:,}", f"{count / _AN_HOUR:,.1f}"] for way, count in ways.items()],
    )


def _measured(count: int) -> Iterator[dict[str, Any]]:
    with _places(count) as places:
        for database, (place, root) in places.items():
            of_first = _child("first", database, place, root, count)
            _child("record", database, place, root, count)
            took = _child("compare", database, place, root, count)
            memory = _child("remember", database, place, root, count)
            ratio, report = over(Spread(took["ours"]), Spread(took["dicts"])), took["report"]
            is_million = count == _MILLION
            row = [
                database,
                f"{report['total']:,}",
                *(f"{report[name]:,}" for name in ("new", "changed", "gone")),
                Spread(took["ours"]).text(),
                ratio.text(),
                status(ratio.median, _MOST_TIME[count]) if count in _MOST_TIME else "",
                f"{memory['peak']:.0f}",
                status(memory["peak"], _MOST_MEMORY) if is_million else "",
                f"{of_first['peak']:.0f}",
                status(of_first["peak"], _MOST_MEMORY_FIRST) if is_million else "",
            ]
            yield {"row": row, "report": report}


_MEASURES: dict[str, Callable[[str, str, str, int], dict[str, Any]]] = {
    each.__name__: each for each in (fill, first, record, compare, remember)
}


def _child(what: str, database: str, place: str, root: str, count: int) -> dict[str, Any]:
    command = [sys.executable, __file__, what, database, place, root, str(count)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    took: dict[str, Any] = json.loads(output)
    return took


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in _MEASURES:
        print(json.dumps(_MEASURES[sys.argv[1]](*sys.argv[2:5], int(sys.argv[5]))))
    else:
        for table in tables(full="--full" in sys.argv):
            print(table.markdown())
