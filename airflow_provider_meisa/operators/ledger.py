"""The ledger of a task: from its parameters, the configuration and earlier summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_meisa.bulk.ledger.guard import EarlierSummary
from airflow_provider_meisa.bulk.ledger.ledger import LedgerSummary
from airflow_provider_meisa.bulk.options import LedgerOptions
from airflow_provider_meisa.hooks import configuration
from airflow_provider_meisa.operators.base import XCOM_KEY
from airflow_provider_meisa.operators.location import locate

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.options import FirstRun

_SUCCEEDED = ["success"]


class LedgerMixin(BaseOperator):
    """Gives an operator a ledger, which records over all runs what Meisa has accepted.

    :param ledger: its name (templated), which is a folder in ``[meisa] ledger_path``. Records in it are not sent again.
        Only one task at a time may use it, so that ``max_active_tis_per_dag`` is 1 by default; set it yourself for a
        mapped task.
    :param first_run: if the ledger is empty, ``send``, ``fail``, or ``record`` the records of this run as accepted
        without a request.
    :param accept_lost_ledger: the date in the message about a lost ledger: confirms that loss, once.
    """

    template_fields: Sequence[str] = ("ledger",)

    default_first_run: FirstRun = "send"
    """The default of ``first_run``."""

    def __init__(
        self,
        *,
        ledger: str | None = None,
        first_run: FirstRun | None = None,
        accept_lost_ledger: str | None = None,
        **kwargs: Any,
    ) -> None:
        if ledger is not None and "max_active_tis_per_dag" not in kwargs.get("default_args", {}):
            kwargs.setdefault("max_active_tis_per_dag", 1)
        super().__init__(**kwargs)
        self.ledger = ledger
        self.first_run = first_run
        self.accept_lost_ledger = accept_lost_ledger

    def ledger_options(self, ti: Any) -> LedgerOptions | None:
        """Return the ledger of a task instance; ``None`` if it has none."""
        if self.ledger is None:
            return None
        configuration.warn_if_not_shared("ledger_path", "ledger")
        reported = last_report(ti)
        last = _ledger_in(reported)
        return LedgerOptions(
            root=locate(configuration.ledger_path()),
            name=self.ledger,
            run=run_name(ti),
            secret=configuration.ledger_key(),
            first_run=self.first_run or self.default_first_run,
            is_first_run_given=self.first_run is not None,
            last=last,
            has_earlier_runs=last is None and (reported is not None or _has_succeeded(ti)),
            accept_lost_ledger=self.accept_lost_ledger,
        )


def run_name(ti: Any) -> str:
    """Return the name of a run in the ledger: ``dag/task/run``, and the map index if there is one."""
    name = f"{ti.dag_id}/{ti.task_id}/{ti.run_id}"
    return name if ti.map_index < 0 else f"{name}/{ti.map_index}"


def last_total(ti: Any) -> int | None:
    """Return the number of rows in the last summary of the task; ``None`` if there is none."""
    match last_report(ti):
        case {"total": int(total), "counts": dict(), "complete": bool()}:
            return total
        case _:
            return None


def last_report(ti: Any) -> Any:
    """Return what the task has reported last, also in this run; ``None`` without a report."""
    return ti.xcom_pull(task_ids=ti.task_id, key=XCOM_KEY, include_prior_dates=True, map_indexes=ti.map_index)


def _ledger_in(reported: Any) -> EarlierSummary | None:
    match reported:
        case {"ledger": {"name": str(name), "entries": int(entries), "at": str(at)}}:
            return EarlierSummary(LedgerSummary(name, entries), at)
        case _:
            return None


def _has_succeeded(ti: Any) -> bool:
    """Return whether the task has succeeded in another run. One that failed and has sent a request has reported it."""
    if hasattr(ti, "get_ti_count"):  # Airflow 3
        count: int = ti.get_ti_count(dag_id=ti.dag_id, task_ids=[ti.task_id], states=_SUCCEEDED)
        return count > 0
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        query = session.query(TaskInstance).filter(
            TaskInstance.dag_id == ti.dag_id,
            TaskInstance.task_id == ti.task_id,
            TaskInstance.state.in_(_SUCCEEDED),
        )
        return query.first() is not None
