"""The store that a connection names: a file for this host, Redis for several hosts, or memory."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.rate_limit.limiter import RateLimitStorage
from airflow_provider_meisa.api.rate_limit.operations import Operation, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.state import State, apply, micros
from airflow_provider_meisa.api.rate_limit.storage.file import FileStorage
from airflow_provider_meisa.api.rate_limit.storage.redis import RedisStorage

__all__ = ["FileStorage", "MemoryStorage", "RedisStorage", "passwords_in", "storage_for"]


class MemoryStorage:
    """Keeps the state of a key in this process, for all its threads."""

    def __init__(self) -> None:
        self._state = State()
        self._lock = threading.Lock()
        self._notes: dict[str, tuple[float, str]] = {}

    def run(self, operation: Operation, clock: Callable[[], float]) -> Reservation | Wait | None:
        """Carry out an operation under the lock."""
        with self._lock:
            decision, self._state = apply(self._state, operation, micros(clock()))
            return decision

    def read(self, clock: Callable[[], float]) -> tuple[State, int]:
        """Return the state and the time in microseconds."""
        with self._lock:
            return self._state, micros(clock())

    def get_note(self, name: str) -> str | None:
        """Return a text that all threads share; ``None`` if there is none, or its time is over."""
        until, text = self._notes.get(name, (0.0, ""))
        return text if until > time.monotonic() else None

    def put_note(self, name: str, text: str, seconds: float) -> None:
        """Keep a text for all threads."""
        self._notes[name] = time.monotonic() + seconds, text


_IN_THIS_PROCESS: dict[str, MemoryStorage] = {}


def storage_for(text: str, base_url: str, api_key: str) -> RateLimitStorage:
    """Return the store of a key that a connection's ``rate_limit_storage`` names.

    :param text: empty or ``file``: a file in the user's temporary folder; ``file:///folder``; ``memory``;
        ``redis://…`` or ``rediss://…``.
    :param base_url: the base URL of the key.
    :param api_key: the key; only a hash of it is kept.
    :raises MeisaInputError: if the text does not name a store, or Redis' client is not installed.
    """
    text, name = text.strip(), name_of(base_url, api_key)
    if text in ("", "file"):
        return FileStorage(name)
    if text == "memory":
        # Two clients of a key share its state. `setdefault` is atomic: two threads cannot create two.
        return _IN_THIS_PROCESS.setdefault(name, MemoryStorage())
    if text.startswith(("redis://", "rediss://")):
        return RedisStorage(text, name)
    if folder := _folder(text):
        return FileStorage(name, folder)
    # The text itself is left out: it may hold a password.
    raise MeisaInputError(
        "rate_limit_storage names no store: leave it empty for a file on this host, or write file:///folder, memory, "
        "or redis://host:6379/0 (rediss:// with TLS) where several hosts share the key."
    )


def passwords_in(text: str) -> set[str]:
    """Return the passwords in a ``rate_limit_storage``, encoded and decoded, so that logs can mask them."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return set()  # it creates no store, and no message quotes it
    written = {parts.password or "", *re.findall(r"\bpassword=([^&]*)", parts.query)}
    return {password for each in written for password in (each, unquote(each)) if password}


def _folder(text: str) -> Path | None:
    """Return the folder of ``file:///folder``; ``None`` for another text."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    path = unquote(parts.path)
    is_here = text.startswith("file://") and parts.netloc in ("", "localhost")
    return Path(path) if is_here and path.strip("/") and path.isprintable() else None


def name_of(base_url: str, api_key: str) -> str:
    """Return a name for a key at a base URL, which does not reveal the key."""
    return hashlib.sha256(f"{base_url.rstrip('/')}\n{api_key}".encode()).hexdigest()
