"""The trigger that waits for sequences."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_meisa.api.checks import (
    check_choice,
    check_seconds,
    check_slug,
    check_switch,
    check_text,
    found,
)
from airflow_provider_meisa.api.errors import MeisaBackOffError, MeisaError, MeisaInputError
from airflow_provider_meisa.hooks.meisa import MeisaHook, is_final
from airflow_provider_meisa.hooks.metrics import metered

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.endpoints.sequences import RecentSequences, SequenceInfo
    from airflow_provider_meisa.api.readiness import Readiness

READY = "ready"
ERROR = "error"
ON_MISSING = ("wait", "fail")

_LONGEST_WAIT = 2.0  # seconds that a check waits for the rate limits; the triggerer has few threads


class MeisaSequenceTrigger(BaseTrigger):
    """Fires when every sequence has the wanted status, or when a further wait is useless.

    The event is ``{"status": "ready", "sequences": [{slug, name, status, total_enrolled}, …]}`` or
    ``{"status": "error", "message": str, "final": bool}``; ``final``: a retry cannot fix it.

    :param meisa_conn_id: the Airflow Connection.
    :param slugs: the sequences.
    :param status: the status they must have.
    :param on_missing: ``wait`` or ``fail`` if a slug does not exist.
    :param poll_interval: seconds between two checks.
    :param silent_fail: check again later after a failure that a retry may fix.
    """

    def __init__(
        self,
        *,
        meisa_conn_id: str,
        slugs: Sequence[str],
        status: str,
        on_missing: str,
        poll_interval: float,
        silent_fail: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        self.meisa_conn_id = meisa_conn_id
        self.slugs = slugs if isinstance(slugs, str) else list(slugs)  # list() of a text would be its letters
        self.status = status
        self.on_missing = on_missing
        self.poll_interval = poll_interval
        self.silent_fail = silent_fail

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
                "silent_fail": self.silent_fail,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check again and again until all are ready or an error ends the wait."""
        try:
            self._check()
        except MeisaInputError as error:
            yield TriggerEvent({"status": ERROR, "message": str(error), "final": True})
            return
        while True:
            pause = self.poll_interval
            try:
                state = await self._state()
            except MeisaBackOffError as error:
                self.log.info("%s Checking again later.", error)
                pause = max(error.retry_after or 0.0, pause)
            except (MeisaError, AirflowException) as error:
                final = is_final(error) or isinstance(error, AirflowFailException)
                if final or not self.silent_fail:
                    yield TriggerEvent({"status": ERROR, "message": str(error), "final": final})
                    return
                self.log.exception("The check failed.")
            else:
                if state.done:
                    ready = [info.as_json() for info in state.ready]
                    yield TriggerEvent({"status": READY, "sequences": ready})
                    return
                self.log.info("Still waiting: %s", state)
            await asyncio.sleep(pause)

    def _check(self) -> None:
        """Check the arguments: tasks of users can defer with this trigger as well."""
        check_text("meisa_conn_id", self.meisa_conn_id)
        if not self.slugs or not isinstance(self.slugs, list):
            raise MeisaInputError(f"slugs must be a list of slugs, not {found(self.slugs)}.")
        for slug in self.slugs:
            check_slug(slug)
        check_text("status", self.status)
        check_choice("on_missing", self.on_missing, ON_MISSING)
        self.poll_interval = check_seconds("poll_interval", self.poll_interval)
        check_switch("silent_fail", self.silent_fail)

    async def _state(self) -> Readiness:
        from airflow_provider_meisa.api.readiness import readiness

        listed = await listing(self.meisa_conn_id, self.slugs, max_age=self.poll_interval / 2)
        return readiness(listed, self.slugs, status=self.status, on_missing=self.on_missing)


@dataclass(frozen=True, slots=True)
class CachedListing:
    """The result of a request for all sequences, or its error.

    :param at: the time of the response, on the monotonic clock; of a shared list, of its request.
    :param wanted: the slugs that were requested.
    :param sequences: all that were found; all that exist, if one of ``wanted`` is missing.
    :param failure: the error, if it failed.
    :ivar asked: the slugs that triggers have wanted since.
    """

    at: float
    wanted: frozenset[str]
    sequences: Sequence[SequenceInfo] = ()
    failure: MeisaError | AirflowException | None = None
    asked: set[str] = field(default_factory=set)

    def serves(self, slugs: Sequence[str]) -> bool:
        """Return whether these slugs are in it, or do not exist."""
        found = {info.slug for info in self.sequences}
        return bool(self.failure) or found.issuperset(slugs) or not found.issuperset(self.wanted)


_listings: dict[str, CachedListing] = {}
_locks: dict[tuple[int, str], asyncio.Lock] = {}


async def listing(meisa_conn_id: str, slugs: Sequence[str], *, max_age: float) -> Sequence[SequenceInfo]:
    """List sequences until these are found; triggers of one process and connection share a request, also a failed one.

    A request is for the slugs of all triggers since the one before.

    :param max_age: the most seconds since another trigger's request. A failed one counts for those that awaited it.
    :raises MeisaBackOffError: if the rate limit is reached, or Meisa is unavailable.
    :raises MeisaError: if the request fails.
    """
    began = time.monotonic()
    lock = _locks.setdefault((id(asyncio.get_running_loop()), meisa_conn_id), asyncio.Lock())
    async with lock:
        last = _listings.get(meisa_conn_id)
        oldest = began if last and last.failure else time.monotonic() - max_age
        if last is None or last.at < oldest or not last.serves(slugs):
            wanted = frozenset(slugs).union(last.asked if last else ())
            last = _listings[meisa_conn_id] = await _fetch(meisa_conn_id, wanted, max_age)
        last.asked.update(slugs)
    if last.failure:
        raise last.failure.with_traceback(None)  # else each trigger that shares the failure makes it longer
    return last.sequences


async def _fetch(meisa_conn_id: str, wanted: frozenset[str], max_age: float) -> CachedListing:
    try:
        recent = await _fetch_sequences(meisa_conn_id, wanted, max_age)
    except (MeisaError, AirflowException) as failure:
        return CachedListing(time.monotonic(), wanted, failure=failure)
    return CachedListing(time.monotonic() - recent.age, wanted, recent.sequences)


async def _fetch_sequences(meisa_conn_id: str, wanted: frozenset[str], max_age: float) -> RecentSequences:
    client = await MeisaHook(meisa_conn_id, max_wait=_LONGEST_WAIT).get_async_conn()
    try:
        return await asyncio.to_thread(_find, client, meisa_conn_id, wanted, max_age)
    finally:
        client.stop()  # the thread of a cancelled trigger keeps running, and must send no more
        client.close()


def _find(client: MeisaClient, meisa_conn_id: str, wanted: frozenset[str], max_age: float) -> RecentSequences:
    from airflow_provider_meisa.api.endpoints.sequences import recent_sequences

    with metered(client, meisa_conn_id):
        return recent_sequences(client, wanted, max_age=max_age)
