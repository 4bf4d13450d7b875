"""Read the runs of Meisa tasks from Airflow's database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, literal, not_, or_, select
from sqlalchemy.orm import aliased

from airflow_provider_meisa.plugins import summaries

if TYPE_CHECKING:
    from sqlalchemy import Row, Select
    from sqlalchemy.orm import Session

KEEP = 5.0  # seconds for which runs are cached; pages refresh every ten
MOST_RUNS = 500
MOST_BEFORE = 20
LINK_KEY = "meisa_dashboard"  # the XCom that each Meisa task pushes when it begins (links.meisa)
ERROR_KEY = "meisa_error"  # the XCom that a failed attempt leaves (operators.failure)
PROGRESS_KEY = "meisa_progress"


@dataclass(frozen=True, slots=True)
class Run:
    """One Meisa task instance, with its link, summary, progress and error.

    :param logical_date: that of the DAG run, if it has one.
    :param link: URL of the sequence in Meisa's dashboard; empty if the stored value is not a web address.
    :param summary: the value it returned, as `summaries.read_summary` reads it.
    :param progress: its progress until then, as `summaries.read_progress` reads it.
    :param error: the error that failed its last attempt, as `summaries.read_error` reads it.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    operator: str
    state: str | None
    try_number: int
    logical_date: datetime | None
    started: datetime | None
    ended: datetime | None
    begun: datetime
    link: str
    summary: dict[str, Any] | None
    progress: dict[str, Any] | None
    error: dict[str, Any] | None

    def as_json(self, *, may_read: Callable[[str], bool]) -> dict[str, Any]:
        """Return the run as plain JSON.

        :param may_read: returns whether the user may see a connection's id.
        """
        plain = asdict(self)
        for name in ("logical_date", "started", "ended", "begun"):
            plain[name] = plain[name] and plain[name].isoformat()
        for message in (plain["summary"], plain["progress"], plain["error"]):
            if message and message["connection"] and not may_read(message["connection"]):
                _hide_connection(message)
        return plain

    def in_short(self, *, may_read: Callable[[str], bool]) -> dict[str, Any]:
        """Return the run without what only the tab shows: the link, and the addresses that need attention."""
        plain = self.as_json(may_read=may_read)
        del plain["link"]
        for name in ("attention", "reasons"):
            if plain["summary"]:
                plain["summary"].pop(name, None)
        return plain


def _hide_connection(message: dict[str, Any]) -> None:
    """Remove the id of a connection, also from the text of an error."""
    conn_id, message["connection"] = message["connection"], ""
    for name in ("message", "stopped_by"):
        if name in message:
            message[name] = message[name].replace(conn_id, "***")


def newest(session: Session, dag_ids: Collection[str], *, since: datetime) -> list[Run]:
    """Return the newest runs of some DAGs, at most `MOST_RUNS`; leave out sensors, which enroll no contacts.

    :param since: the earliest begin of a run.
    """
    query, link = _query()
    enrolls = or_(TaskInstance.operator.is_(None), not_(TaskInstance.operator.like("%Sensor")))
    query = query.where(link.dag_id.in_(dag_ids), link.timestamp >= since, enrolls)
    return [_run(row) for row in session.execute(query.order_by(link.timestamp.desc()).limit(MOST_RUNS))]


def one(session: Session, *, dag_id: str, run_id: str, task_id: str, map_index: int) -> Run | None:
    """Return the run of one task instance, or ``None`` if it is not a Meisa task or has not begun."""
    query, link = _query()
    wanted = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    row = session.execute(
        query.where(*(getattr(link, name) == value for name, value in wanted.items()))
    ).first()
    return None if row is None else _run(row)


