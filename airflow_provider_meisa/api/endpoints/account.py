"""The API key itself: ``/ping/``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.errors import (
    MeisaInputError,
    MeisaNotFoundError,
    MeisaScopeError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.models import KeyInfo, Request
from airflow_provider_meisa.api.redaction import redact

__all__ = ["KeyInfo", "check_scopes", "confirm_environment", "known_key", "ping"]

log = logging.getLogger("airflow.task.meisa")

# Only a key whose scopes are all among these is known to lack one: another name may include it.
_DOCUMENTED_SCOPES = frozenset(
    {
        "contacts:read",
        "contacts:write",
        "events:track",
        "sequences:read",
        "sequences:enroll",
        "emails:trigger",
        "tags:write",
    }
)


def ping(client: MeisaClient) -> KeyInfo:
    """Read what the key is and may do: ``GET /ping/`` (Meisa's page *Authentication*).

    Meisa documents that the response has these facts, but not the names of the fields: ``environment``,
    ``product`` and ``scopes`` are inferred.

    :raises MeisaError: see `errors`.
    """
    body = client.send(Request("GET", "/ping/")).body
    if not isinstance(body, dict):
        raise MeisaUnreadableResponseError("GET /ping/: the response is not a JSON object.", status=200)
    return KeyInfo(_name(body, "environment").lower(), _name(body, "product"), _scopes(body.get("scopes")))


def known_key(client: MeisaClient) -> KeyInfo:
    """Return what the key is and may do; a client asks once.

    :raises MeisaError: see `errors`.
    """
    if client.key is None:
        client.key = ping(client)
    return client.key


def check_scopes(client: MeisaClient, scopes: Iterable[str]) -> KeyInfo | None:
    """Check that the key has scopes, as far as Meisa's response shows it.

    :return: the key; ``None`` if the response cannot be read.
    :raises MeisaScopeError: if the key certainly lacks one.
    :raises MeisaError: see `errors`.
    """
    try:
        key = known_key(client)
    except (MeisaUnreadableResponseError, MeisaNotFoundError, MeisaScopeError) as error:
        log.info("The scopes of the API key are not known: %s", error)
        return None
    missing = [scope for scope in scopes if scope not in key.scopes]
    if missing and key.scopes and key.scopes <= _DOCUMENTED_SCOPES:
        raise MeisaScopeError(
            f"The API key lacks the scope {missing[0]}: Meisa lists {', '.join(sorted(key.scopes))}. Nothing was sent. "
            "Add it to the key in the Meisa dashboard, or put a key that has it into the connection.",
            scope=missing[0],
        )
    return key


def confirm_environment(client: MeisaClient) -> None:
    """Check before the first write that the key is of the environment in the settings.

    :raises MeisaInputError: if it is not; nothing was sent.
    """
    if client.environment_confirmed:
        return
    wanted, found = client.settings.environment, known_key(client).environment
    if wanted != found:
        raise MeisaInputError(
            f"{client.settings.environment_set_by} requires the environment {wanted!r}, but the API key is of "
            f"{redact(found) or 'an unknown one'!r}: nothing was sent. Change the API key or that setting."
        )
    client.environment_confirmed = True


def _name(body: Mapping[str, object], field: str) -> str:
    """Read a name that is a text, or a field of an object."""
    value = body.get(field)
    value = value.get("name") if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


def _scopes(value: object) -> frozenset[str]:
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    return (
        frozenset(word for word in words if isinstance(word, str)) if isinstance(words, list) else frozenset()
    )
