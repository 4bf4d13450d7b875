"""The request to an endpoint, and the response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_RESPONSE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request to one endpoint, and whether it may be sent twice.

    :param method: such as ``GET`` or ``POST``.
    :param path: path below the base URL; it ends in a slash.
    :param scope: the scope the key needs, or ``None``.
    :param query: query parameters.
    :param body: the value to send as JSON, or ``None``.
    :param safe: whether the request changes nothing (a read).
    :param idempotent: whether a write may be sent again at any time, because the result is the same.
    :param max_bytes: the largest response body that is read.
    :param may_be_empty: whether a response without a body is accepted, as ``None``.
    """

    method: str
    path: str
    scope: str | None = None
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    safe: bool = True
    idempotent: bool = False
    max_bytes: int = MAX_RESPONSE_BYTES
    may_be_empty: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request that was accepted.

    :param status: HTTP status, 200–299.
    :param body: the JSON value.
    :param possibly_twice: whether an earlier request of the same call may have been carried out.
    """

    status: int
    body: object = field(repr=False)
    possibly_twice: bool = False


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
