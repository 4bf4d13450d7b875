"""The entry of one record: a minute, a state and a hash of its values, in 64 bits."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from airflow_provider_meisa.api.errors import MeisaInputError

EPOCH = 1_577_836_800
"""Minute 0, in seconds since 1970: 2020-01-01 UTC."""

_STATE_BITS = 4
_HASH_BITS = 36
_MINUTE_AT = _STATE_BITS + _HASH_BITS
_STATE_BYTE = _HASH_BITS // 8 if sys.byteorder == "little" else 7 - _HASH_BITS // 8
_STATE_MASK = (1 << _STATE_BITS) - 1
_HASH_MASK = (1 << _HASH_BITS) - 1
_LAST_MINUTE = (1 << 24) - 1

VALUES_MASK = (1 << _MINUTE_AT) - 1
"""All of a packed entry but its minute: the state and the hash of the values."""

LATEST_MINUTE = _LAST_MINUTE - 1
"""The last minute that can be written, in November 2051; the one after it is for `State.FORGOTTEN`."""


class State(IntEnum):
    """The state of a record. Of two states in one minute, the higher one is the later one.

    Even numbers are reserved for states of later formats.
    """

    PENDING = 1
    """To be sent; the hash is that of the last values that Meisa accepted, or 0."""
    INTENT = 3
    """About to be sent. Without a later state, Meisa may have accepted it or not."""
    REFUSED = 5
    """Meisa does not accept it."""
    RECORDED = 7
    """Recorded as accepted, without a request."""
    PRESENT = 9
    """Meisa had it already."""
    ACCEPTED = 11
    """Meisa has accepted it from this package."""
    CLEARED = 13
    """As if never seen: to be sent again."""
    FORGOTTEN = 15
    """Forgotten at a person's request: never to be sent again. No later entry replaces it."""


_STATES = {int(state): state for state in State}


class Entry(NamedTuple):
    """The entry of a record.

    :param minute: when it was written, in minutes since 2020 (UTC); see `Entry.written_at`.
    :param values_hash: 36 bits of the values that were sent; 0 if the values do not count.
    """

    minute: int
    state: State
    values_hash: int = 0

    @property
    def written_at(self) -> int:
        """Return when it was written, in seconds since 1970, to the minute."""
        return EPOCH + 60 * self.minute


FORGOTTEN = (_LAST_MINUTE << _MINUTE_AT) | (State.FORGOTTEN << _HASH_BITS)
"""The largest entry there is, packed."""


def pack(entry: Entry) -> int:
    """Return an entry as a number; the larger of two numbers is the later entry."""
    return (entry.minute << _MINUTE_AT) | (entry.state << _HASH_BITS) | entry.values_hash


def low_bits(state: State) -> int:
    """Return a state where a packed entry has it, without a minute and a hash."""
    return state << _HASH_BITS


def unpack(value: int) -> Entry:
    """Decode a packed entry, which must not be 0.

    :raises KeyError: if this version does not know its state.
    """
    return Entry(value >> _MINUTE_AT, _STATES[value >> _HASH_BITS & _STATE_MASK], value & _HASH_MASK)


def unpack_all(values: Iterable[int]) -> list[Entry | None]:
    """Decode packed entries; ``None`` for each 0.

    :raises KeyError: as `unpack`.
    """
    # This runs for each row of a source, and `Entry(…)` takes twice as long.
    new, states = tuple.__new__, _STATES
    return [
        new(Entry, (value >> _MINUTE_AT, states[value >> _HASH_BITS & _STATE_MASK], value & _HASH_MASK))
        if value
        else None
        for value in values
    ]


def count_states(values: array[int]) -> Counter[State]:
    """Count packed entries by state.

    :raises KeyError: as `unpack`.
    """
    # The upper half of one byte of each entry is its state: this takes a tenth of the time of a look at each number.
    counts: Counter[State] = Counter()
    for byte, number in Counter(bytes(memoryview(values).cast("B")[_STATE_BYTE::8])).items():
        counts[_STATES[byte >> _STATE_BITS]] += number
    return counts


def minute_of(value: int) -> int:
    """Return the minute of a packed entry."""
    return value >> _MINUTE_AT


def minute_at(seconds: float) -> int:
    """Return the minute of a time.

    :param seconds: since 1970.
    :raises MeisaInputError: if the clock is outside the years that the ledger can hold.
    """
    minute = int((seconds - EPOCH) // 60)
    if not 0 <= minute <= LATEST_MINUTE:
        raise MeisaInputError(
            "The clock of this machine is outside the years 2020 to 2051: nothing was sent. Set it, and try again."
        )
    return minute


def later(known: int, minute: int, state: State, values_hash: int = 0) -> int:
    """Return the packed entry that replaces a known one, even if the clocks of both writers differ.

    :param known: the packed entry to replace; 0 for none.
    :param minute: the current minute.
    """
    if state is State.FORGOTTEN or known == FORGOTTEN:
        return FORGOTTEN
    known_minute, known_state = known >> _MINUTE_AT, known >> _HASH_BITS & _STATE_MASK
    minute = max(minute, known_minute + (state <= known_state))
    if minute > LATEST_MINUTE:
        raise MeisaInputError(
            "The ledger has an entry of the last minute it can hold, in 2051: nothing was sent. The clock of a machine "
            "that wrote it was wrong. Restore the ledger from a copy of the folder."
        )
    return (minute << _MINUTE_AT) | (state << _HASH_BITS) | values_hash
