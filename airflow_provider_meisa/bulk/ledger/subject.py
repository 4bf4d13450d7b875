"""The subject of a ledger, and the hashes of record ids."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b

_WHAT = {
    "format": "the ledger format",
    "base_url": "the base URL",
    "environment": "the environment of the API key",
    "product": "the product",
    "job": "the job",
    "target": "the sequence or sync_name",
    "record_id": "what the record id is made of",
    "hash_key": "[meisa] ledger_key",
}
VALUES_SHIFT = 64 - 36
"""What a hash of 64 bits is shifted by to get the bits that an entry holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The subject of a ledger. Two tasks share a ledger only if all fields are the same.

    :param base_url: the base URL of the connection.
    :param environment: ``test`` or ``live``, from ``/ping/``; empty if the response lacks it.
    :param product: the product of the API key, from ``/ping/``; empty if the response lacks it.
    :param job: the job, such as ``enroll`` or ``sync_contacts``.
    :param target: the slug of the sequence, or the ``sync_name``.
    :param record_id: the type of the record id, such as ``address`` or ``column user_id``.
    """

    base_url: str
    environment: str
    product: str
    job: str
    target: str
    record_id: str

    @property
    def salt(self) -> bytes:
        """Return sixteen public bytes, the same in every deployment that writes this ledger."""
        return blake2b(_canonical(asdict(self)), digest_size=16, person=b"meisa ledger").digest()


class Hasher:
    """Hashes record ids and values for one ledger.

    :param secret: ``[meisa] ledger_key``; empty for none. A person with the ledger, its subject and this key can find
        out whether an address is in it.
    """

    def __init__(self, subject: Subject, secret: str = "") -> None:
        self._salt = subject.salt
        # blake2b takes at most 64 bytes of key, so a longer secret is hashed first.
        self._key = blake2b(secret.encode("utf-8", "surrogatepass")).digest() if secret else b""

    @property
    def fingerprint(self) -> str:
        """Return a hash of the secret, to detect another one; empty without a secret."""
        if not self._key:
            return ""
        return blake2b(key=self._key, digest_size=8, salt=self._salt, person=b"fingerprint").hexdigest()

    def hash_record(self, record_id: str) -> int:
        """Return 64 bits of a record id."""
        return self.hash_records((record_id,))[0]

    def hash_records(self, record_ids: Iterable[str]) -> array[int]:
        """Return 64 bits of each of many record ids, in their order."""
        record_ids = record_ids if isinstance(record_ids, Sequence) else list(record_ids)
        try:
            return self._hash_all(list(map(str.encode, record_ids)))
        except UnicodeEncodeError:  # a lone surrogate: rare, and a check beforehand takes time
            return self._hash_all([each.encode("utf-8", "surrogatepass") for each in record_ids])

    def _hash_all(self, record_ids: Iterable[bytes]) -> array[int]:
        hashed = self._blake2b(b"")
        return numbers([hashed(each).digest() for each in record_ids])

    def hash_values(self, canonical: bytes) -> int:
        """Return 36 bits of a record's values, never 0.

        :param canonical: the values as they are sent, in a canonical form.
        """
        return self.hash_all_values((canonical,))[0] >> VALUES_SHIFT or 1

    def hash_all_values(self, canonical: Iterable[bytes]) -> array[int]:
        """Return 64 bits of the values of each of many records, in their order; `hash_values` takes the highest."""
        hashed = self._blake2b(b"values")
        return numbers([hashed(each).digest() for each in canonical])

    def _blake2b(self, person: bytes) -> partial[blake2b]:
        hashed = partial(blake2b, digest_size=8, salt=self._salt)
        # What is empty takes time as well.
        hashed = partial(hashed, person=person) if person else hashed
        return partial(hashed, key=self._key) if self._key else hashed


def numbers(digests: Iterable[bytes]) -> array[int]:
    """Return digests of eight bytes as numbers."""
    found = array("Q", b"".join(digests))
    if sys.byteorder == "big":
        found.byteswap()
    return found


def describe(subject: Subject, hasher: Hasher, version: int) -> dict[str, str | int]:
    """Return the subject for the header of a part."""
    return {"format": version, **asdict(subject), "hash_key": hasher.fingerprint}


def differences(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """Describe the differences between the subject of a part and the expected one."""
    return [
        _difference(name, found.get(name), value)
        for name, value in expected.items()
        if found.get(name) != value
    ]


def _difference(name: str, found: object, expected: object) -> str:
    if name == "hash_key":
        return f"{_WHAT[name]} is another one"
    return f"{_WHAT[name]} is {expected!r}, and in the ledger {found!r}"


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
