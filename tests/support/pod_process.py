"""A pod: one attempt of a task in a process with a disk of its own, which is gone when the pod ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support.ledgers import CREDENTIALS
from tests.support.task_on_disk import TaskInstanceOnDisk, TaskStateOnDisk, write_whole

STORE = "meisa_store"
"""The id of the connection to the object store."""

_S3_URL = "TESTS_S3_URL"


class Pod:
    """Runs one attempt of a task.

    :param disk: its disk: home, configuration of Airflow and temporary files. It must not exist yet.
    :param kept: what Airflow keeps of the task, for all its pods.
    :param s3_url: the URL of the object store.
    :param settings: further environment variables.
    :param arguments: of the operator.
    """

    def __init__(
        self, disk: Path, kept: Path, s3_url: str, settings: dict[str, str], **arguments: Any
    ) -> None:
        kept.mkdir(exist_ok=True)
        (disk / "tmp").mkdir(parents=True)
        self._disk, self._kept = disk, kept
        homes = {"HOME": str(disk), "AIRFLOW_HOME": str(disk / "airflow"), "TMPDIR": str(disk / "tmp")}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        with (kept / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(kept), json.dumps(arguments)],
                env={**inherited, **homes, **settings, _S3_URL: s3_url},
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Kill it, and remove its disk."""
        self._process.kill()
        self._process.wait(20)
        shutil.rmtree(self._disk)

    def summary(self) -> dict[str, Any]:
        """Wait for its end, and return the summary of the task; its disk is gone then."""
        status = self._process.wait(120)
        assert status == 0, self.log()
        shutil.rmtree(self._disk)
        summary: dict[str, Any] = json.loads((self._kept / "summary.json").read_text())
        return summary

    def log(self) -> str:
        """Return the log of all pods of the task."""
        return (self._kept / "log").read_text()


def main(kept: Path, arguments: dict[str, Any]) -> None:
    """Run one attempt."""
    from airflow_provider_meisa.api.settings import Settings
    from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator

    _object_storage().attach(
        "s3", STORE, fs=import_module("s3fs").S3FileSystem(endpoint_url=os.environ[_S3_URL], **CREDENTIALS)
    )
    run_id, earlier = arguments.pop("run_id"), arguments.pop("earlier", None)
    ti = TaskInstanceOnDisk(kept, 1, run_id=run_id, earlier=earlier)
    context: Any = {"ti": ti, "task_state_store": TaskStateOnDisk(kept)}
    task = MeisaBulkEnrollOperator(task_id="task", **arguments)
    with mock.patch.object(Settings, "resend_after", 0.1):
        write_whole(kept / "summary.json", json.dumps(task.execute(context)))


def _object_storage() -> Any:
    try:
        return import_module("airflow.sdk.io")
    except ImportError:
        return import_module("airflow.io.store")  # Airflow 2


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
