"""Names of tests."""

from __future__ import annotations


def named(value: object) -> str:
    """Name a parameter by its ``repr``, or by its type where that differs from process to process."""
    text = repr(value)
    return type(value).__name__ if " at 0x" in text or isinstance(value, set | frozenset) else text
