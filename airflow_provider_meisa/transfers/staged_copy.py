"""What a query gave, kept in a file for as long as the run lasts, so that a retry reads the same again."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.bulk.outcome_file import Location, create, remove
from airflow_provider_meisa.operators.location import locate

_LINE = 1_000
_KEPT = 7 * 24 * 3600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class StagedCopy:
    """Keeps the values of one task's query, addresses in clear, until `drop`.

    A file of rows, and a note that names it once it is whole: what a crash cut short has no note, and counts for
    nothing. Local files have mode 0600, their folder 0700. Copies that nobody dropped go after seven days from
    the local default folder; a store of yours needs a rule of its own for that.

    :param where: a folder, local or an ``ObjectStoragePath`` URI; by default one of this user's own below the
        system's temporary folder, which other hosts do not see.
    :param owner: what the copy is for; a hash of it names the files.
    """

    def __init__(self, where: str | None, owner: Iterable[object]) -> None:
        self._where = where
        self._folder: Location = locate(where) if where else _default_folder()
        self._name = _hash(list(owner))[:32]
        self._note = self._folder / f"{self._name}.json"

    def rows_of(self, query: object) -> int | None:
        """Return how many rows the copy has, or ``None`` where there is none of this query."""
        note = self._read_note()
        return note["rows"] if note.get("query") == _hash(query) else None

    def write(self, query: object, values: Iterable[object]) -> int:
        """Copy values as they come, and return how many there are.

        :param values: texts, and ``None`` for rows without an address.
        :raises MeisaInputError: if others may read the default folder.
        :raises MeisaUnreachableError: if the folder cannot be written.
        """
        old = self._read_note().get("file")
        new = f"{self._name}-{uuid.uuid4().hex}.jsonl"
        with self._failures():
            self._make_folder()
            file = create(self._folder / new)
        try:
            with file:
                rows = self._fill(file, values)
        except BaseException:
            with suppress(OSError):
                remove(self._folder / new)
            raise
        with self._failures():
            with create(self._note) as file:
                file.write(json.dumps({"query": _hash(query), "file": new, "rows": rows}).encode())
            if old:
                remove(self._folder / old)
        return rows

    def read(self) -> Iterator[object]:
        """Read the values back.

        :raises MeisaInputError: if it is damaged; a host that lost its power may have cut it short.
        :raises MeisaUnreachableError: if the copy cannot be read.
        """
        note, rows = self._read_note(), 0
        with self._failures(), (self._folder / note["file"]).open("rb") as file:
            for line in file:
                values = self._values_of(line)
                rows += len(values)
                yield from values
        if rows != note["rows"]:
            raise self._damage()

    def drop(self) -> None:
        """Remove the copy, and what crashes left of it.

        :raises MeisaUnreachableError: if the folder cannot be written.
        """
        with self._failures(), suppress(FileNotFoundError):
            for file in list(self._folder.iterdir()):
                if file.name.startswith(self._name):
                    remove(file)

    def _fill(self, file: Any, values: Iterable[object]) -> int:
        rows = 0
        stream = iter(values)
        while chunk := list(islice(stream, _LINE)):
            rows += len(chunk)
            line = json.dumps(chunk).encode() + b"\n"
            with self._failures():
                file.write(line)
        return rows

    def _values_of(self, line: bytes) -> list[object]:
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list):
            raise self._damage() from None
        return values

    def _damage(self) -> MeisaInputError:
        return MeisaInputError(
            f"The staged copy of the rows is damaged. Remove {self._note}, and clear the task: it asks its source "
            "again."
        )

    def _read_note(self) -> dict[str, Any]:
        with self._failures():
            try:
                with self._note.open("rb") as file:
                    note = json.loads(file.read())
            except (FileNotFoundError, ValueError, RecursionError):
                return {}
        return note if self._is_ours(note) else {}

    def _is_ours(self, note: object) -> bool:
        """Say whether a note is whole, and names a file of this copy: that file is read, and removed."""
        match note:
            case {"query": str(), "file": str(file), "rows": int()}:
                return file.startswith(f"{self._name}-") and "/" not in file
            case _:
                return False

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._where or not isinstance(self._folder, Path):
            return
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            raise MeisaInputError(
                f"The folder for staged copies, {self._folder}, must be this user's alone (mode 0700): remove it, "
                "or set staging_path."
            )
        for file in self._folder.glob("*.json*"):
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < time.time() - _KEPT:
                    file.unlink()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MeisaUnreachableError(
                f"The staged copy in {self._folder} cannot be used: {error.strerror or type(error).__name__}. Mend "
                "the folder, or set staging_path."
            ) from error


def _default_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"airflow-provider-meisa-staged-{os.geteuid()}"


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()
