"""A short-lived cache of the sequences of a key, shared by all users of the key.

It is stored with the rate limits of the key: in a file of the host, in Redis, or in this process. So a task, a sensor,
a trigger and the page share a request, each within the age that it accepts.
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
_KEPT_FOR = 600.0  # seconds; no user of the cache accepts more


class NoteStorage(Protocol):
    """Stores short texts of a key for all its users."""

    def get_note(self, name: str) -> str | None:
        """Return a text; ``None`` if there is none, or it has expired."""

    def put_note(self, name: str, text: str, seconds: float) -> None:
        """Store a text for a time."""


class KnownSequence(NamedTuple):
    """A sequence at a time.

    :param at: when the request for it began, in seconds since 1970.
    """

    at: float
    slug: str
    name: str
    status: str
    total_enrolled: int | None


@dataclass(frozen=True, slots=True)
class _Note:
    """The content of the cache.

    :param all_at: when all sequences were listed, so that missing ones do not exist; 0 for never.
    """

    rows: Sequence[KnownSequence] = ()
    all_at: float = 0.0


class KnownSequences:
    """Reads sequences from the cache, and writes them into it.

    A storage that fails counts as empty: then a request is sent to Meisa.

    :param storage: the storage of the key's rate limits.
    :param clock: returns the time in seconds since 1970.
    """

    def __init__(self, storage: NoteStorage, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._clock = clock

    def find(self, slugs: Collection[str] | None, max_age: float) -> Sequence[KnownSequence] | None:
        """Return sequences that are not older than ``max_age``; ``None`` if one is missing or older.

        :param slugs: the sequences; ``None`` for all.
        :param max_age: the oldest accepted age, in seconds.
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
        """Store sequences, and replace their earlier state.

        :param is_all: whether these are all sequences.
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
            log.debug("The sequences could not be cached: %s", error)

    def _load(self) -> _Note:
        try:
            text = self._storage.get_note(_NAME)
        except MeisaError as error:
            log.debug("The cached sequences could not be read: %s", error)
            return _Note()
        try:
            return _read(json.loads(text)) if text else _Note()
        except (ValueError, TypeError, KeyError, RecursionError):
            return _Note()


def _read(note: object) -> _Note:
    """Decode the content of the cache.

    :raises ValueError: if another version wrote it, or it is damaged.
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
