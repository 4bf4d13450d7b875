"""The values of a source as JSON, each in one form only: what is sent, and what the ledger compares.

``1``, ``1.0`` and ``Decimal("1.00")`` are one value, however a driver gives it. What JSON cannot hold is refused here,
type by type: an encoder would write ``NaN`` as null and bytes in base64 without an error.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, Literal, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_meisa.bulk.input_shapes import EDGES

Json = Any
"""``None``, a boolean, a number, a text, a list or an object of these."""

ValueType = Literal["text", "integer", "number", "boolean"]
VALUE_TYPES: tuple[ValueType, ...] = ("text", "integer", "number", "boolean")

_DEEPEST = 40
_MOST_DIGITS = 308  # of a float, and of an id
_LEAST, _MOST = -(2**63), 2**64 - 1  # of a whole number that every reader of JSON takes
_LARGEST_EXACT = 2**53
_PLAIN_ZONES = (dt.timezone, ZoneInfo)
_MISSING = frozenset({"NAType", "NaTType"})  # what pandas puts where a value is missing
_WHOLE = re.compile(r"[+-]?[0-9]{1,309}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "on"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "off"), False),
}


class BadValueError(ValueError):
    """A value that is not sent; its text is why, in a few words, and never the value."""


def canonical(value: object, depth: int = 0) -> Json:
    """Return the JSON of a value, in the only form that it has.

    :raises BadValueError: if JSON cannot hold it.
    """
    known = _BY_TYPE.get(type(value))
    if known:
        return known(value)
    if type(value) in (list, tuple):
        return _list(value, depth)  # type: ignore[arg-type]  # see above
    if type(value) is dict:
        return _object(value, depth)
    return _of_another_type(value, depth)


def parse_json(value: object) -> Json:
    """Return what the JSON text of a column of ``json_columns`` holds; an object or list is taken as it is.

    :raises BadValueError: if it is not JSON, or JSON with NaN or Infinity.
    """
    if not isinstance(value, str):
        return canonical(value)
    try:
        parsed = json.loads(value, parse_constant=_refuse_constant)
    except BadValueError:
        raise
    except RecursionError:
        raise BadValueError("nested too deep") from None
    except ValueError:  # its text quotes the value
        raise BadValueError("not JSON") from None
    return canonical(parsed)


def text_of_id(value: object) -> str:
    """Return the text of a record id: 42, 42.0 and "42" are one id.

    :raises BadValueError: if it is missing, blank, inexact, or no id at all.
    """
    value = _plain(value)
    if value is None:
        raise BadValueError("no value (NULL)")
    if isinstance(value, float) and not abs(value) < _LARGEST_EXACT:
        raise BadValueError("a float of 2**53 or more, NaN or Infinity: not an exact id")
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal | UUID):
        raise BadValueError(f"a value of type {type(value).__name__}, which is not an id")
    text = str.strip(_text(value) if isinstance(value, str) else _spelled(value), EDGES)
    if not text:
        raise BadValueError("empty")
    return text


def text_of(value: object) -> str | None:
    """Return a value of a field that holds text, such as a name.

    :raises BadValueError: for a boolean, a list or an object.
    """
    value = _plain(value)
    if value is None or isinstance(value, str):
        return None if value is None else _text(value)
    if isinstance(value, bool | list | tuple | Mapping):
        raise BadValueError("not text")
    return _spelled(value)


def tags_of(value: object) -> list[str] | None:
    """Return tags: trimmed, sorted, each once, none empty. A text holds several with commas between them.

    :raises BadValueError: if it is neither a text nor a list of texts.
    """
    value = _plain(value)
    if value is None:
        return None
    if isinstance(value, str):
        found: Sequence[object] = value.split(",")
    elif isinstance(value, list | tuple):
        found = value
    else:
        raise BadValueError("tags that are neither a text nor a list")
    tags = {text.strip(EDGES) for tag in found if (text := text_of(tag)) is not None}
    return sorted(tags - {""})


def converter(kind: ValueType) -> Callable[[object], Json]:
    """Return what makes values of one type, such as those of a CSV file, which are all texts.

    It raises `BadValueError` for what it cannot convert; an empty text is NULL, but for ``text``.
    """
    return _CONVERTERS[kind]


encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Return the bytes that the ledger compares, the same for a dict and for a form of it (see `forms`).

Whatever they are made of went through `canonical`.
"""


Faults = dict[int, str]
"""Why values of a column are not sent, by their place."""


