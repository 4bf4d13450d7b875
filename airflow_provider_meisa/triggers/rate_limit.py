"""Waiting for the key's rate limits without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class MeisaRateLimitTrigger(BaseTrigger):
    """Fires at a moment, and hands back what it was given. It sends nothing and asks nobody.

    The event is ``{"status": "go", "cursor": {…}, "moment": …}``.

    :param moment: when to fire, in seconds since the epoch.
    :param cursor: where the task has come to, as plain JSON. It travels here because ``airflow dags test`` loses
        the arguments of a deferral, but not the event (Airflow 2.11 to 3.3).
    """

    def __init__(self, *, moment: float, cursor: Mapping[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has not annotated it
        self.moment = moment
        self.cursor = dict(cursor)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        return (
            "airflow_provider_meisa.triggers.rate_limit.MeisaRateLimitTrigger",
            {"moment": self.moment, "cursor": self.cursor},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the moment."""
        await asyncio.sleep(max(0.0, self.moment - time.time()))
        yield TriggerEvent({"status": "go", "cursor": self.cursor, "moment": self.moment})
