import random
from array import array

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.bulk.ledger import index
from airflow_provider_meisa.bulk.ledger.entry import Entry, State, pack
from airflow_provider_meisa.bulk.ledger.index import GrowingIndex, Index, merge

record_hashes = st.one_of(
    st.integers(0, (1 << 64) - 1), st.integers(0, 9), st.integers((1 << 64) - 9, (1 << 64) - 1)
)
packed = st.builds(pack, st.builds(Entry, st.integers(0, 99), st.sampled_from(State), st.integers(0, 9)))
parts = st.lists(st.dictionaries(record_hashes, packed, max_size=12), max_size=6)


def columns_of(entries):
    hashes = array("Q", sorted(entries))
    return hashes, array("Q", [entries[each] for each in hashes])


def united(dicts):
    merged = {}
    for entries in dicts:
        for each, value in entries.items():
            merged[each] = max(value, merged.get(each, 0))
    return merged


def as_dict(columns):
    assert list(columns[0]) == sorted(set(columns[0]))
    return dict(zip(*columns, strict=True))


@given(parts, st.randoms(use_true_random=False))
def test_merge_keeps_the_larger_in_any_order_and_grouping(dicts, chance):
    expected = united(dicts)
    columns = [columns_of(each) for each in dicts]
    assert as_dict(merge(columns)) == expected
    shuffled = columns + columns[: chance.randint(0, len(columns))]
    chance.shuffle(shuffled)
    cut = chance.randint(0, len(shuffled))
    grouped = merge([merge(shuffled[:cut]), merge(shuffled[cut:])])
    assert grouped == merge(columns)
    assert merge([grouped, grouped]) == grouped


@given(parts)
def test_merge_in_many_ranges_is_the_same(dicts):
    columns = [columns_of(each) for each in dicts]
    whole = merge(columns)
    before, index._RANGE = index._RANGE, 1
    try:
        assert merge(columns) == whole
    finally:
        index._RANGE = before


@given(
    st.dictionaries(record_hashes, packed, min_size=34, max_size=60),
    st.dictionaries(record_hashes, packed, max_size=1),
    st.integers(0, 33),
    packed,
)
def test_few_entries_are_merged_into_many(many, few, place, entry):
    few = few or {sorted(many)[place]: entry}
    expected = united([many, few])
    assert as_dict(merge([columns_of(many), columns_of(few)])) == expected
    assert merge([columns_of(few), columns_of(many)]) == columns_of(expected)


@given(st.dictionaries(record_hashes, packed, max_size=60), st.lists(record_hashes, max_size=10))
def test_index_finds_what_is_in_it_and_nothing_else(entries, others):
    found = Index(columns_of(entries))
    asked = [*entries, *others]
    assert [found.find(each) for each in asked] == [entries.get(each, 0) for each in asked]
    assert found.find_all(asked) == [entries.get(each, 0) for each in asked]


def test_index_finds_each_of_many():
    chance = random.Random(5)
    entries = {chance.getrandbits(64): pack(Entry(n, State.ACCEPTED)) for n in range(50_000)}
    found = Index(columns_of(entries))
    assert found.find_all(list(entries)) == list(entries.values())
    assert not any(found.find(each ^ 1) for each in entries if each ^ 1 not in entries)


def test_growing_index_keeps_what_it_was_given(monkeypatch):
    monkeypatch.setattr(index, "_FEWEST_RECENT", 50)
    chance = random.Random(6)
    growing, expected = GrowingIndex(), {}
    assert not growing
    for number in range(2000):
        each, value = chance.getrandbits(10) << 54, pack(Entry(chance.randrange(100), State.INTENT, number))
        growing.add(each, value)
        expected[each] = max(value, expected.get(each, 0))
    assert growing
    assert all(growing.find(each) == value for each, value in expected.items())
    assert as_dict(growing.columns()) == expected
