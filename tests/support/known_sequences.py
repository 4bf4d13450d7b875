"""What this process knows of sequences from earlier requests."""

from __future__ import annotations

from airflow_provider_meisa.api.rate_limit.storage import factory


def forget_sequences() -> None:
    """Forget it, as time does."""
    for storage in factory._IN_THIS_PROCESS.values():
        storage._notes.clear()
