"""Rate limits as text: ``60/minute, 1000/hour``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from airflow_provider_meisa.api.errors import MeisaInputError

_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}
_NAMES = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}
_PIECE = re.compile(
    r"(\d{1,9})\s*/\s*(\d{1,9}(?:\.\d{1,20})?|\.\d{1,20})?\s*([a-z]+)", re.ASCII | re.IGNORECASE
)
_ADVICE = "write a number of requests per time, such as 60/minute, 1000/hour or 20/2s, separated by commas"
_FEWEST_SECONDS = 0.001
_MOST_SECONDS = 31 * 86400.0
_MOST_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of requests per time.

    :param requests: the requests per window, from 1 to 1,000,000.
    :param seconds: the length of the window, from a millisecond to 31 days.
    :raises MeisaInputError: if either is out of its range.
    """

    requests: int
    seconds: float

    def __post_init__(self) -> None:
        if not 1 <= self.requests <= _MOST_REQUESTS:
            raise MeisaInputError(
                f"A rate limit allows 1 to {_MOST_REQUESTS:,} requests, not {self.requests}: {_ADVICE}."
            )
        if not _FEWEST_SECONDS <= self.seconds <= _MOST_SECONDS:
            raise MeisaInputError(
                f"A rate limit's time is from 1 millisecond to 31 days, not {self.seconds:g} s: {_ADVICE}."
            )

    def __str__(self) -> str:
        name = _NAMES.get(self.seconds)
        return f"{self.requests}/{name or _plain(self.seconds) + 's'}"


DEFAULT_LIMITS = (Limit(60, 60), Limit(1000, 3600))
"""The default limits of a Meisa key; the vendor raises them on request."""


NO_LIMITS = (Limit(1_000_000, 1),)
"""No limit: more requests than can be sent. A 429 still causes a wait."""


def parse_limits(text: str) -> tuple[Limit, ...]:
    """Read a list of limits, which all apply at once; the shortest window comes first.

    :param text: such as ``60/minute, 1000/hour``: ``N/<number><unit>`` separated by commas, the number may be
        left out, the unit is s, sec, second, m, min, minute, h, hour, d or day, or a plural; ``none`` for no limit.
    :raises MeisaInputError: if the text is empty, or a part cannot be read.
    """
    if not text.strip():
        raise MeisaInputError(f"No rate limits are given: {_ADVICE}.")
    if text.strip().lower() == "none":
        return NO_LIMITS
    limits = {_parse_one(piece.strip()) for piece in text.split(",")}
    return tuple(sorted(limits, key=lambda limit: (limit.seconds, limit.requests)))


def _parse_one(piece: str) -> Limit:
    match = _PIECE.fullmatch(piece)
    if not match:
        raise MeisaInputError(f"The rate limit {piece[:40]!r} cannot be read: {_ADVICE}.")
    requests, number, unit = match.groups()
    if unit.lower() not in _SECONDS:
        raise MeisaInputError(f"The rate limit {piece[:40]!r} has no known unit: {_ADVICE}.")
    return Limit(int(requests), float(Decimal(number or "1") * _SECONDS[unit.lower()]))


def _plain(seconds: float) -> str:
    """Write a number without an exponent, so that it can be read again as the same number."""
    return str(int(seconds)) if float(seconds).is_integer() else format(Decimal(repr(seconds)), "f")
