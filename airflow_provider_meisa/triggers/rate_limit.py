"""The trigger that waits for the rate limits of a key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class MeisaRateLimitTrigger(BaseTrigger):
    """Fires at a given time and returns the cursor. It sends no requests.

    The event is ``{"status": "go", "cursor": {…}, "moment": …}``.

    :param moment: when to fire, in seconds since the epoch.
    :param cursor: the progress of the task, as plain JSON. It is part of the event because ``airflow dags test``
        drops the arguments of a deferral (Airflow 2.11 to 3.3).
    """

    def __init__(self, *, moment: float, cursor: Mapping[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        self.moment = moment
        self.cursor = dict(cursor)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        return (
            "airflow_provider_meisa.triggers.rate_limit.MeisaRateLimitTrigger",
            {"moment": self.moment, "cursor": self.cursor},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait until the time, and fire."""
        await asyncio.sleep(max(0.0, self.moment - time.time()))
        yield TriggerEvent({"status": "go", "cursor": self.cursor, "moment": self.moment})
