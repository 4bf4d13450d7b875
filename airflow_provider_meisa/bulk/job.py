"""The interface of a job. Everything else in `bulk` is the same for all jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.api.nouns import Noun
    from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
    from airflow_provider_meisa.api.rate_limit.limiter import Reservation
    from airflow_provider_meisa.bulk.ledger.entry import Entry, State
    from airflow_provider_meisa.bulk.ledger.ledger import Ledger
    from airflow_provider_meisa.bulk.ledger.value_sample import Differences

Item = Any
"""One record, ready to be sent: a JSON value, which the plan stores. Only its job knows its content."""

Exclusion = Callable[[Item], "Outcome | None"]
"""Returns the outcome of an item that is left out, and ``None`` for all others."""


FORGOTTEN = "forgotten on request"
"""The reason of a record that is never sent again, at the person's request."""


RECORDED = "recorded without a request"
"""The reason of a record that `Job.decide` records as accepted: a new plan writes it into the ledger."""


class Alike(NamedTuple):
    """Consecutive rows with the same status and no reason, so that none of them needs an object.

    :param addresses: the address of each; ``repr`` omits them.
    """

    status: OutcomeStatus
    addresses: Sequence[str]

    def __repr__(self) -> str:
        return f"Alike({self.status.value!r}, {len(self.addresses)})"


class Turn(NamedTuple):
    """When an item is sent: below 0 before those of the source that have no turn, lowest first; above 0 after them."""

    number: int


