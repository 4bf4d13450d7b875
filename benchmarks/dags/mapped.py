"""Enroll batches with a mapped ``HttpOperator``; a 429 fails an instance, which is retried."""

import json
import os
from datetime import timedelta

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG, task


@task
def cut() -> list[str]:
    """Return the bodies."""
    people = [
        f"contact.{number:08}@example{number % 50}.com" for number in range(int(os.environ["BENCH_MAPPED"]))
    ]
    return [
        json.dumps({"sequence_slug": "onboarding", "emails": people[begin : begin + 500]})
        for begin in range(0, len(people), 500)
    ]


with DAG("mapped", schedule=None):
    HttpOperator.partial(
        task_id="enroll",
        http_conn_id="mapped",
        endpoint="/api/v1/sequences/api/bulk-enroll/",
        headers={"Content-Type": "application/json", "X-API-Key": "meisa_live_bench_mapped"},
        retries=50,
        retry_delay=timedelta(seconds=60),
    ).expand(data=cut())
