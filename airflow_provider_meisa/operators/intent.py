"""The intent of a task that enrolls one contact: whether it has sent a request, and when it may resend it."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from airflow_provider_meisa.bulk.checkpoint import Checkpoint, seconds_until_resend

if TYPE_CHECKING:
    from airflow_provider_meisa.operators.checkpoint_store import CheckpointStore


class Intent:
    """Stores, as a checkpoint of one batch, whether a request of this task may have enrolled the contact.

    :param store: the store of the checkpoint.
    :param subject: the subject of the request. The checkpoint of another subject is not changed.
    :param resend_after: see `Settings.resend_after`.
    :ivar since: when the first request was sent, in seconds since the epoch.
    :raises MeisaInputError: if this version has not written the stored checkpoint.
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
        """Return the seconds until the contact may be sent again."""
        return seconds_until_resend(self._kept, self._resend_after) if self.is_in_doubt else 0.0

    def begin(self) -> None:
        """Record that a request will be sent. If that fails, send nothing."""
        self._keep(0.0)

    def lost(self) -> None:
        """Record that the request may have been carried out, and when it may be sent again."""
        self._keep(time.time() + self._resend_after)

    def give_up(self) -> None:
        """Restore the earlier checkpoint: the request did nothing."""
        if self.is_in_doubt:
            self._keep(self._kept.resend_at)
        else:
            self.end()

    def end(self) -> None:
        """Remove the checkpoint: the status of the contact is known."""
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
