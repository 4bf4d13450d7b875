"""The interface of a path on this machine or in an object store."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol, Self

_FROM_THE_START = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class Location(Protocol):
    """The part of ``pathlib.Path`` and Airflow's ``ObjectStoragePath`` that is used."""

    @property
    def name(self) -> str:
        """Return the last part of the path."""

    @property
    def parent(self) -> Self:
        """Return the folder of the path."""

    def __truediv__(self, name: str, /) -> Self: ...

    def open(self, mode: str) -> Any:
        """Open the file."""

    def mkdir(self, mode: int = ..., parents: bool = ..., exist_ok: bool = ...) -> None:  # noqa: FBT001 (pathlib's signature)
        """Make the folder."""

    def iterdir(self) -> Iterator[Self]:
        """List the folder."""

    def unlink(self) -> None:
        """Remove the file."""


def create(place: Location) -> Any:
    """Open a file for writing from its start; a local one only for its owner, and never through a link."""
    if isinstance(place, pathlib.Path):
        return os.fdopen(os.open(place, _FROM_THE_START, 0o600), "wb")
    return place.open("wb")


def remove(place: Location) -> None:
    """Remove a file if it exists."""
    with suppress(FileNotFoundError):
        place.unlink()
