"""A task through all its attempts and deferrals, each with an operator of its own as in a process of its own."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_meisa.bulk.reporting import KEY
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from airflow.triggers.base import BaseTrigger


class TaskInstance(Protocol):
    """What our operators ask of Airflow's task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    max_tries: int
    try_number: int

    def xcom_push(self, key: str, value: Any) -> None:
        """Push a value to XCom."""

    def xcom_pull(self, *, task_ids: str, key: str, include_prior_dates: bool, map_indexes: int) -> Any:
        """Return what was pushed to XCom, by this run or else by the last one before it."""


class TaskState(Protocol):
    """What our operators ask of a task's state store (Airflow 3.3)."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value."""


class FakeTaskState:
    """The state of a task as Airflow 3.3 keeps it: JSON by key, through attempts, kills and clears.

    `writes` are those of the checkpoint, one of which can be made to fail; `progress` are those of the progress.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.writes: list[Any] = []
        self.progress: list[Any] = []
        self.fail_at: int | None = None

    def get(self, key: str, default: Any = None) -> Any:
        """Return what was set last."""
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value, if it is JSON."""
        writes = self.writes if key == "meisa" else self.progress
        if self.fail_at == len(self.writes) and writes is self.writes:
            raise RuntimeError("this attempt is not the task's any more")
        self.values[key] = json.dumps(value)
        writes.append(value)


class NoProgressTaskState(FakeTaskState):
    """A state that keeps the checkpoint and refuses the progress."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value that is not the progress."""
        if key == KEY:
            raise RuntimeError("API_SERVER_ERROR")
        super().set(key, value, retention=retention)


class FakeTaskInstance:
    """A task instance that keeps what it is asked to push to XCom."""

    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    map_index: int = -1

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}
        self.max_tries = 1
        self.try_number = 1
        self.earlier: list[FakeTaskInstance] = []
        self.has_succeeded = False

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value, if it is JSON."""
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, *, task_ids: str, key: str, include_prior_dates: bool, map_indexes: int) -> Any:
        """Return what was pushed, by this run or else by the last one before it."""
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        runs = [*self.earlier, self] if include_prior_dates else [self]
        return next((run.xcoms[key] for run in reversed(runs) if key in run.xcoms), None)

    def get_ti_count(self, *, dag_id: str, task_ids: list[str], states: list[str]) -> int:
        """Count the earlier runs that have succeeded."""
        assert (dag_id, task_ids, states) == (self.dag_id, [self.task_id], ["success"])
        return sum(run.has_succeeded for run in self.earlier)


def fake_context() -> dict[str, Any]:
    """Return as much of a task's context as our operators ask for."""
    return {"ti": FakeTaskInstance(), "task_state_store": FakeTaskState()}


class Task:
    """One task instance: its arguments, and what outlives its processes."""

    def __init__(self, emails: Any = (), **arguments: Any) -> None:
        self.arguments: dict[str, Any] = {"emails": emails, "sequence_slug": "onboarding", **arguments}
        self.state = FakeTaskState()
        self.ti = FakeTaskInstance()
        self.deferrals: list[Any] = []
        self.operator: MeisaBulkEnrollOperator | None = None

    def make(self) -> MeisaBulkEnrollOperator:
        """Make the operator, as each process does."""
        self.operator = MeisaBulkEnrollOperator(task_id="task", **self.arguments)
        return self.operator

    def context(self) -> Any:
        """Return the context of each process."""
        return {"ti": self.ti, "task_state_store": self.state}

    def run(self, **changes: Any) -> Any:
        """Run one attempt to its end, through all its deferrals, and return the summary."""
        self.arguments |= changes
        stretch: Callable[[], Any] = lambda: self.make().execute(self.context())  # noqa: E731 - replaced below
        while True:
            try:
                summary = stretch()
            except TaskDeferred as deferred:
                stretch = self.after(deferred)
            else:
                self.ti.has_succeeded = True
                return summary

    def lose_plan(self) -> Self:
        """Do what the loss of a worker's disk does."""
        for file in Path(tempfile.gettempdir()).glob("airflow-provider-meisa-staged-*/*"):
            file.unlink()
        return self

    def next_night(self, **changes: Any) -> Self:
        """Begin the next run of the DAG: its own state, and the XComs of the earlier ones."""
        earlier = [*self.ti.earlier, self.ti]
        self.state, self.ti = FakeTaskState(), FakeTaskInstance()
        self.ti.earlier, self.ti.run_id = earlier, f"night {len(earlier) + 1}"
        self.arguments |= changes
        return self

    def clear(self) -> Self:
        """Do what *Clear* in the UI does: more attempts, and only the XComs are removed."""
        self.ti.max_tries += 1
        self.ti.try_number += 1
        self.ti.xcoms.clear()
        return self

    def after(self, deferred: TaskDeferred) -> Callable[[], Any]:
        """Wait as the triggerer does; return what runs then."""
        trigger = deferred.trigger
        self.deferrals.append(trigger)
        path, arguments = trigger.serialize()
        assert path.endswith("MeisaRateLimitTrigger")
        again = type(trigger)(**json.loads(json.dumps(arguments)))
        (event,) = asyncio.run(asyncio.wait_for(_fire(again), 60))
        return lambda: getattr(self.make(), deferred.method_name)(self.context(), event.payload)


async def _fire(trigger: BaseTrigger) -> list[Any]:
    return [event async for event in trigger.run()]


if TYPE_CHECKING:
    # A fake that no longer fits what it replaces is an error of types. Airflow's own fit as well.
    _states: Iterable[type[TaskState]] = (
        FakeTaskState,
        NoProgressTaskState,
        TaskStateStoreAccessor,
    )
    _instances: Iterable[type[TaskInstance]] = (FakeTaskInstance,)
