"""What this process knows of sequences from earlier requests."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_meisa.api.rate_limit.storage import factory


def forget_sequences(folder: Path | None = None) -> None:
    """Forget it, as time does.

    :param folder: where the rate limits are, if they are in files.
    """
    for note in folder.glob("*.sequences") if folder else ():
        note.unlink()
    for storage in factory._IN_THIS_PROCESS.values():
        storage._notes.clear()
