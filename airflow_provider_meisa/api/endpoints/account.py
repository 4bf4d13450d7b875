"""The API key itself: ``/ping/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreadableResponseError
from airflow_provider_meisa.api.models import Request
from airflow_provider_meisa.api.redaction import redact


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """The environment, product and scopes of a key.

    :param environment: ``live`` or ``test``; empty if the response lacks it.
    :param product: name of the product the key belongs to; empty if the response lacks it.
    :param scopes: the key's scopes, such as ``sequences:enroll``.
    """

    environment: str
    product: str
    scopes: frozenset[str]


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


def confirm_environment(client: MeisaClient) -> None:
    """Check before the first write that the key is of the environment in the settings.

    :raises MeisaInputError: if it is not; nothing was sent.
    """
    if client.environment_confirmed:
        return
    wanted, found = client.settings.environment, ping(client).environment
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
