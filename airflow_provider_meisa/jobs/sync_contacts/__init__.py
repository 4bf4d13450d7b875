"""The job of keeping contacts in step with a table."""

from __future__ import annotations

from airflow_provider_meisa.jobs.sync_contacts.job import SyncContactsJob

__all__ = ["SyncContactsJob"]
