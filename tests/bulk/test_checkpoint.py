import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeCounter, OutcomeStatus
from airflow_provider_meisa.bulk.batching import Batch
from airflow_provider_meisa.bulk.checkpoint import Checkpoint, Piece, chained

COUNT = st.integers(0, 10**8)


@st.composite
def checkpoints(draw):
    """Draw any checkpoint that a run of up to fifty million addresses may come to."""
    taken = draw(st.lists(st.integers(0, 10**5), max_size=17, unique=True))
    split = draw(st.integers(0, len(taken)))
    counter = OutcomeCounter()
    counter.add(
        Outcome(draw(st.text(max_size=80)), status, draw(st.text(max_size=200)))
        for status in draw(st.lists(st.sampled_from(OutcomeStatus), max_size=25))
    )
    return Checkpoint(
        next_batch=draw(st.integers(0, 10**5)),
        fingerprint=draw(st.sampled_from(["", "0123456789abcdef" * 2])),
        in_flight=tuple(taken[:split]),
        unsent=tuple(taken[split:]),
        counts={status.value: draw(COUNT) for status in OutcomeStatus},
        attention=tuple(counter.attention),
        requests=draw(COUNT),
        retries=draw(COUNT),
        rate_limited=draw(COUNT),
        waited=draw(st.floats(0, 1e7)),
        started_at=draw(st.floats(1.7e9, 2e9)),
        resumed=draw(st.booleans()),
        complete=draw(st.booleans()),
    )


@given(checkpoints())
def test_a_checkpoint_stays_under_1_kb_whatever_was_met(checkpoint):
    assert len(json.dumps(checkpoint.as_json())) < 1024


def test_a_checkpoint_stays_under_1_kb_where_every_reason_is_long_and_foreign():
    counter = OutcomeCounter()
    counter.add(Outcome("élan@example.com", OutcomeStatus.FAILED, "é" * 200) for _ in range(9))
    checkpoint = Checkpoint(
        next_batch=10**5,
        fingerprint="0" * 32,
        in_flight=tuple(range(99_000, 99_016)),
        unsent=(99_016,),
        counts={status.value: 10**8 for status in OutcomeStatus},
        attention=tuple(counter.attention),
    )
    assert len(json.dumps(checkpoint.as_json())) < 1024


@given(checkpoints())
def test_a_checkpoint_comes_back_from_json_as_it_was_written(checkpoint):
    written = json.loads(json.dumps(checkpoint.as_json()))
    again = Checkpoint.from_json(written)
    assert again.as_json() == written
    for exact in ("next_batch", "fingerprint", "in_flight", "unsent", "started_at", "resumed", "complete"):
        assert getattr(again, exact) == getattr(checkpoint, exact)
    assert dict(again.counts) == {name: count for name, count in checkpoint.counts.items() if count}


def test_the_first_that_need_attention_are_kept():
    counter = OutcomeCounter()
    counter.add(Outcome(f"person{n}@example.com", OutcomeStatus.FAILED, "refused") for n in range(9))
    kept = Checkpoint(attention=tuple(counter.attention)).as_json()["attention"]
    assert kept == [{"address": "p***@***.com", "status": "failed", "reason": "refused"}] * 4


@pytest.mark.parametrize(
    "value",
    [
        {**Checkpoint().as_json(), "version": 2},
        {**Checkpoint().as_json(), "colour": "blue"},
        {name: value for name, value in Checkpoint().as_json().items() if name != "unsent"},
        {},
        [],
        "next_batch",
        7,
        None,
    ],
    ids=["another version", "a field more", "a field less", "empty", "a list", "text", "a number", "nothing"],
)
def test_what_this_version_has_not_written_is_refused_and_the_message_says_what_to_delete(value):
    with pytest.raises(MeisaInputError, match=r"the task's state 'meisa'.*meisa__"):
        Checkpoint.from_json(value)


def test_the_fingerprint_tells_apart_addresses_order_cuts_and_what_was_set_aside():
    ada, grace = "ada@example.com", "grace@example.com"
    aside = (Outcome("x", OutcomeStatus.INVALID),)
    prints = [
        chained(chained("", Batch(0, (ada,))), Batch(1, (grace,))),
        chained(chained("", Batch(0, (grace,))), Batch(1, (ada,))),
        chained("", Batch(0, (ada, grace))),
        chained("", Batch(0, (ada, grace), aside)),
        chained("", Batch(0, (ada,))),
        chained("", Batch(0, ())),
    ]
    assert len(set(prints)) == len(prints)
    assert {len(each) for each in prints} == {32}


def test_the_fingerprint_takes_an_address_with_half_a_surrogate_pair():
    assert chained("", Batch(0, ("a\ud800@example.com",))) != chained("", Batch(0, ("a@example.com",)))


@pytest.mark.parametrize(
    ("checkpoint", "has_doubts"),
    [
        (Checkpoint(), False),
        (Checkpoint(unsent=(1,), pieces=(Piece(2, 0, 9, "unsent"),)), False),
        (Checkpoint(in_flight=(1,)), True),
        (Checkpoint(pieces=(Piece(2, 0, 9, "in_flight"),)), True),
        (Checkpoint(pieces=(Piece(2, 0, 9, "resent"),)), True),
    ],
)
def test_pieces_in_flight_are_doubts_too(checkpoint, has_doubts):
    assert checkpoint.has_doubts is has_doubts
