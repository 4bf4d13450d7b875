from __future__ import annotations

import json
import random
import sys
import tracemalloc
from collections import UserString

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.batching import Batch
from airflow_provider_meisa.bulk.input_shapes import addresses_from
from airflow_provider_meisa.bulk.record_ids import RecordIds
from airflow_provider_meisa.jobs import addresses
from airflow_provider_meisa.jobs.addresses import check, key_of, normalise, validation_error
from tests.support.jobs import enroll_batches

wild_text = st.text(st.characters(codec=None), max_size=30)
near_addresses = st.text("aB9.-_@ \n\"'()[]<>,;:\\\t\u00fc\u200b\ufeff", max_size=20)
some_addresses = st.sampled_from(
    ["a@b.example", "A@b.example", " a@B.example\ufeff", "c@d.example", "ü@ñ.example", "e@f.example"]
)
rows = st.one_of(
    some_addresses,
    some_addresses.map(str.encode),
    near_addresses,
    wild_text,
    st.none(),
    st.just(float("nan")),
)


def people(number: int) -> list[str]:
    return [f"person.{i}@example.com" for i in range(number)]


def outcome(raw: object) -> Outcome:
    found = check(raw)
    assert isinstance(found, Outcome)
    return found


_SYMBOL_BEFORE = "a symbol or foreign punctuation before the @"
_SYMBOL_IN = "a symbol or foreign punctuation in the domain"
_TOP = "a top-level domain of one letter, or with a digit"


@given(source=st.lists(rows, max_size=60), size=st.integers(1, 7))
def test_every_input_is_in_one_batch_once_and_in_order(source, size):
    cut = list(enroll_batches(source, size))
    sent = [address for batch in cut for address in batch.items]
    assert sum(len(batch.items) + len(batch.set_aside) for batch in cut) == len(source)
    assert [batch.number for batch in cut] == list(range(len(cut)))
    assert all(len(batch.items) <= size for batch in cut)
    assert all(len(batch.items) == size for batch in cut[:-1])
    assert len({key_of(address) for address in sent}) == len(sent)
    found = [address for address in map(check, source) if isinstance(address, str)]
    assert sent == [a for i, a in enumerate(found) if key_of(a) not in map(key_of, found[:i])]
    assert all(validation_error(address) is None for address in sent)


@given(st.lists(rows, max_size=30))
def test_the_same_source_gives_the_same_batches(source):
    assert list(enroll_batches(source, 3)) == list(enroll_batches(iter(source), 3))


@given(wild_text | near_addresses)
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once
    assert key_of(once) == key_of(text)


@given(near_addresses | st.from_regex(r"[a-z0-9!%'+.-]{1,66}@[a-zA-Z0-9.-]{1,70}\Z", fullmatch=True))
def test_the_quick_check_agrees_with_the_reasons(text):
    address = normalise(text)
    quick = bool(addresses._PLAIN.fullmatch(address.lower())) and len(address) <= 254
    assert quick == (address.isascii() and validation_error(address) is None)


