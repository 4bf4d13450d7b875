"""The ledger: what Meisa has accepted over all runs, so that nothing is sent twice."""

from __future__ import annotations

from airflow_provider_meisa.bulk.ledger.entry import Entry, State
from airflow_provider_meisa.bulk.ledger.guard import EarlierSummary, check_not_lost
from airflow_provider_meisa.bulk.ledger.ledger import Ledger, LedgerSummary
from airflow_provider_meisa.bulk.ledger.subject import Subject
from airflow_provider_meisa.bulk.ledger.writer import LedgerWriter

__all__ = [
    "EarlierSummary",
    "Entry",
    "Ledger",
    "LedgerSummary",
    "LedgerWriter",
    "State",
    "Subject",
    "check_not_lost",
]
