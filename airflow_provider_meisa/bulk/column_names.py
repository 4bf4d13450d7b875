"""Decide which column names a message may show: without a header, they may be a record."""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_provider_meisa.api.redaction import redact

_MOST_NAMED = 20
_HIDDEN = "…"
_IDENTIFIER = re.compile(r"[^\W\d]\w{0,62}(?:[.-][^\W\d]\w{0,30}){0,3}")
_LONGEST_INDEX = 3
_MOST_DIGITS = 8  # a phone number has more
_SHAPE = re.compile(r"[\w .\-/#]{1,64}")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[^\W\d_][^\W\d_A-Z]*|\d+")
# These are not names of people, or other cells of a person's record.
_NOUNS = """
id ids uid uuid guid email emails mail mails mailadresse emailadresse adresse address addresses correo courriel
user users username userid customer customers customerid client clients contact contacts contactid account accounts
subscriber subscribers subscription recipient recipients lead leads member members person people profile
name names firstname lastname fullname surname forename nickname vorname nachname nombre apellido nom prenom prénom
cognome naam voornaam achternaam phone telephone telefon telefono téléphone mobile tel fax company organisation
organization org domain website url uri link city country state zip zipcode postcode postal plz region locale
language lang timezone tz status type kind source campaign segment tag tags score mrr arr amount total count
number nr num index row value note notes comment comments title gender age birthday birthdate birth dob
description group team role date time timestamp datetime datum month year created updated deleted modified
signup login plan tier product sku order orders invoice currency consent optin optout unsubscribed subscribed
hash md5 sha256 sequence slug metadata data payload event events kunde kunden kundennummer nutzer
"""
_BESIDES = """
a at by e in is of on out the to was has last first middle full given family display old new previous current raw
clean normalized normalised verified valid active primary secondary main work home private personal business
billing shipping external internal opt sign log key pk fk no day street price code de of der number seen used
"""
_USUAL_NOUNS = frozenset(_NOUNS.split())
_USUAL_WORDS = _USUAL_NOUNS.union(_BESIDES.split())


def shown_name(name: str, *, may_be_record: bool = False) -> str:
    """Return a column's name if it may be shown, else a placeholder.

    :param may_be_record: whether the names may be a person's data. Then only names made of the usual words for columns
        are shown.
    """
    name = name.strip()
    if _has_usual_words(name):
        return name
    if may_be_record or not (_IDENTIFIER.fullmatch(name) or is_short_number(name)):
        return _HIDDEN
    return name if _has_few_digits(name) and redact(name) == name else _HIDDEN


def found_names(names: Sequence[str], *, may_be_record: bool) -> str:
    """Describe the columns, without text that may be a person's data."""
    if not names:
        return "it has none"
    if any("@" in name for name in names):
        return "instead of names there is an address: without a header, give the column's number"
    shown = [shown_name(name, may_be_record=may_be_record) for name in names]
    if may_be_record and set(shown) == {_HIDDEN}:
        return (
            f"it has {len(names)}, and the values in their place do not look like names, so they are not shown: "
            "without a header, give the column's number"
        )
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"it has: {', '.join(shown[:_MOST_NAMED])}{more}"


def is_short_number(name: str) -> bool:
    """Return whether a name is a number, as in a table without names."""
    return name.isdecimal() and len(name) <= _LONGEST_INDEX


def _has_usual_words(name: str) -> bool:
    if not _SHAPE.fullmatch(name):
        return False
    words = [word.casefold() for word in _WORD.findall(name)]
    if words and words[-1].isdecimal() and len(words[-1]) < _LONGEST_INDEX:
        words.pop()  # such as address2
    return not _USUAL_NOUNS.isdisjoint(words) and _USUAL_WORDS.issuperset(words)


def _has_few_digits(name: str) -> bool:
    return sum(map(str.isdecimal, name)) <= _MOST_DIGITS
