"""Write the outcomes file: a line for each address, written during the run.

Object stores cannot append to a file. So each batch is a part in the folder ``<name>.parts`` next to the file, named
by the number of the batch: a batch that is sent again overwrites its part, and no address occurs twice. A piece of a
split batch is a part as well; its name also has the first place of the piece. At the end the parts are joined in
order, and removed when the run is recorded as complete. If it has failed for good, they are removed as well: a task
that is cleared makes them again of the file.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import logging
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, repeat
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.location import Location, create, remove

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.batching import Batch
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.origins import Origin

log = logging.getLogger("airflow.task.meisa")

VERSION = 2
"""The version of the lines, which is in the name of each part: ``part-v2-000007.jsonl``. Those of version 1 lack it."""
FIELDS = ("address", "status", "reason", "batch", "row")

_ACCEPTED = frozenset(
    {
        OutcomeStatus.ENROLLED,
        OutcomeStatus.ALREADY_ENROLLED,
        OutcomeStatus.CREATED,
        OutcomeStatus.UPDATED,
        OutcomeStatus.DUPLICATE,
        OutcomeStatus.ENROLLED_BEFORE,
        OutcomeStatus.UNCHANGED,
    }
)
_PART = re.compile(r"part-(?:v([0-9]+)-)?([0-9]{6,})(?:-([0-9]{6,}))?\.")
_MARK = re.compile(r"owner-[0-9a-f]{16}-[0-9a-f]{16}\Z")
# With level 6, 500 random addresses take 6 % fewer bytes and 50 % more time.
_GZIP_LEVEL = 1
# https://owasp.org/www-community/attacks/CSV_Injection, and their full-width forms, after any
# characters that a spreadsheet skips. Apostrophes are skipped as well: a text with one gets another, so that removing
# one restores the text.
_FORMULA = re.compile(r"['\s\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff]*[=+\-@\t\uff1d\uff0b\uff0d\uff20]")

_ADVICE = (
    "did an earlier attempt write it on another host, or does another task write it too? Give outcomes_path a place "
    "that all hosts reach, and each task, mapped ones too, one of its own."
)

_in_json = json.JSONEncoder().encode


@dataclass(frozen=True, slots=True)
class FileOwner:
    """The task that writes a file. No other task of the same run may write it.

    :param run: the identity of the run.
    :param task: the name of the task in messages.
    """

    run: str
    task: str

    @property
    def mark(self) -> str:
        """Return the name of the file that marks the parts as those of this task."""
        return f"{self.marks_of_run}{_digest(self.task)}"

    @property
    def marks_of_run(self) -> str:
        """Return the prefix of the marks of all tasks of the run."""
        return f"owner-{_digest(self.run)}-"


def _new_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class OutcomeFile:
    """Writes outcomes as parts during a run, and joins them into one file at its end.

    A line has ``address`` (in clear), ``status``, ``reason``, ``batch`` and ``row`` (both from 1), then the values of
    the columns that are kept. JSON Lines keep each address
    exactly, in ASCII. CSV begins with a header and is safe in a spreadsheet: a cell that begins with ``=``, ``+``,
    ``-``, ``@`` or a tab, and could run as a formula, gets an apostrophe before it (`text_of_cell` removes it), and
    line breaks become spaces. Only their owner can read local files and their folder of parts.

    `write` may be called by several threads at once, for different batches.

    :param path: the path, which ends in ``.jsonl`` or ``.csv``, or one of these and ``.gz``.
    :param rejects_only: leave out ``enrolled``, ``already_enrolled`` and ``duplicate``.
    :param keep: the names of the columns that are kept.
    :param owner: the task that writes it; ``None`` if no other can.
    :raises MeisaInputError: if the path has another suffix, or ``..`` or a control character in it: a value in a
        template, such as a slug, must not lead to another folder.
    """

    def __init__(
        self,
        path: Location,
        *,
        rejects_only: bool = False,
        keep: Sequence[str] = (),
        owner: FileOwner | None = None,
    ) -> None:
        stem = path.name.removesuffix(".gz")
        if not stem.endswith((".jsonl", ".csv")):
            raise MeisaInputError("outcomes_path must end in .jsonl, .jsonl.gz, .csv or .csv.gz.")
        if ".." in str(path).split("/") or not str(path).isprintable():
            raise MeisaInputError(
                "outcomes_path must not lead upwards with '..', nor hold control characters."
            )
        self.path = path
        self.rejects_only = rejects_only
        self._keep = tuple(keep)
        self._owner = owner
        self._compressed = stem != path.name
        self._is_csv = stem.endswith(".csv")
        self._suffix = path.name[len(stem.rpartition(".")[0]) :]
        self._parts = path.parent / f"{path.name}.parts"
        self.digest = ""

    def begin(
        self, *, first_batch: int, pending: Sequence[tuple[int, int, float]] = (), digest: str = ""
    ) -> None:
        """Prepare the folder: keep parts of earlier attempts, except those of items that are yet to be sent.

        :param first_batch: the next batch to take from the plan; 0 for a new run.
        :param pending: the taken items without outcomes: number of the batch, first place, and the place after the
            last.
        :param digest: the hash of the file of an earlier attempt, if that has left no parts.
        :raises MeisaInputError: if another task of the same run writes the file, or another version of this provider
            has written the kept parts.
        :raises MeisaUnreachableError: if the folder cannot be written.
        """
        with _reachable(self.path):
            self._parts.mkdir(mode=0o700, parents=True, exist_ok=True)
            other = self._claim()
        if other is not None:
            raise MeisaInputError(
                f"The task {other} of this run has the same outcomes_path, {self.path}, and its outcomes are not "
                "complete. This task has sent nothing. Give each task a path of its own, such as one with "
                f"{{{{ ti.task_id }}}}. If that task will not run again, remove {self._parts}."
            )
        with _reachable(self.path):
            if digest:
                self._take_back(digest)
            self._remove_parts(first_batch, pending)
            versions = {version for version, _, _ in self._numbered()}
        if versions - {VERSION}:
            raise MeisaInputError(
                f"The parts in {self._parts} were written by another version of this provider. Nothing was sent. To "
                "continue without the outcomes in them, remove that folder and clear the task."
            )

    def write(self, batch: Batch, outcomes: Iterable[Outcome]) -> None:
        """Write the outcomes of a batch or a piece of one, and replace earlier ones.

        Call it before the batch is recorded as done, so that a part that a crash cut short is written again.

        :raises MeisaUnreachableError: if the part cannot be written.
        """
        number, start = batch.key
        part = self._part(number, f"-{start:06d}" if start else "")
        line = _csv_line if self._is_csv else _json_line
        lines = [
            line(outcome, number + 1, origin, self._keep)
            for outcome, origin in zip(outcomes, self._origins_of(batch), strict=False)
            if not self.rejects_only or outcome.status not in _ACCEPTED
        ]
        with _reachable(self.path):
            if lines:
                with create(part) as file:
                    # JSON is ASCII already; CSV may hold a lone surrogate, which UTF-8 cannot encode.
                    file.write(self._packed("".join(lines).encode("utf-8", "backslashreplace")))
            else:
                remove(part)

    def _part(self, number: int, place: str = "") -> Location:
        return self._parts / f"part-v{VERSION}-{number:06d}{place}{self._suffix}"

    def finish(self) -> int:
        """Join the parts into the file, in the order of the batches; may be called any number of times.

        The parts are kept: a run that stopped, or crashes before it is recorded as complete, resumes from them.
        ``digest`` is then a hash of the file.

        :return: the number of addresses in the file.
        :raises MeisaUnreachableError: if the file cannot be written.
        """
        lines, digest = 0, _new_hash()
        # A local file is replaced as a whole; in an object store a file appears when it is closed.
        whole = self._parts / "whole" if isinstance(self.path, pathlib.Path) else self.path
        with _reachable(self.path):
            with create(whole) as file:
                header = self._packed(self._header())
                file.write(header)
                digest.update(header)
                for _, _, part in sorted(self._numbered(), key=lambda numbered: numbered[1]):
                    with part.open("rb") as source:
                        content = source.read()
                    file.write(content)
                    digest.update(content)
                    lines += (gzip.decompress(content) if self._compressed else content).count(b"\n")
            if isinstance(whole, pathlib.Path):
                whole.replace(str(self.path))
        self.digest = digest.hexdigest()
        return lines

    def has_parts(self) -> bool:
        """Return whether there are parts of this task and this version, or its mark only.

        :raises MeisaUnreachableError: if it cannot be read.
        """
        with _reachable(self.path), suppress(FileNotFoundError, NotADirectoryError):
            names = {place.name for place in self._parts.iterdir()}
            if any(version != VERSION for version, _, _ in self._numbered()):
                return False
            return bool(names) if self._owner is None else self._owner.mark in names
        return False

    def _take_back(self, digest: str) -> None:
        """Make parts of the lines of the file, unless it is another one than an earlier attempt has left.

        The attempt that did so first may have been killed: as long as the file is the same, it is done again.
        """
        if self._digest_of_file() == digest:
            self._remove_parts(0)
            for number, lines in self._lines_by_batch():
                with create(self._part(number)) as part:
                    part.write(self._packed(b"".join(lines)))
        elif not any(True for _ in self._numbered()):
            log.warning(
                "The outcomes file %s is not the one that the last attempt has written, so it will lack the lines of "
                "that attempt",
                self.path,
            )

    def _digest_of_file(self) -> str:
        found = _new_hash()
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    found.update(chunk)
        except FileNotFoundError:
            return ""
        return found.hexdigest()

    def _lines_by_batch(self) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Yield the lines of the file, which are in the order of the batches, with the number of their batch."""
        with self.path.open("rb") as file:
            lines: Iterator[bytes] = iter(gzip.GzipFile(fileobj=file) if self._compressed else file)
            if self._is_csv:
                next(lines, None)
            yield from groupby(lines, key=self._batch_of)

    def _batch_of(self, line: bytes) -> int:
        if not self._is_csv:
            return int(json.loads(line)["batch"]) - 1
        return int(next(csv.reader([line.decode()]))[FIELDS.index("batch")]) - 1

    def _origins_of(self, batch: Batch) -> Iterable[Origin]:
        """Return the origin of each outcome, with the kept values only; a plan may have more, or no origins."""
        width = 1 + len(self._keep)
        if not (origins := batch.all_origins):
            return repeat((None,) * width)
        return (origin[:width] for origin in origins)

    def _header(self) -> bytes:
        if not self._is_csv:
            return b""
        kept = "".join(f",{_in_csv(name)}" for name in self._keep)
        return f"{','.join(FIELDS)}{kept}\n".encode("utf-8", "backslashreplace")

    def discard_parts(self) -> None:
        """Remove the parts; call it only after the run is recorded as complete.

        :raises MeisaUnreachableError: if they cannot be removed.
        """
        with _reachable(self.path):
            self._remove_parts(0)
            if self._owner:
                remove(self._parts / self._owner.mark)
            if isinstance(self._parts, pathlib.Path):
                with suppress(OSError):
                    self._parts.rmdir()

    def _claim(self) -> str | None:
        """Mark the parts as this task's, in place of an earlier run.

        :return: the task of the same run that has marked them before.
        """
        if self._owner is None:
            return None
        mine = self._parts / self._owner.mark
        with create(mine) as file:
            file.write(self._owner.task.encode("utf-8", "replace"))
        for mark in [place for place in self._parts.iterdir() if _MARK.match(place.name)]:
            if mark.name == mine.name:
                continue
            if mark.name.startswith(self._owner.marks_of_run):
                with mark.open("rb") as file:
                    other: str = file.read().decode("utf-8", "replace")
                remove(mine)
                return other
            remove(mark)
        return None

    def _packed(self, content: bytes) -> bytes:
        return gzip.compress(content, _GZIP_LEVEL, mtime=0) if self._compressed else content

    def _numbered(self) -> Iterator[tuple[int, tuple[int, int], Location]]:
        """Yield the version, number and place, and path of each part."""
        with suppress(FileNotFoundError, NotADirectoryError):
            for part in self._parts.iterdir():
                if (found := _PART.match(part.name)) and part.name.endswith(self._suffix):
                    yield int(found[1] or 1), (int(found[2]), int(found[3] or 0)), part

    def _remove_parts(self, first_batch: int, pending: Sequence[tuple[int, int, float]] = ()) -> None:
        for _, (number, place), part in list(self._numbered()):
            is_pending = any(number == batch and start <= place < stop for batch, start, stop in pending)
            if number >= first_batch or is_pending:
                remove(part)


