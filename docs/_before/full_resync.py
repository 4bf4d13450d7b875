"""What many begin with: one task that sends every row of a table again, night after night."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import BaseHook, dag, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator


@dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False)
def full_resync() -> None:
    """Send all users to Meisa."""
    # [START before]
    users = SQLExecuteQueryOperator(
        task_id="users",
        conn_id="warehouse",
        sql="SELECT user_id, email, first_name, plan, mrr FROM users",
    )

    @task
    def sync(rows: list[list[object]]) -> None:
        import time

        import requests

        connection = BaseHook.get_connection("meisa_api")
        for user_id, email, first_name, plan, mrr in rows:
            while True:
                response = requests.post(
                    f"{connection.host}/contacts/upsert/",
                    json={
                        "email": email,
                        "external_id": str(user_id),
                        "first_name": first_name,
                        "custom_fields": {"plan": plan, "mrr": mrr},
                    },
                    headers={"X-API-Key": connection.password},
                    timeout=30,
                )
                if response.status_code != 429:
                    break
                time.sleep(60)
            response.raise_for_status()

    sync(users.output)
    # [END before]


full_resync()
