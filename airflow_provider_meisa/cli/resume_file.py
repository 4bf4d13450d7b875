"""Keep the checkpoint of a run in a file, as `operators.checkpoint_store` does for a task."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from airflow_provider_meisa.bulk.location import create


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """The content of the file."""

    run: dict[str, str]
    checkpoint: dict[str, Any]


class ResumeFile:
    """Keeps the checkpoint of one run. Only its owner can read the file, and it holds no address.

    :param path: the file; ``None`` keeps nothing.
    :param run: what identifies the run, such as its sequence; a file of another run is refused.
    """

    def __init__(self, path: str | None, run: Mapping[str, str]) -> None:
        self._path = Path(path) if path else None
        self._run = dict(run)

    def __bool__(self) -> bool:
        return self._path is not None

    def load(self) -> Checkpoint:
        """Return the checkpoint of the interrupted run, or a new one.

        :raises MeisaInputError: if the file belongs to another run, or is not a resume file.
        :raises MeisaUnreachableError: if it cannot be read.
        """
        try:
            text = self._path.read_text(encoding="utf-8") if self._path else ""
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeError) as error:
            raise self._failure("read", error) from error
        kept = self._read(text) if text else Checkpoint()
        return (
            replace(kept, resumed=True, resent=()) if kept.next_batch else Checkpoint(started_at=time.time())
        )

    def save(self, checkpoint: Mapping[str, Any]) -> None:
        """Replace the checkpoint atomically.

        :raises MeisaUnreachableError: if it cannot be written.
        """
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            with create(new) as file:
                file.write(json.dumps({"run": self._run, "checkpoint": checkpoint}).encode())
            new.replace(self._path)
        except OSError as error:
            raise self._failure("written", error) from error

    def remove(self) -> None:
        """Remove the file, once every address has a status."""
        if self._path:
            self._path.unlink(missing_ok=True)

    def _read(self, text: str) -> Checkpoint:
        try:
            kept = msgspec.json.decode(text, type=_Kept)
            checkpoint = Checkpoint.from_json(kept.checkpoint)
        except (msgspec.DecodeError, RecursionError, MeisaInputError):
            raise MeisaInputError(
                f"{self._path} was not written by this version of this command. Nothing was sent. Pass another "
                "--resume-file, or remove it to start from the beginning."
            ) from None
        if kept.run != self._run:
            raise MeisaInputError(
                f"{self._path} belongs to another run: its sequence or its connection differs. Nothing was sent. "
                "Pass another --resume-file, or remove it to start from the beginning."
            )
        return checkpoint

    def _failure(self, verb: str, error: Exception) -> MeisaUnreachableError:
        reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        return MeisaUnreachableError(f"The resume file {self._path} cannot be {verb}: {reason}.")
