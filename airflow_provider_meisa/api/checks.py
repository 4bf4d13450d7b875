"""Checks of parameters: a value of the wrong type or form raises an error before anything is sent.

Each check takes the parameter's name and its value, and returns the value as it is used. A message shows short words
and numbers as they are, and only the type of everything else: a swapped parameter may hold an address.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeGuard

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.redaction import redact

_SHOWN = re.compile(r"[\w.-]{1,20}", re.ASCII)
_LARGEST_SHOWN = 10**15
_KEY_SHOWN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_DEEPEST = 50
_NATIVE = (
    " With render_template_as_native_obj, Airflow makes numbers of texts that look like one: put the text into quotes "
    "of its own, as in \"'2024'\"."
)
_MAPPED = " One call takes one sequence: to fill several, map the task with .expand(sequence_slug=[…])."


def check_switch(name: str, value: object) -> bool:
    """Check that a switch is ``True`` or ``False``; no text or number is accepted instead.

    :raises MeisaInputError: if it is anything else.
    """
    if not isinstance(value, bool):
        raise MeisaInputError(f"{name} must be True or False, not {found(value)}.")
    return value


def check_count(name: str, value: object, *, least: int = 0, most: int | None = None) -> int:
    """Check that a number is whole and within its bounds.

    :raises MeisaInputError: if it is not.
    """
    if _is_whole(value) and value >= least and (most is None or value <= most):
        return value
    bounds = f"{least:,} or more" if most is None else f"from {least:,} to {most:,}"
    raise MeisaInputError(f"{name} must be a whole number, {bounds}, not {found(value)}.")


def check_seconds(name: str, value: object, *, or_inf: bool = False) -> float:
    """Read a duration.

    :param value: seconds, or a ``timedelta``.
    :param or_inf: whether it may be infinite.
    :return: seconds.
    :raises MeisaInputError: if it is neither a number nor a ``timedelta``, or below 0.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if is_number(seconds) and (0 <= seconds < math.inf or (or_inf and seconds == math.inf)):
        return seconds
    raise MeisaInputError(
        f"{name} must be a number of seconds, 0 or more, or a timedelta, not {found(value)}."
    )


def check_limit(name: str, limit: object) -> float | None:
    """Check that a limit such as ``max_failed`` is a number of addresses, a share of them, or ``None``.

    :raises MeisaInputError: if it is not.
    """
    if limit is None or (_is_whole(limit) and limit >= 0) or (isinstance(limit, float) and 0 <= limit <= 1):
        return limit
    raise MeisaInputError(
        f"{name} must be a number of addresses (int, 0 or more), a share of them (float, 0.0 to 1.0) or None, "
        f"not {found(limit)}."
    )


def check_text(name: str, value: object, *, may_be_empty: bool = False) -> str:
    """Check that a value is a text.

    :param may_be_empty: whether an empty text, or one of white space only, is accepted.
    :raises MeisaInputError: if it is not.
    """
    if not isinstance(value, str):
        hint = _NATIVE if is_number(value) else ""
        raise MeisaInputError(f"{name} must be a text, not {found(value)}.{hint}")
    if not value.strip() and not may_be_empty:
        raise MeisaInputError(f"{name} is empty: give a text.")
    return value


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Check that a value is one of the choices.

    :raises MeisaInputError: if it is not; the message lists them and names the nearest.
    """
    if isinstance(value, str) and value in choices:
        return value
    near = difflib.get_close_matches(value.strip().lower(), choices, n=1) if isinstance(value, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise MeisaInputError(f"{name} must be one of: {', '.join(choices)}; not {found(value)}.{hint}")


def check_slug(slug: object) -> str:
    """Check that a text can be a slug, and can be logged.

    :raises MeisaInputError: if it is not a text, is empty, has white space around it, or has line breaks or control
        characters in it.
    """
    if not slug or (isinstance(slug, str) and not slug.strip()):
        raise MeisaInputError("sequence_slug is empty: copy the slug from the Meisa dashboard.")
    if not isinstance(slug, str):
        hint = _NATIVE if is_number(slug) else _MAPPED if isinstance(slug, Sequence) else ""
        raise MeisaInputError(f"sequence_slug is of type {type(slug).__name__}; pass a text.{hint}")
    if not slug.isprintable():
        raise MeisaInputError(
            "sequence_slug has line breaks or control characters: copy the slug from the Meisa dashboard."
        )
    if slug != slug.strip():
        raise MeisaInputError(
            "sequence_slug has white space around it: copy the slug from the Meisa dashboard."
        )
    if slug[0] in "[({":
        raise MeisaInputError(f"sequence_slug is the text of a list or an object; pass one slug.{_MAPPED}")
    return slug


def check_texts(name: str, value: object) -> list[str]:
    """Copy a list of texts, none of them empty.

    :raises MeisaInputError: if it is not a list or a tuple, or an item is empty or not a text.
    """
    if not isinstance(value, list | tuple):
        raise MeisaInputError(f"{name} must be a list of texts, not {kind_of(value)}.")
    return [check_text(f"{name}[{place}]", item) for place, item in enumerate(value)]


def check_json_object(name: str, value: object) -> dict[str, object]:
    """Copy an object of plain JSON, such as ``metadata``; tuples become lists.

    :raises MeisaInputError: if it is not a mapping, or holds a value that JSON cannot hold.
    """
    if not isinstance(value, Mapping):
        raise MeisaInputError(f"{name} must be a dict, not {kind_of(value)}.")
    return _plain_object(name, value, name, 0)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number; ``True`` and ``False`` are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def found(value: object) -> str:
    """Describe a value: a short word or a number as it is, anything else by its type."""
    # No person writes a larger number, and Python may refuse to convert it to text.
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < _LARGEST_SHOWN):
        return repr(value)
    if isinstance(value, str) and _SHOWN.fullmatch(value) and redact(value) == value:
        return f"the text {value!r}"
    return kind_of(value)


def kind_of(value: object) -> str:
    """Describe the type of a value."""
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            return "a template that is not rendered here"
        return "a text" if value.strip() else "an empty text"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(name: str, value: object, place: str, depth: int) -> object:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return _plain_object(name, value, place, depth)
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_plain(name, item, place, depth + 1) for item in value]
    what = repr(value) if isinstance(value, float) else kind_of(value)
    raise MeisaInputError(
        f"{place} holds {what}, which is not plain JSON. Use texts, finite numbers, True, False, None, lists and "
        f"dicts, at most {_DEEPEST} deep; give dates as texts."
    )


def _plain_object(name: str, value: Mapping[object, object], place: str, depth: int) -> dict[str, object]:
    plain = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise MeisaInputError(f"{place} has a key that is {kind_of(key)}; in JSON, keys are texts.")
        shown = _KEY_SHOWN.fullmatch(key) and redact(key) == key
        plain[key] = _plain(name, item, f"{name} under {key!r}" if shown else place, depth + 1)
    return plain
