"""How far a running task has come, for those who look from outside of its worker (Airflow 3.3 and later)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from airflow_provider_meisa.api.outcomes import Verdict
from airflow_provider_meisa.bulk.checkpoint import Checkpoint

KEY = "meisa_progress"

State = Literal["sending", "waiting", "stopped", "complete"]

log = logging.getLogger("airflow.task.meisa")

_SECONDS = 2.0  # a write takes 14 ms of the run (Airflow 3.3, SQLite)


class Progress:
    """Writes into the task's state what it is doing and how far it is: plain JSON, and no address.

    That nobody can look is no reason to stop: where a write fails, the run goes on.

    :param store: the task's state; ``None`` where Airflow has none.
    :param identity: what the task is at: ``sequence_slug`` and ``meisa_conn_id``.
    :param clock: a time in seconds.
    """

    def __init__(
        self, store: Any, identity: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._identity = dict(identity)
        self._clock = clock
        self._last: tuple[State, float] | None = None

    def write(
        self,
        state: State,
        now: Checkpoint,
        *,
        counts: Mapping[str, int] | None = None,
        total: int | None = None,
        until: datetime | None = None,
    ) -> None:
        """Write it, but not more often than every two seconds while nothing but the figures change.

        :param now: how far the run has come.
        :param counts: how many addresses have each verdict; by default those that are settled.
        :param total: how many addresses there are, where that is known.
        :param until: when a wait ends.
        """
        if self._store is None or not self._is_due(state):
            return
        counts = counts or now.counts
        value = {
            **self._identity,
            "state": state,
            "done": sum(now.counts.values()),
            "total": total,
            "counts": {verdict.value: counts.get(verdict.value, 0) for verdict in Verdict},
            "requests": now.requests,
            "rate_limited": now.rate_limited,
            "waiting_until": until.isoformat(timespec="seconds") if until else None,
            "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            self._store.set(KEY, value)
        except Exception as error:  # noqa: BLE001 (whatever Airflow raises; the checkpoint tells if the task is not ours)
            log.warning("The progress could not be written: %s", type(error).__name__)

    def _is_due(self, state: State) -> bool:
        now = self._clock()
        if state == "sending" and self._last and self._last[0] == state and now - self._last[1] < _SECONDS:
            return False
        self._last = state, now
        return True
