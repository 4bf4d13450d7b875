"""The requests that Meisa may have carried out, although no response came: when each may be sent again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaInputError, may_be_resent
from airflow_provider_meisa.bulk.checkpoint import seconds_until_resend

if TYPE_CHECKING:
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.bulk.batching import Batch, Key
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint, PieceState


class Doubts:
    """The batches in doubt. Where a retry is harmless, there are none.

    :param is_possible: whether a batch that is sent again may be carried out twice.
    :param resend: see `BulkEngine`, as for ``resend_after`` and ``clock``.
    :param resent: the numbers of the batches that an earlier attempt has sent again.
    """

    def __init__(
        self,
        *,
        is_possible: bool,
        resend: bool,
        resend_after: float | None,
        resent: Iterable[int],
        clock: Callable[[], float],
    ) -> None:
        self._is_possible = is_possible
        self._resend = resend
        self._resend_after = resend_after
        self._clock = clock
        self._keys: set[Key] = set()
        # When they may be sent again, and which ones this attempt has sent again.
        self._resend_at: dict[Key, float] = {}
        self._resent: set[Key] = {(number, 0) for number in resent}

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    @property
    def numbers(self) -> list[int]:
        """The numbers of the batches, from 1."""
        return sorted({number + 1 for number, _ in self._keys})

    @property
    def last_resend_at(self) -> float:
        """When all of them may be sent again, in seconds since the epoch; 0 if there are none."""
        return max(self._resend_at.values(), default=0.0)

    def take_back(self, key: Key, *, was_resent: bool = False) -> None:
        """Add a batch of an earlier attempt."""
        if self._is_possible:
            self._keys.add(key)
        if was_resent:
            self._resent.add(key)

    def hold_all(self, start: Checkpoint) -> None:
        """Hold the batches of an earlier attempt until they may be sent again.

        :raises MeisaInputError: if they must not be.
        """
        now = self._clock()
        first = now + seconds_until_resend(start, self._resend_after or 0.0, now)
        self._resend_at = dict.fromkeys(self._keys, first)
        if self._keys and not self._resend:
            raise MeisaInputError(
                f"An earlier attempt ended with {len(self._keys)} of its batches in flight: Meisa may have "
                "enrolled them. With on_ambiguous='fail' they are not sent again. Set on_ambiguous='resend' and clear "
                "the task."
            )

    def add(self, key: Key) -> None:
        """Add a batch whose response was lost just now."""
        if self._is_possible:
            self._keys.add(key)
            self._resend_at[key] = self._clock() + (self._resend_after or 0.0)

    def part(self, key: Key, pieces: Iterable[Batch]) -> None:
        """Add the pieces of a batch that is split, if it is in doubt."""
        if key in self._keys:
            keys = [piece.key for piece in pieces]
            self._keys.update(keys)
            self._resend_at.update(dict.fromkeys(keys, self._resend_at[key]))

    def on_send(self, key: Key) -> bool:
        """Return whether a batch that is sent now is sent again."""
        is_resend = key in self._keys
        if is_resend:
            self._resent.add(key)
        return is_resend

    def drop(self, key: Key) -> None:
        """Forget a batch that has a result."""
        self._resend_at.pop(key, None)
        self._keys.discard(key)
        self._resent.discard(key)

    def among(self, keys: Iterable[Key]) -> set[Key]:
        """Return those of these batches that are in doubt."""
        return self._keys.intersection(keys)

    def resent_among(self, keys: Iterable[Key]) -> set[Key]:
        """Return those of these batches that this attempt has sent again."""
        return self._resent.intersection(keys)

    def held(self, keys: Iterable[Key]) -> dict[Key, float]:
        """Return those of these batches that may not be sent again yet, and when they may be."""
        now = self._clock()
        return {key: moment for key in keys if (moment := self._resend_at.get(key, 0.0)) > now}

    def is_resent_after(self, key: Key, error: MeisaError) -> bool:
        """Return whether this attempt resends a batch whose response was lost: once, after a wait.

        If a retry is harmless, the client has done it already.
        """
        is_first_resend = key in self._keys - self._resent
        may_wait = self._resend and self._resend_after is not None
        return is_first_resend and may_wait and error.possibly_done and may_be_resent(error)

    def state_of(self, key: Key, in_flight: Collection[Key]) -> PieceState:
        """Return the state of a piece for a checkpoint.

        :param in_flight: the batches whose requests may have been carried out.
        """
        if key not in in_flight:
            return "unsent"
        return "resent" if key in self._resent else "in_flight"
