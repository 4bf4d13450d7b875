"""Runs of our tasks, as Airflow's database knows them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, literal, not_, or_, select
from sqlalchemy.orm import aliased

from airflow_provider_meisa.plugins import summaries

if TYPE_CHECKING:
    from sqlalchemy import Row, Select
    from sqlalchemy.orm import Session

KEEP = 5.0  # seconds for which runs are shown again without reading them; pages look every ten
MOST_RUNS = 500
LINK_KEY = "meisa_dashboard"  # what each task of ours leaves as it begins (links.meisa)
PROGRESS_KEY = "meisa_progress"


@dataclass(frozen=True, slots=True)
class Run:
    """One task instance of ours, and what it has said.

    :param link: where it leads to in Meisa; empty if that is no web address.
    :param summary: what it returned, as `summaries.summary` reads it.
    :param progress: how far it has come, as `summaries.progress` reads it, until it has returned.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    operator: str
    state: str | None
    try_number: int
    started: datetime | None
    ended: datetime | None
    begun: datetime
    link: str
    summary: dict[str, Any] | None
    progress: dict[str, Any] | None

    def as_json(self, *, may_read: Callable[[str], bool]) -> dict[str, Any]:
        """Return it as plain JSON.

        :param may_read: says of a connection whether it may be named.
        """
        plain = asdict(self)
        for name in ("started", "ended", "begun"):
            plain[name] = plain[name] and plain[name].isoformat()
        for message in (plain["summary"], plain["progress"]):
            if message and message["connection"] and not may_read(message["connection"]):
                message["connection"] = ""
        return plain

    def in_short(self, *, may_read: Callable[[str], bool]) -> dict[str, Any]:
        """Return it without what only its own tab shows: the link, and the addresses that want attention."""
        plain = self.as_json(may_read=may_read)
        del plain["link"]
        if plain["summary"]:
            del plain["summary"]["attention"]
        return plain


def newest(session: Session, dag_ids: Collection[str], *, since: datetime) -> list[Run]:
    """Return the newest runs of some DAGs, at most `MOST_RUNS`; sensors, which enroll nobody, are left out.

    :param since: how far back to look.
    """
    query, link = _query()
    enrolls = or_(TaskInstance.operator.is_(None), not_(TaskInstance.operator.like("%Sensor")))
    query = query.where(link.dag_id.in_(dag_ids), link.timestamp >= since, enrolls)
    return [_run(row) for row in session.execute(query.order_by(link.timestamp.desc()).limit(MOST_RUNS))]


def one(session: Session, *, dag_id: str, run_id: str, task_id: str, map_index: int) -> Run | None:
    """Return the run of one task instance, if it is one of ours that has begun."""
    query, link = _query()
    wanted = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    row = session.execute(
        query.where(*(getattr(link, name) == value for name, value in wanted.items()))
    ).first()
    return None if row is None else _run(row)


class RunCache:
    """Reads the newest runs once in `KEEP` seconds for all who may read the same DAGs.

    :param clock: says the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[frozenset[str], int], tuple[float, list[Run]]] = {}

    def of(self, session: Session, dag_ids: Collection[str], *, days: int) -> list[Run]:
        """Return what `newest` finds.

        :param dag_ids: the DAGs that the viewer may read now.
        :param days: how far back to look.
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
"""For everybody who has the page open."""


def _query() -> tuple[Select[Any], Any]:
    """Join the link a task left with its instance, what it returned, and its progress where Airflow keeps that."""
    link, result, progress = aliased(XComModel), aliased(XComModel), _progress_model()
    instance = ("dag_id", "run_id", "task_id", "map_index")
    query = (
        select(
            *(getattr(TaskInstance, name) for name in (*instance, "operator", "state", "try_number")),
            TaskInstance.start_date.label("started"),
            TaskInstance.end_date.label("ended"),
            link.timestamp.label("begun"),
            link.value.label("link"),
            result.value.label("summary"),
            (literal(None) if progress is None else progress.value).label("progress"),
        )
        .select_from(link)
        .join(TaskInstance, _alike(link, TaskInstance, *instance))
        .outerjoin(result, _alike(link, result, *_TASK) & (result.key == "return_value"))
        .where(link.key == LINK_KEY)
    )
    if progress is not None:
        query = query.outerjoin(progress, _alike(link, progress, *_TASK) & (progress.key == PROGRESS_KEY))
    return query, link


_TASK = ("dag_run_id", "task_id", "map_index")


def _alike(one: Any, other: Any, *names: str) -> Any:
    return and_(*(getattr(one, name) == getattr(other, name) for name in names))


def _progress_model() -> Any:
    try:
        from airflow.models.task_state_store import TaskStateStoreModel
    except ImportError:  # Airflow before 3.3 keeps no state of tasks
        return None
    return TaskStateStoreModel


def _run(row: Row[Any]) -> Run:
    plain = row._asdict()
    summary = summaries.read_summary(summaries.read_json(plain["summary"]))
    progress = None if summary else summaries.read_progress(summaries.read_json(plain["progress"]))
    message = {"link": _web_address(plain["link"]), "summary": summary, "progress": progress}
    return Run(**{**plain, **message, "operator": plain["operator"] or ""})


def _web_address(stored: object) -> str:
    """Return the address a task left; it may have been pushed as JSON text, and a script is no address."""
    link = summaries.read_json(stored) or stored
    return link if isinstance(link, str) and urlsplit(link).scheme in ("http", "https") else ""
