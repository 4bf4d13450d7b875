"""What many begin with: one task that reads the rows, cuts them and posts them."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import BaseHook, dag, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False)
def requests_loop() -> None:
    """Enroll lapsed contacts."""
    # [START before]
    contacts = SQLExecuteQueryOperator(
        task_id="contacts",
        conn_id="warehouse",
        sql="SELECT email FROM contacts WHERE last_seen_days > 90 ORDER BY id",
    )

    @task
    def enroll(rows: list[list[str]]) -> None:
        import time

        import requests

        connection = BaseHook.get_connection("meisa_api")
        emails = [row[0] for row in rows]
        for begin in range(0, len(emails), 500):
            batch = emails[begin : begin + 500]
            while True:
                response = requests.post(
                    f"{connection.host}/sequences/api/bulk-enroll/",
                    json={"sequence_slug": "reactivation", "emails": batch},
                    headers={"X-API-Key": connection.password},
                    timeout=30,
                )
                if response.status_code != 429:
                    break
                time.sleep(60)
            response.raise_for_status()

    enroll(contacts.output)
    # [END before]


requests_loop()
