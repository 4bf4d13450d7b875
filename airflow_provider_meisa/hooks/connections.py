"""An Airflow Connection and the configuration, read as the settings of a client."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import mask_secret

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.hooks import configuration

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_meisa.api.settings import Settings

log = logging.getLogger("airflow.task.meisa")


def read_connection(connection: Connection) -> Settings:
    """Read a connection; mask its secrets before anything is checked.

    :raises MeisaInputError: if a field cannot be used.
    """
    from airflow_provider_meisa.api.extras import decode_extra
    from airflow_provider_meisa.api.settings import Settings

    password = (connection.password or "").strip()
    _mask(password)
    extra = decode_extra(connection.extra)  # not `extra_dejson`, which reads an invalid extra as an empty one
    mask_secret(extra)
    for value in extra.values():
        _mask(*(_passwords_in(value) if isinstance(value, str) else ()))
    settings = Settings.from_connection(
        host=connection.host or "",
        port=connection.port,
        schema=connection.schema or "",
        password=password,
        extra=extra,
    )
    return _configured(replace(settings, conn_id=connection.conn_id or ""))


def _configured(settings: Settings) -> Settings:
    """Add what the configuration sets for all connections.

    :raises MeisaInputError: if it requires another environment than the connection.
    """
    storage, required = configuration.rate_limit_storage(), configuration.required_environment()
    _mask(*_passwords_in(storage))
    if required and settings.environment not in ("", required):
        raise MeisaInputError(
            f"The extra environment is {settings.environment!r}, and [meisa] required_environment is {required!r}. "
            "Nothing was sent. Use a connection of the required environment."
        )
    if not settings.rate_limit_storage:
        configuration.warn_if_not_shared("rate_limit_storage", "count of requests")
    return replace(
        settings,
        environment=required or settings.environment,
        environment_set_by="[meisa] required_environment" if required else settings.environment_set_by,
        rate_limit_storage=settings.rate_limit_storage or storage,
    )


def _passwords_in(text: str) -> set[str]:
    from airflow_provider_meisa.api.rate_limit.storage.factory import passwords_in

    return passwords_in(text)


def _mask(*secrets: str) -> None:
    for secret in filter(None, secrets):
        mask_secret(secret)


_warned: set[tuple[str, tuple[str, ...]]] = set()


def warn_of_unknown_extras(conn_id: str, settings: Settings) -> None:
    """Warn once per process about unknown extras of a connection."""
    found = (conn_id, settings.unknown_extras)
    if settings.unknown_extras and found not in _warned and log.isEnabledFor(logging.WARNING):
        _warned.add(found)
        log.warning("Connection %s:%s", conn_id, unused_extras(settings))


def unused_extras(settings: Settings) -> str:
    """Return a sentence about unknown extras of a connection; empty if there are none."""
    from airflow_provider_meisa.api.extras import KNOWN

    if not settings.unknown_extras:
        return ""
    unknown, known = ", ".join(settings.unknown_extras), ", ".join(KNOWN)
    return f" Extras that are not known, and not used: {unknown}. Known are: {known}."
