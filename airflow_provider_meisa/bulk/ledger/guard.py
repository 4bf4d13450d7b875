"""Detect the loss of a ledger: it has fewer entries than after the last run of the task."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_meisa.api.errors import MeisaLedgerError
from airflow_provider_meisa.bulk.ledger.ledger import LedgerSummary

_RESTORE = (
    "Nothing was sent, because contacts would be sent again. Restore the folder of the ledger, or correct its name "
    "and [meisa] ledger_path."
)


@dataclass(frozen=True, slots=True)
class EarlierSummary:
    """The last summary of the task.

    :param date: the date of that run, as text, to use as ``accept_lost_ledger``.
    """

    ledger: LedgerSummary
    date: str


def check_not_lost(
    found: LedgerSummary,
    last: EarlierSummary | None,
    *,
    accepted: str | None = None,
    has_earlier_runs: bool = False,
    has_first_run: bool = False,
) -> None:
    """Stop before anything is sent if the ledger has lost entries since the last run, under any name.

    :param last: ``None`` without an earlier summary with a ledger.
    :param accepted: the parameter ``accept_lost_ledger``: the date of the last summary confirms the loss, once.
    :param has_earlier_runs: whether the task has run before.
    :param has_first_run: whether the parameter ``first_run`` is given.
    :raises MeisaLedgerError: if it has lost entries.
    """
    if last is None:
        if found.entries == 0 and has_earlier_runs and not has_first_run:
            raise MeisaLedgerError(
                f"The ledger {found.name} is empty, and this task has run before, but no summary of it is left in "
                f"XCom. {_RESTORE} If this is the first run with a ledger, set first_run."
            )
        return
    if found.entries < last.ledger.entries and accepted != last.date:
        raise MeisaLedgerError(
            f"The ledger {found.name} has {found.entries:,} entries. The last run of this task, of {last.date}, left "
            f"{last.ledger.entries:,} in {last.ledger.name}. {_RESTORE} If the loss is intended, set "
            f'accept_lost_ledger="{last.date}": it confirms this loss, and no later one.'
        )
