"""Numbers with their nouns, in singular or plural."""

from __future__ import annotations

from typing import NamedTuple


class Noun(NamedTuple):
    """A noun in singular and plural."""

    one: str
    many: str


ADDRESS = Noun("address", "addresses")
BATCH = Noun("batch", "batches")
CONTACT = Noun("contact", "contacts")
REQUEST = Noun("request", "requests")
ROW = Noun("row", "rows")


def count(number: int, noun: Noun) -> str:
    """Return a number and its noun, such as ``1 request`` or ``2,000 requests``."""
    return f"{number:,} {noun.one if number == 1 else noun.many}"