@given(rows)
def test_a_reason_never_holds_what_was_given(raw):
    found = check(raw)
    if isinstance(found, Outcome):
        assert found.status is OutcomeStatus.INVALID
        assert found.reason.isprintable()
        assert "@" not in found.reason.replace("no @", "").replace("the @", "").replace("one @", "")
        found.address.encode()


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        ("jane@example.com", "jane@example.com"),
        ("  jane@example.com\n", "jane@example.com"),
        ("\u200e\u202ajane@example.com\u202c\u200f", "jane@example.com"),
        ("\u00adjane@example.com\u2069\u061c", "jane@example.com"),
        ("jane@example.com\x00\x00\x00", "jane@example.com"),
        ("jane@example.com\r\n\x1a", "jane@example.com"),
        ("\u3164jane@example.com \ufe0f", "jane@example.com"),
        ("jane@example.xn--90ae", "jane@example.xn--90ae"),
        ("jane@example.co-op", "jane@example.co-op"),
        ("jordi@col·legi.cat", "jordi@col·legi.cat"),
        ("สมชายนำ@ตัวอย่าง.ไทย", "สมชายนำ@ตัวอย่าง.ไทย"),
        ("ローマ・カトリック@例え.テスト", "ローマ・カトリック@例え.テスト"),
        ("张伟@例子.中国", "张伟@例子.中国"),
        ("\u00a0\u3000\ufeffjane@example.com\u200b\u2060", "jane@example.com"),
        ("Jane.Doe@EXAMPLE.Com", "Jane.Doe@example.com"),
        (b"jane@example.com", "jane@example.com"),
        ("jané@example.com", "jané@example.com"),
        ("ИВАН@Пример.РФ", "ИВАН@пример.рф"),
        ("राम@उदाहरण.भारत", "राम@उदाहरण.भारत"),
        ("o'brien+news@mail.example.co.uk", "o'brien+news@mail.example.co.uk"),
        ("a@xn--mnchen-3ya.example", "a@xn--mnchen-3ya.example"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
        ("a@" + "b" * 63 + ".example", "a@" + "b" * 63 + ".example"),
        ("a@1.example", "a@1.example"),
    ],
)
def test_an_address_is_trimmed_and_its_domain_lowered(raw, address):
    assert check(raw) == address


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "empty"),
        (" \ufeff ", "empty"),
        ("jane", "no @"),
        ("jane.example.com", "no @"),
        ("x" * 288 + "@example.com", "longer than 254 octets"),
        ("ж" * 125 + "@example.com", "longer than 254 octets"),
        ("ж" * 33 + "@example.com", "more than 64 octets before the @"),
        ("a" * 65 + "@example.com", "more than 64 octets before the @"),
        ('"jane doe"@example.com', "quoted local part"),
        ("a@b@example.com", "more than one @"),
        ("jane doe@example.com", "white space inside"),
        ("jane@exam\u2003ple.com", "white space inside"),
        ("jane\x00@example.com", "control or invisible character inside"),
        ("ja\u200bne@example.com", "control or invisible character inside"),
        ("\ud800@example.com", "control or invisible character inside"),
        ("@example.com", "nothing before the @"),
        ("jane@", "nothing after the @"),
        (".jane@example.com", "a dot at an edge or two dots before the @"),
        ("jane.@example.com", "a dot at an edge or two dots before the @"),
        ("ja..ne@example.com", "a dot at an edge or two dots before the @"),
        ("Jane<jane@example.com", "a character that is not allowed before the @"),
        ("a@localhost", "a domain without a dot"),
        ("a@example..com", "a dot at an edge or two dots in the domain"),
        ("a@.example.com", "a dot at an edge or two dots in the domain"),
        ("a@example.com.", "a dot at an edge or two dots in the domain"),
        ("a@exa_mple.com", "a character that is not allowed in a domain"),
        ("jane@example.com>", "a character that is not allowed in a domain"),
        ("a@" + "b" * 64 + ".example", "a domain label over 63 characters"),
        ("a@-b.example", "a hyphen at the edge of a domain label"),
        ("a@b-.example", "a hyphen at the edge of a domain label"),
        ("a@192.0.2.1", "a domain that ends in a number"),
        ("\u201cjane\u201d@example.com", _SYMBOL_BEFORE),
        ("jane\u2019s@example.com", _SYMBOL_BEFORE),
        ("\u00abjane\u00bb@example.com", _SYMBOL_BEFORE),
        ("jane\u2026@example.com", _SYMBOL_BEFORE),
        ("jane\u2013doe@example.com", _SYMBOL_BEFORE),
        ("jane\uff0edoe@example.com", _SYMBOL_BEFORE),
        ("\uff4a\uff41\uff4e\uff45@example.com", _SYMBOL_BEFORE),
        ("jane\U0001f600@example.com", _SYMBOL_BEFORE),
        ("jane\u2709\ufe0f@example.com", _SYMBOL_BEFORE),
        ("\U0001d423ane@example.com", _SYMBOL_BEFORE),
        ("jane\ufe0f@example.com", _SYMBOL_BEFORE),
        ("jane\u3164@example.com", _SYMBOL_BEFORE),
        ("jane\u20ac@example.com", _SYMBOL_BEFORE),
        ("jane@example\uff0ecom", "a domain without a dot"),
        ("jane@mail\uff0cexample.com", _SYMBOL_IN),
        ("jane@\uff45xample.com", _SYMBOL_IN),
        ("jane@example.com\u3002", _SYMBOL_IN),
        ("jane@example.com\u201d", _SYMBOL_IN),
        ("jane@\U0001f4a9.example", _SYMBOL_IN),
        ("jane\uff20example.com", "no @"),
        ("jane\u00ad@example.com", "control or invisible character inside"),
        ("jane@example.com\u200e, x@example.com", "more than one @"),
        ("jane@example.c", _TOP),
        ("jane@example.c0m", _TOP),
        ("jane@例子.中", _TOP),
        ("jane@example.com2", _TOP),
        ("jane@example.1a", _TOP),
        (None, "no value (None)"),
        (float("nan"), "no value (float)"),
    ],
)
def test_what_is_no_address_is_invalid_with_its_own_reason(raw, reason):
    assert (outcome(raw).status, outcome(raw).reason) == (OutcomeStatus.INVALID, reason)


