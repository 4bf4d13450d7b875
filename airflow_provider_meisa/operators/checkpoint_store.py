"""Where a task keeps its checkpoint from one try to the next."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from airflow.providers.common.compat.sdk import Variable

from airflow_provider_meisa.bulk.checkpoint import Checkpoint

KEY = "meisa"

log = logging.getLogger("airflow.task.meisa")


class CheckpointStore(Protocol):
    """Keeps one JSON object for one task instance, through retries, kills, deferrals and clears."""

    def load(self) -> dict[str, Any] | None:
        """Return what was kept, if anything was."""

    def save(self, value: Mapping[str, Any]) -> None:
        """Keep this instead. An exception means that the task is no longer ours to run: send nothing."""

    def end(self) -> None:
        """Keep nothing that has no end of its own: the task is over."""


def store_of(context: Any) -> CheckpointStore:
    """Return the store for a task's context: its state where Airflow has one (3.3), else a Variable."""
    state = state_of(context)
    return StateStore(state) if state is not None else VariableStore(context["ti"])


def state_of(context: Any) -> Any:
    """Return the task's state (AIP-103), or ``None`` on Airflow before 3.3."""
    return context.get("task_state_store") if hasattr(context, "get") else None


def start_of(store: CheckpointStore, cursor: Mapping[str, Any] | None, max_tries: int) -> Checkpoint:
    """Find where to begin: where this run has come to, or at the beginning.

    :param cursor: what the trigger carried, in a leg that follows a deferral.
    :param max_tries: of the task instance; see `Checkpoint`.
    :return: one that is complete, if the task was interrupted when nothing was left to send.
    :raises MeisaInputError: if what was kept was not written by this version.
    """
    kept, carried = (Checkpoint.from_json(value) if value else None for value in (store.load(), cursor))
    # What was kept is the latest word, unless it is that of an earlier run that was cleared after its end.
    start = kept or carried or Checkpoint()
    if carried and start.started_at != carried.started_at:
        start = carried
    if cursor is None:
        start = replace(_of_a_new_try(start, max_tries), stalled=0)
    return start if start.started_at else replace(start, started_at=time.time())


def _of_a_new_try(start: Checkpoint, max_tries: int) -> Checkpoint:
    if start.complete and start.max_tries == max_tries:
        log.info("All addresses were sent by an earlier try before it was interrupted: nothing left to send")
        return start
    if start.complete:
        log.info(
            "All addresses were sent by an earlier try, and the task was cleared: starting from the first address"
        )
        return Checkpoint()
    if start.next_batch:
        log.info("Resuming after batch %d of an earlier try", start.next_batch)
        return start.for_next_try()
    return start


class StateStore:
    """In the task's own state (AIP-103, Airflow 3.3)."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def load(self) -> dict[str, Any] | None:
        """Return what was kept, if anything was."""
        value: dict[str, Any] | None = self._state.get(KEY)
        return value

    def save(self, value: Mapping[str, Any]) -> None:
        """Keep this instead; for good, until the run is deleted."""
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._state.set(KEY, dict(value), retention=NEVER_EXPIRE)

    def end(self) -> None:
        """Keep what there is: it goes with the run."""


class VariableStore:
    """In a Variable of the task instance's own (Airflow before 3.3): a task's XCom is gone on its second try."""

    def __init__(self, ti: Any) -> None:
        identity = "\n".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)))
        self._name = "meisa__" + hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()

    def load(self) -> dict[str, Any] | None:
        """Return what was kept, if anything was."""
        try:
            text = Variable.get(self._name)
        except Exception as error:
            # Airflow 2.11 raises KeyError, 3.0 and later AirflowRuntimeError with a word on what was not found.
            if isinstance(error, KeyError) or "VARIABLE_NOT_FOUND" in str(error):
                return None
            raise
        value: dict[str, Any] = json.loads(text)
        return value

    def save(self, value: Mapping[str, Any]) -> None:
        """Keep this instead."""
        Variable.set(self._name, json.dumps(value), description="Checkpoint of a Meisa enrollment")

    def end(self) -> None:
        """Keep nothing: a Variable has no end of its own."""
        Variable.delete(self._name)
