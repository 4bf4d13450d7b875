"""Detect the encoding of a text by its first bytes."""

from __future__ import annotations

import codecs

# The longer ones first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOKED_AT = 256
_FEWEST_BYTES = 4


def encoding_of(head: bytes, encoding: str) -> str:
    """Return the encoding that the first bytes of a text show, else the expected one.

    A byte order mark is proof. Without one, ASCII in UTF-16 is recognized by its zeros.

    :param encoding: the expected encoding.
    :raises LookupError: if Python does not know the encoding.
    """
    shown = next((shown for mark, shown in _MARKS if head.startswith(mark)), None)
    if shown is None and (is_utf_8(encoding) or _name(encoding) == "utf-16"):
        shown = _utf_16_by_zeros(head[:_LOOKED_AT])
    return encoding if shown is None or (shown == "utf-8" and is_utf_8(encoding)) else shown


def is_surprise(found: str, encoding: str) -> bool:
    """Return whether the encoding is not the expected one; UTF-16 has two forms."""
    return found != encoding and not found.startswith(_name(encoding))


def is_utf_8(encoding: str) -> bool:
    """Return whether an encoding is UTF-8, with or without a byte order mark."""
    return _name(encoding) in ("utf-8", "utf-8-sig")


def _name(encoding: str) -> str:
    return codecs.lookup(encoding).name


def _utf_16_by_zeros(head: bytes) -> str | None:
    """Recognize UTF-16 without a mark: most characters of a file are ASCII, with one zero byte each."""
    evens, odds = head[::2], head[1::2]
    if len(head) < _FEWEST_BYTES:
        return None
    for high, low, shown in ((odds, evens, "utf-16-le"), (evens, odds, "utf-16-be")):
        if 0 not in low and high.count(0) > len(high) / 2:
            return shown
    return None