def ledger_before(session: Session, run: Run) -> dict[str, Any] | None:
    """Return the ledger of a run in the newest earlier summary of its task: ``{name, entries, at}``.

    :return: ``None`` if the run has no ledger, or none of the last `MOST_BEFORE` summaries has it.
    """
    now = run.summary and run.summary.get("ledger")
    if not now:
        return None
    query = (
        select(XComModel.value, XComModel.timestamp)
        .where(XComModel.dag_id == run.dag_id, XComModel.task_id == run.task_id)
        .where(XComModel.map_index == run.map_index, XComModel.key == "return_value")
        .where(XComModel.timestamp < run.begun, XComModel.run_id != run.run_id)
    )
    for value, timestamp in session.execute(query.order_by(XComModel.timestamp.desc()).limit(MOST_BEFORE)):
        ledger = summaries.read_ledger(summaries.read_json(value))
        if ledger and ledger["name"] == now["name"]:
            return {**ledger, "at": timestamp.isoformat()}
    return None


class RunCache:
    """Reads the newest runs once in `KEEP` seconds for all users who may read the same DAGs.

    :param clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[frozenset[str], int], tuple[float, list[Run]]] = {}

    def of(self, session: Session, dag_ids: Collection[str], *, days: int) -> list[Run]:
        """Return the runs that `newest` finds, from the cache if it is fresh.

        :param dag_ids: the DAGs that the user may read now.
        :param days: the length of the period in days.
        """
        wanted = frozenset(dag_ids), days
        with self._lock:
            now = self._clock()
            self._kept = {key: kept for key, kept in self._kept.items() if now - kept[0] < KEEP}
            if wanted not in self._kept:
                since = datetime.now(UTC) - timedelta(days=days)
                self._kept[wanted] = now, newest(session, dag_ids, since=since)
            return self._kept[wanted][1]


RUNS = RunCache()
"""Shared by all users who have the page open."""


def _query() -> tuple[Select[Any], Any]:
    """Join the link XCom of a task with its instance, its return value, its error, and its progress (Airflow 3.3)."""
    link, result, error = aliased(XComModel), aliased(XComModel), aliased(XComModel)
    progress = _progress_model()
    instance = ("dag_id", "run_id", "task_id", "map_index")
    query = (
        select(
            *(getattr(TaskInstance, name) for name in (*instance, "operator", "state", "try_number")),
            DagRun.logical_date,
            TaskInstance.start_date.label("started"),
            TaskInstance.end_date.label("ended"),
            link.timestamp.label("begun"),
            link.value.label("link"),
            result.value.label("summary"),
            error.value.label("error"),
            (literal(None) if progress is None else progress.value).label("progress"),
        )
        .select_from(link)
        .join(TaskInstance, _alike(link, TaskInstance, *instance))
        .join(DagRun, _alike(TaskInstance, DagRun, "dag_id", "run_id"))
        .outerjoin(error, _alike(link, error, *_TASK) & (error.key == ERROR_KEY))
        .outerjoin(result, _alike(link, result, *_TASK) & (result.key == "return_value"))
        .where(link.key == LINK_KEY)
    )
    if progress is not None:
        query = query.outerjoin(progress, _alike(link, progress, *_TASK) & (progress.key == PROGRESS_KEY))
    return query, link


_FAILED = ("failed", "up_for_retry")
_TASK = ("dag_run_id", "task_id", "map_index")


def _alike(one: Any, other: Any, *names: str) -> Any:
    return and_(*(getattr(one, name) == getattr(other, name) for name in names))


def _progress_model() -> Any:
    try:
        from airflow.models.task_state_store import TaskStateStoreModel
    except ImportError:  # Airflow before 3.3 has no task state store
        return None
    return TaskStateStoreModel


def _run(row: Row[Any]) -> Run:
    plain = row._asdict()
    summary = summaries.read_summary(summaries.read_json(plain["summary"]))
    progress = None if summary else summaries.read_progress(summaries.read_json(plain["progress"]))
    error = summaries.read_error(summaries.read_json(plain["error"])) if plain["state"] in _FAILED else None
    message = {"link": _web_address(plain["link"]), "summary": summary, "progress": progress, "error": error}
    return Run(**{**plain, **message, "operator": plain["operator"] or ""})


def _web_address(stored: object) -> str:
    """Return the URL that a task pushed, also as JSON text; empty if its scheme is not http or https."""
    link = summaries.read_json(stored) or stored
    return link if isinstance(link, str) and urlsplit(link).scheme in ("http", "https") else ""