@pytest.mark.parametrize(
    "raw",
    [
        "Ada Lovelace",
        " ADA ",
        "Ada Lovelace <Ada@Example.COM>",
        "\u201cAda\u201d@Example.COM\u200e",
        "Customer-ID 4711-B\u00a0",
        "a" * 320,
    ],
)
def test_invalid_text_is_kept_as_it_came(raw):
    assert outcome(raw).address == raw


def test_values_that_are_not_text_are_found_by_their_row(caplog):
    rows = [*people(500), None, "a@b.example", float("nan"), *people(500)]
    found = [one for batch in enroll_batches(rows) for one in batch.set_aside if not one.address]
    assert [one.reason for one in found] == ["no value (None), row 501", "no value (float), row 503"]
    with pytest.raises(MeisaInputError, match=r"The audience, row 1,002: a value of type int, not text"):
        list(enroll_batches([*people(1001), 17]))


def test_letters_beyond_ascii_before_the_at_are_warned_of(caplog):
    odd = ["josé@example.com", "иван@example.com", "ivan@пример.рф"]
    assert sum(len(batch.items) for batch in enroll_batches([*people(3), *odd])) == 6
    assert "2 addresses with letters beyond ASCII before the @: sent as they are." in caplog.text
    caplog.clear()
    list(enroll_batches([*people(3), odd[2], "jos\u00e9 @example.com"]))
    assert "beyond ASCII" not in caplog.text


def test_what_cannot_be_shown_whole_is_cut():
    assert outcome("x" * 1_000_000).address == "x" * 320
    assert outcome("\ud800").address == "?"
    assert outcome(None).address == ""


@pytest.mark.parametrize(
    "raw",
    [
        17,
        1.5,
        b"\xff",
        {"email": "a@example.com"},
        ("a@example.com", "Jane"),
        ["a@example.com"],
        UserString("a@example.com"),
    ],
)
def test_another_type_stops_before_its_batch(raw):
    """A value that is not text is a mistake in the DAG, not a bad address."""
    cut = enroll_batches([*people(3), raw], 2)
    assert next(cut).items == tuple(people(2))
    with pytest.raises(MeisaInputError, match=r"not text|not UTF-8"):
        next(cut)


def test_a_subclass_of_str_becomes_a_plain_string():
    class Markup(str):
        __slots__ = ()

        def strip(self, *_):
            return self

    assert type(check(Markup("a@b.example"))) is str


@pytest.mark.parametrize(
    "odd",
    [
        "a@b.example\nc@d.example",
        "a@b.example\n",
        "A@b.example",
        b"a@b.example",
        None,
        "x" * 64 + "@" + "b.example" + ".example" * 24,
        "a@b.1",
        "a@" + "b" * 64 + ".example",
    ],
)
def test_odd_value_among_plain_addresses_is_read_as_alone(odd):
    (batch,) = enroll_batches([*people(3), odd, "z@b.example"])
    found = check(odd, 4)
    aside = (found,) if isinstance(found, Outcome) else ()
    kept = () if aside else (found,)
    assert batch.items == (*people(3), *kept, "z@b.example")
    assert batch.set_aside == aside


def test_subclass_of_str_among_plain_addresses_becomes_plain():
    class Marked(str):
        __slots__ = ()

    (batch,) = enroll_batches([*people(3), Marked("a@b.example")])
    assert {type(address) for address in batch.items} == {str}


def test_501_addresses_are_a_full_batch_and_one():
    assert [len(batch.items) for batch in enroll_batches(people(501))] == [500, 1]


def test_10_000_addresses_are_20_full_batches():
    cut = list(enroll_batches(people(10_000)))
    assert [len(batch.items) for batch in cut] == [500] * 20
    assert [address for batch in cut for address in batch.items] == people(10_000)


def test_an_empty_list_is_no_batch():
    assert list(enroll_batches([])) == []


def test_upper_case_duplicates_are_set_aside():
    (batch,) = enroll_batches(["Jane@Example.com", "JANE@EXAMPLE.COM", " jane@example.com"])
    assert batch.items == ("Jane@example.com",)
    assert batch.set_aside == (
        Outcome("JANE@example.com", OutcomeStatus.DUPLICATE, "appears earlier in the input"),
        Outcome("jane@example.com", OutcomeStatus.DUPLICATE, "appears earlier in the input"),
    )


