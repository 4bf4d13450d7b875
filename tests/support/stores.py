"""Stores that tests put in the place of the real ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_meisa.operators.checkpoint_store import CheckpointStore


class ForgetfulStore:
    """Keeps no checkpoint, as a store that loses what is written to it."""

    def load(self) -> dict[str, Any] | None:
        """Return nothing."""
        return None

    def save(self, value: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def end(self) -> None:
        """Keep nothing."""


if TYPE_CHECKING:
    # A fake that no longer fits its protocol is an error of types.
    _checkpoint_stores: Iterable[type[CheckpointStore]] = (ForgetfulStore,)
