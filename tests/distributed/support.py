"""What the tests of this folder enroll, how, and into which Meisa; and the results."""

from __future__ import annotations

import json
from collections import Counter

# Batches are of 500; each mapped instance sends its people into a sequence of its own.
SCENARIOS = {
    "shared": {"sequences": 8, "people": 6_000, "limits": "10/2s, 60/24s"},
    "lost": {"people": 12_000, "latency_ms": 1200},
    "orphaned": {"people": 8_000, "latency_ms": 1500},
    "asleep": {"people": 4_000, "limits": "4/15s"},
    "restarted": {
        "sequences": 4,
        "people": 1_500,
        "limits": "5/15s",
        "arguments": {"deferrable": True, "defer_after": 10},
    },
    "deferred": {"people": 3_400, "limits": "3/15s", "arguments": {"deferrable": True, "defer_after": 10}},
}
IN_FLIGHT = 4

DAGS = '''
"""Enrollments that meet failures."""
from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator

OF = {of!r}


@task
def segments(sequences, people):
    return [
        {{
            "sequence_slug": f"sequence-{{sequence}}",
            "emails": [f"person{{number:05}}@{{sequence}}.example.com" for number in range(people)],
        }}
        for sequence in range(sequences)
    ]


for name, (sequences, people, arguments) in OF.items():
    with DAG(name, schedule=None, is_paused_upon_creation=False) as dag:
        MeisaBulkEnrollOperator.partial(
            task_id="enroll",
            meisa_conn_id=name,
            max_in_flight={in_flight},
            retries=2,
            retry_delay=timedelta(seconds=1),
            **arguments,
        ).expand_kwargs(segments(sequences, people))
    globals()[name] = dag
'''


class DagUnderTest:
    """One of the troubles, with its sandbox and the folder of its outcome files.

    :param name: also of its DAG and its connection.
    :param folder: where its outcome files are written.
    """

    def __init__(self, name, sandbox, folder):
        self.name = name
        self.sandbox = sandbox
        self.people = SCENARIOS[name]["people"]
        self.sequences = range(SCENARIOS[name].get("sequences", 1))
        self._folder = folder
        for number in self.sequences:
            sandbox.put_sequence(f"sequence-{number}")

    def of_dag(self):
        """Return what its DAG is made from."""
        path = f"{self._folder}/{{{{ ti.map_index }}}}.jsonl"
        return (
            len(self.sequences),
            self.people,
            {**SCENARIOS[self.name].get("arguments", {}), "outcomes_path": path},
        )

    def connection(self, rate_limit_storage):
        """Return what its connection says."""
        extra = {"timeout": 10, "rate_limits": SCENARIOS[self.name].get("limits", "10000/minute")}
        return {
            "conn_type": "meisa",
            "host": self.sandbox.url,
            "password": self.sandbox.key,
            "extra": {**extra, "rate_limit_storage": rate_limit_storage},
        }

    def bulk_requests(self):
        """Return the bulk requests that came in, oldest first."""
        return [each for each in self.sandbox.requests() if each["path"].endswith("bulk-enroll/")]

    def statuses(self):
        """Count the requests of all kinds by status."""
        return Counter(each["status"] for each in self.sandbox.requests())

    def times_sent(self):
        """Say of each batch how often it was sent."""
        return Counter(tuple(each["addresses"]) for each in self.bulk_requests())

    def lines(self, number):
        """Return the lines of an instance's outcomes file."""
        return [json.loads(line) for line in (self._folder / f"{number}.jsonl").read_text().splitlines()]

    def assert_all_enrolled_once(self, summaries):
        """See that the sandbox, the outcome files and the summaries agree on that."""
        assert len(summaries) == len(self.sequences)
        for number, summary in enumerate(summaries):
            once = dict.fromkeys((f"person{each:05}@{number}.example.com" for each in range(self.people)), 1)
            rows = self.sandbox.enrollments(f"sequence-{number}")
            assert {row["email"]: row["times_enrolled"] for row in rows} == once
            assert Counter(line["address"] for line in self.lines(number)) == once
            counts = summary["counts"]
            assert summary["total"] == sum(counts.values()) == self.people
            assert counts["enrolled"] + counts["already_enrolled"] == self.people
