"""What can be asked of a key's rate limits, and the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_meisa.api.rate_limit.limits import Limit


@dataclass(frozen=True, slots=True)
class Reservation:
    """The permission to send one request now; give it back by ``commit`` or ``release``."""

    token: str


@dataclass(frozen=True, slots=True)
class Wait:
    """No request may be sent for so many seconds; ask again then."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reserve:
    """Ask for a slot. Asked again with the token of an open slot, the result is that slot.

    :param ttl: microseconds after which a slot that was never given back counts as a response.
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

    :param wait: the microseconds that Meisa asked for; 0 where it did not say.
    """

    wait: int
    limits: tuple[Limit, ...]
    ttl: int


Operation: TypeAlias = Reserve | Commit | Release | BackOff
