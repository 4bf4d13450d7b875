"""Pages of a list, as Django REST Framework cuts them by ``limit`` and ``offset``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGE = 20
LARGEST_PAGE = 100
_MOST_DIGITS = 9


def page_of(rows: Sequence[Any], query: Mapping[str, str], url: str) -> dict[str, Any]:
    """Return one page: ``count``, ``next``, ``previous`` and ``results``.

    :param query: of the request; a ``limit`` or an ``offset`` that is not a number counts as none.
    :param url: of the list, for the links.
    """
    size = min(_number(query, "limit") or PAGE, LARGEST_PAGE)
    begin = _number(query, "offset")
    end = begin + size

    def link(offset: int) -> str:
        others = {name: value for name, value in query.items() if name not in ("limit", "offset")}
        place = {"limit": size, **({"offset": offset} if offset else {})}
        return f"{url}?{urlencode({**place, **others})}"

    return {
        "count": len(rows),
        "next": link(end) if end < len(rows) else None,
        "previous": link(max(0, begin - size)) if begin else None,
        "results": list(rows[begin:end]),
    }


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else 0
