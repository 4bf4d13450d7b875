"""What a platform team sets once, for all tasks: the section ``[meisa]`` of Airflow's configuration."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.providers.common.compat.sdk import conf


def ledger_path() -> str:
    """Return the folder of all ledgers."""
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return conf.get("meisa", "ledger_path", fallback="") or f"{home}/meisa_ledger"


def ledger_key() -> str:
    """Return the secret of all ledgers; empty if there is none."""
    key: str = conf.get("meisa", "ledger_key", fallback="")
    return key
