"""What tests of the ledger share: a subject, and an S3 on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow_provider_meisa.bulk.ledger import Subject

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0
SUBJECT = Subject(
    base_url="https://api.meisa.io/api/v1",
    environment="live",
    product="shop",
    job="enroll",
    target="reactivation",
    record_id="address",
)
CREDENTIALS = {"key": "testing", "secret": "testing"}


@contextmanager
def s3_server(bucket: str) -> Iterator[str]:
    """Run an S3 in this process, with one bucket; give its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        buckets = s3_path(url, bucket).fs
        if not buckets.exists(bucket):  # all of moto's servers in one process have the same buckets
            buckets.mkdir(bucket)
        yield url
    finally:
        server.stop()


def s3_path(url: str, path: str, **options: Any) -> Any:
    """Return a path in that S3, with the listing cache on, as Airflow's ObjectStoragePath has it."""
    from upath import UPath

    return UPath(f"s3://{path}", endpoint_url=url, use_listings_cache=True, **CREDENTIALS, **options)
