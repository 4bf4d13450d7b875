"""The extras of a connection: names and types, and what happens to an unknown one.

A misspelt extra has no effect. For some extras that would turn off a safeguard in silence: without ``environment`` a
live key is accepted where a test key was meant. So a name that may be a misspelt safeguard is an error, and any
other unknown name is reported. Values of unknown extras are never shown, because they may be secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.redaction import redact

KNOWN = (
    "rate_limits",
    "timeout",
    "environment",
    "allow_override_unsubscribe",
    "allow_http",
    "rate_limit_storage",
    "dashboard_url",
)
"""All known extras."""
GUARDS = frozenset(KNOWN) - {"timeout", "dashboard_url"}
"""The safeguards of mail, the key and the rate limits; a misspelt name of one of them is an error."""

_ADVICE = 'Write a JSON object, such as {"environment": "test"}.'
_OLD_PREFIX = "extra__meisa__"  # the connection form of Airflow before 2.3 puts it before each name
_NESTED = ("extra", "extras", "extradejson", "connextra")
_FIELDS = {
    **dict.fromkeys(("password", "apikey", "key", "token", "secret", "xapikey"), "API key field (password)"),
    **dict.fromkeys(
        ("host", "hostname", "baseurl", "url", "apiurl", "endpoint", "server"), "Base URL field (host)"
    ),
    "port": "port field",
}
# Words that identify a safeguard within a longer name; the first match is reported.
_WORDS = {
    **dict.fromkeys(("storage", "store", "redis", "quota"), "rate_limit_storage"),
    **dict.fromkeys(("override", "unsubscribe", "unsubscribed"), "allow_override_unsubscribe"),
    **dict.fromkeys(("rate", "limit", "limits", "ratelimit", "ratelimits"), "rate_limits"),
    **dict.fromkeys(("environment", "env", "stage", "live", "test", "sandbox", "production"), "environment"),
}
_ALIKE = 0.7  # for a whole name; a word must be more similar, because it is shorter
_WORD_ALIKE = 0.85
_FEWEST_LETTERS = 3
_A_NUMBER = "a number of seconds"
_NAME = re.compile(r"[A-Za-z_][A-Za-z_ .-]{0,39}\d{0,2}")
DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The extras of a connection, with checked types.

    :param unknown: unknown names, for a warning; text that does not look like a name is not shown.
    """

    rate_limits: str = ""
    timeout: float = DEFAULT_TIMEOUT
    environment: str = ""
    allow_override_unsubscribe: bool = False
    allow_http: bool = False
    rate_limit_storage: str = field(default="", repr=False)
    dashboard_url: str = ""
    unknown: tuple[str, ...] = ()


def decode_extra(raw: object) -> dict[str, Any]:
    """Return the unchecked fields of a connection's extra.

    :param raw: JSON of an object, or JSON of that JSON, which is decoded once more; empty or ``null``: no fields.
    :raises MeisaInputError: if it is anything else, or has a field twice.
    """
    for _ in range(2):
        if not isinstance(raw, str) or not raw.strip():
            break
        raw = _loads(raw)
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return {}
    if isinstance(raw, Mapping):
        return {str(name): value for name, value in raw.items()}
    raise MeisaInputError(f"The extra is JSON, but {kind_of(raw)} instead of an object. {_ADVICE}")


def read_extras(fields: Mapping[str, object]) -> Extras:
    """Check the names and the types of extras.

    :param fields: the unchecked extras; ``None`` and blank text count as not given.
    :raises MeisaInputError: if one has the wrong type, or an unknown one may be a misspelt safeguard.
    """
    given = _without_old_prefix({name: value for name, value in fields.items() if not _is_blank(value)})
    unknown = [name for name in given if name not in KNOWN]
    for name in unknown:
        _refuse_guard(name, given[name])
    return Extras(
        rate_limits=_text(given, "rate_limits"),
        timeout=_seconds(given, "timeout"),
        environment=_text(given, "environment").lower(),
        allow_override_unsubscribe=_switch(given, "allow_override_unsubscribe"),
        allow_http=_switch(given, "allow_http"),
        rate_limit_storage=_text(given, "rate_limit_storage"),
        dashboard_url=_text(given, "dashboard_url"),
        unknown=tuple(map(_with_nearest, unknown)),
    )


