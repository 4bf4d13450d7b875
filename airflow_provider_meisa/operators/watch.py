"""What a run tells those who look from outside: its progress, and Airflow's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_meisa.hooks.metrics import Meter
from airflow_provider_meisa.operators.leg import spent
from airflow_provider_meisa.operators.progress import Progress, State

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint


class Watch:
    """Watches one leg of a run, from before its first request; whatever ends it is told, too.

    :param client: counts what is done.
    :param start: where the run has come to before.
    :param store: the task's state; ``None`` where Airflow has none, or nothing is sent.
    :ivar start: likewise, but without what a restart has dropped.
    :ivar total: how many addresses there are, where that is known.
    """

    def __init__(
        self, client: MeisaClient, start: Checkpoint, store: Any, *, sequence_slug: str, meisa_conn_id: str
    ) -> None:
        self.total: int | None = None
        self._client = client
        self._ended = False
        self._progress = Progress(store, {"sequence_slug": sequence_slug, "meisa_conn_id": meisa_conn_id})
        self._meter = Meter(meisa_conn_id, sequence_slug)
        self.begin(start)

    def begin(self, start: Checkpoint) -> None:
        """Go on from here: what was done before was told by others."""
        self.start = self._now = start
        self._meter.skip(start, start.counts)

    def tell(self, now: Checkpoint, until: datetime | None = None) -> None:
        """Tell how far the run has come.

        :param until: when the wait ends that begins now.
        """
        self._count(now)
        self._progress.write("waiting" if until else "sending", now, total=self.total, until=until)

    def end(self, now: Checkpoint, account: Mapping[str, Any]) -> None:
        """Tell how the run has ended.

        :param account: its summary.
        """
        self._ended = True
        self._count(now)
        state: State = "complete" if account["complete"] else "stopped"
        self._progress.write(state, now, counts=account["counts"], total=account["total"])

    def _count(self, now: Checkpoint) -> None:
        self._now = now
        self._meter.work(now)
        self._meter.addresses(now.counts)

    def __enter__(self) -> Self:
        self._progress.write("sending", self.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, TaskDeferred):
            return
        now = replace(self._now, **spent(self.start, self._client.traffic))
        self._meter.work(now)
        if not self._ended:
            self._progress.write("stopped", now, total=self.total)
