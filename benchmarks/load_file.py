"""One task that enrolls a file: ``python load_file.py URL KEY PATH`` prints its measurements."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from contenders import NO_LIMIT, SLUG, clocked, status_mib

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="meisa-bench-")


class State:
    """A task's state that stays in this process."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return the state."""
        return self._values.get(key, default)

    def set(self, key: str, value: Mapping[str, Any], **_: object) -> None:
        """Store the state."""
        self._values[key] = value


class Instance:
    """The part of a task instance that the operator uses."""

    dag_id, run_id, task_id, map_index, max_tries = "load", "run", "enroll", -1, 0

    def xcom_push(self, key: str, value: object) -> None:
        """Discard the value."""


def main(url: str, key: str, path: str) -> None:
    """Measure, and print."""
    from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator

    extra = {"rate_limit_storage": "memory", "rate_limits": NO_LIMIT}
    os.environ["AIRFLOW_CONN_MEISA_DEFAULT"] = json.dumps(
        {"conn_type": "meisa", "host": url, "password": key, "extra": extra}
    )
    logging.disable(logging.INFO)
    task = FileToMeisaSequenceOperator(task_id="enroll", path=path, sequence_slug=SLUG)
    took: dict[str, Any] = {}
    before = status_mib("VmHWM")
    with clocked(took):
        summary = task.execute({"ti": Instance(), "task_state_store": State()})
    took |= {"counts": summary["counts"], "requests": summary["requests"]}
    print(json.dumps({**took, "memory": status_mib("VmHWM") - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