def fix_column(
    values: Sequence[object], convert: Callable[[object], Json] = canonical
) -> tuple[Sequence[Json], Faults]:
    """Return the JSON of the values of one column, and why some of them have none.

    Most columns hold one type, which is checked at once.
    """
    at_once = _fixed_at_once(values, convert)
    if at_once is not None:
        return at_once, {}
    fixed: list[Json] = []
    faults: Faults = {}
    append = fixed.append
    for place, value in enumerate(values):
        try:
            append(convert(value))
        except BadValueError as error:
            append(None)
            faults[place] = str(error)
    return fixed, faults


_KEEPS_TEXT = (canonical, text_of)


def _fixed_at_once(values: Sequence[Any], convert: Callable[[object], Json]) -> Sequence[Json] | None:
    """Return the JSON of values of one type that need no look at each; ``None`` if they may."""
    kinds = set(map(type, values)) - {type(None)}
    if _are_written_as_they_are(values, kinds, convert):
        return values
    if kinds == {int} and convert is text_of_id and None not in values and _are_in_bounds(values):
        return list(map(str, values))
    if convert is canonical and kinds in ({float}, {Decimal}) and _are_finite(values):
        numbers = values if float in kinds else [value if value is None else float(value) for value in values]
        return [int(value) if value is not None and value.is_integer() else value for value in numbers]
    return None


def _are_written_as_they_are(
    values: Sequence[Any], kinds: set[type], convert: Callable[[object], Json]
) -> bool:
    """Return whether the encoder writes all values as ``convert`` would, which tests compare."""
    if convert in _KEEPS_TEXT and _are_texts(kinds, values):
        return True
    if convert is not canonical:
        return False
    return (
        kinds in ({bool}, {dt.date})
        or (kinds == {int} and _are_in_bounds(values))
        or (kinds == {dt.datetime} and _are_in_utc(values))
    )


def _are_texts(kinds: set[type], values: Sequence[Any]) -> bool:
    """Return whether all values are NULL, or texts that are sent as they are."""
    if not kinds <= {str}:
        return False
    text = "".join(filter(None, values))
    return "\0" not in text and (text.isascii() or _is_unicode(text))


