"""The commands that only ask: ``ping``, ``sequences``, ``enrollments`` and ``rate-limits``."""

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
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.cli.connection import client_of, settings_of
from airflow_provider_meisa.cli.output import ExitStatus, Row, command, print_message, show
from airflow_provider_meisa.hooks.meisa import NEEDED_BY


@command
def ping(options: Namespace) -> ExitStatus:
    """Say which key the connection has: ``GET /ping/``."""
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
        print_message(f"The connection says environment {wanted}: change the key, or the extra environment.")
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
    """Say which sequences a contact is in: ``GET /sequences/api/contact-enrollments/``.

    The address is shown nowhere.
    """
    email = sys.stdin.readline().strip() if options.email == "-" else options.email
    if not email:
        raise MeisaInputError("There is no address.")
    with client_of(options.conn_id) as client:
        found = api.contact_enrollments(client, email)
    if not found.contact_exists:
        print_message("Meisa knows no contact with this address.")
    show([asdict(enrollment) for enrollment in found.enrollments], options.output)
    return ExitStatus.FINE


@command
def rate_limits(options: Namespace) -> ExitStatus:
    """Say how much of each rate limit is left, from what this host, or Redis, has counted."""
    settings = settings_of(options.conn_id)
    if settings.rate_limit_storage == "memory":
        print_message("rate_limit_storage is memory: what other processes have used is not known here.")
    show([_window(settings, limit) for limit in settings.limits], options.output)
    return ExitStatus.FINE


def _window(settings: Settings, limit: Limit) -> Row:
    """Look at one window by itself."""
    store = storage_for(settings.rate_limit_storage, settings.base_url, settings.api_key)
    alone = RateLimiter((limit,), store)
    return {
        "window": str(limit),
        "left": alone.remaining()[str(limit)],
        "of": limit.requests,
        "next_in_s": round(alone.estimate(1), 1),
        "all_in_s": round(alone.estimate(limit.requests), 1),
    }
