"""The plan: the records that a run will send, decided in one pass over the source and stored until the run ends.

A note, the header, names a file of batches after that is complete: a file that a crash cut short has no note, and is
ignored. A batch is one line. A later attempt reads the remaining lines, not the source.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.batching import Batch
from airflow_provider_meisa.bulk.checkpoint import Count
from airflow_provider_meisa.bulk.job import PlanFacts, Planned
from airflow_provider_meisa.bulk.location import Location, create, remove
from airflow_provider_meisa.bulk.plan_lines import PlanLines
from airflow_provider_meisa.bulk.size_limits import too_many

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.job import Item, Job
    from airflow_provider_meisa.bulk.ledger.value_sample import Differences

VERSION = 5

_KEPT = 7 * 24 * 3600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOST_REASONS = 20

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The header of a plan.

    :param id: a unique id.
    :param job: the name of the job.
    :param identity: the target of the job, such as the sequence.
    :param file: the name of the file of batches.
    :param batches: the number of its lines.
    :param total: the number of rows in the source.
    :param to_send: the number of records to send.
    :param requests: the number of requests for them.
    :param counts: the number of other rows per status.
    :param reasons: their most frequent ``status: reason``, with counts.
    :param facts: the facts of the job about it.
    :param environment: that of the API key, ``live`` or ``test``; empty if it is not known.
    :param keep: the names of the columns whose values it has, for the outcomes file.
    """

    id: str
    job: str
    identity: Mapping[str, str]
    file: str
    batches: Count
    total: Count
    to_send: Count
    requests: Count
    counts: Mapping[str, Count] = field(default_factory=dict)
    reasons: Mapping[str, Count] = field(default_factory=dict)
    facts: PlanFacts = field(default_factory=PlanFacts)
    environment: str = ""
    keep: list[str] = field(default_factory=list)


class _Note(msgspec.Struct):
    """The content of a note, in every version."""

    version: int
    id: str
    file: str