def _are_in_bounds(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(min(known) >= _LEAST and max(known) <= _MOST)


def _are_finite(values: Sequence[Any]) -> bool:
    """Return whether all values are finite, and none is so large that its form has to be looked for."""
    known = [value for value in values if value is not None]
    is_finite: Callable[[Any], bool] = math.isfinite if type(known[0]) is float else Decimal.is_finite
    return all(map(is_finite, known)) and bool(max(map(abs, known)) < _LARGEST_EXACT)


def _are_in_utc(values: Sequence[Any]) -> bool:
    """Return whether all times are without a zone, or in one that is always UTC."""
    zones = {id(value.tzinfo): value.tzinfo for value in values if value is not None}.values()
    return all(
        zone is None or (type(zone) in _PLAIN_ZONES and zone.utcoffset(None) == dt.timedelta())
        for zone in zones
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _none(_value: Any) -> None:
    return None


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    text = str.__str__(value)
    if "\0" in text:
        raise BadValueError("a NUL character")
    if not (text.isascii() or _is_unicode(text)):
        raise BadValueError("half a surrogate pair")
    return text


def _int(value: Any) -> float:
    if _LEAST <= value <= _MOST:
        return int(value)
    with suppress(OverflowError):
        if (rounded := float(value)) == value:
            return rounded
    raise BadValueError("a whole number of more than 64 bits: make it text with types")


def _float(value: Any) -> float:
    if float.is_integer(value):
        return _int(int(value))
    if not math.isfinite(value):
        raise BadValueError("NaN or Infinity")
    return float(value)


def _decimal(value: Any) -> float:
    if not value.is_finite():
        raise BadValueError("NaN or Infinity")
    if not value:
        return 0
    if value.adjusted() > _MOST_DIGITS:
        raise BadValueError("a number beyond those of JSON")
    return _int(int(value)) if value == value.to_integral_value() else _float(float(value))


def _datetime(value: Any) -> str:
    if value.utcoffset() is None:
        return dt.datetime.isoformat(value)
    try:
        in_utc = value.astimezone(dt.UTC)
    except OverflowError:
        raise BadValueError("a time outside the years 1 to 9999 in UTC") from None
    return dt.datetime.isoformat(in_utc.replace(tzinfo=None)) + "Z"


def _iso(value: Any) -> str:
    text: str = value.isoformat()
    return text


def _interval(value: Any) -> str:
    """Return a length of time as ISO 8601 spells it, in days and seconds."""
    sign, value = ("-", -value) if value < dt.timedelta() else ("", value)
    seconds = f"{value.seconds}.{value.microseconds:06}".rstrip("0").rstrip(".")
    return f"{sign}P{value.days}DT{seconds}S"


_BY_TYPE: Mapping[type, Callable[[Any], Json]] = {
    type(None): _none,
    bool: _same,
    str: _text,
    int: _int,
    float: _float,
    Decimal: _decimal,
    dt.datetime: _datetime,
    dt.date: _iso,
    dt.time: _iso,
    dt.timedelta: _interval,
    UUID: str,
}


def _of_another_type(value: object, depth: int) -> Json:
    """Return the JSON of a value whose type is made of a known one, or comes from numpy, pandas or pyarrow."""
    plain = _plain(value)
    if type(plain) is not type(value):
        return canonical(plain, depth)
    for kind, known in _BY_TYPE.items():
        if isinstance(plain, kind):
            return known(plain)
    if isinstance(plain, Mapping):
        return _object(plain, depth)
    if isinstance(plain, list | tuple):
        return _list(plain, depth)
    raise BadValueError(f"a value of type {type(value).__name__}")


def _plain(value: Any) -> Any:
    """Take a value out of what wraps it: an enumeration, or a scalar or array of numpy, pandas and pyarrow."""
    if type(value) in _BY_TYPE:
        return value
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    take_out = _TAKE_OUT.get(type(value).__module__.partition(".")[0])
    return take_out(value) if take_out else value


def _of_numpy(value: Any) -> Any:
    name = type(value).__name__
    return (value.astype(f"{name}[us]") if name in {"datetime64", "timedelta64"} else value).tolist()


def _of_pyarrow(value: Any) -> Any:
    return value.as_py() if hasattr(value, "as_py") else value


_TAKE_OUT: Mapping[str, Callable[[Any], Any]] = {"numpy": _of_numpy, "pyarrow": _of_pyarrow}


def _list(values: Sequence[object], depth: int) -> list[Json]:
    _check_depth(depth)
    return [canonical(value, depth + 1) for value in values]


def _object(values: Mapping[Any, object], depth: int) -> dict[str, Json]:
    _check_depth(depth)
    if not all(isinstance(name, str) for name in values):
        raise BadValueError("an object with a key that is not text")
    return {_text(name): canonical(values[name], depth + 1) for name in sorted(values)}


def _check_depth(depth: int) -> None:
    if depth >= _DEEPEST:
        raise BadValueError("nested too deep")


def _refuse_constant(_name: str) -> NoReturn:
    raise BadValueError("NaN or Infinity")


def _spelled(value: object) -> str:
    """Return the text of a number, with all its digits, or of another value that is neither a list nor an object."""
    if isinstance(value, float):
        value = Decimal(repr(float(value)))
    if isinstance(value, int):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        return str(canonical(value))
    if not value.is_finite() or value.adjusted() > _MOST_DIGITS or value.adjusted() < -_MOST_DIGITS:
        raise BadValueError("a number beyond those of JSON")
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _to_text(value: object) -> Json:
    value = _plain(value)
    return ("true" if value else "false") if isinstance(value, bool) else text_of(value)


def _to_number(value: object) -> Json:
    value = _plain(value)
    if isinstance(value, str):
        text = value.strip(EDGES)
        if text and not _NUMBER.fullmatch(text):
            raise BadValueError("not a number")
        return canonical(Decimal(text)) if text else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | None):
        raise BadValueError("not a number")
    return canonical(value)


def _to_integer(value: object) -> Json:
    if isinstance(value, str) and not _WHOLE.fullmatch(value.strip(EDGES) or "0"):
        raise BadValueError("not a whole number")
    number = _to_number(value)
    if isinstance(number, float):
        raise BadValueError("not a whole number")
    return number


def _to_boolean(value: object) -> Json:
    value = _plain(value)
    if value is None or isinstance(value, bool) or value == "":
        return None if value == "" else value
    text = value.strip(EDGES).lower() if isinstance(value, str) else _spelled_integer(value)
    if text not in _BOOLEANS:
        raise BadValueError("not a boolean")
    return _BOOLEANS[text]


def _spelled_integer(value: object) -> str:
    return str(_float(value) if isinstance(value, float) else value) if isinstance(value, int | float) else ""


_CONVERTERS: Mapping[ValueType, Callable[[object], Json]] = {
    "text": _to_text,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
}
