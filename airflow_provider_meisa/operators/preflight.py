"""What is looked at before the first batch is sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.audience import LARGEST_BATCH
from airflow_provider_meisa.api.errors import MeisaError, MeisaInputError, MeisaScopeError

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient

log = logging.getLogger("airflow.task.meisa")


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

    :raises MeisaError: see `airflow_provider_meisa.api.sequences.check_active`.
    """
    from airflow_provider_meisa.api import sequences

    try:
        sequences.check_active(client, slug)
    except MeisaScopeError:
        log.info("The key lacks sequences:read: whether the sequence is active shows with the first batch.")


def tell_plan(client: MeisaClient, slug: str, total: int | None) -> None:
    """Say in one line what is going to happen.

    :param total: how many addresses there are, where that is known.
    """
    left = ", ".join(f"{count} of {limit}" for limit, count in client.quota.remaining().items())
    plan = "addresses of a stream"
    if total is not None:
        plan = (
            f"{total:,} addresses, {math.ceil(total / LARGEST_BATCH):,} requests{time_needed(client, total)}"
        )
    log.info("Enrolling into %s: %s; requests left: %s", slug, plan, left)


def time_needed(client: MeisaClient, addresses: int) -> str:
    """Say how long the rate limits make so many addresses take, beside the time of the answers themselves."""
    requests = math.ceil(addresses / LARGEST_BATCH)
    try:
        return f", about {client.quota.estimate(requests) if requests else 0:,.0f} s"
    except MeisaError:
        return ""  # the store of the quota does not answer, which the next batch will tell
