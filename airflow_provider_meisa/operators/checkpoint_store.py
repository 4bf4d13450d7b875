"""Stores for the checkpoint of a task between its attempts."""

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
    """Stores one JSON object for one task instance, through retries, kills, deferrals and clears."""

    def load(self) -> dict[str, Any] | None:
        """Return the stored object, if there is one."""

    def save(self, value: Mapping[str, Any]) -> None:
        """Replace the stored object. An exception means that another process may own the task: send nothing."""

    def end(self) -> None:
        """Remove the object if it would outlive the run: the task has ended."""


def store_of(context: Any) -> CheckpointStore:
    """Return the store for the context of a task: its state on Airflow 3.3, else a Variable."""
    state = state_of(context)
    return StateStore(state) if state is not None else VariableStore(context["ti"])


def state_of(context: Any) -> Any:
    """Return the task's state (AIP-103), or ``None`` on Airflow before 3.3."""
    return context.get("task_state_store") if hasattr(context, "get") else None


def start_of(store: CheckpointStore, cursor: Mapping[str, Any] | None, max_tries: int) -> Checkpoint:
    """Return the checkpoint to start from: that of this run, or a new one.

    :param cursor: the cursor in the event of the trigger, after a deferral.
    :param max_tries: that of the task instance, see `Checkpoint`.
    :return: a complete checkpoint, if the task was interrupted when nothing was left to send.
    :raises MeisaInputError: if this version has not written the stored checkpoint.
    """
    kept, carried = (Checkpoint.from_json(value) if value else None for value in (store.load(), cursor))
    # The stored checkpoint counts, unless it is that of an earlier run that was cleared after its end.
    start = kept or carried or Checkpoint()
    if carried and start.started_at != carried.started_at:
        start = carried
    if cursor is None:
        start = replace(_of_a_new_try(start, max_tries), stalled=0)
    return start if start.started_at else replace(start, started_at=time.time())


def _of_a_new_try(start: Checkpoint, max_tries: int) -> Checkpoint:
    if start.complete and start.max_tries == max_tries:
        log.info(
            "All addresses were sent by an earlier attempt before it was interrupted: nothing left to send"
        )
        return start
    if start.complete:
        log.info(
            "All addresses were sent by an earlier attempt, and the task was cleared: starting from the first address"
        )
        return Checkpoint()
    if start.next_batch:
        log.info("Resuming after batch %d of an earlier attempt", start.next_batch)
        return start.for_next_try()
    return start


class StateStore:
    """Stores the object in the state of the task (AIP-103, Airflow 3.3)."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def load(self) -> dict[str, Any] | None:
        """Return the stored object, if there is one."""
        value: dict[str, Any] | None = self._state.get(KEY)
        return value

    def save(self, value: Mapping[str, Any]) -> None:
        """Replace the stored object, which is kept until the run is deleted."""
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._state.set(KEY, dict(value), retention=NEVER_EXPIRE)

    def end(self) -> None:
        """Do nothing: Airflow deletes the state with the run."""


class VariableStore:
    """Stores the object in a Variable (Airflow before 3.3), because a retry clears the XCom of a task."""

    def __init__(self, ti: Any) -> None:
        identity = "\n".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)))
        self._name = "meisa__" + hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()

    def load(self) -> dict[str, Any] | None:
        """Return the stored object, if there is one."""
        try:
            text = Variable.get(self._name)
        except Exception as error:
            # Airflow 2.11 raises KeyError, 3.0 and later AirflowRuntimeError with an error code.
            if isinstance(error, KeyError) or "VARIABLE_NOT_FOUND" in str(error):
                return None
            raise
        value: dict[str, Any] = json.loads(text)
        return value

    def save(self, value: Mapping[str, Any]) -> None:
        """Replace the stored object."""
        Variable.set(self._name, json.dumps(value), description="Checkpoint of a Meisa enrollment")

    def end(self) -> None:
        """Remove the Variable, which Airflow would keep."""
        Variable.delete(self._name)