class PlanStore:
    """Stores the plan of one task, with addresses in clear, until `drop`.

    Local files have mode 0600, their folder 0700. Plans that no attempt needs any more are removed after seven days
    from the local default folder; for another store, set such a rule there.

    :param folder: the folder; by default a private one below the system's temporary folder, only on this host.
    :param name: the name of the note without its suffix: see `name_of`.
    """

    def __init__(self, folder: Location | None, name: str) -> None:
        self._is_default = folder is None
        self._folder: Location = _default_folder() if folder is None else folder
        self._name = name
        self.note = self._folder / f"{name}.json"

    @staticmethod
    def name_of(owner: Iterable[object]) -> str:
        """Return the name of a plan's files, which does not reveal its owner."""
        return hashlib.sha256(json.dumps(list(owner), default=repr).encode()).hexdigest()[:32]

    def load(self, plan_id: str) -> Plan | None:
        """Return the header of the plan with this id; ``None`` if it does not exist.

        :raises MeisaInputError: if another version of this provider has written it.
        :raises MeisaUnreachableError: if it cannot be read.
        """
        content = self._read_note()
        note = self._note_of(content)
        if note is None or note.id != plan_id:
            return None
        if note.version != VERSION:
            raise MeisaInputError(
                f"The plan {self.note} was written by another version of this provider. Nothing was sent. Remove it "
                "and clear the task to plan again."
            )
        plan = _decoded(content, Plan)
        return plan if plan and _as_json(plan) == msgspec.json.decode(content) else None

    def write(
        self,
        job: Job,
        batches: Iterable[Batch],
        *,
        most: int | None = None,
        environment: str = "",
        keep: Sequence[str] = (),
        differences: Differences | None = None,
    ) -> Plan:
        """Read the source to its end, and store the batches to send.

        :param batches: the items of the job.
        :param most: the most rows (``max_contacts``).
        :param environment: that of the API key.
        :param keep: the names of the columns whose values the batches have.
        :param differences: what is found of them while the batches are read, for the job.
        :raises MeisaInputError: if there are more, if the job refuses the plan, or if other users can read the default
            folder.
        :raises MeisaUnreachableError: if the folder cannot be written.
        """
        old = self._note_of(self._read_note())
        plan_id = uuid.uuid4().hex
        new = f"{self._name}-{plan_id}.jsonl"
        with self._failures():
            self._make_folder()
            file = create(self._folder / new)
        try:
            with file, PlanLines() as lines:
                plan = self._fill(lines, _header(plan_id, job, new), batches, most)
                with self._failures():
                    lines.copy_to(file)
            planned = Planned(plan.total, plan.to_send, lambda: self._items(plan), differences)
            plan = replace(plan, facts=job.conclude(planned), environment=environment, keep=list(keep))
        except BaseException:
            with suppress(OSError):
                remove(self._folder / new)
            raise
        with self._failures():
            with create(self.note) as file:
                file.write(json.dumps(_as_json(plan)).encode())
            if old:
                remove(self._folder / old.file)
        return plan

    def batches(self, plan: Plan, first: int = 0, last: int | None = None) -> Iterator[Batch]:
        """Read batches, from one number to before another.

        :raises MeisaInputError: if the plan is damaged, such as after a power failure.
        :raises MeisaUnreachableError: if it cannot be read.
        """
        number = -1
        with self._failures(), (self._folder / plan.file).open("rb") as file:
            for number, line in enumerate(file):
                if number == last:
                    return
                if number >= first:
                    yield self._batch_of(line, number)
        if number + 1 != plan.batches:
            raise self._damage()

    def _items(self, plan: Plan) -> Iterator[Item]:
        return (item for batch in self.batches(plan) for item in batch.items)

    def drop(self) -> None:
        """Remove the plan, and files of it that crashes have left.

        :raises MeisaUnreachableError: if the folder cannot be written.
        """
        # In an object store, a folder without files does not exist.
        with self._failures(), suppress(FileNotFoundError, NotADirectoryError):
            for file in list(self._folder.iterdir()):
                if file.name.startswith(self._name):
                    remove(file)

    def _fill(self, lines: PlanLines, plan: Plan, batches: Iterable[Batch], most: int | None) -> Plan:
        count = total = to_send = requests = 0
        counts: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for batch in batches:
            aside = [(outcome.address, outcome.status.value, outcome.reason) for outcome in batch.set_aside]
            count += 1
            total += len(batch.items) + len(aside) + sum(batch.counted.values())
            to_send += len(batch.items)
            requests += bool(batch.items)
            counts.update(status for _, status, _ in aside)
            counts.update(batch.counted)
            reasons.update(f"{status}: {reason}" for _, status, reason in aside)
            if most is not None and total > most:
                raise too_many(most)
            with self._failures():
                content = [batch.items, aside, batch.counted, batch.origins, batch.origins_aside]
                lines.add(json.dumps(content).encode() + b"\n", batch.turn)
        return replace(
            plan,
            batches=count,
            total=total,
            to_send=to_send,
            requests=requests,
            counts=dict(counts),
            reasons=dict(reasons.most_common(_MOST_REASONS)),
        )

    def _batch_of(self, line: bytes, number: int) -> Batch:
        try:
            items, aside, counted, origins, origins_aside = json.loads(line)
            outcomes = [Outcome(address, OutcomeStatus(status), reason) for address, status, reason in aside]
            counted = {OutcomeStatus(status): int(number) for status, number in counted.items()}
        except (AttributeError, ValueError, TypeError, RecursionError):
            raise self._damage() from None
        if not isinstance(items, list) or not all(isinstance(item, str | dict) for item in items):
            raise self._damage()
        if not _fit(origins, items) or not _fit(origins_aside, outcomes):
            raise self._damage()
        return Batch(
            number,
            tuple(items),
            tuple(outcomes),
            counted,
            origins=tuple(map(tuple, origins)),
            origins_aside=tuple(map(tuple, origins_aside)),
        )

    def _damage(self) -> MeisaInputError:
        return MeisaInputError(
            f"The plan {self.note} is damaged. Remove it and clear the task to read the source again."
        )

    def _read_note(self) -> bytes:
        content = b""
        with self._failures(), suppress(FileNotFoundError), self.note.open("rb") as file:
            content = file.read()
        return content

    def _note_of(self, content: bytes) -> _Note | None:
        """Decode a note if it is complete, and its file belongs to this plan: that file is read, and removed."""
        note = _decoded(content, _Note)
        is_ours = note and note.file.startswith(f"{self._name}-") and "/" not in note.file
        return note if is_ours else None

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._is_default or not isinstance(self._folder, Path):
            return
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            raise MeisaInputError(
                f"The folder for plans, {self._folder}, must belong to this user alone (mode 0700). Remove it, "
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
                f"The plan in {self._folder} cannot be used: {error.strerror or type(error).__name__}. Fix the folder, "
                "or set staging_path."
            ) from error


def _fit(origins: object, rows: Sequence[object]) -> bool:
    """Return whether there is an origin for each row, or none at all."""
    if not isinstance(origins, list) or len(origins) not in (0, len(rows)):
        return False
    return all(isinstance(origin, list) and origin for origin in origins)


def _as_json(plan: Plan) -> dict[str, Any]:
    return {"version": VERSION, **asdict(plan)}


def _decoded(content: bytes, kind: type[_Read]) -> _Read | None:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None


def _header(plan_id: str, job: Job, file: str) -> Plan:
    return Plan(
        id=plan_id,
        job=job.name,
        identity=dict(job.identity),
        file=file,
        batches=0,
        total=0,
        to_send=0,
        requests=0,
    )


def _default_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"airflow-provider-meisa-staged-{os.geteuid()}"
