"""Lines of a task's log that Airflow's UI folds into one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("airflow.task.meisa")


@contextmanager
def group(title: str) -> Iterator[None]:
    """Fold the lines that are logged meanwhile under a title; what is logged after a failure stands outside.

    The marks are read by the UI of Airflow 2.11 to 3.3. In 2.11 they must be of level INFO, and groups cannot nest.
    """
    log.info("::group::%s", title)
    try:
        yield
    finally:
        log.info("::endgroup::")
