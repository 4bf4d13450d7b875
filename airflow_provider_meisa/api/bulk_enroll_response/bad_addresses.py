"""Find the addresses of a bulk request that an error response names, by position or in words.

Such a response means that nothing was carried out. Its shape is not documented. The usual forms are read: Django REST
Framework's ``{"emails": {"17": ["…"]}}`` and ``{"emails": [{}, ["…"]]}``, places in a path
(``{"loc": ["body", "emails", 17]}``, ``"emails.17"``, ``"emails[17]"``), and addresses as values, as keys or inside a
sentence. A response that names all addresses counts as one that names none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from airflow_provider_meisa.api.redaction import redact
from airflow_provider_meisa.api.status_words import normalize

_FIELDS = {"emails", "email", "contacts", "addresses", "recipients"}
_WELL = {"valid", "accepted", "ok", "success", "succeeded", "enrolled"}
_ECHO = {"request", "input", "body", "params", "payload"}
_PATHS = {"loc", "path", "field", "pointer", "location", "source", "property"}
_PLACES = {"index", "row", "position", "place"}
_PLACE = re.compile(r"\d{1,3}")
_IN_PATH = re.compile(rf"\b(?:{'|'.join(sorted(_FIELDS))})[.\[/]({_PLACE.pattern})\b", re.IGNORECASE)
_TOKEN = re.compile(r"[^\s<>\"'(),;:]+@[^\s<>\"'(),;:]+")
_DEEPEST = 8
_LONGEST = 120
_NO_REASON = "refused by Meisa"


def bad_addresses(body: object, emails: Sequence[str]) -> dict[int, str]:
    """Return the positions of the addresses that a response names, each with a reason free of addresses.

    :param body: the JSON of the response.
    :param emails: the addresses of the request, in its order.
    :return: empty if it names none, or all of more than one.
    """
    by_address = {email.lower(): place for place, email in enumerate(emails)}
    found: dict[int, str] = {}
    for place, reason in _Search(by_address, len(emails)).visit(body):
        if reason or place not in found:
            found[place] = reason or _NO_REASON
    return {} if len(found) == len(emails) > 1 else found


class _Search:
    """Searches a body for positions and their reasons."""

    def __init__(self, by_address: Mapping[str, int], count: int) -> None:
        self._by_address = by_address
        self._count = count

    def visit(
        self, node: object, depth: int = _DEEPEST, *, of_emails: bool = False
    ) -> Iterator[tuple[int, str]]:
        """Visit a part of the body.

        :param of_emails: whether the part is about the field of addresses.
        """
        if not depth:
            return
        if isinstance(node, dict):
            yield from self._of_object(node, depth - 1, of_emails=of_emails)
        elif isinstance(node, list):
            yield from self._of_list(node, depth - 1, of_emails=of_emails)
        elif isinstance(node, str):
            yield from self._of_text(node)

    def _of_object(
        self, node: Mapping[str, object], depth: int, *, of_emails: bool
    ) -> Iterator[tuple[int, str]]:
        place = self._place_of_entry(node)
        if place is not None:
            yield place, _reason(node)
            return
        for name, value in node.items():
            if normalize(name) in _WELL or name in _ECHO:
                continue
            place = self._place_of_name(name, of_emails=of_emails)
            if place is not None:
                yield place, _reason(value)
            else:
                yield from self.visit(value, depth, of_emails=name.lower() in _FIELDS)

    def _of_list(self, node: list[object], depth: int, *, of_emails: bool) -> Iterator[tuple[int, str]]:
        if of_emails and len(node) == self._count and any(not part for part in node):
            yield from ((place, _reason(part)) for place, part in enumerate(node) if part)
            return
        for part in node:
            yield from self.visit(part, depth, of_emails=of_emails and not isinstance(part, str))

    def _of_text(self, text: str) -> Iterator[tuple[int, str]]:
        for token in [text.strip(), *_TOKEN.findall(text)]:
            place = self._by_address.get(token.strip(".").lower())
            if place is not None:
                yield place, _reason(text) if " " in text.strip() else ""

    def _place_of_name(self, name: str, *, of_emails: bool) -> int | None:
        if of_emails and _PLACE.fullmatch(name):
            return self._known(int(name))
        if match := _IN_PATH.search(name):
            return self._known(int(match[1]))
        return self._by_address.get(name.strip().lower())

    def _place_of_entry(self, node: Mapping[str, object]) -> int | None:
        """Return the position in an entry such as ``{"loc": […], "msg": "…"}`` or ``{"index": 17}``."""
        for name, value in node.items():
            if name in _PATHS and isinstance(value, list):
                for before, after in pairwise(value):
                    if before in _FIELDS and isinstance(after, int) and not isinstance(after, bool):
                        return self._known(after)
            elif name in _PATHS and isinstance(value, str) and (match := _IN_PATH.search(value)):
                return self._known(int(match[1]))
        addresses = [
            value
            for value in node.values()
            if isinstance(value, str) and value.strip().lower() in self._by_address
        ]
        if addresses:
            return self._by_address[addresses[0].strip().lower()]
        index = [node[name] for name in _PLACES if name in node]
        return self._known(index[0]) if len(index) == 1 and len(node) > 1 else None

    def _known(self, place: object) -> int | None:
        is_place = isinstance(place, int) and not isinstance(place, bool) and 0 <= place < self._count
        return place if is_place else None  # type: ignore[return-value]  # an int: see above


def _reason(node: object) -> str:
    """Return the first sentence of a part of a body, free of addresses and not too long."""
    texts = [text for text in _texts(node) if " " in text.strip()]
    return redact(texts[0])[:_LONGEST] if texts else ""


def _texts(node: object, depth: int = _DEEPEST) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif depth and isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            yield from _texts(part, depth - 1)
