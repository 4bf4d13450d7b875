"""One task of several that share an API key, in a process of its own: it begins once it reads a line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(folder: Path, name: str, rows: int) -> None:
    """Run a contact sync, or the enrollment if the name is ``enroll``.

    :param folder: holds ``connection.json``, and everything that the tasks keep.
    :param rows: how many contacts there are; each name has its own.
    """
    os.environ["AIRFLOW_CONN_MEISA_DEFAULT"] = (folder / "connection.json").read_text()
    os.environ["AIRFLOW__MEISA__LEDGER_PATH"] = str(folder / "ledgers")

    from tests.support.task_on_disk import TaskInstanceOnDisk, TaskStateOnDisk

    task = _task(name, [f"{name}{number}@example.com" for number in range(rows)], str(folder / "staging"))
    kept = folder / name
    kept.mkdir()
    context: Any = {"ti": TaskInstanceOnDisk(kept, 0), "task_state_store": TaskStateOnDisk(kept)}
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(f"\n{json.dumps(task.execute(context))}\n")


def _task(name: str, emails: list[str], staging_path: str) -> Any:
    if name == "enroll":
        from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator

        return MeisaBulkEnrollOperator(
            task_id=name, emails=emails, sequence_slug="onboarding", staging_path=staging_path
        )
    from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator

    return MeisaSyncContactsOperator(
        task_id=name,
        contacts=[{"email": email} for email in emails],
        ledger=name,
        sync_name=name,
        first_run="send",
        staging_path=staging_path,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