def test_none_in_the_list_is_set_aside():
    (batch,) = enroll_batches(["a@b.example", None, "c@d.example"])
    assert batch.items == ("a@b.example", "c@d.example")
    assert [aside.status for aside in batch.set_aside] == [OutcomeStatus.INVALID]


def test_a_source_of_nothing_valid_is_one_batch_without_addresses():
    (batch,) = enroll_batches([None, ""])
    assert batch.items == ()
    assert len(batch.set_aside) == 2


def test_a_long_run_of_invalid_rows_is_handed_over_in_parts_and_keeps_the_addresses():
    cut = list(enroll_batches(["a@b.example", *[None] * 25_000, "c@d.example"]))
    assert [batch.number for batch in cut] == [0, 1, 2]
    assert [len(batch.set_aside) for batch in cut] == [10_000, 10_000, 5_000]
    assert [batch.items for batch in cut] == [(), (), ("a@b.example", "c@d.example")]


def test_the_source_is_read_no_further_than_needed():
    read = []
    source = (read.append(address) or address for address in people(1_000))
    next(iter(enroll_batches(source, 10)))
    assert len(read) == 500


@pytest.mark.parametrize("size", [0, -1, 501])
def test_a_size_out_of_range_is_refused_at_once(size):
    with pytest.raises(MeisaInputError, match="1 to 500"):
        enroll_batches([], size)


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("jane@example.com", "render_template_as_native_obj"),
        (b"jane@example.com", "is a bytes; pass a list"),
        ({"jane@example.com": 1}, "is a dict; pass a list"),
        ({"jane@example.com"}, r"pass sorted\(emails\)"),
        (None, "of type NoneType; pass a list"),
        (17, "of type int; pass a list"),
    ],
)
def test_what_is_no_list_is_refused_at_once_without_its_content(source, advice):
    for read in (enroll_batches, addresses_from):
        with pytest.raises(MeisaInputError, match=advice) as refused:
            read(source)
        assert "jane" not in str(refused.value)
        assert refused.value.__context__ is None


@given(st.lists(some_addresses | st.none()))
def test_the_text_of_a_list_is_read_as_the_list(source):
    assert addresses_from(str(source)) == source
    assert addresses_from(f" {json.dumps(source)}\n") == source
    assert addresses_from(str(tuple(source))) == tuple(source)
    assert addresses_from(source) is source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jane@example.com",
        "[jane@example.com",
        "{'a': 1}",
        '{"a": 1}',
        "['a'] + ['b']",
        "[" * 100_000,
        "\x00",
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_the_text_of_anything_else_is_refused(text):
    with pytest.raises(MeisaInputError, match="pass a list") as refused:
        addresses_from(text)
    assert "jane" not in str(refused.value)


def test_a_batch_does_not_show_addresses():
    (batch,) = enroll_batches(["jane@example.com", None])
    assert repr(batch) == "Batch(0, 1 items, 1 not to send)"
    assert Batch(0, ()).set_aside == ()


@given(st.lists(wild_text, max_size=50))
def test_record_ids_is_a_set(keys):
    ours, theirs = RecordIds(), set()
    for key in keys:
        assert ours.add(key) == (key not in theirs)
        theirs.add(key)
    assert len(ours) == len(theirs)


def test_record_ids_grows_and_forgets_nothing():
    keys = people(20_000)
    random.Random(1).shuffle(keys)
    seen = RecordIds()
    assert all(seen.add(key) for key in keys)
    assert not any(seen.add(key) for key in keys)
    assert len(seen) == 20_000


class Colliding(str):
    __slots__ = ()

    def __hash__(self):
        return int(self)


def test_record_ids_tells_hashes_that_share_a_slot_apart_and_takes_a_hash_of_zero():
    seen = RecordIds()
    keys = [Colliding(i << 20) for i in range(5_000)]
    assert all(seen.add(key) for key in keys[:50] + keys[-50:])
    assert not any(seen.add(key) for key in keys[:50])
    fresh = RecordIds()
    assert fresh.add(Colliding(0))
    assert not fresh.add(Colliding(0))


def test_growing_finds_a_free_slot_for_hashes_that_share_one():
    seen = RecordIds()
    keys = [Colliding(i % 3 * (1 << 40) + i // 3 + 2) for i in range(3_000)]
    assert all(seen.add(key) for key in keys)
    assert not any(seen.add(key) for key in keys)


def test_record_ids_takes_at_most_24_bytes_an_address_and_40_while_it_grows():
    seen = RecordIds()
    tracemalloc.start()
    for i in range(100_000):
        seen.add(f"person.{i}@example.com")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sys.getsizeof(seen) <= 24 * 100_000
    assert peak <= 40 * 100_000
