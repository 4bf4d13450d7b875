"""A Sphinx extension that lets the search find HTTP statuses: by itself it leaves out every word of digits alone.

A section is found by ``429`` if its title names it, if a message in it holds ``(429)``, or if a paragraph or a cell of
a table begins with it. The search looks such entries of the index up as they were typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

# 500 is the number of addresses of a batch on these pages.
STATUSES = {str(status.value) for status in HTTPStatus if status.value >= HTTPStatus.BAD_REQUEST} - {"500"}


class StatusIndex(SphinxTransform):
    """Add an entry for each HTTP status that a section is about."""

    default_priority = 800  # before the domains collect the entries

    def apply(self, **_: Any) -> None:
        """Add the entries of every section."""
        for section in self.document.findall(nodes.section):
            for status in sorted(_statuses(section) & STATUSES):
                entry = ("single", status, section["ids"][0], "", None)
                section.insert(1, addnodes.index(entries=[entry]))


def _statuses(section: nodes.section) -> set[str]:
    return {status for node in _own_texts(section) for status in _named(node)}


def _own_texts(section: nodes.Element) -> Iterator[nodes.Element]:
    """Return what has text in a section, but not in those below it."""
    for child in section.children:
        if isinstance(child, nodes.TextElement):
            yield child
        elif isinstance(child, nodes.Element) and not isinstance(child, nodes.section):
            yield from _own_texts(child)


def _named(node: nodes.Element) -> list[str]:
    text = node.astext()
    if isinstance(node, nodes.title):
        return re.findall(r"\b\d{3}\b", text)
    if isinstance(node, nodes.literal_block):
        return re.findall(r"\((\d{3})\)", text)
    start = re.match(r"\d{3}(?:(?:, | or )\d{3})*\b", text)
    if start is None or start[0] == text:  # a cell of figures
        return []
    return start[0].replace(" or ", ", ").split(", ")


def setup(app: Any) -> dict[str, bool]:
    """Register the transform with Sphinx."""
    app.add_transform(StatusIndex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
