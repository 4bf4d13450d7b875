"""The folder of the parts, on a disk or in an object store. A part appears as a whole, or not at all."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_meisa.api.errors import MeisaUnreachableError
from airflow_provider_meisa.bulk.ledger.part import FIRST_BLOCK, Piece

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.location import Location

SUFFIX = ".part"

_TEMPORARY = re.compile(r"\.\d+-[0-9a-f]+\.part\.tmp")
_ABANDONED = 24 * 3600
_AT_ONCE = 16

Read = Callable[[int, int], bytes]
"""Returns bytes of a part, by offset and length."""


class Store(Protocol):
    """Stores the parts of one ledger."""

    def names(self) -> set[str]:
        """List the parts, without a cache."""

    def open(self, names: Sequence[str]) -> Iterator[tuple[str, Read]]:
        """Yield a reader for each part, which is valid until the next one.

        :raises FileNotFoundError: here or on reading, if the part has been removed.
        """

    def put(self, pieces: Sequence[Piece]) -> str:
        """Write a part; return its name."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove parts; ignore those that no longer exist."""


def store_at(folder: Location) -> Store:
    """Return the store of a folder, which may not exist yet."""
    if isinstance(folder, Path):
        return DiskStore(folder)
    filesystem, path = folder.fs, folder.path  # type: ignore[attr-defined]
    protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
    return DiskStore(Path(path)) if "file" in protocols else ObjectStore(filesystem, str(path))


class DiskStore:
    """A folder on a disk that all writers share. Only its owner can read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> set[str]:  # noqa: D102 (see Store)
        with suppress(FileNotFoundError), _reachable(self.folder, may_be_gone=True):
            return {name for name in os.listdir(self.folder) if name.endswith(SUFFIX)}  # noqa: PTH208 (no Path for each of many)
        return set()

    def open(self, names: Sequence[str]) -> Iterator[tuple[str, Read]]:  # noqa: D102 (see Store)
        for name in names:
            path = self.folder / name
            with _reachable(path, may_be_gone=True):
                file = path.open("rb", buffering=0)
            with file:
                yield name, partial(_read_file, file)

    def put(self, pieces: Sequence[Piece]) -> str:  # noqa: D102 (see Store)
        name = _new_name()
        with _reachable(self.folder):
            for folder in (self.folder.parent, self.folder):  # the mode is not that of parents
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self.folder / f".{name}.tmp"
            try:
                with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self.folder / name)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(self.folder)
        return name

    def remove(self, names: Iterable[str]) -> None:  # noqa: D102 (see Store)
        with _reachable(self.folder):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
            self._remove_abandoned()

    def _remove_abandoned(self) -> None:
        """Remove incomplete files of killed processes after a day."""
        for file in self.folder.iterdir():
            if _TEMPORARY.fullmatch(file.name):
                with suppress(FileNotFoundError):
                    if time.time() - file.stat().st_mtime > _ABANDONED:
                        file.unlink()


def _read_file(file: FileIO, offset: int, most: int) -> bytes:
    with _reachable(file.name):
        file.seek(offset)
        return file.read(most)


class ObjectStore:
    """A prefix in an object store, reached through fsspec.

    :param filesystem: an fsspec filesystem; its cached listings are not used.
    :param path: the prefix, as the filesystem writes it.
    """

    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem = filesystem
        self._path = path.rstrip("/")

    def names(self) -> set[str]:  # noqa: D102 (see Store)
        with _reachable(self._path):
            # Some filesystems support only one of the two.
            self._filesystem.invalidate_cache(self._path)
            try:
                found = self._filesystem.ls(self._path, detail=False, refresh=True)
            except FileNotFoundError:
                return set()
        return {name for path in found if (name := path.rpartition("/")[2]).endswith(SUFFIX)}

    def open(self, names: Sequence[str]) -> Iterator[tuple[str, Read]]:  # noqa: D102 (see Store)
        for begin in range(0, len(names), _AT_ONCE):
            some = names[begin : begin + _AT_ONCE]
            for name, block in zip(some, self._first_blocks(some), strict=True):
                yield name, self._reader(name, block)

    def put(self, pieces: Sequence[Piece]) -> str:  # noqa: D102 (see Store)
        name = _new_name()
        with _reachable(self._path):
            self._filesystem.pipe_file(self._path_of(name), b"".join(pieces))
        return name

    def remove(self, names: Iterable[str]) -> None:  # noqa: D102 (see Store)
        with _reachable(self._path), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._remove, names))

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._filesystem.rm_file(self._path_of(name))

    def _path_of(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _first_blocks(self, names: Sequence[str]) -> list[bytes]:
        with _reachable(self._path, may_be_gone=True):
            paths = [self._path_of(name) for name in names]
            if len(paths) == 1:
                return [self._read(paths[0], 0, FIRST_BLOCK)]
            blocks = self._filesystem.cat_ranges(
                paths, [0] * len(paths), [FIRST_BLOCK] * len(paths), on_error="return"
            )
            # An empty object has no range: it is read again by itself.
            return [
                block if isinstance(block, bytes) else self._read(path, 0, FIRST_BLOCK)
                for path, block in zip(paths, blocks, strict=True)
            ]

    def _reader(self, name: str, first: bytes) -> Read:
        path = self._path_of(name)

        def read(offset: int, most: int) -> bytes:
            if offset == 0:
                return first
            with _reachable(path, may_be_gone=True):
                return self._read(path, offset, offset + most)

        return read

    def _read(self, path: str, begin: int, end: int) -> bytes:
        try:
            block: bytes = self._filesystem.cat_file(path, start=begin, end=end)
        except FileNotFoundError:
            raise
        except Exception:  # of stores, which have no common class for a range after the end of an object
            if self._filesystem.size(path) > begin:
                raise
            return b""
        return block


def _new_name() -> str:
    return f"{time.time_ns()}-{secrets.token_hex(8)}{SUFFIX}"


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, because the replaced parts may be removed next."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reachable(place: object, *, may_be_gone: bool = False) -> Iterator[None]:
    """Convert errors to one that names the place; a caller may handle missing files itself."""
    try:
        yield
    except Exception as error:  # botocore, google.auth and azure have no other common class
        if may_be_gone and isinstance(error, FileNotFoundError):
            raise
        raise MeisaUnreachableError(
            f"The ledger at {place} cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}. "
            "Nothing more is sent. Check [meisa] ledger_path: workers must be able to list, read, write and delete "
            "there."
        ) from error
