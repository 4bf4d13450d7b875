"""What is sent of one contact, as an object that is made and encoded faster than a dict."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

# msgspec does not take other names.
_PLAIN_NAME = re.compile(r"[^\x00-\x1f\\\\\"]+")


def contact_form(fields: Sequence[str]) -> Callable[..., Any]:
    """Return what makes a contact of the values of these fields, in their order; ``None`` is left out."""
    return msgspec.defstruct(
        "Contact", [(name, Any, None) for name in fields], omit_defaults=True, frozen=True, gc=False
    )


def custom_fields_form(names: Sequence[str], *, nulls: str) -> Callable[..., Any]:
    """Return what makes the custom fields of a contact of their values, in the order of the names.

    :param nulls: whether ``None`` empties a field (``send``), or is left out (``omit``).
    """
    if not all(map(_PLAIN_NAME.fullmatch, names)):
        return _dict_form(names, nulls=nulls)
    places = [f"field_{place}" for place in range(len(names))]
    return msgspec.defstruct(
        "CustomFields",
        [(place, Any, None) for place in places],
        rename=dict(zip(places, names, strict=True)),
        omit_defaults=nulls == "omit",
        frozen=True,
        gc=False,
    )


def _dict_form(names: Sequence[str], *, nulls: str) -> Callable[..., Any]:
    def make(*values: Any) -> dict[str, Any]:
        pairs = zip(names, values, strict=True)
        return {name: value for name, value in pairs if nulls == "send" or value is not None}

    return make


def to_dict(contact: Any) -> dict[str, Any]:
    """Return a contact as plain JSON: parameters of `contacts.upsert`."""
    made: dict[str, Any] = msgspec.to_builtins(contact)
    return made
