"""What a summary says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def counts(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of a summary, or of the extra of an asset event, that are not zero."""
    return {name: count for name, count in summary["counts"].items() if count}
