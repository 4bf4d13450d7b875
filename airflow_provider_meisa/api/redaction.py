"""Mask addresses and keys, so that logs and messages do not show them."""

from __future__ import annotations

import re

# Texts from outside may hold addresses encoded for a URL or HTML, or escaped for JSON, JavaScript or Python.
_ENCODED = tuple(
    (re.compile(spellings, re.IGNORECASE), mark)
    for spellings, mark in (
        (r"%(?:25)*(?:u00)?40|&(?:amp;)*(?:#0*64;?|#x0*40;?|commat;)|\\(?:u00|x)40|[\uff20\ufe6b]", "@"),
        (r"%(?:25)*(?:u00)?22|&(?:amp;)*(?:#0*34;?|#x0*22;?|quot;)|\\(?:u00|x)22", '"'),
        (r"%(?:25)*(?:u00)?5c|&(?:amp;)*(?:#0*92;?|#x0*5c;?|bsol;)|\\(?:u00|x)5c", r"\\"),
        (r"&(?:amp;)*(?:#0*(?:32|160);?|#x0*(?:20|a0);?|nbsp;?)|\\(?:u00|x)(?:20|a0)", " "),
    )
)
# RFC 5321 §4.5.3.1.1 allows 64 octets before the @; escapes may make four times as many characters of them.
_QUOTED_LOCAL = re.compile(r'"(?:[^"\\]|\\.){0,256}" ?@')
# "jane @ example.com" is an address (RFC 5322 §4.4), "must contain an @ sign" is not.
_SPACED_AT = re.compile(r" ?@ ?(?=[^\s@.]+\.[^\s@.]|\[)")
# "nothing before the @": a word before it, and nothing after it.
_LONE_AT = re.compile(r"(?<=[\w>] )@\Z")
_LOCAL_BACKWARDS = re.compile(r'(?:[^\s<>"(),;:\[\]]*[^\s<>"(),;:\[\]\'])?')
_DOMAIN = re.compile(r"\[[^\]\s]*\]?|[^\s<>\"'(),;:\[\]\\]*")
_NEIGHBORS = re.compile(r"(?:<address>){2,}")
_KEY = re.compile(r"meisa_[a-z]+_[\w-]+", re.IGNORECASE)
_ESCAPE = "\x1b"  # it separates words; other characters that cannot be printed may be inside one
_OPENING = {'"': '"', ")": "(", "]": "["}
_LONGEST_REASON = 200
QUOTED = " Meisa responded: "
"""The words before the text of Meisa in a message."""


def mask_address(address: str) -> str:
    """Show an address by its first letter and its top-level domain: ``j***@***.com``."""
    local, at, domain = address.rpartition("@")
    if not at or not local:
        return "***"
    first = local[0] if local[0].isalnum() else "*"
    ending = domain.rpartition(".")[2] if "." in domain else ""
    ending = ending if re.fullmatch(r"[A-Za-z]{2,24}", ending) else ""
    return f"{first}***@***.{ending}" if ending else f"{first}***@***"


def printable(text: str) -> str:
    """Replace every character that breaks a log line or controls a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def redact(text: str, *, longest: int = _LONGEST_REASON) -> str:
    """Remove addresses and keys from a text from outside, and cut it to one short, printable line.

    :param longest: the most characters of the line.
    """
    line = " ".join(text.replace(_ESCAPE, " ").split())
    if not line.isprintable():
        # Terminal escapes, direction marks and lone surrogates break logs and files, and hide addresses and keys.
        line = " ".join("".join(c for c in line if c.isprintable()).split())
    line = _KEY.sub("<key>", _without_addresses(line))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def redact_message(text: str, *, longest: int = _LONGEST_REASON) -> str:
    """Redact a message of an error as `redact` does, our words and Meisa's each, so that both keep their beginning.

    :param longest: the most characters of our words.
    """
    ours, quoted, theirs = text.partition(QUOTED)
    return f"{redact(ours, longest=longest)}{quoted}{redact(theirs)}"


def _without_addresses(line: str) -> str:
    decoded = _decoded(line)
    if "@" not in decoded:
        return line
    line = _LONE_AT.sub("", decoded)
    lone = decoded[len(line) :]
    line = _QUOTED_LOCAL.sub("quoted@", line)
    first, *others = _SPACED_AT.sub("@", line).split("@")
    kept = [first, *map(_without_domain, others)]
    kept[:-1] = map(_without_local, kept[:-1])
    return _NEIGHBORS.sub("<address>", "<address>".join(kept)) + lone


def _decoded(line: str) -> str:
    """Decode the characters by which an address is recognised."""
    if not any(mark in line for mark in "%&\\\uff20\ufe6b"):
        return line
    for spellings, mark in _ENCODED:
        line = spellings.sub(mark, line)
    return " ".join(line.split())


def _without_domain(piece: str) -> str:
    """Remove the domain after an ``@`` that ends the piece before."""
    found = _DOMAIN.match(piece)
    return piece[found.end() :] if found else piece


def _without_local(piece: str) -> str:
    """Remove the local part before an ``@`` that begins the next piece."""
    opening = _OPENING.get(piece[-1:])
    if opening:
        piece = piece[: max(piece.rfind(opening, 0, -1), 0)]
    found = _LOCAL_BACKWARDS.match(piece[::-1])
    return piece[: len(piece) - found.end()] if found else piece
