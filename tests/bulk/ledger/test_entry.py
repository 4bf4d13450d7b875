import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.ledger.entry import (
    EPOCH,
    FORGOTTEN,
    LATEST_MINUTE,
    Entry,
    State,
    later,
    minute_at,
    pack,
    unpack,
    unpack_all,
)

minutes = st.integers(0, 1 << 22)
states = st.sampled_from([state for state in State if state is not State.FORGOTTEN])
hashes = st.integers(0, (1 << 36) - 1)
entries = st.builds(Entry, minutes, states, hashes)


def test_states_rise_in_the_order_of_the_design():
    assert [state.name for state in sorted(State)] == [
        "PENDING",
        "INTENT",
        "REFUSED",
        "RECORDED",
        "PRESENT",
        "ACCEPTED",
        "CLEARED",
        "FORGOTTEN",
    ]


@given(entries)
def test_entry_survives_packing(entry):
    packed = pack(entry)
    assert 0 < packed < FORGOTTEN < 1 << 64
    assert unpack(packed) == entry
    assert unpack_all([packed, 0, packed]) == [entry, None, entry]


@given(minutes, hashes, st.sampled_from(range(0, 16, 2)))
def test_unknown_state_is_not_read(minute, values_hash, number):
    packed = pack(Entry(minute, State.PENDING, values_hash)) - (1 << 36) + (number << 36)
    if packed:
        for read in (unpack, lambda value: unpack_all([value])):
            with pytest.raises(KeyError):
                read(packed)


@given(st.lists(st.tuples(minutes, states, hashes), min_size=1, max_size=8))
def test_last_step_wins_however_clocks_differ(steps):
    written, known = [], 0
    for minute, state, values_hash in steps:
        known = later(known, minute, state, values_hash)
        written.append(known)
    assert max(written) == written[-1]
    assert unpack(max(written))[1:] == steps[-1][1:]
    assert written == sorted(set(written))


@given(entries, minutes, states, hashes)
def test_minute_is_the_clock_unless_the_known_one_is_later(entry, minute, state, values_hash):
    written = unpack(later(pack(entry), minute, state, values_hash)).minute
    assert written == max(minute, entry.minute + (state <= entry.state))


@given(entries, minutes, states)
def test_nothing_follows_forgotten(entry, minute, state):
    assert later(pack(entry), minute, State.FORGOTTEN) == FORGOTTEN
    assert later(FORGOTTEN, minute, state, 5) == FORGOTTEN
    assert unpack(FORGOTTEN).state is State.FORGOTTEN


@pytest.mark.parametrize("seconds", [EPOCH - 1, 0, EPOCH + 60 * (LATEST_MINUTE + 1), 1e12])
def test_clock_outside_the_format_stops(seconds):
    with pytest.raises(MeisaInputError, match="clock"):
        minute_at(seconds)


def test_minutes_end_in_2051():
    assert minute_at(EPOCH) == 0
    assert minute_at(EPOCH + 60 * LATEST_MINUTE) == LATEST_MINUTE
    with pytest.raises(MeisaInputError, match="2051"):
        later(pack(Entry(LATEST_MINUTE, State.ACCEPTED)), 0, State.ACCEPTED)


def test_time_of_an_entry_is_in_seconds():
    assert Entry(minute_at(EPOCH + 119), State.ACCEPTED).written_at == EPOCH + 60
