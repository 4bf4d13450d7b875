"""Many records in one task: plan, batches, checkpoint, outcomes and reports."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.outcome_file import text_of_cell

_PLACES = {"text_of_cell": "outcome_file"}  # the module of each public name; it is imported on first use

__all__ = ["text_of_cell"]


def __getattr__(name: str) -> Any:
    """Load a public name (PEP 562)."""
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names and the loaded ones."""
    return sorted({*globals(), *__all__})
