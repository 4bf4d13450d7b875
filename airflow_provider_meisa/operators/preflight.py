"""What is looked at before the first batch is sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaError, MeisaInputError, MeisaScopeError
from airflow_provider_meisa.bulk.batching import LARGEST_BATCH, key_of, normalise
from airflow_provider_meisa.operators.log_group import group

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.operators.audience import AudienceOperator

log = logging.getLogger("airflow.task.meisa")

_FEWEST_MINUTES = 3


def check_before(task: AudienceOperator, context: Context, client: MeisaClient, total: int | None) -> None:
    """Look at what would stop a run, and say what is going to happen.

    :param total: how many addresses there are, where that is known.
    :raises MeisaError: if something stops it.
    """
    with group("Before sending"):
        if task.max_contacts is not None:
            _check_size(task, context, task.max_contacts)
        check_sequence(client, task.sequence_slug)
    if task.override_unsubscribe:
        log.warning("override_unsubscribe is set: people who have unsubscribed will be mailed.")
    tell_plan(client, task.sequence_slug, total)


def suppressed(client: MeisaClient) -> frozenset[str]:
    """Ask who unsubscribed, and return their keys (`audience.key_of`).

    :raises MeisaError: see `airflow_provider_meisa.api.endpoints.contacts.unsubscribed_emails`.
    """
    from airflow_provider_meisa.api.endpoints import contacts

    emails = contacts.unsubscribed_emails(client).emails
    log.info("Meisa's list of unsubscribed addresses has %s entries", f"{len(emails):,}")
    return frozenset(key_of(normalise(email)) for email in emails)


def _check_size(task: AudienceOperator, context: Context, most: int) -> None:
    try:
        check_size(task.read(context), most)
    except MeisaInputError:
        task.finished(context)
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


def requests_left(client: MeisaClient) -> str:
    """Say how many requests each window of the rate limits has left; nothing if their store does not answer."""
    try:
        left = client.quota.remaining()
    except MeisaError:
        return ""  # which the next batch will tell
    return "requests left: " + ", ".join(f"{count} of {limit}" for limit, count in left.items())


def time_needed(client: MeisaClient, addresses: int, *, pace: float = 0.0) -> str:
    """Say how long so many addresses take: as the rate limits make them take, or as the answers do.

    :param pace: the seconds that a batch takes where the rate limits leave room, where that is known.
    """
    requests = math.ceil(addresses / LARGEST_BATCH)
    try:
        limited = client.quota.estimate(requests) if requests else 0.0
    except MeisaError:
        return ""  # the store of the quota does not answer, which the next batch will tell
    return f", about {_in_words(max(limited, pace * requests))}"


def _in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < _FEWEST_MINUTES:
        return f"{seconds:,.0f} s"
    hours, rest = divmod(minutes, 60)
    return f"{hours:,} h {rest} min" if hours else f"{minutes} min"
