"""The report of ``probe``: what each response has, and what differs from the page *Meisa's API*."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_meisa import __version__

DOCUMENTED, INFERRED, UNKNOWN = "documented", "inferred", "unknown"

_TELLS_NOTHING = {401, 403, 404, 405, 408, 429}
_FIRST_SERVER_ERROR = 500

Fields = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Expected:
    """The page *Meisa's API* on one call.

    :param statuses: the grade of each status.
    :param fields: the first word of the type, and the grade, of each field; none if the page has none.
    """

    statuses: Mapping[int, str]
    fields: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Probed:
    """One call, and the response to it.

    :param name: method and path.
    :param status: the HTTP status; ``None`` if no response came.
    :param shape: see `body_shape`; ``None`` for a body that is not JSON.
    :param headers: names of headers about rate limits.
    :param reading: how this package reads the response.
    :param problem: why no response came, or why the call was left out.
    """

    name: str
    expected: Expected
    status: int | None = None
    shape: Mapping[str, set[str]] | None = None
    headers: Sequence[str] = ()
    reading: str = ""
    problem: str = ""

    @property
    def tells_of_fields(self) -> bool:
        """Whether the body is that of the call, not of an error that any call can meet."""
        status = self.status
        return status is not None and status not in _TELLS_NOTHING and status < _FIRST_SERVER_ERROR


def report(calls: Sequence[Probed], *, is_default_url: bool) -> str:
    """Return the report as Markdown, without a value of a response."""
    url = "the default" if is_default_url else "another"
    differences = [f"- `{call.name}`: {text}" for call in calls for text in _differences(call)]
    lines = [
        "# Report of airflow meisa probe",
        "",
        f"airflow-provider-meisa {__version__}, Python {platform.python_version()}, test key, {url} base URL.",
        "It has statuses, names and types of fields. It has no value of a response.",
        "",
        "## What differs from the page Meisa's API",
        "",
        *(differences or ["Nothing."]),
        "",
    ]
    for call in calls:
        lines += _section(call)
    return "\n".join(lines)


def _section(call: Probed) -> Iterator[str]:
    yield from (f"## {call.name}", "")
    if call.status is None:
        yield from (f"{call.problem}", "")
        return
    grade = call.expected.statuses.get(call.status)
    yield f"Status: {call.status} ({grade or 'not on the page'})"
    if call.headers:
        yield f"Headers: {', '.join(call.headers)}"
    if call.reading:
        yield f"Read as: {call.reading}"
    yield ""
    if call.shape is None:
        yield from ("The body is not JSON.", "")
        return
    yield from ("| Field | Type | On the page |", "| --- | --- | --- |")
    for place, kinds in call.shape.items():
        known = call.expected.fields.get(place)
        grade = known[1] if known else "" if not place else UNKNOWN
        yield f"| {f'`{place}`' if place else 'the body'} | {', '.join(sorted(kinds))} | {grade} |"
    yield ""


def _differences(call: Probed) -> Iterator[str]:
    if call.status is None:
        return
    if call.status not in call.expected.statuses:
        yield f"status {call.status}; the page has {', '.join(map(str, call.expected.statuses))}"
    if call.tells_of_fields and call.shape is None:
        yield "the body is not JSON"
    elif call.tells_of_fields and call.shape is not None:
        yield from _fields_that_differ(call.expected.fields, call.shape)


def _fields_that_differ(expected: Fields, shape: Mapping[str, set[str]]) -> Iterator[str]:
    for place, (kind, grade) in expected.items():
        if place not in shape:
            if _may_be_there(place, shape):
                yield f"`{place}` is missing ({grade})"
        elif others := sorted(one for one in shape[place] if not _is_of_kind(one, kind)):
            yield f"`{place}` is {', '.join(others)}, not {kind} ({grade})"
    for place in shape if expected else ():
        if place and place not in expected and not _is_below(place, expected):
            yield f"`{place}` is not on the page"


def _is_of_kind(found: str, kind: str) -> bool:
    return found == "null" or kind in found


def _may_be_there(place: str, shape: Mapping[str, set[str]]) -> bool:
    """Return whether a field can be expected: an empty list has no fields."""
    outer = place.rpartition("[]")[0]
    return not outer or "list" in shape.get(outer, ())


def _is_below(place: str, fields: Fields) -> bool:
    """Return whether a place is a part of a field whose parts are not on the page."""
    return any(place.startswith((f"{known}[", f"{known}.")) for known in fields) and not place.startswith(
        "results[]"
    )
