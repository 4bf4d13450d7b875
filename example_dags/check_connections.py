"""Every morning: check that the secrets backend serves each connection to a worker, and that its key works."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_meisa.hooks.meisa import MeisaHook

CONNECTIONS = ["meisa_default"]
NEEDED = {"sequences:enroll", "sequences:read", "contacts:read"}


@dag(
    schedule="0 6 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["meisa", "example"],
    doc_md=__doc__,
)
def check_connections() -> None:
    """Ask Meisa for the environment and the scopes of each key; this enrolls no one."""

    @task
    def check(conn_id: str) -> str:
        """Return the environment of the key; fail if the key lacks a scope."""
        key = MeisaHook(conn_id).ping()
        if missing := sorted(NEEDED - set(key.scopes)):
            raise ValueError(f"The key of {conn_id} lacks {', '.join(missing)}")
        return key.environment

    check.expand(conn_id=CONNECTIONS)


check_connections()
