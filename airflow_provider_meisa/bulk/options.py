"""The options of a bulk run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_provider_meisa.bulk.size_limits import SizeLimits

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.ledger.guard import EarlierSummary
    from airflow_provider_meisa.bulk.location import Location

FirstRun = Literal["send", "record", "fail"]
OnAmbiguous = Literal["resend", "fail"]
OnChangedAudience = Literal["fail", "restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOptions:
    """The ledger of a run, and its options.

    :param root: the folder of all ledgers.
    :param name: the name of the ledger, a folder in the root.
    :param run: the name of the run, over all attempts.
    :param secret: ``[meisa] ledger_key``; ``repr`` omits it.
    :param first_run: what to do if the ledger has no entry: ``send``, ``record`` the rows of the source as accepted
        without a request, or ``fail``.
    :param is_first_run_given: whether the DAG sets ``first_run``.
    :param last: the ledger in the last summary of the task.
    :param has_earlier_runs: whether the task has run before.
    :param accept_lost_ledger: the date of the last summary, if a loss is accepted.
    """

    root: Location
    name: str
    run: str
    secret: str = ""
    first_run: FirstRun = "send"
    is_first_run_given: bool = False
    last: EarlierSummary | None = None
    has_earlier_runs: bool = False
    accept_lost_ledger: str | None = None

    def __repr__(self) -> str:
        return f"LedgerOptions({self.name!r}, run={self.run!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one bulk run of any job; those that `BulkOperator` has as well are explained there.

    :param size: the limits of the source.
    :param keep: the columns whose values the outcomes file keeps.
    :param plan: the id of an approved plan; empty if the run makes its own.
    :param check_first: check before the first batch that nothing stops the run.
    :param longest_wait: the longest wait in this process, in seconds; a longer one ends the stretch.
    :param stop_after: the seconds after which the run sends no more; the rest is left to the next one.
    :param ledger: the ledger of the run; ``None`` for a run without one.
    :param preview: plan only: nothing is sent, and the ledger is not written.
    """

    meisa_conn_id: str = ""
    size: SizeLimits = field(default_factory=SizeLimits)
    outcomes_path: str | None = None
    keep: Sequence[str] = ()
    on_ambiguous: OnAmbiguous = "resend"
    on_changed_audience: OnChangedAudience = "fail"
    plan: str = ""
    max_in_flight: int = 4
    check_first: bool = True
    longest_wait: float = math.inf
    stop_after: float = math.inf
    ledger: LedgerOptions | None = None
    preview: bool = False
