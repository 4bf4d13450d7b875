"""The operations on the rate limits of a key, and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_meisa.api.rate_limit.limits import Limit


@dataclass(frozen=True, slots=True)
class Reservation:
    """The permission to send one request now; end it with ``commit`` or ``release``."""

    token: str


@dataclass(frozen=True, slots=True)
class Wait:
    """No request may be sent for that many seconds; reserve again then."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reserve:
    """Reserve. With the token of an open reservation, the result is that reservation.

    :param ttl: microseconds after which an open reservation counts as a response.
    """

    token: str
    limits: tuple[Limit, ...]
    ttl: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The response came now, or will never come."""

    token: str
    limits: tuple[Limit, ...]
    ttl: int


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing was sent."""

    token: str
    limits: tuple[Limit, ...]
    ttl: int


@dataclass(frozen=True, slots=True)
class BackOff:
    """A 429 came, or a 503.

    :param wait: the microseconds that Meisa asked for; 0 if it asked for none.
    """

    wait: int
    limits: tuple[Limit, ...]
    ttl: int


Operation: TypeAlias = Reserve | Commit | Release | BackOff
