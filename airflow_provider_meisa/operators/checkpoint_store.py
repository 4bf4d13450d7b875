"""Where a task keeps its checkpoint from one try to the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from airflow.providers.common.compat.sdk import Variable

KEY = "meisa"


class CheckpointStore(Protocol):
    """Keeps one JSON object for one task instance, through retries, kills, deferrals and clears."""

    def load(self) -> dict[str, Any] | None:
        """Return what was kept, if anything was."""

    def save(self, value: Mapping[str, Any]) -> None:
        """Keep this instead. An exception means that the task is no longer ours to run: send nothing."""

    def finish(self, value: Mapping[str, Any]) -> None:
        """Keep this, or nothing: a start that finds it begins anew."""


def store_of(context: Any) -> CheckpointStore:
    """Return the store for a task's context: its state where Airflow has one (3.3), else a Variable."""
    state = context.get("task_state_store") if hasattr(context, "get") else None
    return StateStore(state) if state is not None else VariableStore(context["ti"])


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

    def finish(self, value: Mapping[str, Any]) -> None:
        """Keep this."""
        self.save(value)


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

    def finish(self, value: Mapping[str, Any]) -> None:
        """Keep nothing: a Variable has no end of its own."""
        Variable.delete(self._name)
