"""How far a run has come, in a file: what `operators.checkpoint_store` is to a task."""

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
from airflow_provider_meisa.bulk.outcome_file import create


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """What the file holds."""

    run: dict[str, str]
    checkpoint: dict[str, Any]


class ResumeFile:
    """Keeps the checkpoint of one run, for its owner alone, and without an address in it.

    :param path: where; ``None`` for nowhere.
    :param run: what makes a run the same, such as its sequence; a file of another run is refused.
    """

    def __init__(self, path: str | None, run: Mapping[str, str]) -> None:
        self._path = Path(path) if path else None
        self._run = dict(run)

    def __bool__(self) -> bool:
        return self._path is not None

    def load(self) -> Checkpoint:
        """Return where to begin: where an interrupted run has come to, or at the beginning.

        :raises MeisaInputError: if the file is of another run, or none of ours.
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
        """Keep this instead, whole or not at all.

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
        """Keep nothing: every address has its status."""
        if self._path:
            self._path.unlink(missing_ok=True)

    def _read(self, text: str) -> Checkpoint:
        try:
            kept = msgspec.json.decode(text, type=_Kept)
            checkpoint = Checkpoint.from_json(kept.checkpoint)
        except (msgspec.DecodeError, RecursionError, MeisaInputError):
            raise MeisaInputError(
                f"{self._path} was not written by this version of this command. Nothing was sent. Name another "
                "--resume-file, or remove it to begin anew."
            ) from None
        if kept.run != self._run:
            raise MeisaInputError(
                f"{self._path} is of another run: of another sequence or another connection. Nothing was sent. Name "
                "another --resume-file, or remove it to begin anew."
            )
        return checkpoint

    def _failure(self, verb: str, error: Exception) -> MeisaUnreachableError:
        reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        return MeisaUnreachableError(f"The resume file {self._path} cannot be {verb}: {reason}.")
