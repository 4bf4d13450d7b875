"""The job that keeps contacts in sync with a table."""

from __future__ import annotations

from airflow_provider_meisa.jobs.sync_contacts.job import SyncContactsJob

__all__ = ["SyncContactsJob"]
