"""How runs write a ledger: intents, results, ends, and two runs at once."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaLedgerBusyError, MeisaLedgerError, MeisaUnreachableError
from airflow_provider_meisa.bulk.ledger import Ledger, State
from airflow_provider_meisa.bulk.ledger.store import DiskStore
from tests.support.clock import Clock
from tests.support.ledgers import DAY, HOUR, MINUTE, NOON, SUBJECT

ANN, BOB, CY, DEE = (f"{name}@private.example" for name in ("ann", "bob", "cy", "dee"))


def parts_in(root):
    return sorted((root / "reactivation").glob("*.part"))


def state_of(ledger, record_id=ANN):
    entry = ledger.known(record_id)
    return entry and entry.state


@pytest.fixture
def started(open_ledger):
    def start(run="night 1", repeat="ambiguous", **arguments):
        writer = open_ledger(**arguments).writer(run, repeat=repeat)
        writer.start()
        return writer

    return start


@pytest.fixture
def disk_full(monkeypatch):
    """Let the next put fail, before or after the part is in the folder."""

    def fail(*, after):
        whole = DiskStore.put

        def put(self, pieces):
            if after:
                whole(self, pieces)
            raise MeisaUnreachableError("The disk is full.")

        monkeypatch.setattr(DiskStore, "put", put)
        return lambda: monkeypatch.setattr(DiskStore, "put", whole)

    return fail


def test_intent_is_in_the_ledger_before_the_request(started, open_ledger):
    writer = started()
    assert writer.put(dict.fromkeys([ANN, BOB], 0)) == frozenset()
    assert state_of(open_ledger()) is State.INTENT
    assert state_of(open_ledger(), BOB) is State.INTENT


def test_results_are_written_with_the_next_intents_in_one_put(started, open_ledger, tmp_path):
    writer = started()
    writer.put({ANN: 0})
    before = len(parts_in(tmp_path))
    writer.add(ANN, State.ACCEPTED)
    assert state_of(open_ledger()) is State.INTENT
    writer.put({BOB: 0})
    assert len(parts_in(tmp_path)) == before + 1
    assert [state_of(open_ledger(), each) for each in (ANN, BOB)] == [State.ACCEPTED, State.INTENT]


def test_stretch_ends_in_one_part(started, open_ledger, tmp_path):
    writer = started()
    for each in (ANN, BOB, CY):
        writer.put({each: 0})
        writer.add(each, State.ACCEPTED)
    writer.set_property("mapping", {"email": "email"})
    writer.put()
    writer.end()
    assert len(parts_in(tmp_path)) == 1
    ledger = open_ledger()
    assert [state_of(ledger, each) for each in (ANN, BOB, CY)] == [State.ACCEPTED] * 3
    assert ledger.properties == {"mapping": {"email": "email"}}
    assert ledger.runs["night 1"].ended


def test_run_that_fails_writes_its_results_and_ends(open_ledger):
    def send(writer):
        with writer:
            writer.put({ANN: 0, BOB: 0})
            writer.add(ANN, State.ACCEPTED)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        send(open_ledger().writer("night 1", repeat="ambiguous"))
    later = open_ledger()
    assert [state_of(later, each) for each in (ANN, BOB)] == [State.ACCEPTED, State.INTENT]
    assert later.runs["night 1"].ended


def test_put_without_anything_new_writes_nothing(started, tmp_path, clock):
    writer = started()
    writer.put({ANN: 0})
    before = parts_in(tmp_path)
    writer.put()
    writer.put({ANN: 0})
    assert parts_in(tmp_path) == before
    clock.now += 11 * MINUTE
    writer.put()
    assert len(parts_in(tmp_path)) == len(before) + 1


def test_results_are_due_after_a_hundred_or_five_seconds(started, clock):
    writer = started(repeat="harmless")
    clock.now += HOUR
    assert not writer.is_due
    writer.put()
    for number in range(99):
        writer.add(f"{number}@private.example", State.ACCEPTED)
    assert not writer.is_due
    writer.add(ANN, State.ACCEPTED)
    assert writer.is_due
    writer.put()
    writer.add(BOB, State.ACCEPTED)
    assert not writer.is_due
    clock.now += 5
    assert writer.is_due


@pytest.mark.parametrize("replaced", [None, State.REFUSED, State.RECORDED, State.ACCEPTED, State.CLEARED])
def test_withdrawn_intent_is_cleared_where_a_repeat_is_ambiguous(started, open_ledger, replaced):
    if replaced:
        open_ledger().write([(ANN, 0)], replaced, by="earlier")
    writer = started()
    writer.put({ANN: 0})
    writer.withdraw([ANN])
    assert state_of(open_ledger()) is State.CLEARED


@pytest.mark.parametrize("replaced", [State.PENDING, State.REFUSED, State.RECORDED, State.ACCEPTED])
def test_withdrawn_intent_is_restored_where_a_repeat_is_harmless(started, open_ledger, replaced):
    open_ledger().write([(ANN, 7)], replaced, by="earlier")
    writer = started(repeat="harmless")
    writer.put({ANN: 8, BOB: 9})
    writer.withdraw([ANN, BOB])
    assert open_ledger().known(ANN)[1:] == (replaced, 7)
    assert state_of(open_ledger(), BOB) is State.CLEARED


@pytest.mark.parametrize("repeat", ["harmless", "ambiguous"])
def test_what_was_in_doubt_before_stays_in_doubt(started, open_ledger, repeat):
    writer = started(repeat=repeat)
    writer.put({ANN: 1, BOB: 1})
    writer.add(ANN, State.INTENT, 1)  # the response was lost
    writer.put({ANN: 1})
    writer.withdraw([ANN])  # and the request that was sent again met a 429
    assert state_of(open_ledger()) is State.INTENT
    retry = started(repeat=repeat)
    retry.put({BOB: 1})
    retry.withdraw([BOB])
    assert state_of(open_ledger(), BOB) is State.INTENT
    retry.add(BOB, State.PRESENT, 1)
    retry.end()
    assert state_of(open_ledger(), BOB) is State.PRESENT


@pytest.mark.parametrize("repeat", ["harmless", "ambiguous"])
def test_only_intents_without_a_result_are_withdrawn(started, open_ledger, repeat):
    writer = started(repeat=repeat)
    writer.put({ANN: 1, BOB: 1, CY: 1})
    writer.add(ANN, State.INTENT, 1)
    writer.add(BOB, State.ACCEPTED, 1)
    writer.withdraw([ANN, BOB, CY, DEE])
    writer.withdraw([CY])
    writer.end()
    assert [state_of(open_ledger(), each) for each in (ANN, BOB, CY, DEE)] == [
        State.INTENT,
        State.ACCEPTED,
        State.CLEARED,
        None,
    ]


@pytest.mark.parametrize("how", ["killed", "withdrawn"])
def test_expired_doubt_of_earlier_run_is_replaced(started, open_ledger, clock, how):
    """Who was in doubt long ago is sent again: that this was today must be known, or that it did nothing."""
    open_ledger().write([(ANN, 0)], State.INTENT, by="earlier")
    clock.now += 100 * DAY
    writer = started(run="night 100")
    writer.put({ANN: 0})
    if how == "withdrawn":
        writer.withdraw([ANN])
    entry = open_ledger().known(ANN)
    assert entry.state is (State.CLEARED if how == "withdrawn" else State.INTENT)
    assert entry.written_at == clock.now


@pytest.mark.parametrize("last", [None, State.ACCEPTED])
def test_attempt_that_was_given_up_withdraws_nothing_of_the_next(started, open_ledger, last):
    """The first attempt is frozen before its request; the second sends the same contact; the first wakes up."""
    first, second = started(), started()
    first.put({ANN: 0})
    second.put({ANN: 0})
    if last:
        second.add(ANN, last)
        second.put()
    first.withdraw([ANN])  # its request met a 429
    first.end()
    assert state_of(open_ledger()) is (last or State.INTENT)


def test_pending_keeps_the_hash_that_was_accepted_last(started, open_ledger):
    open_ledger().write([(ANN, 7), (BOB, 7)], State.ACCEPTED, by="earlier")
    open_ledger().write([(CY, 7)], State.REFUSED, by="earlier")
    writer = started(repeat="harmless")
    writer.put({BOB: 8})
    for each in (ANN, BOB, CY, DEE):
        writer.add(each, State.PENDING, 8)
    writer.add(ANN, State.PENDING, 9)
    writer.end()
    found = open_ledger().known_all([ANN, BOB, CY, DEE])
    assert [entry[1:] for entry in found] == [(State.PENDING, each) for each in (7, 7, 0, 0)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("repeat", ["harmless", "ambiguous"])
def test_intents_of_a_put_that_fails_were_not_sent(started, open_ledger, disk_full, after, repeat):
    writer = started(repeat=repeat)
    writer.put({ANN: 0})
    repair = disk_full(after=after)
    with pytest.raises(MeisaUnreachableError, match="full"):
        writer.put({ANN: 0, BOB: 0})
    repair()
    writer.end()
    later = open_ledger()
    assert state_of(later, ANN) is State.INTENT
    assert state_of(later, BOB) is State.CLEARED


def test_results_of_a_put_that_fails_are_written_later(started, open_ledger, disk_full):
    writer = started()
    writer.put({ANN: 0})
    writer.add(ANN, State.ACCEPTED)
    repair = disk_full(after=False)
    with pytest.raises(MeisaUnreachableError):
        writer.put({BOB: 0})
    repair()
    writer.put({CY: 0})
    assert [state_of(open_ledger(), each) for each in (ANN, BOB, CY)] == [
        State.ACCEPTED,
        State.CLEARED,
        State.INTENT,
    ]


@pytest.mark.parametrize("last_call", ["put", "withdraw", "end"])
def test_results_are_written_although_another_part_is_damaged(started, open_ledger, tmp_path, last_call):
    writer = started()
    writer.put({ANN: 0, BOB: 0})
    writer.add(ANN, State.ACCEPTED)
    damaged = tmp_path / "reactivation" / "1-00.part"
    damaged.write_bytes(b"MEISA")
    with pytest.raises(MeisaLedgerError, match="cut short"):
        {"put": lambda: writer.put({CY: 0}), "withdraw": lambda: writer.withdraw([BOB]), "end": writer.end}[
            last_call
        ]()
    damaged.unlink()
    later = open_ledger()
    assert state_of(later, ANN) is State.ACCEPTED
    assert state_of(later, CY) is None
    assert state_of(later, BOB) is (State.CLEARED if last_call == "withdraw" else State.INTENT)


def test_record_forgotten_meanwhile_is_not_to_be_sent(started, open_ledger):
    writer = started()
    open_ledger().forget([ANN], by="airflow meisa ledger forget")
    assert writer.put({ANN: 0, BOB: 0}) == {ANN}
    writer.add(ANN, State.ACCEPTED)
    writer.withdraw([BOB])
    writer.end()
    assert state_of(open_ledger()) is State.FORGOTTEN


def test_second_run_stops_before_it_sends(started, open_ledger, tmp_path):
    first = started("night 1")
    before = parts_in(tmp_path)
    with pytest.raises(MeisaLedgerBusyError, match=r"night 1.*pool with one slot"):
        started("night 2")
    assert parts_in(tmp_path) == before
    first.put({ANN: 0})
    first.end()
    started("night 2").end()


def test_two_that_start_at_once_do_not_both_send(open_ledger, clock):
    """Both list before either writes: what each writes is seen by the other's second listing."""
    first, second = (open_ledger().writer(run, repeat="ambiguous") for run in ("night 1", "night 2"))
    meet = threading.Barrier(2)
    for writer in (first, second):
        writer._begin_span = lambda writer=writer: (meet.wait(10), type(writer)._begin_span(writer))
    failed = []

    def start(writer):
        try:
            writer.start()
        except MeisaLedgerBusyError:
            failed.append(writer)

    threads = [threading.Thread(target=start, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) in {1, 2}
    for writer in (first, second):
        writer.end()
    retry = open_ledger().writer("night 3", repeat="ambiguous")
    retry.start()


def test_run_that_stops_at_its_start_leaves_no_one_waiting(open_ledger, started, clock):
    """A run that began in between has read the part of the one that gave way."""
    giving_way = open_ledger().writer("night 2", repeat="ambiguous")
    begin = giving_way._begin_span
    first = []
    giving_way._begin_span = lambda: (begin(), first.append(started("night 1")))
    with pytest.raises(MeisaLedgerBusyError):
        giving_way.start()
    (running,) = first
    running.put({ANN: 0})
    running.end()
    started("night 3")


def test_run_that_meets_another_keeps_results_and_stops(started, open_ledger, clock):
    first = started("night 1")
    first.put({ANN: 0})
    clock.now += 2 * HOUR
    second = started("night 2")
    first.add(ANN, State.ACCEPTED)
    with pytest.raises(MeisaLedgerBusyError, match="night 2"):
        first.put({BOB: 0})
    later = open_ledger()
    assert [state_of(later, each) for each in (ANN, BOB)] == [State.ACCEPTED, None]
    first.end()
    second.put({BOB: 0})
    assert state_of(open_ledger(), BOB) is State.INTENT


def test_killed_run_blocks_others_for_an_hour_not_its_retry(started, clock):
    started("night 1").put({ANN: 0})
    clock.now += 59 * MINUTE
    with pytest.raises(MeisaLedgerBusyError):
        started("night 2")
    started("night 1")
    clock.now += 61 * MINUTE
    started("night 2")


def test_deferred_run_blocks_others_for_an_hour_beyond_its_time(started, clock, tmp_path):
    writer = started("night 1")
    writer.put({ANN: 0})
    writer.defer(until=NOON + 3 * HOUR)
    assert len(parts_in(tmp_path)) == 1
    clock.now = NOON + 4 * HOUR - MINUTE
    with pytest.raises(MeisaLedgerBusyError):
        started("night 2")
    resumed = started("night 1")
    resumed.end()
    started("night 2")


def test_compaction_does_not_hide_a_run_that_writes(started, open_ledger, tmp_path):
    first = started("night 1")
    first.put({ANN: 0})
    assert open_ledger().compact()
    assert len(parts_in(tmp_path)) == 1
    with pytest.raises(MeisaLedgerBusyError):
        started("night 2")
    first.add(ANN, State.ACCEPTED)
    first.put({BOB: 0})
    assert open_ledger().compact()
    first.add(BOB, State.ACCEPTED)
    first.end()
    assert [state_of(open_ledger(), each) for each in (ANN, BOB)] == [State.ACCEPTED] * 2
    started("night 2")


@pytest.mark.parametrize("skew", [-DAY, -HOUR, -MINUTE, MINUTE, HOUR, DAY])
def test_end_is_seen_although_the_clocks_of_attempts_differ(started, open_ledger, clock, skew):
    started("night 1").put({ANN: 0})
    clock.now += skew
    retry = started("night 1")
    retry.add(ANN, State.ACCEPTED)
    retry.end()
    clock.now = NOON + MINUTE
    assert state_of(open_ledger()) is State.ACCEPTED
    started("night 2")


def test_clock_that_is_years_ahead_does_not_block_the_ledger(started, open_ledger, clock):
    clock.now += 900 * DAY
    started("wrong clock").put({ANN: 0})
    clock.now = NOON
    writer = started("night 1")
    writer.put({BOB: 0})
    assert open_ledger().known(BOB).written_at < NOON + 2 * HOUR


def test_threads_may_add_while_another_puts(started, open_ledger):
    writer = started()
    people = [f"{number}@private.example" for number in range(400)]
    writer.put(dict.fromkeys(people, 0))

    def add(some):
        for each in some:
            writer.add(each, State.ACCEPTED)
            writer.put()

    threads = [threading.Thread(target=add, args=(people[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.end()
    assert {entry.state for entry in open_ledger().known_all(people)} == {State.ACCEPTED}


def test_ending_twice_writes_once(started, tmp_path):
    writer = started()
    writer.defer(until=NOON + MINUTE)
    before = parts_in(tmp_path)
    writer.end()
    assert parts_in(tmp_path) == before


steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.floats(-3 * HOUR, 3 * HOUR),
        st.sampled_from([state for state in State if state not in {State.FORGOTTEN, State.PENDING}]),
        st.integers(0, 3),
        st.sampled_from(["run", "compact", "killed"]),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(steps)
def test_last_result_stays_over_runs_kills_and_skewed_clocks(tmp_path_factory, steps):
    root = tmp_path_factory.mktemp("ledgers")
    clock, expected = Clock(NOON), {}
    for number, (record_id, skew, state, values_hash, how) in enumerate(steps):
        clock.now = NOON + DAY * number + skew
        ledger = Ledger.open(root, "reactivation", SUBJECT, clock=clock)
        if how == "compact":
            ledger.compact()
        writer = ledger.writer(f"run {number}", repeat="ambiguous")
        writer.start()
        writer.put({record_id: values_hash})
        writer.add(record_id, state, values_hash)
        if how == "killed":
            writer.put()
        else:
            writer.end()
        expected[record_id] = (state, values_hash)
    ledger = Ledger.open(root, "reactivation", SUBJECT, clock=clock)
    assert {each: ledger.known(each)[1:] for each in expected} == expected
    assert ledger.count == len(expected)
