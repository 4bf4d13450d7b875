"""Enroll addresses from a stream with our operator, which frees its slot while it waits."""

import os
from collections.abc import Iterator

from airflow.sdk import DAG

from airflow_provider_meisa.operators.audience import AudienceOperator


class StreamToMeisaOperator(AudienceOperator):
    """Enrolls addresses that are generated while they are read."""

    def read(self, context: object) -> Iterator[str]:
        """Generate the addresses."""
        return (
            f"contact.{number:08}@example{number % 50}.com"
            for number in range(int(os.environ["BENCH_COUNT"]))
        )


for dag_id in os.environ["BENCH_OURS"].split():
    with DAG(dag_id, schedule=None):
        StreamToMeisaOperator(
            task_id="enroll", sequence_slug="reactivation", deferrable=True, meisa_conn_id=dag_id
        )
