"""The commands that only ask: ``ping``, ``sequences``, ``enrollments`` and ``quota``."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict

from airflow_provider_meisa.api.endpoints import account
from airflow_provider_meisa.api.endpoints import sequences as api
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.rate_limit.limiter import Quota
from airflow_provider_meisa.api.rate_limit.limits import Limit
from airflow_provider_meisa.api.rate_limit.storage.stores import store_for
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.cli.connection import client_of, settings_of
from airflow_provider_meisa.cli.output import Row, Status, command, say, show
from airflow_provider_meisa.hooks.meisa import NEEDED_BY


@command
def ping(options: Namespace) -> Status:
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
        say(f"The connection says environment {wanted}: change the key, or the extra environment.")
        return Status.FAILED
    return Status.FINE


@command
def sequences(options: Namespace) -> Status:
    """List sequences: ``GET /sequences/api/list/``."""
    status = options.status if options.status != api.ACTIVE else ""
    with client_of(options.conn_id) as client:
        found = api.list_sequences(client, status=status, search=options.search)
    show([info.as_json() for info in found], options.output)
    return Status.FINE


@command
def enrollments(options: Namespace) -> Status:
    """Say which sequences a contact is in: ``GET /sequences/api/contact-enrollments/``.

    The address is shown nowhere.
    """
    email = sys.stdin.readline().strip() if options.email == "-" else options.email
    if not email:
        raise MeisaInputError("There is no address.")
    with client_of(options.conn_id) as client:
        found = api.contact_enrollments(client, email)
    if not found.contact_exists:
        say("Meisa knows no contact with this address.")
    show([asdict(enrollment) for enrollment in found.enrollments], options.output)
    return Status.FINE


@command
def quota(options: Namespace) -> Status:
    """Say how much of each rate limit is left, from what this host, or Redis, has counted."""
    settings = settings_of(options.conn_id)
    if settings.quota_store == "memory":
        say("quota_store is memory: what other processes have used is not known here.")
    show([_window(settings, limit) for limit in settings.limits], options.output)
    return Status.FINE


def _window(settings: Settings, limit: Limit) -> Row:
    """Look at one window by itself."""
    store = store_for(settings.quota_store, settings.base_url, settings.api_key)
    alone = Quota((limit,), store)
    return {
        "window": str(limit),
        "left": alone.remaining()[str(limit)],
        "of": limit.requests,
        "next_in_s": round(alone.estimate(1), 1),
        "all_in_s": round(alone.estimate(limit.requests), 1),
    }
