"""An attempt of a contact sync in a process of its own, which a test can kill."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(folder: Path, url: str, key: str) -> None:
    """Run one attempt; the rows and what Airflow keeps of the task are in the folder."""
    extra = {"rate_limits": "none", "rate_limit_storage": "memory"}
    connection = {"conn_type": "meisa", "host": url, "password": key, "extra": extra}
    os.environ["AIRFLOW_CONN_MEISA_DEFAULT"] = json.dumps(connection)
    os.environ["AIRFLOW__MEISA__LEDGER_PATH"] = str(folder / "ledgers")

    from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
    from tests.support.task_on_disk import TaskInstanceOnDisk, TaskStateOnDisk

    task = MeisaSyncContactsOperator(
        task_id="task",
        contacts=json.loads((folder / "rows.json").read_text()),
        custom_fields="*",
        ledger="users",
        first_run="send",
        staging_path=str(folder / "staging"),
    )
    kept = folder / (folder / "run").read_text()
    kept.mkdir(exist_ok=True)
    ti = TaskInstanceOnDisk(kept, 0, run_id=kept.name)
    context: Any = {"ti": ti, "task_state_store": TaskStateOnDisk(kept)}
    sys.stdout.write("\n" + json.dumps(task.execute(context)["counts"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
