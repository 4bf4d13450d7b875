"""The page on troubleshooting has every message that this package raises or warns with, in its words."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_meisa.api import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "airflow_provider_meisa"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")

GAP = "…"  # what differs from case to case
FEWEST_WORDS = 4

RAISED = {one.__name__ for _, one in inspect.getmembers(errors, inspect.isclass)}
AIRFLOWS = {"AirflowException", "AirflowFailException", "AirflowSkipException"}
WARNED = {"warning", "error", "exception"}


@dataclass(frozen=True)
class Message:
    """A message in the source: who says it, and its words with gaps."""

    place: str
    by: str
    words: str


def modules() -> list[Path]:
    """Return the modules whose messages users meet: not the sandbox, which has a page of its own."""
    return sorted(path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts)


def template(node: ast.expr) -> str | None:
    """Return a text of the source, with gaps where values go; ``None`` for what is not a text."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def texts_in(arguments: list[ast.expr]) -> Iterator[str]:
    """Return the texts among the arguments of a call, also where a condition chooses between two."""
    for argument in arguments:
        if isinstance(argument, ast.IfExp):
            yield from texts_in([argument.body, argument.orelse])
        elif words := template(argument):
            yield words


def normalised(words: str) -> str:
    """Put a gap for every placeholder; one that clings to a word or a full stop is a remark that may be empty."""
    words = re.sub(r"<[^<>]+>|%(?:\.\d)?[sdfg]|\{[^{}]*\}", GAP, words)
    words = re.sub(rf"(?<=[\w.]){GAP}", "", words)
    return re.sub(rf"'{GAP}'", GAP, words).strip()


def messages() -> Iterator[Message]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            by = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            is_at_parse_time = by == "ValueError" and path.parent.name == "assets"
            if by in RAISED | AIRFLOWS | WARNED or is_at_parse_time:
                for words in filter(is_distinctive, texts_in(node.args)):
                    yield Message(f"{path.relative_to(ROOT)}:{node.lineno}", by, normalised(words))


@functools.cache
def sections() -> dict[str, list[str]]:
    """Return the messages under each heading of the page, with the text around them."""
    found = {}
    for piece in re.split(r"^(?=#{2,3} )", PAGE, flags=re.MULTILINE)[1:]:
        heading = piece.partition("\n")[0].lstrip("# ")
        assert heading not in found, f"{heading!r} stands twice."
        found[heading] = [piece, *shown(piece)]
    return found


def shown(piece: str) -> list[str]:
    return [
        normalised(line)
        for code in re.findall(r"^```text\n(.*?)^```$", piece, re.MULTILINE | re.DOTALL)
        for line in filter(None, code.splitlines())
    ]


def fits(message: str, line: str) -> bool:
    """Say whether a line of the page is a message of the source; a gap in one may be filled in the other."""
    return all(map(is_distinctive, (message, line))) and any(
        pattern(one).fullmatch(other) for one, other in ((message, line), (line, message))
    )


@functools.cache
def pattern(words: str) -> re.Pattern[str]:
    """Return what matches a template whose gaps are filled."""
    return re.compile(".+".join(re.escape(part) for part in words.split(GAP)))


@functools.cache
def is_distinctive(words: str) -> bool:
    """Say whether a template has words of its own, and does not only pass others on."""
    return len(re.findall(r"[a-z]+", words)) >= FEWEST_WORDS


@pytest.mark.parametrize("message", list(messages()), ids=lambda message: f"{message.place} {message.by}")
def test_every_message_is_on_the_page_under_the_name_of_its_class(message):
    holding = [
        text for text, *lines in sections().values() if any(fits(message.words, line) for line in lines)
    ]
    assert holding, f"docs/troubleshooting.md lacks: {message.words}"
    if message.by in RAISED:
        assert any(message.by in text for text in holding), (
            f"{message.by} is not named beside: {message.words}"
        )


def test_every_line_of_the_page_is_in_the_source():
    texts = [
        normalised(words)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant | ast.JoinedStr) and (words := template(node))
    ]
    pieces = " ".join(texts)
    for line in shown(PAGE):
        if not any(fits(text, line) for text in texts):
            for piece in line.split(GAP):
                assert piece.strip(" :().,") in pieces, f"Nothing in the source says {piece!r}, as in: {line}"


def test_every_error_that_is_raised_has_a_place_on_the_page():
    parents = {parent for name in RAISED for parent in getattr(errors, name).__bases__}
    leaves = {name for name in RAISED if getattr(errors, name) not in parents}
    assert {name for name in leaves if f"`{name}`" not in PAGE} == set()
