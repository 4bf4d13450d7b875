"""Waiting for sequences without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_meisa.api.errors import MeisaError, MeisaRateLimitError
from airflow_provider_meisa.hooks.meisa import MeisaHook, is_final
from airflow_provider_meisa.hooks.metrics import metered

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.sequences import SequenceInfo

READY = "ready"
ERROR = "error"

_LONGEST_WAIT = (
    2.0  # seconds that a look waits for the rate limits in a thread, of which the triggerer has few
)


class MeisaSequenceTrigger(BaseTrigger):
    """Fires when every sequence has the wanted status, or when waiting on makes no sense.

    The event is ``{"status": "ready", "sequences": [{slug, name, status, total_enrolled}, …]}`` or
    ``{"status": "error", "message": str, "final": bool}``; ``final`` says that a retry cannot mend it.

    :param meisa_conn_id: the Airflow Connection.
    :param slugs: the sequences.
    :param status: the status they must have.
    :param on_missing: ``wait`` or ``fail``, if no sequence has one of the slugs.
    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self, *, meisa_conn_id: str, slugs: Sequence[str], status: str, on_missing: str, poll_interval: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has not annotated it
        self.meisa_conn_id = meisa_conn_id
        self.slugs = list(slugs)
        self.status = status
        self.on_missing = on_missing
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        return (
            "airflow_provider_meisa.triggers.sequences.MeisaSequenceTrigger",
            {
                "meisa_conn_id": self.meisa_conn_id,
                "slugs": self.slugs,
                "status": self.status,
                "on_missing": self.on_missing,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, wait, look again, until there is something to say."""
        from airflow_provider_meisa.api.readiness import readiness

        try:
            while True:
                try:
                    listed = await listing(self.meisa_conn_id, max_age=self.poll_interval / 2)
                except MeisaRateLimitError as error:
                    await asyncio.sleep(max(error.retry_after or 0.0, self.poll_interval))
                    continue
                state = readiness(listed, self.slugs, status=self.status, on_missing=self.on_missing)
                if state.done:
                    yield TriggerEvent(
                        {"status": READY, "sequences": [info.as_json() for info in state.ready]}
                    )
                    return
                self.log.info("Still waiting: %s", state)
                await asyncio.sleep(self.poll_interval)
        except (MeisaError, AirflowException) as error:
            final = is_final(error) or isinstance(error, AirflowFailException)
            yield TriggerEvent({"status": ERROR, "message": str(error), "final": final})


_seen: dict[str, tuple[float, list[SequenceInfo]]] = {}
_looking: dict[tuple[int, str], asyncio.Lock] = {}


async def listing(meisa_conn_id: str, *, max_age: float) -> list[SequenceInfo]:
    """List all sequences; triggers of one process that watch the same connection share a look.

    :param max_age: seconds that another trigger's look may be old.
    :raises MeisaRateLimitError: if the rate limits leave no room now.
    """
    lock = _looking.setdefault((id(asyncio.get_running_loop()), meisa_conn_id), asyncio.Lock())
    async with lock:
        at, listed = _seen.get(meisa_conn_id, (float("-inf"), []))
        if time.monotonic() - at > max_age:
            listed = await _look(meisa_conn_id)
            _seen[meisa_conn_id] = time.monotonic(), listed
        return listed


async def _look(meisa_conn_id: str) -> list[SequenceInfo]:
    client = await MeisaHook(meisa_conn_id, max_wait=_LONGEST_WAIT).get_async_conn()
    try:
        return await asyncio.to_thread(_list, client, meisa_conn_id)
    finally:
        client.close()


def _list(client: MeisaClient, meisa_conn_id: str) -> list[SequenceInfo]:
    from airflow_provider_meisa.api.sequences import list_sequences

    with metered(client, meisa_conn_id):
        return list_sequences(client, status="all")
