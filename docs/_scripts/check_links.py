"""Check that every link, anchor and picture inside the built documentation is there; ask nothing of the network.

``check_links.py FOLDER`` says what is broken; ``check_links.py FOLDER --outside`` lists the links that lead outside.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

OUTSIDE = ("http://", "https://", "mailto:", "data:")


class Page(HTMLParser):
    """What a page leads to, what in it can be led to, and its pictures without a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = {"", "top"}
        self.bare_pictures: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in a tag."""
        found = {name: value for name, value in attrs if value}
        self.targets |= {found[name] for name in ("href", "src") if name in found}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "img" and "alt" not in found:
            self.bare_pictures.append(found.get("src", ""))


@functools.cache
def parsed(path: Path) -> Page:
    """Read a page once."""
    return Page(path.read_text(encoding="utf-8"))


def faults(folder: Path) -> Iterator[str]:
    """Say what is wrong, page by page."""
    for path in sorted(folder.rglob("*.html")):
        page, name = parsed(path), path.relative_to(folder)
        yield from (f"{name}: a picture has no text: {source}" for source in page.bare_pictures)
        for target in sorted(page.targets):
            if not target.startswith(OUTSIDE) and not is_there(path, target):
                yield f"{name}: this leads nowhere: {target}"


def is_there(path: Path, target: str) -> bool:
    """Say whether a target on a page is a file, and its anchor in it."""
    place, anchor = urldefrag(target)
    place = unquote(place.partition("?")[0])
    file = (path.parent / place).resolve() if place else path
    if file.suffix != ".html":
        return file.exists()
    return file.exists() and unquote(anchor) in parsed(file).anchors


def outside(folder: Path) -> list[str]:
    """List the links to other places."""
    targets = {target for path in folder.rglob("*.html") for target in parsed(path).targets}
    return sorted(target for target in targets if target.startswith(OUTSIDE[:2]))


def main(folder: str, *options: str) -> int:
    """Print the faults, or the links that lead outside; return 1 if there are faults."""
    if "--outside" in options:
        print("\n".join(outside(Path(folder))))
        return 0
    found = list(faults(Path(folder)))
    print("\n".join(found) or "Every link inside the documentation leads somewhere.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
