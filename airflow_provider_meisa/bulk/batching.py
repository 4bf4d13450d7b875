"""Cut the items of a job into batches: each record once, in the order of the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.job import Alike, Turn

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.job import Duplicates, Exclusion, Item, Job
    from airflow_provider_meisa.bulk.origins import Origin, Origins

Decide = Callable[[Sequence["Item"]], "Sequence[Outcome | Turn | None]"]

Key = tuple[int, int]
"""The number of a batch and, for a piece of one, its first place: together they are unique."""

_MOST_SET_ASIDE = 10_000
_ONES = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """Items for one request, and the outcomes of rows that need none.

    :param number: the number of the batch in the plan, from 0; batches without items count as well.
    :param items: at most the size of a batch, in the order of the source; empty after many rows without an item, and
        at the end. ``repr`` omits them.
    :param set_aside: outcomes of rows that the plan does not send, such as ``invalid`` and ``duplicate``.
    :param counted: the number of other rows that it does not send, by status, without an outcome of each.
    :param excluded: outcomes of items that are left out later, by their place in the whole batch.
    :param places: the place of each item in the whole batch, if it differs from its index here.
    :param turn: when a plan sends it, see `Turn`; a batch that was read from a plan has none.
    :param origins: the origin of each item, by its place in the whole batch; empty if no one needs them.
    :param origins_aside: the origin of each outcome in ``set_aside``.
    :param bounds: for a piece of a split batch, its first place in the whole batch and the place after its last.
    """

    number: int
    items: tuple[Item, ...]
    set_aside: tuple[Outcome, ...] = ()
    counted: Mapping[OutcomeStatus, int] = field(default_factory=dict)
    excluded: Mapping[int, Outcome] = field(default_factory=dict)
    places: tuple[int, ...] | None = None
    bounds: tuple[int, int] | None = None
    turn: int = 0
    origins: Sequence[Origin] = ()
    origins_aside: Sequence[Origin] = ()

    def __repr__(self) -> str:
        return f"Batch({self.number}, {len(self.items)} items, {len(self.unsent)} not to send)"

    @property
    def key(self) -> Key:
        """Return the number of the batch and, for a piece, its first place."""
        return self.number, self.bounds[0] if self.bounds else 0

    @property
    def unsent(self) -> tuple[Outcome, ...]:
        """Return all outcomes that need no request."""
        return (*self.set_aside, *self.excluded.values())

    @property
    def all_origins(self) -> Sequence[Origin]:
        """Return the origin of each outcome that needs no request, then of each item; empty if they are not known."""
        if not self.origins and not self.origins_aside:
            return ()
        places = (*self.excluded, *self._places())
        return (*self.origins_aside, *(self.origins[place] for place in places))

    def leave_out(self, outcomes: Mapping[int, Outcome]) -> Batch:
        """Return the batch without some of its items.

        :param outcomes: the outcomes of these items, by index in ``items``.
        """
        places = self._places()
        left = [index for index in range(len(self.items)) if index not in outcomes]
        return replace(
            self,
            items=tuple(self.items[index] for index in left),
            excluded={**self.excluded, **{places[index]: outcome for index, outcome in outcomes.items()}},
            places=tuple(places[index] for index in left),
        )

    def without(self, exclusion: Exclusion) -> Batch:
        """Return the batch without the items that are not to be sent."""
        outcomes = {index: outcome for index, item in enumerate(self.items) if (outcome := exclusion(item))}
        return self.leave_out(outcomes) if outcomes else self

    def piece(self, start: int, stop: int) -> Batch:
        """Return the part between two places of the whole batch. The first piece has the rows that were set aside."""
        places = self._places()
        inside = [index for index, place in enumerate(places) if start <= place < stop]
        return replace(
            self,
            items=tuple(self.items[index] for index in inside),
            set_aside=() if start else self.set_aside,
            origins_aside=() if start else self.origins_aside,
            counted={} if start else self.counted,
            excluded={place: outcome for place, outcome in self.excluded.items() if start <= place < stop},
            places=tuple(places[index] for index in inside),
            bounds=(start, stop),
        )

    def halves(self) -> tuple[Batch, Batch]:
        """Return two pieces with as many items each."""
        cut = self._places()[len(self.items) // 2]
        start, stop = self.bounds or (0, max([*self._places(), *self.excluded]) + 1)
        return self.piece(start, cut), self.piece(cut, stop)

    def _places(self) -> Sequence[int]:
        return range(len(self.items)) if self.places is None else self.places


def batches(
    job: Job,
    source: Iterable[object],
    size: int | None = None,
    *,
    decide: Decide | None = None,
    lists_all: bool = True,
    origins: Origins | None = None,
) -> Iterator[Batch]:
    """Cut a source into batches while it is read, each record once.

    The same source gives the same batches with the same numbers. Memory grows only by 12 to 24 bytes per record, to
    find duplicates (`Job.duplicates`).

    :param source: the rows, in the same order each time.
    :param size: items per batch; by default as many as fit into a request of the job, which is the most.
    :param decide: returns the outcome of each item that a ledger leaves out, and ``None`` or a turn for the others.
    :param lists_all: keep an outcome of each row; else rows that are `Alike` are only counted.
    :param origins: finds the origins of all rows; ``None`` if no one needs them.
    :raises MeisaInputError: if the job cannot read the source, or the size is out of range; while reading, if the job
        cannot read a row, before its batch is yielded.
    """
    size = job.batch_size if size is None else size
    if not 1 <= size <= job.batch_size:
        raise MeisaInputError(f"The batch size must be from 1 to {job.batch_size}, not {size}. Change it.")
    items = job.items(origins.reading(source) if origins else source)
    rows = _Sorting(job.duplicates(), decide or _send_all, lists_all=lists_all, origins=origins)
    return _cut(items, size, rows)


def _send_all(items: Sequence[Item]) -> list[Outcome | Turn | None]:
    return [None] * len(items)


def _cut(rest: Iterator[Any], size: int, rows: _Sorting) -> Iterator[Batch]:
    number = 0
    # As many as fit in any case: the source is read no further than needed.
    # Batches of one item are cut from many: to ask the ledger for each alone takes longer.
    while found := list(
        islice(
            rest, min(_ONES if size == 1 else size - len(rows.items), _MOST_SET_ASIDE - len(rows.set_aside))
        )
    ):
        rows.sort(found)
        while len(rows.items) >= size:
            yield rows.take(number, size)
            number += 1
        if len(rows.set_aside) >= _MOST_SET_ASIDE:
            # The items stay for the next batch: a request is scarcer than memory for 499 of them.
            yield rows.take(number, 0)
            number += 1
    if rows:
        yield rows.take(number, size)


class _Sorting:
    """Sorts what a job has read into items to send and outcomes: first of each record, then what the ledger knows.

    :param lists_all: see `batches`, as for ``origins``.
    """

    def __init__(
        self, duplicates: Duplicates, decide: Decide, *, lists_all: bool, origins: Origins | None
    ) -> None:
        self._duplicates = duplicates
        self._decide = decide
        self._lists_all = lists_all
        self._next_origin = origins.take if origins else None
        self.items: list[Item] = []
        self._turns: list[int] = []
        self._origins: list[Origin] = []
        self.set_aside: list[Outcome] = []
        self._origins_aside: list[Origin] = []
        self._counted: Counter[OutcomeStatus] = Counter()

    def __bool__(self) -> bool:
        return bool(self.items or self.set_aside or self._counted)

    def sort(self, found: list[Any]) -> None:
        """Sort some of what a job has read."""
        new: list[Item] = []
        clashes: list[Outcome | None] = []
        take = self._next_origin
        origins: list[Origin] = []
        for item in found:
            if isinstance(item, Alike):
                self._add_alike(item)
                continue
            origin = take() if take else ()
            outcome = item if isinstance(item, Outcome) else self._duplicates.same_record(item)
            if outcome is None:
                new.append(item)
                clashes.append(self._duplicates.clash(item))
                if take:
                    origins.append(origin)
            else:
                self._set_aside(outcome, origin)
        # Without an outcomes file no time is spent on origins.
        origins = origins or [()] * len(new)
        for item, known, clash, origin in zip(new, self._decide(new), clashes, origins, strict=True):
            outcome = clash if isinstance(known, Turn) else known or clash
            if outcome:
                self._set_aside(outcome, origin)
            else:
                self.items.append(item)
                if take:
                    self._origins.append(origin)
                self._turns.append(known.number if isinstance(known, Turn) else 0)

    def _set_aside(self, outcome: Outcome, origin: Origin) -> None:
        self.set_aside.append(outcome)
        self._origins_aside.append(origin)

    def _add_alike(self, rows: Alike) -> None:
        if not self._lists_all:
            self._counted[rows.status] += len(rows.addresses)
            return
        take = self._next_origin
        for address in rows.addresses:
            self._set_aside(Outcome(address, rows.status, ""), take() if take else ())

    def take(self, number: int, size: int) -> Batch:
        """Return a batch of the first items, at most this many, with all that is set aside."""
        batch = Batch(
            number,
            tuple(self.items[:size]),
            tuple(self.set_aside),
            dict(self._counted),
            turn=self._turns[0] if size == 1 and self._turns else 0,
            origins=tuple(self._origins[:size]),
            origins_aside=tuple(self._origins_aside) if self._next_origin else (),
        )
        del self.items[:size], self._turns[:size], self._origins[:size]
        self.set_aside, self._origins_aside, self._counted = [], [], Counter()
        return batch
