"""What is looked at before the first batch is sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaScopeError
from airflow_provider_meisa.bulk.batching import LARGEST_BATCH, key_of, normalise
from airflow_provider_meisa.bulk.reporting import requests_left, time_needed

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.bulk.options import RunOptions, Source
    from airflow_provider_meisa.bulk.reporting import RunReporter

log = logging.getLogger("airflow.task.meisa")


def check_before(client: MeisaClient, options: RunOptions, source: Source, reporter: RunReporter) -> None:
    """Look at what would stop a run, and say what is going to happen.

    :raises MeisaError: if something stops it.
    """
    with reporter.group("Before sending"):
        if options.max_contacts is not None:
            _check_size(source, options.max_contacts)
        check_sequence(client, options.sequence_slug)
    if options.override_unsubscribe:
        log.warning("override_unsubscribe is set: people who have unsubscribed will be mailed.")
    tell_plan(client, options.sequence_slug, reporter.total)


def suppressed(client: MeisaClient) -> frozenset[str]:
    """Ask who unsubscribed, and return their keys (`audience.key_of`).

    :raises MeisaError: see `airflow_provider_meisa.api.endpoints.contacts.unsubscribed_emails`.
    """
    from airflow_provider_meisa.api.endpoints import contacts

    emails = contacts.unsubscribed_emails(client).emails
    log.info("Meisa's list of unsubscribed addresses has %s entries", f"{len(emails):,}")
    return frozenset(key_of(normalise(email)) for email in emails)


def _check_size(source: Source, most: int) -> None:
    try:
        check_size(source.read(), most)
    except MeisaInputError:
        source.cleanup()
        raise
    log.info("There are not more than %s addresses (max_contacts)", f"{most:,}")


def check_size(source: Iterable[object], most: int) -> None:
    """See that there are not too many addresses.

    :raises MeisaInputError: if there are.
    """
    for number, _ in enumerate(source, start=1):
        if number > most:
            raise MeisaInputError(
                f"There are more than {most:,} addresses (max_contacts). Nothing was sent. Check the source, "
                "or raise max_contacts."
            )


def check_sequence(client: MeisaClient, slug: str) -> None:
    """See that the sequence takes contacts, where the key may ask.

    :raises MeisaError: see `airflow_provider_meisa.api.endpoints.sequences.check_active`.
    """
    from airflow_provider_meisa.api.endpoints import sequences

    try:
        found = sequences.check_active(client, slug)
        log.info("The sequence %s is %s", found.slug, found.status)
    except MeisaScopeError:
        log.info("The key lacks sequences:read: whether the sequence is active shows with the first batch.")


def tell_plan(client: MeisaClient, slug: str, total: int | None) -> None:
    """Say in one line what is going to happen.

    :param total: how many addresses there are, where that is known.
    """
    plan = "addresses of a stream"
    if total is not None:
        plan = (
            f"{total:,} addresses, {math.ceil(total / LARGEST_BATCH):,} requests{time_needed(client, total)}"
        )
    left = requests_left(client)
    log.info("Enrolling into %s: %s%s", slug, plan, left and f"; {left}")
