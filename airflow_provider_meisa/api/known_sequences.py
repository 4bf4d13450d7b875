"""The sequences of a key as they were a short while ago, for all who use the key.

They are kept where its rate limits are: in a file of the host, in Redis, or in this process. A task, a sensor, a
trigger and the page so share a request, each within the age that it allows.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from airflow_provider_meisa.api.errors import MeisaError

log = logging.getLogger(__name__)

_NAME = "sequences"
_VERSION = 1
_KEPT_FOR = 600.0  # seconds; no one allows more


class NoteStorage(Protocol):
    """Keeps short texts of a key for all who use it."""

    def get_note(self, name: str) -> str | None:
        """Return a text; ``None`` if there is none, or its time is over."""

    def put_note(self, name: str, text: str, seconds: float) -> None:
        """Keep a text for a time."""


class KnownSequence(NamedTuple):
    """A sequence, and when it was so.

    :param at: when the request began, in seconds since 1970.
    """

    at: float
    slug: str
    name: str
    status: str
    total_enrolled: int | None


@dataclass(frozen=True, slots=True)
class _Note:
    """What is kept.

    :param all_at: when all sequences were listed, so that what is missing does not exist; 0 for never.
    """

    rows: Sequence[KnownSequence] = ()
    all_at: float = 0.0


class KnownSequences:
    """Finds sequences in what was kept, and keeps what was found.

    A storage that fails is as good as an empty one: Meisa is then asked.

    :param storage: where the key's rate limits are.
    :param clock: says the time in seconds since 1970.
    """

    def __init__(self, storage: NoteStorage, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._clock = clock

    def find(self, slugs: Collection[str] | None, max_age: float) -> Sequence[KnownSequence] | None:
        """Return sequences that are not older than this, ``None`` if one of them is missing or older.

        :param slugs: the sequences; ``None`` for all.
        :param max_age: in seconds.
        """
        if max_age <= 0:
            return None
        note, now = self._load(), self._clock()
        if slugs is None:
            is_fresh = 0 <= now - note.all_at <= max_age
            return [row for row in note.rows if row.at >= note.all_at] if is_fresh else None
        fresh = {row.slug: row for row in note.rows if 0 <= now - row.at <= max_age}
        return [fresh[slug] for slug in slugs] if set(slugs) <= fresh.keys() else None

    def keep(self, rows: Sequence[KnownSequence], *, is_all: bool) -> None:
        """Keep sequences in place of what was kept of them.

        :param is_all: whether there are no others.
        """
        before = _Note() if is_all else self._load()
        oldest = self._clock() - _KEPT_FOR
        merged = {row.slug: row for row in before.rows if row.at > oldest}
        merged.update((row.slug, row) for row in rows)
        all_at = min((row.at for row in rows), default=self._clock()) if is_all else before.all_at
        text = json.dumps({"v": _VERSION, "all_at": all_at, "rows": list(merged.values())})
        try:
            self._storage.put_note(_NAME, text, _KEPT_FOR)
        except MeisaError as error:
            log.debug("The sequences could not be kept: %s", error)

    def _load(self) -> _Note:
        try:
            text = self._storage.get_note(_NAME)
        except MeisaError as error:
            log.debug("The sequences that were kept could not be read: %s", error)
            return _Note()
        try:
            return _read(json.loads(text)) if text else _Note()
        except (ValueError, TypeError, KeyError, RecursionError):
            return _Note()


def _read(note: object) -> _Note:
    """Read a note.

    :raises ValueError: if it is another version's, or not one.
    """
    if not isinstance(note, dict) or note["v"] != _VERSION:
        raise ValueError("a note of another version")
    if not all(map(_is_sound, note["rows"])):
        raise ValueError("a row of another form")
    return _Note([KnownSequence(*row) for row in note["rows"]], float(note["all_at"]))


def _is_sound(row: Sequence[object]) -> bool:
    at, *texts, total = row
    is_text = [isinstance(text, str) for text in texts]
    return isinstance(at, float) and is_text == [True] * 3 and (total is None or isinstance(total, int))