@dataclass(frozen=True, slots=True)
class Later:
    """Items that Meisa may accept once the others are sent: they are sent once more at the end of the run.

    :param outcomes: their outcomes, if it refuses them again.
    """

    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class BadItems:
    """A request was refused as a whole because of some items; nothing was carried out.

    :param outcomes: the outcomes of the items that the response names, by their place in the request. Empty if it
        names none: the request is then sent again in halves until the bad items are found.
    :param alone: the outcome of the item, if it was the only one in the request.
    """

    outcomes: Mapping[int, Outcome]
    alone: Outcome | None = None


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """The facts of a job about a plan, stored in the plan: plain JSON without personal data.

    :param report: the facts for the summary and the report of a preview.
    :param keep: the facts for the ledger, for `Job.remember` of later runs.
    :param own: the facts for the job itself, when the plan is applied.
    """

    report: Mapping[str, Any] = field(default_factory=dict)
    keep: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that is complete, and not used yet.

    :param total: the number of rows.
    :param to_send: the number of records to send.
    :param items: reads the items to send once more.
    :param differences: in which of their `Job.named_values` changed records differ; ``None`` without a ledger.
    """

    total: int
    to_send: int
    items: Callable[[], Iterator[Item]]
    differences: Differences | None = None


class Duplicates(Protocol):
    """Finds rows of the same record, in one pass over the source."""

    def same_record(self, item: Item) -> Outcome | None:
        """Return the outcome of an item whose record came before; ``None`` for the first of each record."""

    def clash(self, item: Item) -> Outcome | None:
        """Return the outcome of an item that conflicts with another record, unless it is in the ledger."""


class Job(Protocol):
    """A job with many records in one task. `bulk` cuts them into batches, sends, resumes and reports.

    :ivar name: its name in the summary, the plan and the progress, such as ``enroll``.
    :ivar title: the beginning of its log lines, without personal data.
    :ivar noun: its records in log lines.
    :ivar identity: its target in the summary, the plan and the progress, such as ``{"sequence_slug": …}``. An approved
        plan is applied only to the same one.
    :ivar batch_size: the most items that one request takes.
    :ivar repeat: whether a request whose response was lost may be sent again at any time (``harmless``), or may then be
        carried out twice (``ambiguous``).
    :ivar scopes: the scopes that the key needs to send.
    :ivar statuses: the statuses of a row, in the order of the summary.
    :ivar sends_excluded: whether the items that `exclusion` finds are sent nevertheless.
    :ivar ledger_target: the target of a ledger within the job: the sequence, or the name of a sync.
    :ivar record_id_kind: the type of `record_id`, such as ``address``; one for each ledger.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 (see above)

    @property
    def title(self) -> str: ...  # noqa: D102 (see above)

    @property
    def noun(self) -> Noun: ...  # noqa: D102 (see above)

    @property
    def identity(self) -> Mapping[str, str]: ...  # noqa: D102 (see above)

    @property
    def batch_size(self) -> int: ...  # noqa: D102 (see above)

    @property
    def repeat(self) -> Literal["harmless", "ambiguous"]: ...  # noqa: D102 (see above)

    @property
    def scopes(self) -> Sequence[str]: ...  # noqa: D102 (see above)

    @property
    def statuses(self) -> Sequence[OutcomeStatus]: ...  # noqa: D102 (see above)

    @property
    def sends_excluded(self) -> bool: ...  # noqa: D102 (see above)

    @property
    def ledger_target(self) -> str: ...  # noqa: D102 (see above)

    @property
    def record_id_kind(self) -> str: ...  # noqa: D102 (see above)

    def items(self, source: Iterable[object]) -> Iterator[Item | Outcome | Alike]:
        """Read rows: each becomes an item to send, or an outcome without a request, such as ``invalid``.

        The results are in the order of the rows, one for each; consecutive rows that the ledger has as they are may
        come together, as `Alike`.

        :raises MeisaInputError: if the rows have a wrong shape, before anything is sent.
        """

    def record_id(self, item: Item) -> str:
        """Return the record id: two items with the same one are the same record."""

    def duplicates(self) -> Duplicates:
        """Return the object that finds rows of the same record while a plan is made."""

    def remember(self, ledger: Ledger, *, is_resumed: bool) -> None:
        """Read the ledger, before a plan is made. Its properties are what `conclude` has returned in earlier runs.

        :param is_resumed: whether an earlier attempt of this run may have written entries.
        :raises MeisaInputError: if this run must not send.
        """

    def conclude(self, planned: Planned) -> PlanFacts:
        """Return the facts about a plan, after the source is read to its end.

        :raises MeisaInputError: if the plan must not be applied.
        """

    def take_up(self, facts: PlanFacts) -> None:
        """Read the facts of `conclude` about the plan to apply, which may come from another process."""

    def address(self, item: Item) -> str:
        """Return the address under which the outcome of an item is reported."""

    def values(self, item: Item) -> bytes:
        """Return the values that the ledger compares, in a canonical form; empty if only the day counts."""

    def named_values(self, item: Item) -> Mapping[str, bytes]:
        """Return the single values of `values` by name, in a canonical form; empty if changes are not explained."""

    def decide(self, item: Item, known: Entry, values_hash: int, now: int) -> Outcome | Turn | None:
        """Return the outcome of an item in the ledger that is not sent; ``None`` or its turn if it is sent.

        Only a job with one item in a request may give turns.

        :param known: the entry of an earlier run.
        :param values_hash: the hash of `values`; 0 if only the day counts.
        :param now: the current minute, since 2020.
        """

    def recorded(self, item: Item) -> Outcome:
        """Return the outcome of an item that is recorded as accepted, without a request (``first_run="record"``)."""

    def status_of(self, state: State) -> OutcomeStatus:
        """Return the status of a record that this run has sent, by its state in the ledger."""

    def state_of(self, outcome: Outcome) -> State:
        """Return the state that the ledger records for the outcome of a request."""

    def check(self, client: MeisaClient, *, for_preview: bool = False) -> None:
        """Check before the first write that nothing stops the run.

        :param for_preview: nothing will be sent, so a check that is not possible is an error.
        :raises MeisaError: if something stops it.
        """

    def warn(self) -> None:
        """Log warnings before the first request."""

    def exclusion(self, client: MeisaClient, *, for_preview: bool = False) -> Exclusion | None:
        """Return a function that finds the items of a plan to leave out; ``None`` if the key lacks the scope.

        :param for_preview: also find the items that Meisa itself would skip.
        :raises MeisaError: if the request fails.
        """

    def send(self, client: MeisaClient, items: Sequence[Item], reservation: Reservation) -> Sequence[Outcome]:
        """Send one request, from one of several threads, and return one outcome for each item.

        :raises MeisaError: if the request was not accepted, or its response cannot be read.
        """

    def on_error(
        self, error: MeisaError, items: Sequence[Item]
    ) -> Sequence[Outcome] | Later | BadItems | None:
        """Return what an error means for the items of the request.

        :return: their outcomes; `Later`; `BadItems`; or ``None`` if the error concerns every record, so that the run
            waits or stops.
        """
