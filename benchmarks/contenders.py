"""One run of one contender in a process of its own: ``python contenders.py WHAT COUNT [URL]``.

It prints as JSON the wall-clock seconds, the CPU seconds, the peak memory and the number of items done.
The time includes neither imports nor the preparation of input.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

BATCH = 500
THREADS = 4
SLUG = "reactivation"
KEY = "meisa_live_sandbox"
NO_LIMIT = "1000/0.2s"
"""A limit that no contender reaches; the limiter remembers as many requests as with the default limits."""

_PATH = "/sequences/api/bulk-enroll/"


def people(count: int) -> Iterator[str]:
    """Generate valid, distinct addresses of 27 to 28 characters."""
    return (f"contact.{number:08}@example{number % 50}.com" for number in range(count))


def cut(addresses: Iterable[str]) -> Iterator[list[str]]:
    """Cut addresses into batches."""
    source = iter(addresses)
    while batch := list(islice(source, BATCH)):
        yield batch


@contextmanager
def clocked(took: dict[str, Any]) -> Iterator[None]:
    """Record the wall-clock time and the CPU time of a block."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    took |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


# Peers.


def bare(took: dict[str, Any], count: int, url: str) -> None:
    """Post prepared bodies, and read the responses as bytes: a `requests` loop that does nothing else."""
    bodies = [json.dumps({"sequence_slug": SLUG, "emails": batch}).encode() for batch in cut(people(count))]
    post = _poster(url)
    with clocked(took), ThreadPoolExecutor(THREADS) as pool:
        took["bytes"] = sum(pool.map(lambda body: len(post(data=body).content), bodies))


def handwritten(took: dict[str, Any], count: int, url: str) -> None:
    """Do what a ``@task`` without this package does: cut a list, post it, count the statuses of the responses."""
    post = _poster(url)

    def enroll(batch: list[str]) -> Counter[str]:
        response = post(json={"sequence_slug": SLUG, "emails": batch})
        response.raise_for_status()
        return Counter(result["status"] for result in response.json()["results"])

    with clocked(took), ThreadPoolExecutor(THREADS) as pool:
        batches = list(cut(list(people(count))))
        took["counts"] = sum(pool.map(enroll, batches), Counter())


def deduplicated(took: dict[str, Any], count: int) -> None:
    """Drop duplicates from a stream with a ``set`` of strings, batch by batch: the usual way, nothing sent."""
    seen: set[str] = set()
    with clocked(took):
        for batch in cut(people(count)):
            seen.update(address.strip().lower() for address in batch)
        took["counts"] = {"enrolled": len(seen)}


def _poster(url: str) -> Callable[..., Any]:
    """Post with a session for each thread, so that connections stay open."""
    import requests

    local = threading.local()

    def post(**what: Any) -> Any:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            local.session.headers.update({"X-API-Key": KEY, "Content-Type": "application/json"})
        return local.session.post(url + _PATH, timeout=30, **what)

    return post


# Ours.


def ours(took: dict[str, Any], count: int, url: str) -> None:
    """Run the whole path, as the operator does, without Airflow and without a checkpoint."""
    _enroll(took, people(count), _client(url, "memory"))


def ours_with_rate_limit_file(took: dict[str, Any], count: int, url: str) -> None:
    """Run the whole path with the rate limits in a file, the default."""
    with tempfile.TemporaryDirectory() as folder:
        rate_limiter = Path(folder) / "rate_limits"
        _enroll(took, people(count), _client(url, rate_limiter.as_uri()))


def ours_with_outcomes(took: dict[str, Any], count: int, url: str) -> None:
    """Run the whole path, and write the status of each address into a JSON Lines file."""
    from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter

    with tempfile.TemporaryDirectory() as folder:
        file = OutcomeWriter(Path(folder) / "outcomes.jsonl")
        _enroll(took, people(count), _client(url, "memory"), file)


def ours_unsent(took: dict[str, Any], count: int) -> None:
    """Run the whole path without a network: this process responds to each batch."""
    _enroll(took, people(count), _client("http://127.0.0.1:1/api/v1", "memory", RespondingTransport()))


