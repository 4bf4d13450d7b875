"""A Sphinx extension that writes ``llms.txt`` next to the built pages, and the source of each page as ``PAGE.md``.

The file follows https://llmstxt.org: a title, a summary, and under each caption of the side bar a link to every page
with its first sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME = "llms.txt"


def write(app: Any, exception: Exception | None) -> None:
    """Write the file and the sources, if the pages were built."""
    if exception or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in sorted(app.env.found_docs):
        target = out / f"{page}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_text(Path(app.srcdir), page), encoding="utf-8")
    (out / NAME).write_text("\n".join(_lines(Path(app.srcdir))) + "\n", encoding="utf-8")


def _lines(docs: Path) -> Iterator[str]:
    index = _text(docs, "index")
    title, summary = _title(index), _summary(index)
    yield from (f"# {title}", "", f"> {summary}")
    for caption, pages in _groups(index):
        yield from ("", f"## {caption}", "")
        for page in pages:
            text = _text(docs, page)
            yield f"- [{_title(text)}]({page}.md): {_summary(text)}"


def _text(docs: Path, page: str) -> str:
    """Return the source of a page; of the changelog, which is outside of the folder, what the page includes."""
    file = docs / f"{page}.md"
    text = file.read_text(encoding="utf-8")
    included = re.fullmatch(r"```\{include\} (.+)\n```\n", text)
    return (file.parent / included[1]).read_text(encoding="utf-8") if included else text


def _groups(index: str) -> Iterator[tuple[str, list[str]]]:
    """Return the captions of the side bar and their pages."""
    pattern = r"^```\{toctree\}\n:caption: ([^\n]+)\n:hidden:\n\n(.*?)^```$"
    for caption, pages in re.findall(pattern, index, re.MULTILINE | re.DOTALL):
        yield caption, pages.split()


def _title(text: str) -> str:
    return re.findall(r"^# (.+)$", text, re.MULTILINE)[0]


def _summary(text: str) -> str:
    """Return the first sentence of a page as plain text."""
    body = text.partition("# ")[2].partition("\n")[2]
    first = next(line for line in body.splitlines() if re.match(r"[A-Z`\[*]", line))
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", first)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
