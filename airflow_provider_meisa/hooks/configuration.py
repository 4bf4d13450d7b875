"""The section ``[meisa]`` of Airflow's configuration, which a platform team sets once for all tasks."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from airflow.providers.common.compat.sdk import conf

from airflow_provider_meisa.api.errors import MeisaInputError

SECTION = "meisa"

log = logging.getLogger("airflow.task.meisa")

_ENVIRONMENTS = ("", "live", "test")
_ON_ONE_HOST = ("LocalExecutor", "SequentialExecutor")
_warned: set[str] = set()


def ledger_path() -> str:
    """Return the folder of all ledgers: by default ``meisa_ledger`` in ``AIRFLOW_HOME``."""
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return _option("ledger_path") or str(home / "meisa_ledger")


def ledger_key() -> str:
    """Return the secret of all ledgers; empty if there is none."""
    return _option("ledger_key")


def staging_path() -> str:
    """Return the folder for plans; empty for a private one on the worker's own host."""
    return _option("staging_path")


def rate_limit_storage() -> str:
    """Return the default ``rate_limit_storage`` of connections; empty for a file on each host."""
    return _option("rate_limit_storage")


def required_environment() -> str:
    """Return the environment that every API key must belong to; empty for any.

    :raises MeisaInputError: if it is not ``live``, ``test`` or empty.
    """
    found = _option("required_environment").lower()
    if found not in _ENVIRONMENTS:
        raise MeisaInputError(
            "[meisa] required_environment must be 'live', 'test' or empty. Nothing was sent. Correct the configuration."
        )
    return found


def warn_if_not_shared(name: str, what: str) -> None:
    """Warn once per process if workers on several hosts do not share files.

    :param name: the option of ``[meisa]`` that shares them; nothing is logged if it is set.
    :param what: the name of these files, such as ``ledger``.
    """
    executors = [each.rpartition(":")[2].rpartition(".")[2] for each in _executors()]
    if _option(name) or name in _warned or all(each in _ON_ONE_HOST for each in executors):
        return
    _warned.add(name)
    log.warning(
        "The %s is on this worker's disk, and %s may run tasks on other hosts. Set [meisa] %s to a place that all "
        "workers reach.",
        what,
        ", ".join(executors),
        name,
    )


def _executors() -> list[str]:
    return [each.strip() for each in conf.get("core", "executor", fallback="LocalExecutor").split(",")]


def _option(name: str) -> str:
    value: str = conf.get(SECTION, name, fallback="") or ""
    return value.strip()
