"""Run a check inside an environment, with its own interpreter: ``python inside.py QUESTION``; it prints JSON.

It imports only the standard library, the environment's Airflow and this package.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NOT_OURS_TO_BRING = {"pytest"}
"""Only pytest imports the pytest plugin."""

NEEDED = {"operators.retry_policy": (3, 3), "plugins.": (3, 1)}
"""The first Airflow in which modules with this prefix can be imported, if not in all."""


def modules() -> dict[str, Any]:
    """Import every module of the package; return how many exist, how many were imported, and which are broken."""
    import airflow_provider_meisa

    names = [
        found.name
        for found in pkgutil.walk_packages(airflow_provider_meisa.__path__, "airflow_provider_meisa.")
    ]
    reasons = {name: why for name in names if (why := _why_not(name))}
    broken = {name: why for name, why in reasons.items() if not _is_too_new(name)}
    return {"modules": len(names), "imported": len(names) - len(reasons), "broken": broken}


def _is_too_new(name: str) -> bool:
    import airflow

    here = tuple(int(part) for part in airflow.__version__.split(".")[:2])
    short = name.removeprefix("airflow_provider_meisa.")
    return any(short.startswith(start) and here < needed for start, needed in NEEDED.items())


def _why_not(name: str) -> str:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return "" if error.name in NOT_OURS_TO_BRING else f"{error}"
    except Exception as error:  # noqa: BLE001 - any error is the result
        return f"{type(error).__name__}: {error}"
    return ""


def description() -> dict[str, Any]:
    """Validate the provider's description against the schema of this Airflow.

    :raises jsonschema.ValidationError: if it is invalid.
    """
    import airflow
    import jsonschema  # type: ignore[import-untyped]  # it has no annotations

    from airflow_provider_meisa.get_provider_info import get_provider_info

    schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    return {"airflow": airflow.__version__, "python": sys.version.split()[0]}


def trigger(runs: str) -> dict[str, Any]:
    """Start runs of DAGs, as ``airflow dags trigger`` does.

    :param runs: JSON, the configuration of each by the DAG's id.
    """
    from airflow.api.client import get_current_api_client

    client = get_current_api_client()
    for dag_id, conf in json.loads(runs).items():
        client.trigger_dag(dag_id=dag_id, run_id="matrix", conf=conf)
    return {}


if __name__ == "__main__":
    question, *details = sys.argv[1:]
    questions: dict[str, Callable[..., dict[str, Any]]] = {
        "modules": modules,
        "description": description,
        "trigger": trigger,
    }
    print(json.dumps(questions[question](*details)))
