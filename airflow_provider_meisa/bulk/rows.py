"""Rows with all their columns, as a source gives them: some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table; all that a source gives have the same columns.

    :param columns: the names of the columns.
    :param rows: a value for each column, in their order; ``repr`` leaves them out.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]

    def __repr__(self) -> str:
        return f"Rows({len(self.columns)} columns, {len(self.rows)} rows)"
