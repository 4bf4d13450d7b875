"""The header of a part: subject, runs and properties of the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

QUIET = 3600
"""The seconds without a write after which a run that has not ended no longer blocks others."""

_SKEWED = 24 * 3600
_MOST_RUNS = 100
"""The number of runs that a compacted part keeps."""

Span = tuple[int, int]


class Property(NamedTuple):
    """A value that a run stores in the ledger, such as its mapping.

    :param at: its time, in milliseconds since 1970; later than that of the property it replaced.
    :param value: plain JSON.
    """

    at: int
    value: Any


@dataclass(frozen=True, slots=True)
class WriterStatus:
    """The status of a run in its newest part.

    :param at: when it wrote the part, in milliseconds since 1970.
    :param until: when it writes again at the latest, in seconds since 1970; 0 if not known.
    :param ended: whether it has ended.
    :param spans: the first and the last minute (since 2020) of the entries of each stretch.
    """

    at: int
    until: int = 0
    ended: bool = False
    spans: tuple[Span, ...] = ()

    def keeps_others_away(self, now: float) -> bool:
        """Return whether another run must not send now.

        :param now: in seconds since 1970.
        """
        latest = max(self.at / 1000, self.until)
        # A clock that is a day ahead is wrong, and must not block a ledger for years.
        return not self.ended and self.at / 1000 - _SKEWED < now < latest + QUIET

    def has_written(self, minute: int) -> bool:
        """Return whether an entry of this minute (since 2020) is of this run: no other run writes in its minutes."""
        return any(begin <= minute <= end for begin, end in self.spans)

    def merged(self, other: WriterStatus) -> WriterStatus:
        """Merge two: the fields of the later one, and the spans of both."""
        later = max(self, other, key=lambda status: (status.at, status.ended, status.until))
        return WriterStatus(later.at, later.until, later.ended, _united({*self.spans, *other.spans}))


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a part, or the merged headers of several.

    :param subject: the result of `subject.describe`.
    :param writers: the status of each run.
    :param properties: the properties by name.
    """

    subject: Mapping[str, Any]
    writers: Mapping[str, WriterStatus] = field(default_factory=dict)
    properties: Mapping[str, Property] = field(default_factory=dict)

    def merged(self, other: Header) -> Header:
        """Merge two of the same subject; order and repetition do not matter."""
        writers = dict(self.writers)
        for run, status in other.writers.items():
            writers[run] = status.merged(writers[run]) if run in writers else status
        properties = dict(self.properties)
        for name, kept in other.properties.items():
            properties[name] = max(properties.get(name, kept), kept, key=_rank)
        return Header(self.subject, writers, properties)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON: the subject, the newest runs and the properties."""
        newest = sorted(self.writers.items(), key=lambda item: (item[1].at, item[0]))[-_MOST_RUNS:]
        return {
            "subject": dict(self.subject),
            "writers": {
                run: {
                    "at": status.at,
                    "until": status.until,
                    "ended": status.ended,
                    "spans": [list(span) for span in status.spans],
                }
                for run, status in newest
            },
            "properties": {name: list(kept) for name, kept in self.properties.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Header:
        """Decode a header; ignore fields that a later release has added."""
        return cls(
            value["subject"],
            {
                run: WriterStatus(each["at"], each["until"], each["ended"], tuple(map(_span, each["spans"])))
                for run, each in value["writers"].items()
            },
            {name: Property(at, kept) for name, (at, kept) in value["properties"].items()},
        )


def first_minute(writers: Mapping[str, WriterStatus], run: str, now: int) -> int:
    """Return the first minute that a stretch of a run may use: after those of all other runs, to keep runs apart.

    :param now: the current minute (since 2020).
    """
    ends = [end for other, status in writers.items() if other != run for _, end in status.spans]
    # A clock that is far ahead must not move all others.
    return max(now, min(max(ends, default=0) + 1, now + QUIET // 60))


def exclusive_spans(writers: Mapping[str, WriterStatus], run: str) -> list[Span]:
    """Return the minutes in which only this run has written."""
    others = [span for other, status in writers.items() if other != run for span in status.spans]
    spans = list(writers[run].spans) if run in writers else []
    for begin, end in others:
        spans = [piece for span in spans for piece in _without(span, begin, end)]
    return spans


def _without(span: Span, begin: int, end: int) -> Iterable[Span]:
    pieces = (span[0], min(span[1], begin - 1)), (max(span[0], end + 1), span[1])
    return {piece for piece in pieces if piece[0] <= piece[1]}


def _united(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Merge spans that overlap or are adjacent."""
    united: list[Span] = []
    for begin, end in sorted(spans):
        if united and begin <= united[-1][1] + 1:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((begin, end))
    return tuple(united)


def _span(value: Iterable[int]) -> Span:
    begin, end = value
    return begin, end


def _rank(kept: Property) -> tuple[int, str]:
    return kept.at, json.dumps(kept.value, sort_keys=True)
