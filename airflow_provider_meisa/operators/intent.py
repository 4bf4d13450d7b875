"""What a task that enrolls one contact keeps from one try to the next: that it has sent, and when it may again."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from airflow_provider_meisa.bulk.checkpoint import Checkpoint, seconds_until_resend

if TYPE_CHECKING:
    from airflow_provider_meisa.operators.checkpoint_store import CheckpointStore


class Intent:
    """Keeps, in the form of a checkpoint of one batch, whether a request of this task may have enrolled the contact.

    :param store: where it is kept.
    :param subject: what the request is about. What was kept of another one is left alone.
    :param resend_after: see `Settings.resend_after`.
    :ivar since: when the first request was sent, in seconds since the epoch.
    :raises MeisaInputError: if what was kept was not written by this version.
    """

    def __init__(self, store: CheckpointStore, subject: tuple[str, str], resend_after: float) -> None:
        self._store = store
        self._subject = hashlib.blake2b(
            "\n".join(subject).encode("utf-8", "surrogatepass"), digest_size=16
        ).hexdigest()
        self._resend_after = resend_after
        kept = store.load()
        self._kept = Checkpoint.from_json(kept) if kept else Checkpoint()
        self.since = self._kept.started_at or time.time()
        self.is_in_doubt = bool(self._kept.in_flight) and self._kept.fingerprint == self._subject

    @property
    def seconds_left(self) -> float:
        """Seconds until the contact may be sent again."""
        return seconds_until_resend(self._kept, self._resend_after) if self.is_in_doubt else 0.0

    def begin(self) -> None:
        """Keep that a request will be sent. If that fails, send nothing."""
        self._keep(0.0)

    def lost(self) -> None:
        """Keep that the request may have been carried out, and from when on it may be sent again."""
        self._keep(time.time() + self._resend_after)

    def give_up(self) -> None:
        """Keep what was before: the request did nothing."""
        if self.is_in_doubt:
            self._keep(self._kept.resend_at)
        else:
            self.end()

    def end(self) -> None:
        """Keep nothing: what became of the contact is known."""
        self._store.save(Checkpoint().as_json())
        self._store.end()

    def _keep(self, resend_at: float) -> None:
        sent = Checkpoint(
            next_batch=1,
            fingerprint=self._subject,
            in_flight=(0,),
            resend_at=resend_at,
            started_at=self.since,
        )
        self._store.save(sent.as_json())
