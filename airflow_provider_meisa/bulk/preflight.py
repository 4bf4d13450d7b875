"""The checks and log lines before the first batch."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.nouns import ADDRESS, REQUEST, count
from airflow_provider_meisa.bulk.reporting import requests_left, time_needed

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.job import Job
    from airflow_provider_meisa.bulk.options import RunOptions
    from airflow_provider_meisa.bulk.reporting import RunReporter

log = logging.getLogger("airflow.task.meisa")


def check_before(client: MeisaClient, job: Job, options: RunOptions, reporter: RunReporter) -> None:
    """Check that nothing stops a run, and log what it will send.

    :raises MeisaError: if something stops it.
    """
    with reporter.group("Before sending"):
        if options.size.max_contacts is not None:
            log.info(
                "Limit of addresses checked: at most %s (max_contacts)", f"{options.size.max_contacts:,}"
            )
        job.check(client)
    job.warn()
    plan = "an unknown number of addresses"
    if reporter.total is not None:
        planned = reporter.requests
        requests = math.ceil(reporter.total / job.batch_size) if planned is None else planned
        plan = f"{count(reporter.total, ADDRESS)}, {count(requests, REQUEST)}{time_needed(client, requests)}"
    left = requests_left(client)
    log.info("Sending to %s: %s%s", job.title, plan, left and f"; {left}")
