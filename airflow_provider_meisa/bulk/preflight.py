"""The checks before the source is read, and the log line before the first batch."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.nouns import REQUEST, count
from airflow_provider_meisa.api.redaction import redact
from airflow_provider_meisa.bulk.batch_log import requests_left, time_needed

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.job import Job
    from airflow_provider_meisa.bulk.options import RunOptions
    from airflow_provider_meisa.bulk.reporting import RunReporter

log = logging.getLogger("airflow.task.meisa")


def check_before(
    client: MeisaClient, job: Job, options: RunOptions, reporter: RunReporter, *, sends: bool = True
) -> None:
    """Check that nothing stops a run, before its source is read: the key, its scopes, and the target of the job.

    That takes two requests at most. A later change shows in the first batch.

    :param sends: whether the run may send; a run that only records needs a key, and no more.
    :raises MeisaError: if something stops it.
    """
    from airflow_provider_meisa.api.endpoints import account  # loads requests

    with reporter.group("Before sending"):
        if options.size.max_contacts is not None:
            log.info(
                "Limit of %s: at most %s (max_contacts)", job.noun.many, f"{options.size.max_contacts:,}"
            )
        if not options.preview:
            account.confirm_environment(client)
        key = account.check_scopes(client, job.scopes if sends and not options.preview else ())
        if key:
            of_product = f" of {key.product}" if key.product else ""
            log.info("The API key is a %s%s", name_of_key(client), of_product)
        if sends:
            job.check(client, for_preview=options.preview)


def report_plan(client: MeisaClient, job: Job, reporter: RunReporter) -> None:
    """Log warnings, and what the run will send, before its first batch."""
    job.warn()
    left = requests_left(client)
    log.info("%s%s", _what_is_sent(client, job, reporter), left and f"; {left}")


def _what_is_sent(client: MeisaClient, job: Job, reporter: RunReporter) -> str:
    key, total, requests = name_of_key(client), reporter.total, reporter.requests
    if total is None:
        return f"Sending to {job.title} with a {key}: an unknown number of {job.noun.many}"
    if requests is None:
        requests = math.ceil(total / job.batch_size)
    needed = time_needed(client, requests)
    if job.batch_size == 1:
        return f"Sending {requests:,} of {count(total, job.noun)} with a {key}{needed}"
    return (
        f"Sending to {job.title} with a {key}: {count(total, job.noun)}, {count(requests, REQUEST)}{needed}"
    )


def name_of_key(client: MeisaClient) -> str:
    """Return ``live key`` or ``test key``, as Meisa calls it."""
    environment = client.key.environment if client.key else ""
    return f"{redact(environment)} key" if environment else "key of an unknown environment"
