"""Check and normalise addresses, with the reasons why a text is not one.

An address is what can be sent, not all that RFC 5322 allows: no quoted local part, no comment, no IP literal, a
domain with a dot, a top-level domain that can exist. Letters of any script are accepted on both sides of the ``@``
(RFC 6531) and sent as they are; no domain is converted to ``xn--`` and nothing is Unicode-normalised, because Meisa
must see what the warehouse holds. Symbols, foreign punctuation and full-width forms are not letters: they come from a
phone, a word processor or an input method. Two spellings that differ only in case are one address.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import count, islice, repeat
from typing import TYPE_CHECKING, TypeGuard

from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.input_shapes import EDGES, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_LONGEST_SHOWN = 320
_CHUNK = 500

_INVISIBLE = (
    (0x00, 0x1F),  # NUL fills fixed columns, SUB ends files of DOS
    (0x7F, 0x9F),
    (0xAD, 0xAD),  # soft hyphen
    (0x61C, 0x61C),  # Arabic letter mark
    (0x180E, 0x180E),
    (0x200B, 0x200F),  # zero width, left-to-right and right-to-left mark
    (0x202A, 0x202E),  # embedding and override of direction
    (0x2060, 0x2064),
    (0x2066, 0x206F),  # isolation of direction
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # byte order mark
)
_EDGES = EDGES + "".join(chr(code) for first, last in _INVISIBLE for code in range(first, last + 1))

# RFC 5321 §4.5.3.1.1 (64) and §4.5.3.1.3 less the brackets (254); RFC 1035 §2.3.4 (63).
_LONGEST, _LONGEST_LOCAL, _LONGEST_LABEL = 254, 64, 63
# No possessive quantifiers: before Python 3.11.5 they match wrongly (python/cpython#106052).
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9][a-z0-9-]{0,62}(?<!-)"
_TOP = r"(?:xn--[a-z0-9-]{1,59}|[a-z][a-z-]{1,62})(?<!-)"
_ADDRESS = rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_TOP}"
_PLAIN = re.compile(_ADDRESS)
_ALL_PLAIN = re.compile(rf"(?:{_ADDRESS}\n)+")
_NOT_IN_LOCAL = re.compile(r"[()<>\[\]:;,\\\"]")
_NOT_IN_DOMAIN = re.compile(r"[\x00-\x2c/:-@\[-`{-\x7f]")
_NO_TOP = re.compile(r".|(?!xn--).*[0-9].*", re.DOTALL)
# RFC 5892 §A: not letters, and yet part of words in Catalan, Greek, Hebrew and Japanese.
_IN_WORDS = "\xb7\u0375\u05f3\u05f4\u30fb"
_LOOKS_EMPTY = {"\u115f", "\u1160", "\u3164", *map(chr, range(0xFE00, 0xFE10))}
_OF_WORDS = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"}


def normalise(text: str) -> str:
    """Trim an address and lower the case of its domain.

    The local part keeps its case, as RFC 5321 §2.4 asks. White space of any script, control characters and
    invisible characters are removed from both ends.
    """
    # str.strip, because a subclass (jinja2's Markup) would return itself.
    address = str.strip(text, _EDGES)
    local, at, domain = address.rpartition("@")
    return local + at + domain.lower() if at else address


def key_of(address: str) -> str:
    """Return the same text for all spellings of one address."""
    return address.strip(_EDGES).lower()


def validation_error(address: str) -> str | None:
    """Return why a normalised text is not an address, in a few words; ``None`` if it is one."""
    return next((reason for reason, applies in _FAULTS if applies(address)), None)


def check(raw: object, row: int | None = None) -> str | Outcome:
    """Read one value of a source: its normalised address, or the outcome ``invalid`` with the value as it came.

    :param raw: a string, UTF-8 bytes, or ``None`` for a row without an address.
    :param row: the number of its row, from 1; a value that is not a text is found by it.
    :raises MeisaInputError: if it has another type: that is not a bad address, but a mistake in the DAG.
    """
    text = raw if type(raw) is str else text_of(raw, lambda: f"The audience{_place(row)}")
    if text is None:
        kind = "None" if raw is None else type(raw).__name__
        return Outcome("", OutcomeStatus.INVALID, f"no value ({kind}){_place(row)}")
    address = normalise(text)
    if len(address) <= _LONGEST and _PLAIN.fullmatch(address.lower()):
        return address
    fault = validation_error(address)
    return address if fault is None else Outcome(_shown(text), OutcomeStatus.INVALID, fault)


def check_all(
    values: Iterable[object],
    *,
    first_row: int | None = None,
    on_foreign: Callable[[], None] = lambda: None,
) -> Iterator[str | Outcome]:
    """Read the values of a source as `check` does, a few hundred at a time.

    :param first_row: the number of the first row, if reasons and messages are to name rows.
    :param on_foreign: called for each address with letters beyond ASCII before the ``@``.
    :raises MeisaInputError: see `check`; the values before it are yielded first.
    """
    rest = iter(values)
    rows = repeat(None) if first_row is None else count(first_row)
    while chunk := list(islice(rest, _CHUNK)):
        numbers = list(islice(rows, len(chunk)))
        if _are_plain(chunk):
            yield from chunk
            continue
        for found in map(check, chunk, numbers):
            if isinstance(found, str) and not found.isascii() and not _local(found).isascii():
                on_foreign()
            yield found


def check_column(values: Sequence[object]) -> Sequence[str | Outcome]:
    """Read the values of one column of some rows, as `check` does.

    :raises MeisaInputError: see `check`.
    """
    if _are_plain(values):
        return values
    return [check(value) for value in values]


def _are_plain(values: Sequence[object]) -> TypeGuard[Sequence[str]]:
    """Return whether all values are normalised addresses, as most in a warehouse are.

    One search over all of them takes a third of the time of one search each.
    """
    if set(map(type, values)) != {str}:
        return False
    text = "\n".join(values) + "\n"  # type: ignore[arg-type]  # all are str: see above
    return (
        text.count("\n") == len(values)
        and max(map(len, values)) <= _LONGEST  # type: ignore[arg-type]
        and _ALL_PLAIN.fullmatch(text) is not None
    )


def _place(row: int | None) -> str:
    return "" if row is None else f", row {row:,}"


def _shown(address: str) -> str:
    """Cut a text that is not an address to a length and to characters that an outcome file can hold."""
    return address[:_LONGEST_SHOWN].encode("utf-8", "replace").decode("utf-8")


def _has_symbol(text: str) -> bool:
    """Return whether a character beyond ASCII is not part of words in any script."""
    return any(_is_symbol(c) for c in text if not c.isascii() and c not in _IN_WORDS)


def _is_symbol(c: str) -> bool:
    if unicodedata.category(c) not in _OF_WORDS or c in _LOOKS_EMPTY:
        return True
    # A letter in another style: full width, superscript, mathematical. <compat> is not: Thai and Lao spell with it.
    style = unicodedata.decomposition(c).partition(" ")[0]
    return style.startswith("<") and style != "<compat>"


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _local(address: str) -> str:
    return address.rpartition("@")[0]


def _labels(address: str) -> list[str]:
    return address.rpartition("@")[2].split(".")


# In this order: the first match is the reason, and later checks rely on earlier ones.
_FAULTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("empty", lambda a: not a),
    (f"longer than {_LONGEST} octets", lambda a: _octets(a) > _LONGEST),
    ("no @", lambda a: "@" not in a),
    ("quoted local part", lambda a: a.startswith('"')),
    ("more than one @", lambda a: a.count("@") > 1),
    ("white space inside", lambda a: any(c.isspace() for c in a)),
    ("control or invisible character inside", lambda a: not a.isprintable()),
    ("nothing before the @", lambda a: a.startswith("@")),
    ("nothing after the @", lambda a: a.endswith("@")),
    (f"more than {_LONGEST_LOCAL} octets before the @", lambda a: _octets(_local(a)) > _LONGEST_LOCAL),
    ("a dot at an edge or two dots before the @", lambda a: not all(_local(a).split("."))),
    ("a character that is not allowed before the @", lambda a: bool(_NOT_IN_LOCAL.search(_local(a)))),
    ("a symbol or foreign punctuation before the @", lambda a: _has_symbol(_local(a))),
    ("a domain without a dot", lambda a: len(_labels(a)) == 1),
    ("a dot at an edge or two dots in the domain", lambda a: not all(_labels(a))),
    ("a character that is not allowed in a domain", lambda a: any(map(_NOT_IN_DOMAIN.search, _labels(a)))),
    ("a symbol or foreign punctuation in the domain", lambda a: any(map(_has_symbol, _labels(a)))),
    (
        f"a domain label over {_LONGEST_LABEL} characters",
        lambda a: max(map(len, _labels(a))) > _LONGEST_LABEL,
    ),
    ("a hyphen at the edge of a domain label", lambda a: any(x != x.strip("-") for x in _labels(a))),
    ("a domain that ends in a number", lambda a: _labels(a)[-1].isdecimal()),
    ("a top-level domain of one letter, or with a digit", lambda a: bool(_NO_TOP.fullmatch(_labels(a)[-1]))),
)
