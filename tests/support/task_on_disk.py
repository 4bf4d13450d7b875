"""What Airflow keeps of a task, in a folder: it outlives each process of the task."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.task import TaskInstance, TaskState


class TaskStateOnDisk:
    """The task's state as Airflow 3.3 keeps it: JSON by key.

    :param folder: where it is kept; a try that is not the task's any more does not find it.
    :param die_at: the write at which this process dies, counted from 1; negative: just after it.
    """

    def __init__(self, folder: Path, die_at: int = 0) -> None:
        self._folder, self._die_at = folder, die_at
        self._writes = 0

    def get(self, key: str, default: Any = None) -> Any:
        """Return what was set last."""
        file = self._folder / f"{key}.state"
        return json.loads(file.read_text()) if file.exists() else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Keep a value, if it is JSON."""
        is_counted = key == "meisa" and self._die_at != 0
        self._writes += is_counted
        if is_counted and self._writes == self._die_at:
            die()
        text = json.dumps(value)
        with _refused_without_folder():
            with (self._folder / "every.state").open("a") as file:
                file.write(text + "\n")
            write_whole(self._folder / f"{key}.state", text)
        if is_counted and self._writes == -self._die_at:
            die()


class TaskInstanceOnDisk:
    """A task instance whose XComs are files.

    :param folder: where they are kept; a try that is not the task's any more does not find it.
    :param max_tries: how many tries Airflow grants the task.
    :param try_number: the number of this one; the last one is above ``max_tries``.
    :param run_id: of its run.
    :param earlier: what the run before it has pushed; ``None`` for the first run.
    """

    dag_id: str = "dag"
    run_id: str
    task_id: str = "task"
    map_index: int = -1

    def __init__(
        self, folder: Path, max_tries: int, run_id: str = "run", earlier: Any = None, try_number: int = 0
    ) -> None:
        self._folder = folder
        self.max_tries = max_tries
        self.try_number = try_number
        self.run_id = run_id
        self._earlier = earlier

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value, if it is JSON."""
        with _refused_without_folder():
            write_whole(self._folder / f"{key}.xcom", json.dumps(value))

    def xcom_pull(self, *, task_ids: str, key: str, include_prior_dates: bool, map_indexes: int) -> Any:
        """Return what the run before it has pushed: a try does not find the XComs of the one before."""
        return self._earlier if include_prior_dates else None

    def get_ti_count(self, *, dag_id: str, task_ids: list[str], states: list[str]) -> int:
        """Count the earlier runs."""
        return 0 if self._earlier is None else 1


@contextlib.contextmanager
def _refused_without_folder() -> Iterator[None]:
    """Refuse what a try writes whose place is gone, as Airflow refuses it."""
    try:
        yield
    except FileNotFoundError:
        raise RuntimeError("this attempt is not the task's any more") from None


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(text)
    new.replace(path)


def die() -> None:
    """End this process as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


if TYPE_CHECKING:
    # A fake that no longer fits what it replaces is an error of types.
    _states: Iterable[type[TaskState]] = (TaskStateOnDisk,)
    _instances: Iterable[type[TaskInstance]] = (TaskInstanceOnDisk,)
