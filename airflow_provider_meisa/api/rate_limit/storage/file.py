"""A store in a small file, shared by all processes of one user on one host."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.rate_limit.limits import Limit
from airflow_provider_meisa.api.rate_limit.operations import Operation, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.state import (
    State,
    apply,
    from_json,
    micros,
    state_after_loss,
    to_json,
)

_OPEN = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LONGEST_LOCK = 30.0  # seconds; an operation holds the lock for less than one thousandth of this
_FIRST_LOOK, _LAST_LOOK = (
    0.0001,
    0.005,
)  # an operation takes less than a millisecond: a short pause keeps the pace

log = logging.getLogger(__name__)


def default_directory() -> Path:
    """Return the user's own folder below the system's temporary one."""
    return Path(tempfile.gettempdir()) / f"airflow-provider-meisa-{os.geteuid()}"


class FileStorage:
    """Keeps the state of a key in a file that is replaced as a whole, under a lock that the kernel releases.

    If a process is killed, the file has the old or the new state, never a part.

    :param name: a name that does not reveal the key; part of the file's name.
    :param directory: the folder; created for this user only if it does not exist.
    """

    def __init__(self, name: str, directory: Path | None = None) -> None:
        self._directory = directory or default_directory()
        self._path = self._directory / f"{name}.json"
        self._new = self._directory / f"{name}.new"
        self._name = name
        self._lock_path = self._directory / f"{name}.lock"

    def run(self, operation: Operation, clock: Callable[[], float]) -> Reservation | Wait | None:
        """Carry out an operation under the lock.

        :raises MeisaInputError: if other users can write to the folder.
        :raises MeisaUnreachableError: if the file cannot be read or written.
        """
        with self._locked():
            now = micros(clock())
            before = self._load(operation.limits, now)
            decision, after = apply(before, operation, now)
            if after is not before:
                self._save(after)
            return decision

    def read(self, clock: Callable[[], float]) -> tuple[State, int]:
        """Return the state and the time in microseconds; an unreadable state counts as none.

        :raises MeisaInputError: if other users can write to the folder.
        :raises MeisaUnreachableError: if the file cannot be read.
        """
        with self._locked():
            return self._load((), now := micros(clock())), now

    def get_note(self, name: str) -> str | None:
        """Return a text that all processes of the user share; ``None`` if there is none, or its time is over.

        :raises MeisaInputError: if the folder is not this user's alone.
        :raises MeisaUnreachableError: if the file cannot be read.
        """
        with self._locked():
            try:
                descriptor = os.open(self._note(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
                until, _, text = file.read().partition("\n")
        return text if until.isdecimal() and int(until) > time.time() else None

    def put_note(self, name: str, text: str, seconds: float) -> None:
        """Keep a text for all processes of the user.

        :raises MeisaInputError: if the folder is not this user's alone.
        :raises MeisaUnreachableError: if the file cannot be written.
        """
        with self._locked():
            self._replace(self._note(name), f"{int(time.time() + seconds)}\n{text}".encode())

    def _note(self, name: str) -> Path:
        return self._directory / f"{self._name}.{name}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = self._lock()
            try:
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise MeisaUnreachableError(
                f"The rate limits' folder {self._directory} cannot be used: {error.strerror}. Nothing was sent. Fix "
                "the folder, or set rate_limit_storage to file:///another/folder."
            ) from error

    def _lock(self) -> int:
        """Open the lock file again each time: a shared descriptor locks out neither threads nor forked children."""
        while True:
            self._check_directory()
            descriptor = os.open(self._lock_path, _OPEN, 0o600)
            try:
                _flock(descriptor)
                if os.fstat(descriptor).st_nlink:
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            # The lock file was deleted during the wait: other processes lock a newer one.
            os.close(descriptor)

    def _check_directory(self) -> None:
        with suppress(FileExistsError):
            self._directory.mkdir(mode=0o700, parents=True)
        found = self._directory.lstat()
        if (
            not stat.S_ISDIR(found.st_mode)
            or found.st_uid != os.geteuid()
            or found.st_mode & _OTHERS_MAY_WRITE
        ):
            raise MeisaInputError(
                f"The rate limits' folder {self._directory} must be a folder of this user that no one else may "
                "write to, and not a link: remove it, or set rate_limit_storage to file:///another/folder."
            )

    def _load(self, limits: tuple[Limit, ...], now: int) -> State:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return State()
        with os.fdopen(descriptor, "rb") as file:
            content = file.read()
        try:
            return from_json(json.loads(content))
        except (ValueError, RecursionError):
            if not limits:
                return State()
            log.warning(
                "The rate limits' file in %s was damaged and is replaced, as if the key had just used up %s.",
                self._directory,
                limits[0],
            )
            return state_after_loss(limits, now)

    def _save(self, state: State) -> None:
        self._replace(self._path, json.dumps(to_json(state), separators=(",", ":")).encode())

    def _replace(self, path: Path, content: bytes) -> None:
        descriptor = os.open(self._new, _OPEN | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        self._new.replace(path)


def _flock(descriptor: int) -> None:
    """Wait for the lock, up to a limit: a process that is frozen with the lock must not stop all others.

    :raises TimeoutError: if it is not free in time.
    """
    deadline = time.monotonic() + _LONGEST_LOCK
    pause = _FIRST_LOOK
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    errno.ETIMEDOUT, "another process holds its lock, and may be frozen"
                ) from None
            time.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
        else:
            return
