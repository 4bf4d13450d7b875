"""The error that fails a task, as an XCom: Airflow keeps it in the log only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from airflow_provider_meisa.api.errors import MeisaError
from airflow_provider_meisa.api.redaction import redact_message
from airflow_provider_meisa.hooks.meisa import is_final, meisa_error, raise_airflow_errors

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

XCOM_KEY = "meisa_error"
LONGEST = 500

log = logging.getLogger(__name__)


@contextmanager
def raise_and_push_errors(task: Any, context: Context, *, ambiguous_is_final: bool = False) -> Iterator[None]:
    """Convert Meisa's errors to Airflow's, and push the message of the error that ends the attempt to XCom.

    The next attempt removes it, because Airflow clears the XComs of a task when it starts again.

    :param task: the operator.
    :param ambiguous_is_final: as in `raise_airflow_errors`.
    :raises AirflowException: see `raise_airflow_errors`.
    """
    try:
        with raise_airflow_errors(ambiguous_is_final=ambiguous_is_final):
            yield
    except AirflowSkipException:
        raise
    except Exception as error:
        _push(task, context, error)
        raise


def is_last_try(ti: Any, error: Exception) -> bool:
    """Return whether Airflow does not retry a task instance after this error."""
    is_final_error = isinstance(error, AirflowFailException) or (
        isinstance(error, MeisaError) and is_final(error)
    )
    return is_final_error or ti.try_number > ti.max_tries


def _push(task: Any, context: Context, error: Exception) -> None:
    target = {name: getattr(task, name, "") for name in ("sequence_slug", "sync_name", "meisa_conn_id")}
    value = {
        **{name: text for name, text in target.items() if text and isinstance(text, str)},
        "message": _message(error),
    }
    try:
        context["ti"].xcom_push(key=XCOM_KEY, value=value)
    except Exception as problem:  # noqa: BLE001 (any error of Airflow; the error of the task counts)
        log.debug("The error could not be pushed to XCom: %s", type(problem).__name__)


def _message(error: Exception) -> str:
    """Return the message of an error of this package; of any other its type only, because it may hold a row."""
    is_ours = isinstance(error, AirflowFailException | AirflowNotFoundException)
    if is_ours or meisa_error(error) is not None:
        return redact_message(str(error), longest=LONGEST)
    return f"{type(error).__name__}: the log of the task has the message."
