"""What goes out to Meisa, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_RESPONSE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What to send to one endpoint, and whether it may be sent twice.

    :param method: such as ``GET`` or ``POST``.
    :param path: path below the base URL, with the slash at its end that Meisa's paths have.
    :param scope: the scope the key needs, or ``None``.
    :param query: query parameters.
    :param body: what is sent as JSON, or ``None``.
    :param safe: whether repeating the call changes nothing (a read).
    :param idempotent: whether a write may be sent again at any time, because it ends in the same state.
    :param max_bytes: the largest answer that is read.
    :param may_be_empty: whether a response without a body is accepted; its body is ``None`` then.
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
    """What came back for a call that was accepted.

    :param status: HTTP status, 200–299.
    :param body: the JSON value.
    :param possibly_twice: whether an earlier try of the same call may have been carried out.
    """

    status: int
    body: object = field(repr=False)
    possibly_twice: bool = False
