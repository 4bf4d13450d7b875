"""Whether the awaited sequences are ready; the sensor and its trigger share this check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_meisa.api.endpoints.sequences import SequenceInfo, unknown_sequence


@dataclass(frozen=True, slots=True)
class Readiness:
    """The state of the awaited sequences.

    :param ready: slugs with the wanted status, in the order of the input.
    :param pending: slug and status of those with another status.
    :param missing: slugs that no sequence has.
    """

    ready: tuple[SequenceInfo, ...]
    pending: Mapping[str, str]
    missing: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Return whether every awaited sequence is ready."""
        return not self.pending and not self.missing

    def __str__(self) -> str:
        ready = [f"{info.slug} is {info.status}" for info in self.ready]
        waiting = [f"{slug} is {status}" for slug, status in self.pending.items()]
        missing = [f"{slug} does not exist" for slug in self.missing]
        return ", ".join([*waiting, *missing] or ready)


def readiness(
    listed: Iterable[SequenceInfo], slugs: Sequence[str], *, status: str, on_missing: str
) -> Readiness:
    """Compare the list of all sequences with the awaited ones.

    :param listed: every sequence, whatever its status.
    :param slugs: the awaited sequences.
    :param status: the status they must have.
    :param on_missing: ``wait`` or ``fail`` if a slug does not exist.
    :raises MeisaSequenceNotFoundError: if a slug does not exist and ``on_missing`` is ``fail``; names similar ones.
    """
    known = {info.slug: info for info in listed}
    missing = tuple(slug for slug in slugs if slug not in known)
    if missing and on_missing == "fail":
        raise unknown_sequence(missing[0], known)
    found = [known[slug] for slug in slugs if slug in known]
    return Readiness(
        ready=tuple(info for info in found if info.status == status),
        pending={info.slug: info.status for info in found if info.status != status},
        missing=missing,
    )
