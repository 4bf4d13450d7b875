"""What others begin with: an ``HttpOperator`` that is mapped over batches."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import dag, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.http.operators.http import HttpOperator


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False)
def http_operator() -> None:
    """Enroll lapsed contacts."""
    # [START before]
    contacts = SQLExecuteQueryOperator(
        task_id="contacts",
        conn_id="warehouse",
        sql="SELECT email FROM contacts WHERE last_seen_days > 90 ORDER BY id",
    )

    @task
    def batches(rows: list[list[str]]) -> list[str]:
        emails = [row[0] for row in rows]
        return [
            json.dumps({"sequence_slug": "reactivation", "emails": emails[begin : begin + 500]})
            for begin in range(0, len(emails), 500)
        ]

    HttpOperator.partial(
        task_id="enroll",
        http_conn_id="meisa_http",
        endpoint="/api/v1/sequences/api/bulk-enroll/",
        headers={
            "Content-Type": "application/json",
            "X-API-Key": "{{ conn.meisa_http.password }}",
        },
        retries=50,
        retry_delay=timedelta(minutes=1),
        max_active_tis_per_dag=1,
    ).expand(data=batches(contacts.output))
    # [END before]


http_operator()
