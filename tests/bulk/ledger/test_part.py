from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.bulk.ledger import part as part_module
from airflow_provider_meisa.bulk.ledger.part import DamagedPartError, Part, decode, encode

GOLDEN = Path(__file__).parents[2] / "data" / "ledger_format_1.part"
u64 = st.integers(0, (1 << 64) - 1)


def reading(content):
    return lambda offset, most: content[offset : offset + most]


def part_of(entries, header=None):
    hashes = array("Q", sorted(entries))
    return Part(header or {"subject": {}}, hashes, array("Q", [entries[each] for each in hashes]))


def content_of(part):
    return b"".join(map(bytes, encode(part)))


SMALL = content_of(part_of({1: 2, 3: 4, 5: 6}, {"a": "b"}))


@pytest.fixture(params=[1 << 23, 8, 1], ids="block {}".format)
def blocks(request, monkeypatch):
    """Read in blocks that end anywhere."""
    monkeypatch.setattr(part_module, "BLOCK", max(8, request.param))
    monkeypatch.setattr(part_module, "FIRST_BLOCK", max(36, request.param))


@given(st.dictionaries(u64, u64, max_size=40), st.dictionaries(st.text(max_size=5), st.text(max_size=9)))
def test_part_survives(entries, header):
    part = part_of(entries, header)
    assert decode(reading(content_of(part))) == part


def test_part_survives_in_blocks(blocks):
    part = part_of({each * each: each for each in range(100)}, {"text": "ä" * 50})
    assert decode(reading(content_of(part))) == part


def test_every_truncation_is_noticed(blocks):
    for length in range(len(SMALL)):
        with pytest.raises(DamagedPartError, match=r"cut short|checksum"):
            decode(reading(SMALL[:length]))


def test_every_flipped_bit_is_noticed(blocks):
    for place in range(len(SMALL)):
        for bit in range(8):
            damaged = bytearray(SMALL)
            damaged[place] ^= 1 << bit
            with pytest.raises(DamagedPartError):
                decode(reading(bytes(damaged)))


def test_every_swap_of_bytes_is_noticed():
    for one in range(len(SMALL)):
        for other in range(one):
            if SMALL[one] != SMALL[other]:
                damaged = bytearray(SMALL)
                damaged[one], damaged[other] = damaged[other], damaged[one]
                with pytest.raises(DamagedPartError):
                    decode(reading(bytes(damaged)))


@given(st.binary(min_size=1, max_size=40))
def test_anything_behind_a_part_is_noticed(more):
    with pytest.raises(DamagedPartError, match="too long"):
        decode(reading(SMALL + more))


def test_byte_behind_the_last_block_is_noticed(blocks):
    with pytest.raises(DamagedPartError, match="too long"):
        decode(reading(SMALL + b"\0"))


@given(st.binary(max_size=200))
def test_other_files_are_no_parts(content):
    with pytest.raises(DamagedPartError):
        decode(reading(content))


def test_damaged_count_takes_no_memory():
    damaged = bytearray(SMALL)
    damaged[18] = 0xFF
    with pytest.raises(DamagedPartError, match="cut short"):
        decode(reading(bytes(damaged)))


def test_format_1_is_read_and_written_as_ever():
    content = GOLDEN.read_bytes()
    part = decode(reading(content))
    assert part.header["subject"] == {
        "format": 1,
        "base_url": "https://api.meisa.io/api/v1",
        "environment": "live",
        "product": "shop",
        "job": "enroll",
        "target": "reactivation",
        "record_id": "address",
        "hash_key": "",
    }
    assert content_of(part) == content


def test_numbers_are_little_endian_on_every_machine(monkeypatch):
    monkeypatch.setattr("sys.byteorder", "big")
    part = part_of({1: 2})
    assert content_of(part).endswith((1).to_bytes(8, "big") + (2).to_bytes(8, "big"))
    assert decode(reading(content_of(part))) == part