class OutcomeWriter:
    """Writes the outcome of each address during a run, if there is a path.

    :param path: the path; ``None`` for no file.
    :param rejects_only: leave out the outcomes that need no attention.
    :param keep: the names of the columns that are kept.
    :param owner: the task that writes them.
    :raises MeisaInputError: if the path cannot be used.
    """

    def __init__(
        self,
        path: Location | None,
        *,
        rejects_only: bool = False,
        keep: Sequence[str] = (),
        owner: FileOwner | None = None,
    ) -> None:
        self._file = (
            None if path is None else OutcomeFile(path, rejects_only=rejects_only, keep=keep, owner=owner)
        )

    def begin(self, start: Checkpoint) -> None:
        """Continue from a checkpoint; drop outcomes of an earlier attempt for items that are yet to be sent."""
        if self._file:
            whole = [(number, 0, math.inf) for number in (*start.in_flight, *start.unsent)]
            pieces = [(piece.number, piece.start, float(piece.stop)) for piece in start.pieces]
            pending = [*whole, *pieces]
            self._file.begin(first_batch=start.next_batch, pending=pending, digest=start.outcomes)

    @property
    def write(self) -> Callable[[Batch, Sequence[Outcome]], None] | None:
        """Return the function that writes the outcomes of a batch; ``None`` without a file."""
        return self._file.write if self._file else None

    def finish(self, summary: Mapping[str, Any], *, outside: int = 0) -> None:
        """Join the file, and warn if the numbers of its lines and of the addresses in the summary differ.

        :param outside: the number of addresses that cannot have a line (`Checkpoint.outside`).
        """
        if self._file is None:
            return
        lines = self._file.finish()
        log.info("Outcomes file: %s lines in %s", f"{lines:,}", self._file.path)
        if lines != summary["total"] - outside and not self._file.rejects_only:
            log.warning(
                "The outcomes file has %s lines for %s addresses: %s",
                f"{lines:,}",
                summary["total"] - outside,
                _ADVICE,
            )

    def publish(self) -> str:
        """Join the file of a run that has failed for good, if there are parts.

        :return: a hash of the file, for `Checkpoint.outcomes`; empty without parts.
        """
        if self._file is None or not self._file.has_parts():
            return ""
        if not self._file.digest:
            self._file.finish()
        return self._file.digest

    def discard_parts(self) -> None:
        """Remove the parts from which a later attempt could resume."""
        if self._file:
            self._file.discard_parts()


