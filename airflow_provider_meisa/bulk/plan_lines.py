"""The lines of a plan while it is made: sorted by their turns, without a copy in memory."""

from __future__ import annotations

import shutil
import tempfile
from typing import IO, Self

_IN_MEMORY = 1 << 20


class PlanLines:
    """Lines in the order of their turns, and within a turn as they were added.

    They hold addresses in clear: those that do not fit into memory are in files without a name, which only this process
    can open.
    """

    def __init__(self) -> None:
        self._by_turn: dict[int, IO[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._by_turn.values():
            file.close()

    def add(self, line: bytes, turn: int) -> None:
        """Add a line."""
        file = self._by_turn.get(turn)
        if file is None:
            file = self._by_turn[turn] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed by __exit__)
        file.write(line)

    def copy_to(self, target: IO[bytes]) -> None:
        """Write all lines to a file."""
        for _, file in sorted(self._by_turn.items()):
            file.seek(0)
            shutil.copyfileobj(file, target, _IN_MEMORY)
