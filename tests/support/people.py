"""Addresses to enroll."""

from __future__ import annotations


def people(count: int, *, domain: str = "example.com", start: int = 0) -> list[str]:
    """Return so many different addresses."""
    return [f"person{number}@{domain}" for number in range(start, start + count)]
