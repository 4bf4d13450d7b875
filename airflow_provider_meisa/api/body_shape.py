"""The shape of a JSON body: the names and types of its fields, without a value."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

# Below these are names that the account's own people have chosen.
_PRIVATE = {"custom_fields", "metadata", "properties", "variables"}
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_LIKE_AN_ID = re.compile(r"[0-9A-Fa-f-]{12,}|.*[0-9]{5,}.*")
_MOST_FIELDS = 40
_DEEPEST = 6
_MOST_ITEMS = 200
_SCALARS = {type(None): "null", bool: "true or false", int: "integer", float: "number"}
_KINDS = (
    ("text (address)", re.compile(r"[^@\s]+@[^@\s]+")),
    ("text (UUID)", re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
    ("text (time)", re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?")),
    ("text (URL)", re.compile(r"https?://.*", re.DOTALL)),
)


def shape_of(body: object, names: Collection[str] = ()) -> dict[str, set[str]]:
    """Return the types that occur at each place of a body, such as ``{"results[].slug": {"text"}}``.

    A name that may be a value, such as an address, is replaced by ``<key>``.

    :param body: JSON.
    :param names: further names that are values, such as slugs.
    """
    shape: dict[str, set[str]] = {}
    for place, kind in _places(body, "", frozenset(names), _DEEPEST):
        shape.setdefault(place, set()).add(kind)
    return shape


def _places(value: object, place: str, names: frozenset[str], depth: int) -> Iterator[tuple[str, str]]:
    yield place, _kind(value)
    if not depth or place.rpartition(".")[2] in _PRIVATE:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            shown = "<key>" if len(value) > _MOST_FIELDS else _shown(name, names)
            yield from _places(inner, f"{place}.{shown}" if place else shown, names, depth - 1)
    elif isinstance(value, list):
        for inner in value[:_MOST_ITEMS]:
            yield from _places(inner, f"{place}[]", names, depth - 1)


def _shown(name: str, names: frozenset[str]) -> str:
    is_name = _FIELD_NAME.fullmatch(name) and not _LIKE_AN_ID.fullmatch(name) and name not in names
    return name if is_name else "<key>"


def _kind(value: object) -> str:
    if isinstance(value, str):
        kinds = (kind for kind, pattern in _KINDS if pattern.fullmatch(value))
        return next(kinds, "text" if value else "empty text")
    if isinstance(value, list | dict):
        return f"{'' if value else 'empty '}{'list' if isinstance(value, list) else 'object'}"
    return _SCALARS[type(value)]
