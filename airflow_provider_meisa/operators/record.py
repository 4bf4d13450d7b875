"""The outcomes file of a task, where it was asked for one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_provider_meisa.bulk.outcome_file import OutcomeFile
from airflow_provider_meisa.operators.location import locate

if TYPE_CHECKING:
    from airflow_provider_meisa.api.outcomes import Outcome

log = logging.getLogger("airflow.task.meisa")

_ADVICE = (
    "did an earlier try write it on another host, or does another task write it too? Give outcomes_path a place that "
    "all hosts reach, and each task, mapped ones too, one of its own."
)


class Record:
    """Writes the outcome of each address down while a leg goes on; nothing if there is no path.

    :param path: where, as `locate` reads it; empty for nowhere.
    :param rejects_only: leave out the outcomes that need no attention.
    :raises MeisaInputError: if the path cannot be used.
    """

    def __init__(self, path: str | None, *, rejects_only: bool) -> None:
        self._rejects_only = rejects_only
        self._file = OutcomeFile(locate(path), rejects_only=rejects_only) if path else None

    def begin(self, first_batch: int) -> None:
        """Go on from a batch; what an earlier try wrote of it and of later ones is dropped."""
        if self._file:
            self._file.begin(first_batch=first_batch)

    @property
    def write(self) -> Callable[[int, Sequence[Outcome]], None] | None:
        """What writes the outcomes of one batch, given its number; nothing if there is no file."""
        return self._file.write if self._file else None

    def finish(self, account: Mapping[str, object]) -> None:
        """Join the file, and warn if it has not as many lines as the account has addresses."""
        lines = self._file.finish() if self._file else account["total"]
        if lines != account["total"] and not self._rejects_only:
            log.warning(
                "The outcomes file has %s lines for %s addresses: %s",
                f"{lines:,}",
                account["total"],
                _ADVICE,
            )

    def discard_parts(self) -> None:
        """Remove what a later try would have gone on from."""
        if self._file:
            self._file.discard_parts()
