"""The commands that only read: ``ping``, ``sequences``, ``enrollments`` and ``rate-limits``."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict

from airflow_provider_meisa.api.endpoints import account
from airflow_provider_meisa.api.endpoints import sequences as api
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter
from airflow_provider_meisa.api.rate_limit.limits import Limit
from airflow_provider_meisa.api.rate_limit.storage.factory import storage_for
from airflow_provider_meisa.api.redaction import redact
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.cli.connection import client_of, settings_of
from airflow_provider_meisa.cli.output import ExitStatus, Row, command, print_message, show
from airflow_provider_meisa.hooks.meisa import NEEDED_BY


@command
def ping(options: Namespace) -> ExitStatus:
    """Show what the connection's API key may do: ``GET /ping/``."""
    with client_of(options.conn_id) as client:
        key = account.ping(client)
    lacking = {scope: by for scope, by in NEEDED_BY.items() if scope not in key.scopes}
    row: Row = {
        "environment": key.environment,
        "product": key.product,
        "scopes": sorted(key.scopes),
        "missing": lacking,
    }
    show([row], options.output)
    wanted = client.settings.environment
    if wanted and wanted != key.environment:
        print_message(
            f"The extra environment of the connection {options.conn_id!r} is {wanted}, but its API key is of "
            f"{redact(key.environment) or 'an unknown one'}. Change the API key, or the extra environment."
        )
        return ExitStatus.FAILED
    return ExitStatus.FINE


@command
def sequences(options: Namespace) -> ExitStatus:
    """List sequences: ``GET /sequences/api/list/``."""
    status = options.status if options.status != api.ACTIVE else ""
    with client_of(options.conn_id) as client:
        found = api.list_sequences(client, status=status, search=options.search)
    show([info.as_json() for info in found], options.output)
    return ExitStatus.FINE


@command
def enrollments(options: Namespace) -> ExitStatus:
    """List the sequences of a contact: ``GET /sequences/api/contact-enrollments/``.

    The output does not hold the address.
    """
    email = sys.stdin.readline().strip() if options.email == "-" else options.email
    if not email:
        raise MeisaInputError("The address is empty. Pass one, or pass - and write it to standard input.")
    with client_of(options.conn_id) as client:
        found = api.contact_enrollments(client, email)
    if not found.contact_exists:
        print_message("Meisa has no contact with this address.")
    show([asdict(enrollment) for enrollment in found.enrollments], options.output)
    return ExitStatus.FINE


@command
def rate_limits(options: Namespace) -> ExitStatus:
    """Show the requests left in each rate limit, as counted on this host or in Redis."""
    settings = settings_of(options.conn_id)
    if settings.rate_limit_storage == "memory":
        print_message("rate_limit_storage is memory: requests of other processes are not counted here.")
    show([_window(settings, limit) for limit in settings.limits], options.output)
    return ExitStatus.FINE


def _window(settings: Settings, limit: Limit) -> Row:
    """Return the figures of one window alone."""
    store = storage_for(settings.rate_limit_storage, settings.base_url, settings.api_key)
    alone = RateLimiter((limit,), store)
    return {
        "window": str(limit),
        "left": alone.remaining()[str(limit)],
        "of": limit.requests,
        "next_in_s": round(alone.estimate(1), 1),
        "all_in_s": round(alone.estimate(limit.requests), 1),
    }