def reading(took: dict[str, Any], count: int) -> None:
    """Read the audience to its end and keep nothing, as a retry does before it resumes."""
    from airflow_provider_meisa.bulk.batching import batches
    from airflow_provider_meisa.bulk.checkpoint import chained
    from airflow_provider_meisa.jobs.enroll import EnrollJob

    fingerprint = ""
    with clocked(took):
        for batch in batches(EnrollJob(SLUG), people(count)):
            fingerprint = chained(fingerprint, batch)


class RespondingTransport:
    """Responds as the echo server does, without a network."""

    def send(self, call: Any) -> Any:
        """Respond that every address is enrolled."""
        from airflow_provider_meisa.api.models import Response

        return Response(
            200, {"results": [{"email": email, "status": "enrolled"} for email in call.body["emails"]]}
        )

    def close(self) -> None:
        """Do nothing, because nothing is open."""


def _client(url: str, rate_limit_storage: str, transport: Any = None) -> Any:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.rate_limit.limits import parse_limits
    from airflow_provider_meisa.api.settings import Settings

    settings = Settings(
        api_key=KEY, base_url=url, limits=parse_limits(NO_LIMIT), rate_limit_storage=rate_limit_storage
    )
    return MeisaClient(settings, transport=transport)


def _enroll(took: dict[str, Any], addresses: Iterable[str], client: Any, file: Any = None) -> None:
    with clocked(took), client:
        runner = runner_of(client, addresses, outcomes=file)
        runner.run()
        summary = runner.summary(complete=True)
        if file:
            file.finish(summary)
            file.discard_parts()
    took |= {"counts": summary["counts"], "requests": summary["requests"], "waited": summary["waited_s"]}


def runner_of(
    client: Any,
    addresses: Iterable[object],
    *,
    size: int = BATCH,
    start: Any = None,
    longest_wait: float = 0.0,
    outcomes: Any = None,
) -> Any:
    """Return a prepared runner, as `AudienceOperator` does; its checkpoint goes nowhere."""
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.options import RunOptions
    from airflow_provider_meisa.bulk.outcome_file import OutcomeWriter
    from airflow_provider_meisa.bulk.reporting import RunReporter
    from airflow_provider_meisa.bulk.runner import BulkRunner
    from airflow_provider_meisa.jobs.enroll import EnrollJob

    class Job(EnrollJob):
        batch_size = size

    job = Job(SLUG)
    runner = BulkRunner(
        client,
        job,
        RunOptions(max_in_flight=THREADS, check_first=False, longest_wait=longest_wait),
        lambda: addresses,
        start=start or Checkpoint(started_at=time.time()),
        save=lambda _: None,
        outcomes=outcomes or OutcomeWriter(None),
        reporter=RunReporter(client, job),
    )
    runner.prepare()
    return runner


# One run.

CONTENDERS: dict[str, Callable[..., None]] = {
    each.__name__: each
    for each in (
        bare,
        handwritten,
        deduplicated,
        ours,
        ours_with_rate_limit_file,
        ours_with_outcomes,
        ours_unsent,
        reading,
    )
}


def run(what: str, count: int, url: str = "") -> dict[str, Any]:
    """Run a contender in a process of its own, and return its measurements."""
    command = [sys.executable, str(Path(__file__)), what, str(count), *([url] if url else [])]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    took: dict[str, Any] = json.loads(output)
    if "counts" in took and took["counts"]["enrolled"] != count:
        raise SystemExit(f"{what} did not do its work: {took}")
    return took


def status_mib(field: str) -> float:
    """Read a figure of this process' memory from the kernel (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def main(what: str, count: str, *url: str) -> None:
    """Run a contender in this process, and print its measurements."""
    took: dict[str, Any] = {"bare_interpreter": status_mib("VmHWM")}
    if not what.startswith(("deduplicated", "bare", "handwritten")):
        _import_ours()
    took["before"] = status_mib("VmHWM")
    CONTENDERS[what](took, int(count), *url)
    took["peak"] = status_mib("VmHWM")
    print(json.dumps(took))


def _import_ours() -> None:
    import airflow_provider_meisa.api.endpoints.sequences
    import airflow_provider_meisa.bulk.outcome_file
    import airflow_provider_meisa.bulk.runner
    import airflow_provider_meisa.jobs.enroll  # noqa: F401


if __name__ == "__main__":
    main(*sys.argv[1:])
