"""Enroll the same addresses with one task that loops, and waits for the Retry-After of a 429."""

import os
import time

from airflow.sdk import DAG, BaseHook, task


@task
def enroll() -> None:
    """Post batch after batch."""
    import requests

    connection = BaseHook.get_connection("loop")
    url = f"{connection.host}/api/v1/sequences/api/bulk-enroll/"
    session = requests.Session()
    session.headers["X-API-Key"] = connection.password
    count = int(os.environ["BENCH_COUNT"])
    people = [f"contact.{number:08}@example{number % 50}.com" for number in range(count)]
    for begin in range(0, count, 500):
        body = {"sequence_slug": "onboarding", "emails": people[begin : begin + 500]}
        while (
            response := session.post(url, json=body, timeout=30)
        ).status_code == requests.codes.too_many_requests:
            time.sleep(float(response.headers["Retry-After"]))
        response.raise_for_status()


with DAG("loop", schedule=None):
    enroll()