def _json_line(outcome: Outcome, batch: int, origin: Origin, keep: Sequence[str]) -> str:
    row, *kept = origin
    more = "".join(f", {_in_json(name)}: {_in_json(value)}" for name, value in zip(keep, kept, strict=True))
    return (
        f'{{"address": {_in_json(outcome.address)}, "status": "{outcome.status}", '
        f'"reason": {_in_json(outcome.reason)}, "batch": {batch}, "row": {_in_json(row)}{more}}}\n'
    )


def _csv_line(outcome: Outcome, batch: int, origin: Origin, _keep: Sequence[str]) -> str:
    row, *kept = origin
    more = "".join(f",{_cell(value)}" for value in kept)
    number = "" if row is None else row
    return f"{_in_csv(outcome.address)},{outcome.status},{_in_csv(outcome.reason)},{batch},{number}{more}\n"


def _cell(value: object) -> str:
    """Return a kept value as a cell: empty for NULL, and quoted where it is a text."""
    if value is None:
        return ""
    return _in_csv(value) if isinstance(value, str) else _in_json(value)


def _in_csv(text: str) -> str:
    """Quote a field, always: a spreadsheet that expects semicolons may split a field without commas."""
    text = text.replace("\r", " ").replace("\n", " ")
    if _FORMULA.match(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"'


def text_of_cell(cell: str) -> str:
    """Remove the apostrophe that keeps a cell of a CSV file from running as a formula."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class _reachable:  # noqa: N801 (used as a context manager, like contextlib's own)
    """Convert errors of a store to one that names the file."""

    def __init__(self, path: Location) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # botocore, google.auth and azure have no other common class of errors.
        refusal = OSError if isinstance(self._path, pathlib.Path) else Exception
        if isinstance(error, refusal):
            cause = getattr(error, "strerror", None) or type(error).__name__
            raise MeisaUnreachableError(
                f"The outcomes at {self._path} cannot be written: {cause}."
            ) from error
