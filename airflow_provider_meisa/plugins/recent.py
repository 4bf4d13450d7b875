"""The latest runs, for everybody who has the page open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_meisa.plugins import runs

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

KEEP = 5.0  # seconds for which runs are shown again without reading them; pages look every ten


class Recent:
    """Reads the newest runs once in `KEEP` seconds for all who may read the same DAGs.

    :param clock: says the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[frozenset[str], int], tuple[float, list[runs.Run]]] = {}

    def of(self, session: Session, dag_ids: Collection[str], *, days: int) -> list[runs.Run]:
        """Return what `runs.newest` finds.

        :param dag_ids: the DAGs that the viewer may read now.
        :param days: how far back to look.
        """
        wanted = frozenset(dag_ids), days
        with self._lock:
            now = self._clock()
            self._kept = {key: kept for key, kept in self._kept.items() if now - kept[0] < KEEP}
            if wanted not in self._kept:
                since = datetime.now(UTC) - timedelta(days=days)
                self._kept[wanted] = now, runs.newest(session, dag_ids, since=since)
            return self._kept[wanted][1]


RECENT = Recent()
