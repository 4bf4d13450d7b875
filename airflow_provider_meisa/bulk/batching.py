"""From whatever a warehouse gives to batches: trimmed, checked, each address once.

What counts as an address is what can be sent, not all that RFC 5322 can spell: no quoted local part, no
comment, no IP literal, a domain with a dot. Letters of any script are accepted on both sides of the ``@``
(RFC 6531) and sent as they are; no domain is converted to ``xn--`` and nothing is Unicode-normalised, because
Meisa must see what the warehouse holds. Two spellings that differ only in case are one address.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, Verdict
from airflow_provider_meisa.bulk.address_set import AddressSet
from airflow_provider_meisa.bulk.input_shapes import EDGES, readable, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGEST_BATCH = 500
"""How many addresses one bulk-enroll request takes."""

_MOST_SET_ASIDE = 10_000
_LONGEST_SHOWN = 320

# RFC 5321 §4.5.3.1.1 (64) and §4.5.3.1.3 less the brackets (254); RFC 1035 §2.3.4 (63).
_LONGEST, _LONGEST_LOCAL, _LONGEST_LABEL = 254, 64, 63
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]++"
_LABEL = r"[a-z0-9][a-z0-9-]{0,62}+(?<!-)"
_PLAIN = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*+@(?:{_LABEL}\.)++(?![0-9]+\Z){_LABEL}")
_NOT_IN_LOCAL = re.compile(r"[()<>\[\]:;,\\\"]")
_NOT_IN_DOMAIN = re.compile(r"[\x00-\x2c/:-@\[-`{-\x7f]")


@dataclass(frozen=True, slots=True)
class Batch:
    """Addresses for one request, and what was set aside while they were gathered.

    :param number: counts every batch of an audience from 0, also one without addresses.
    :param addresses: at most as many as asked for, in the order of the source; empty where a long run of the
        source held none, and at the end.
    :param set_aside: outcomes ``invalid`` and ``duplicate``, in the order of the source.
    """

    number: int
    addresses: tuple[str, ...]
    set_aside: tuple[Outcome, ...] = ()

    def __repr__(self) -> str:
        return f"Batch({self.number}, {len(self.addresses)} addresses, {len(self.set_aside)} set aside)"


def normalise(text: str) -> str:
    """Trim an address and lower the case of its domain.

    The local part keeps its case, as RFC 5321 §2.4 asks. White space of any script, byte order marks and
    zero-width characters fall off both ends.
    """
    # str.strip, because a subclass (jinja2's Markup) would return itself.
    address = str.strip(text, EDGES)
    local, at, domain = address.rpartition("@")
    return local + at + domain.lower()


def key_of(address: str) -> str:
    """Make the text by which two spellings of one address are told to be the same."""
    return address.strip(EDGES).lower()


def fault_of(address: str) -> str | None:
    """Say in a few words why a normalised text is not an address; ``None`` where it is one."""
    return next((reason for reason, applies in _FAULTS if applies(address)), None)


def check(raw: object) -> str | Outcome:
    """Read one value of a source: its normalised address, or the outcome ``invalid``.

    :param raw: a string, UTF-8 bytes, or ``None`` for a row that has no address.
    :raises MeisaInputError: if it is of another type, which is no bad address but a mistake in the DAG.
    """
    text = raw if type(raw) is str else text_of(raw, lambda: "The audience")
    if text is None:
        return Outcome("", Verdict.INVALID, "no value (None)")
    address = normalise(text)
    if len(address) <= _LONGEST and _PLAIN.fullmatch(address.lower()):
        return address
    fault = fault_of(address)
    return address if fault is None else Outcome(_shown(address), Verdict.INVALID, fault)


def batches(source: Iterable[object], size: int = LARGEST_BATCH) -> Iterator[Batch]:
    """Cut a source into batches as it is read, each valid address once.

    The same source gives the same batches with the same numbers. Memory does not grow with the source but for
    12 to 24 bytes an address that keep duplicates out (:class:`AddressSet`).

    :param source: strings, and ``None`` for rows without an address, in an order that a second reading repeats.
        `AddressReader` makes them of other shapes.
    :param size: addresses a batch, 1 to 500.
    :raises MeisaInputError: if the source is not a list of addresses, or the size is out of range; and while
        reading, before the batch that holds it is given, for a value that is not text.
    """
    if not _fits(size):
        raise MeisaInputError(f"A batch holds 1 to {LARGEST_BATCH} addresses; change the batch size.")
    return _cut(readable(source), size)


def without(batch: Batch, suppressed: Container[str]) -> Batch:
    """Set aside the addresses of a batch whose keys are known to be suppressed.

    :param suppressed: keys, as `key_of` makes them.
    """
    if suppressed == ():
        return batch
    sent = tuple(address for address in batch.addresses if key_of(address) not in suppressed)
    if len(sent) == len(batch.addresses):
        return batch
    known = (address for address in batch.addresses if key_of(address) in suppressed)
    reason = "on Meisa's list of unsubscribed addresses"
    aside = tuple(Outcome(address, Verdict.SUPPRESSED, reason) for address in known)
    return replace(batch, addresses=sent, set_aside=(*batch.set_aside, *aside))


def _cut(source: Iterable[object], size: int) -> Iterator[Batch]:
    rest = iter(source)
    seen = AddressSet()
    number = 0
    addresses: list[str] = []
    set_aside: list[Outcome] = []
    # As many as find room whatever they are: the source is read no further than needed.
    while values := list(islice(rest, min(size - len(addresses), _MOST_SET_ASIDE - len(set_aside)))):
        _sort(values, seen, addresses, set_aside)
        if len(addresses) == size:
            yield Batch(number, tuple(addresses), tuple(set_aside))
            number, addresses, set_aside = number + 1, [], []
        elif len(set_aside) == _MOST_SET_ASIDE:
            # The addresses stay for the next batch: a request is scarcer than memory for 499 of them.
            yield Batch(number, (), tuple(set_aside))
            number, set_aside = number + 1, []
    if addresses or set_aside:
        yield Batch(number, tuple(addresses), tuple(set_aside))


def _sort(values: list[object], seen: AddressSet, addresses: list[str], set_aside: list[Outcome]) -> None:
    for found in map(check, values):
        if isinstance(found, Outcome):
            set_aside.append(found)
        elif seen.add(found.lower()):
            addresses.append(found)
        else:
            set_aside.append(_duplicate(found))


def _duplicate(address: str) -> Outcome:
    return Outcome(address, Verdict.DUPLICATE, "stands earlier in the input")


def _fits(size: object) -> bool:
    return isinstance(size, int) and 1 <= size <= LARGEST_BATCH


def _shown(address: str) -> str:
    """Cut what is no address to a length and to characters that an outcome file can hold."""
    return address[:_LONGEST_SHOWN].encode("utf-8", "replace").decode("utf-8")


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _local(address: str) -> str:
    return address.rpartition("@")[0]


def _labels(address: str) -> list[str]:
    return address.rpartition("@")[2].split(".")


# In this order: the first that applies is the reason, and the later ones rely on the earlier.
_FAULTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("empty", lambda a: not a),
    (f"longer than {_LONGEST} octets", lambda a: _octets(a) > _LONGEST),
    ("no @", lambda a: "@" not in a),
    ("quoted local part", lambda a: a.startswith('"')),
    ("more than one @", lambda a: a.count("@") > 1),
    ("white space inside", lambda a: any(c.isspace() for c in a)),
    ("control or invisible character inside", lambda a: not a.isprintable()),
    ("nothing before the @", lambda a: a.startswith("@")),
    ("nothing after the @", lambda a: a.endswith("@")),
    (f"more than {_LONGEST_LOCAL} octets before the @", lambda a: _octets(_local(a)) > _LONGEST_LOCAL),
    ("a dot at an edge or two dots before the @", lambda a: not all(_local(a).split("."))),
    ("a character that is not allowed before the @", lambda a: bool(_NOT_IN_LOCAL.search(_local(a)))),
    ("a domain without a dot", lambda a: len(_labels(a)) == 1),
    ("a dot at an edge or two dots in the domain", lambda a: not all(_labels(a))),
    ("a character that is not allowed in a domain", lambda a: any(map(_NOT_IN_DOMAIN.search, _labels(a)))),
    (
        f"a domain label over {_LONGEST_LABEL} characters",
        lambda a: max(map(len, _labels(a))) > _LONGEST_LABEL,
    ),
    ("a hyphen at the edge of a domain label", lambda a: any(x != x.strip("-") for x in _labels(a))),
    ("a domain that ends in a number", lambda a: _labels(a)[-1].isdecimal()),
)
