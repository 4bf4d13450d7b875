from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.bulk.ledger.subject import Hasher, Subject
from tests.support.ledgers import SUBJECT

FIELDS = [each.name for each in fields(Subject)]
any_text = st.text(st.characters(codec=None), max_size=30)


@pytest.mark.parametrize("secret", ["", "a secret of the platform team"])
def test_hashes_are_the_same_in_another_deployment(secret):
    one, other = Hasher(SUBJECT, secret), Hasher(replace(SUBJECT), secret)
    assert one.hash_record("a@example.com") == other.hash_record("a@example.com")
    assert one.hash_values(b"{}") == other.hash_values(b"{}")
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("name", FIELDS)
def test_hashes_of_another_subject_differ(name):
    one, other = Hasher(SUBJECT), Hasher(replace(SUBJECT, **{name: "another"}))
    assert one.hash_record("a@example.com") != other.hash_record("a@example.com")


def test_hashes_with_another_secret_differ():
    hashers = [Hasher(SUBJECT, secret) for secret in ("", "one", "two", "x" * 64, "x" * 65)]
    assert len({each.hash_record("a@example.com") for each in hashers}) == len(hashers)
    assert len({each.fingerprint for each in hashers}) == len(hashers)
    assert hashers[0].fingerprint == ""


@given(st.lists(any_text, max_size=5), st.sampled_from(["", "secret"]))
def test_one_and_many_are_hashed_alike(record_ids, secret):
    hasher = Hasher(SUBJECT, secret)
    hashes = hasher.hash_records(record_ids)
    assert list(hashes) == [hasher.hash_record(each) for each in record_ids]
    assert len(set(hashes)) == len(set(record_ids))
    assert all(0 <= each < 1 << 64 for each in hashes)


@given(st.binary(max_size=40))
def test_hash_of_values_has_36_bits_and_is_not_0(canonical):
    assert 0 < Hasher(SUBJECT).hash_values(canonical) < 1 << 36


def test_golden_hashes():
    """What a ledger holds must mean the same in every later release."""
    hasher = Hasher(SUBJECT)
    assert hasher.hash_record("a@example.com") == 9309132114556491408
    assert hasher.hash_values(b'{"plan":"pro"}') == 19809940435
    assert Hasher(SUBJECT, "secret").hash_record("a@example.com") == 3065881490567795010
    assert Hasher(SUBJECT, "secret").fingerprint == "c0acde3c6a4281b5"
