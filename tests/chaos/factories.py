"""The people of one run: what the source holds, and what is true of each before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import count

DOMAIN = "private.example"
"""A part of every address, so that one that is shown where it must not be can be found."""

AGAIN_AFTER = 90
"""Days after which a contact may be enrolled again."""
FORGOTTEN = -1

_SIZES = (3, 499, 500, 501, 1100, 1700, 2600)
_SHAPES = (
    "hush{n}x@{d}",
    " hush{n}x@{d}\t",
    "HUSH{n}x@{D}",
    "+hush{n}x@{d}",
    "=hush{n}x@{d}",
    "-hush{n}x@{d}",
    "'=hush{n}x@{d}",
)
_BROKEN = ("hush{n} x@{d}", "hush{n}x.{d}", "hush{n}x@{d}@{d}", "@hush{n}.{d}", "=hush{n}(x@{d}")


class Expected(StrEnum):
    """What is true of one value of the source."""

    NEW = "new"
    THERE = "in the sequence already"
    SUPPRESSED = "unsubscribed"
    REFUSED = "not an address for Meisa"
    BROKEN = "not an address"
    AGAIN = "stood there before"
    BEFORE = "enrolled by an earlier run"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Person:
    """One value of the source, and its truth."""

    raw: str
    expected: Expected

    @property
    def key(self):
        """What stays the same however it is spelled."""
        return self.raw.strip().lower()


def make_contacts(rng, *, many=False):
    """Draw the people of one run.

    :param rng: a `random.Random`.
    :param many: at least three batches of 500.
    """
    size = rng.choice(_SIZES[4:] if many else _SIZES)
    numbers, people = count(), []
    while len(people) < size:
        people.append(_one(rng, next(numbers), people))
    return people


def _one(rng, number, people):
    draw = rng.random()
    if draw < 0.04 and people and people[-1].expected is not Expected.BROKEN:
        return Person(people[-1].raw.swapcase(), Expected.AGAIN)
    if draw < 0.08:
        return Person(rng.choice(_BROKEN).format(n=number, d=DOMAIN), Expected.BROKEN)
    if draw < 0.12:
        return Person(f"hush{number}é@{DOMAIN}", Expected.REFUSED)
    expected = Expected.SUPPRESSED if draw < 0.17 else Expected.THERE if draw < 0.22 else Expected.NEW
    return Person(rng.choice(_SHAPES).format(n=number, d=DOMAIN, D=DOMAIN.upper()), expected)


def of(people, *truths):
    """Return the keys of people with one of these properties."""
    return {person.key for person in people if person.expected in truths}


def truth_of(people):
    """Return what is true of each key, however often it occurs."""
    return {person.key: person.expected for person in people if person.expected is not Expected.AGAIN}


def with_history(rng, people):
    """Let some of the new people be known from earlier nights.

    :return: the people, and by key how long ago, in days, their entry was written.
    """
    history = {}
    for person in people:
        if person.expected is Expected.NEW and rng.random() < 0.2:
            history[person.key] = rng.choice((1, 10, 89, 91, 1000, FORGOTTEN))
    return [_known(person, history.get(person.key)) for person in people], history


def _known(person, history):
    if history is None or person.expected is Expected.AGAIN:
        return person
    if history == FORGOTTEN:
        return Person(person.raw, Expected.FORGOTTEN)
    return Person(person.raw, Expected.BEFORE) if history < AGAIN_AFTER else person


def changed(rng, people, first):
    """Return who is in the source another time: some have left, some are new, and the order may be another.

    :param first: a number that is free.
    """
    left = {person.key for person in people if rng.random() < 0.15}
    new = [Person(f"hush{first + number}x@{DOMAIN}", Expected.NEW) for number in range(rng.randint(1, 80))]
    found = [person for person in people if person.key not in left] + new
    return found[::-1] if rng.random() < 0.5 else found
