"""The path of a task's outcomes file: each mapped task has its own."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from airflow_provider_meisa.bulk.outcome_file import FileOwner, OutcomeWriter
from airflow_provider_meisa.operators.location import bare_path, locate, template_of

log = logging.getLogger("airflow.task.meisa")

_FIELD = "outcomes_path"
_SUFFIX = re.compile(r"\.(?:jsonl|csv)(?:\.gz)?\Z")


def outcomes_path_of(operator: Any, context: Any) -> str | None:
    """Return the path of a task's outcomes file; ``None`` if it has none.

    A relative one is that of the process that runs the task: it is made absolute, so that the log and the summary say
    where the file is.
    If all mapped tasks of an operator have the same path, the map index becomes part of the file's name.
    """
    if not operator.outcomes_path:
        return None
    path, index = _absolute(bare_path(operator.outcomes_path)), context["ti"].map_index
    if index < 0 or _differs(operator, context):
        return path
    return _SUFFIX.sub(lambda suffix: f"-{index}{suffix[0]}", path)


def outcome_writer(operator: Any, context: Any) -> OutcomeWriter:
    """Create the writer for the outcomes of a task."""
    path = outcomes_path_of(operator, context)
    if path is None:
        return OutcomeWriter(None)
    if path != _absolute(bare_path(operator.outcomes_path)):
        log.info("The outcomes file has the map index in its name: %s", path.rpartition("/")[2])
    ti = context["ti"]
    task = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
    owner = FileOwner(run=f"{ti.dag_id}\n{ti.run_id}", task=task)
    return OutcomeWriter(locate(path), rejects_only=operator.rejects_only, keep=operator.keep, owner=owner)


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())


def _differs(operator: Any, context: Any) -> bool:
    """Return whether the DAG sets a different path for each mapped task."""
    template = template_of(operator, _FIELD)
    if not isinstance(template, str):
        return type(template).__name__ == "MappedArgument"  # of a mapped task group; its class is not public
    return "map_index" in template or _is_mapped(operator, context)


def _is_mapped(operator: Any, context: Any) -> bool:
    """Return whether the path is an argument of ``expand`` or ``expand_kwargs``."""
    dag = context.get("dag")
    partial = getattr(dag.get_task(operator.task_id), "partial_kwargs", None) if dag else None
    return partial is not None and _FIELD not in {**partial, **(dag.default_args or {})}
