"""The bulk response in each plausible shape: Meisa does not document the real one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.sandbox.outcomes import ALREADY_ENROLLED, ENROLLED, STATUSES, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Body = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """The shape of the bulk response.

    :param shape: one of the keys of :data:`SHAPES`.
    :param drop: the number of addresses to leave out, from the end.
    :param extra: the number of addresses to add that were never sent.
    :param upper: echo the addresses in capitals.
    :param status_key: name of the field with an address's status.
    :param reason_key: name of the field with the reason.
    """

    shape: str = "default"
    drop: int = 0
    extra: int = 0
    upper: bool = False
    status_key: str = "status"
    reason_key: str = "reason"


def shaped(slug: str, outcomes: Sequence[Outcome], shape: Shape) -> Body:
    """Return the bulk response for these outcomes in this shape."""
    return SHAPES[shape.shape](slug, _altered(outcomes, shape), shape)


def _altered(outcomes: Sequence[Outcome], shape: Shape) -> list[Outcome]:
    kept = list(outcomes[: max(len(outcomes) - shape.drop, 0)])
    if shape.upper:
        kept = [replace(outcome, email=outcome.email.upper()) for outcome in kept]
    return kept + [Outcome(f"stranger{n}@example.net", ENROLLED) for n in range(1, shape.extra + 1)]


def _counts(outcomes: Sequence[Outcome]) -> Body:
    counted = Counter(outcome.status for outcome in outcomes)
    return {status: counted[status] for status in STATUSES}


def _entry(outcome: Outcome, shape: Shape) -> Body:
    entry = {"email": outcome.email, shape.status_key: outcome.status}
    return {**entry, shape.reason_key: outcome.reason} if outcome.reason else entry


def _entries(outcomes: Sequence[Outcome], shape: Shape) -> list[Body]:
    return [_entry(outcome, shape) for outcome in outcomes]


def _by_status(outcomes: Sequence[Outcome], write: Callable[[Outcome], Any]) -> Body:
    return {
        status: [write(outcome) for outcome in outcomes if outcome.status == status] for status in STATUSES
    }


def _default(slug: str, outcomes: Sequence[Outcome], shape: Shape) -> Body:
    return {"sequence_slug": slug, **_counts(outcomes), "results": _entries(outcomes, shape)}


def _only_counts(slug: str, outcomes: Sequence[Outcome], _shape: Shape) -> Body:
    return {"sequence_slug": slug, **_counts(outcomes)}


def _lists(_slug: str, outcomes: Sequence[Outcome], _shape: Shape) -> Body:
    return _by_status(outcomes, lambda outcome: outcome.email)


def _emails(_slug: str, outcomes: Sequence[Outcome], _shape: Shape) -> Body:
    lists = _by_status(outcomes, lambda outcome: outcome.email)
    lists["skipped_already_enrolled"] = lists.pop(ALREADY_ENROLLED)
    return {**{f"{name}_emails": listed for name, listed in lists.items()}, "not_found_emails": []}


def _objects(_slug: str, outcomes: Sequence[Outcome], shape: Shape) -> Body:
    return _by_status(
        outcomes, lambda outcome: {"email": outcome.email, shape.reason_key: outcome.reason or None}
    )


def _listed_under(name: str) -> Callable[[str, Sequence[Outcome], Shape], Body]:
    return lambda _slug, outcomes, shape: {name: _entries(outcomes, shape)}


def _mapping(_slug: str, outcomes: Sequence[Outcome], _shape: Shape) -> Body:
    return {"results": {outcome.email: outcome.status for outcome in outcomes}}


SHAPES: dict[str, Callable[[str, Sequence[Outcome], Shape], Body]] = {
    "default": _default,
    "counts": _only_counts,
    "lists": _lists,
    "emails": _emails,
    "objects": _objects,
    "results": _listed_under("results"),
    "details": _listed_under("details"),
    "outcomes": _listed_under("outcomes"),
    "mapping": _mapping,
}


_NO_ADDRESS = "Enter a valid email address."

BAD_ADDRESSES: dict[str, Callable[[Sequence[str], Sequence[int]], Body]] = {
    "places": lambda _, bad: {"emails": {str(place): [_NO_ADDRESS] for place in bad}},
    "list": lambda emails, bad: {"emails": [[_NO_ADDRESS] if at in bad else {} for at in range(len(emails))]},
    "path": lambda _, bad: {"detail": [{"loc": ["body", "emails", at], "msg": _NO_ADDRESS} for at in bad]},
    "names": lambda emails, bad: {"errors": {emails[place]: _NO_ADDRESS for place in bad}},
    "sentence": lambda emails, bad: {"detail": " ".join(f"{emails[place]} is no address." for place in bad)},
    "nothing": lambda _emails, _bad: {"detail": "Invalid request."},
}
"""How the refusal of a bulk request names its bad addresses: by place, by name, or not at all."""


def refused_addresses(emails: Sequence[str], bad: Sequence[str], form: str) -> Body | None:
    """Return the refusal of a bulk request with addresses that have one of these endings, in this form."""
    places = [place for place, email in enumerate(emails) if email.endswith(tuple(bad))]
    return BAD_ADDRESSES[form](emails, places) if places else None
