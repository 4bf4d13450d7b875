"""Whether the sequences somebody waits for are ready: asked by the sensor and by its trigger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_meisa.api.endpoints.sequences import SequenceInfo, unknown_sequence


@dataclass(frozen=True, slots=True)
class Readiness:
    """How the sequences waited for stand.

    :param ready: those with the wanted status, in the order asked for.
    :param pending: slug and status of those with another status.
    :param missing: slugs that no sequence has.
    """

    ready: tuple[SequenceInfo, ...]
    pending: Mapping[str, str]
    missing: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Whether every sequence waited for is ready."""
        return not self.pending and not self.missing

    def __str__(self) -> str:
        waiting = [f"{slug} is {status}" for slug, status in self.pending.items()]
        return ", ".join([*waiting, *(f"{slug} does not exist" for slug in self.missing)]) or "all are ready"


def readiness(
    listed: Iterable[SequenceInfo], slugs: Sequence[str], *, status: str, on_missing: str
) -> Readiness:
    """Compare the list of all sequences with those waited for.

    :param listed: every sequence, whatever its status.
    :param slugs: those waited for.
    :param status: the status they must have.
    :param on_missing: ``wait`` or ``fail``, if no sequence has one of the slugs.
    :raises MeisaSequenceNotFoundError: if one is missing and ``on_missing`` is ``fail``; names close ones.
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