def kind_of(value: object) -> str:
    """Describe the type of a JSON value."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "text"),
        (Mapping, "an object"),
        ((list, tuple), "a list"),
    )
    return next((kind for types, kind in kinds if isinstance(value, types)), "another type")


def _loads(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except MeisaInputError:
        raise
    except (ValueError, RecursionError):
        # Not "from error": the error of the decoder holds the text.
        raise MeisaInputError(f"The extra is not JSON. {_ADVICE}") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise MeisaInputError(f"The extra has the name {_shown(name)} twice: keep one of the two.")
        fields[name] = value
    return fields


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _without_old_prefix(fields: Mapping[str, object]) -> dict[str, object]:
    """Read ``extra__meisa__timeout`` as ``timeout``."""
    read: dict[str, object] = {}
    for name, value in fields.items():
        short = name.removeprefix(_OLD_PREFIX)
        plain = short if short in KNOWN else name
        if plain in read and (type(read[plain]), read[plain]) != (type(value), value):
            raise MeisaInputError(
                f"The extra {plain} differs from {_OLD_PREFIX}{plain}, an older name of it: keep one of the two."
            )
        read[plain] = value
    return read


def _refuse_guard(name: str, value: object) -> None:
    """Check that an unknown extra is not a misspelt safeguard."""
    compact = _compact(name)
    if compact in _NESTED:
        raise MeisaInputError(
            f"The extra holds another one, under the name {_shown(name)}: write its fields one level up."
        )
    if compact in _FIELDS:
        raise MeisaInputError(
            f"The extra {_shown(name)} belongs in the connection's {_FIELDS[compact]}: move it there, "
            "because it would not be used here."
        )
    guard = next(filter(GUARDS.__contains__, _meant_by(name, value)), None)
    if guard:
        raise MeisaInputError(
            f"The extra {_shown(name)} is not known; the nearest one is {guard}. Rename it, or remove it: if it were "
            "ignored, a check that you rely on could be off."
        )


def _meant_by(name: str, value: object) -> Iterator[str]:
    """Yield the safeguards that a name, its value, or the names within its value may mean."""
    for one_name, one_value in [(name, value), *_within(value)]:
        if nearest := nearest_to(one_name):
            yield nearest
        if isinstance(one_value, str) and one_value.strip().lower() in ("live", "test"):
            yield "environment"


def nearest_to(name: str) -> str:
    """Return the extra nearest to a name: by its words, by the whole name, or by its beginning."""
    words, compact = _words(name), _compact(name)
    for word, known in _WORDS.items():
        if get_close_matches(word, words, n=1, cutoff=_WORD_ALIKE):
            return known
    whole = {_compact(known): known for known in KNOWN}
    alike = get_close_matches(compact, whole, n=1, cutoff=_ALIKE)
    begun = [each for each in whole if len(compact) >= _FEWEST_LETTERS and each.startswith(compact)]
    return next((whole[each] for each in (*alike, *begun)), "")


def _within(value: object) -> Iterator[tuple[str, object]]:
    """Yield the names in a nested value, also in JSON that is written as text."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str) and one.lstrip()[:1] in ("{", "["):
            one = _json_or_none(one)
        if isinstance(one, Mapping):
            yield from ((str(name), inner) for name, inner in one.items())
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)


def _json_or_none(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _words(name: str) -> list[str]:
    """Split a name at all characters that are not letters, and before each capital."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _compact(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum()).removeprefix("meisa")


def _with_nearest(name: str) -> str:
    nearest = nearest_to(name)
    return f"{_shown(name)} (did you mean {nearest}?)" if nearest else _shown(name)


def _shown(name: str) -> str:
    """Return a name in quotes if it looks like one: it may be a pasted key."""
    name = name.strip()
    return repr(name) if _NAME.fullmatch(name) and redact(name) == name else "(a name that is not shown)"


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise _wrong_type(name, "text", value)
    return value.strip()


def _seconds(given: Mapping[str, object], name: str) -> float:
    """Read a number, also from text, because a connection's URI holds only text."""
    value = given.get(name, DEFAULT_TIMEOUT)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong_type(name, _A_NUMBER, value)
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise _wrong_type(name, _A_NUMBER, value) from None


def _switch(given: Mapping[str, object], name: str) -> bool:
    """Read true or false, also from one of these two words, because a connection's URI holds only text."""
    value = given.get(name, False)
    word = value.strip().lower() if isinstance(value, str) else value
    if word is True or word == "true":
        return True
    if word is False or word == "false":
        return False
    raise _wrong_type(name, "true or false", value)


def _wrong_type(name: str, wanted: str, value: object) -> MeisaInputError:
    found = "other text" if isinstance(value, str) else kind_of(value)
    return MeisaInputError(f"The extra {name} must be {wanted}; it is {found}.")
