"""Find the next page: by the query of its link, else by the number of entries so far."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

_MOST_DIGITS = 12


def next_query(page: Mapping[str, object], query: Mapping[str, str]) -> dict[str, str]:
    """Return the query of the next page.

    :param page: a page that announces another one.
    :param query: the query of this page.
    """
    asked = {**query, **_query_of(page["next"])}
    if asked != dict(query):
        return asked
    # Not a link, or the page is in its path: Meisa's lists take an offset.
    return {**query, "offset": str(_number(query.get("offset")) + len(entries_of(page)))}


def entries_of(page: object) -> list[object]:
    """Return the entries of a page: the longest of its lists."""
    lists = [value for value in page.values() if isinstance(value, list)] if isinstance(page, dict) else []
    return max(lists, key=len, default=[])


def _query_of(link: object) -> dict[str, str]:
    try:
        return dict(parse_qsl(urlsplit(link).query)) if isinstance(link, str) else {}
    except ValueError:
        return {}


def _number(text: str | None) -> int:
    # Python refuses to read integers of thousands of digits.
    return int(text) if text and text.isdecimal() and len(text) <= _MOST_DIGITS else 0
