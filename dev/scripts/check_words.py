"""Find words the field does not use, in pages, docstrings, comments and messages."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ["docs", "README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md", "CHANGELOG.md"]
ROOTS = [*PAGES, "airflow_provider_meisa", "example_dags", "dev", "benchmarks", "tests"]

# Not hunted, because they have a proper use: "says" of a page or a response, "kind", "look", "note", "repeat", "try".
PHRASES = {
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again, from the start",
    r"(go|goes|going|went) on": "continue, resume",
    r"(told|tells?|telling|said)": "report, log, set, state",
    r"(somebody|someone|everybody|everyone|nobody|anybody)": "a contact, all addresses, no one",
    r"whom": "rewrite the sentence",
    r"beside": "with, next to",
    r"leaves? no room|left no room|has no room": "rate limit reached",
    r"(?<!there )(is|are|was|were) no (?!longer|more|one|other|such)[a-z]+": "is not a ...",
    r"what (was|is) on its way": "requests in flight",
    r"who (was|were) enrolled": "enrolled contacts",
    r"things?|kind of": "name it",
    r"(stands? in|stands? for|stands? there)": "appears, replaces",
    r"turn(s|ed)? (red|green)|(red|green) tasks?": "failed, succeeded",
    r"answer(s|ed|ing)?": "response, respond",
    r"quotas?": "rate limit",
    r"(first|last|next|previous|earlier|later|this|each|every|second|failed) (try|tries)": "attempt",
    r"legs?": "run, stretch, after a deferral",
    r"likewise": "in the same form, as well",
    r"(what|whatever) (became|becomes) of": "the status of, the result of",
    r"of ours": "of this package",
    r"at work on": "processing",
}
RAW = re.compile("[bf]?r[bf]?[\"']", re.IGNORECASE)
PATTERN = re.compile(
    "|".join(rf"(?P<p{i}>\b(?:{phrase})\b)" for i, phrase in enumerate(PHRASES)), re.IGNORECASE
)

# What may keep the phrase, and why: (end of the path, text on the same line).
EXCEPTIONS = {
    ("CONTRIBUTING.md", "## Where things live"): "the heading that a test reads",
    ("docs/proof.md", "| told to stop |"): "the name of a scenario; `make chaos` writes it",
    ("dev/scripts/check_words.py", ""): "the phrases themselves",
    ("sandbox/database.py", "answered INTEGER"): "a column of the sandbox's database",
    ("sandbox/journal.py", "answered"): "the same column",
    ("sandbox/shapes.py", "is no address."): "the words of a server, which this package must read",
}


class Finding(NamedTuple):
    """A phrase in a file, and what to write instead."""

    path: Path
    line: int
    phrase: str
    instead: str


def main(arguments: list[str]) -> int:
    """Print the findings; return 1 if there are any."""
    findings = list(find_in(arguments or ROOTS))
    for path, line, phrase, instead in findings:
        print(f"{path.relative_to(REPOSITORY)}:{line}: {phrase!r}: write {instead!r}")
    return 1 if findings else 0


def find_in(roots: Iterable[str]) -> Iterator[Finding]:
    """Read every page and module below ``roots``."""
    for path in sorted(file for root in roots for file in files_below(REPOSITORY / root)):
        yield from check(path, path.read_text(encoding="utf-8"))


def files_below(root: Path) -> list[Path]:
    """Return the pages and modules below ``root``, or ``root`` itself; skip files that programs write."""
    files = [root] if root.is_file() else [*root.rglob("*.md"), *root.rglob("*.py")]
    return [file for file in files if not {"_build", "_before", "RESULTS.md"} & set(file.parts)]


def check(path: Path, text: str) -> Iterator[Finding]:
    """Yield one finding for each phrase in the prose of a file."""
    if path.suffix == ".py":
        prose = prose_of_module(text, with_messages="tests" not in path.parts)
    else:
        prose = prose_of_page(path, text)
    for number, line in prose:
        for match in PATTERN.finditer(line):
            if not is_exception(path, line):
                instead = list(PHRASES.values())[int((match.lastgroup or "p0")[1:])]
                yield Finding(path, number, match.group(), instead)


def is_exception(path: Path, line: str) -> bool:
    """Return whether the line is one of ``EXCEPTIONS``."""
    return any(path.as_posix().endswith(end) and text in line for end, text in EXCEPTIONS)


def prose_of_page(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines outside code; of the changelog, only those under *Unreleased*.

    Tables that `make quotes` copies from docstrings are left out: correct the docstring.
    """
    in_fence, is_copied, is_open = False, False, True
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            in_fence = not in_fence
        if line.startswith(("<!-- parameters:", "<!-- methods:", "<!-- fields:", "<!-- end")):
            is_copied = not line.startswith("<!-- end")
        if path.name == "CHANGELOG.md" and line.startswith("## "):
            is_open = "unreleased" in line.lower()
        if is_open and not in_fence and not is_copied:
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)", " ", line)


def prose_of_module(text: str, *, with_messages: bool = True) -> Iterator[tuple[int, str]]:
    """Yield the lines of comments and docstrings, and of other strings that hold a space.

    Raw strings are left out, because they are regular expressions, which match the words of others.

    :param with_messages: whether to read strings that are not docstrings; those of tests are data.
    """
    prose = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    docstrings = set(lines_of_docstrings(text))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in prose or " " not in token.string:
            continue
        is_prose = token.type == tokenize.COMMENT or token.start[0] in docstrings
        if is_prose or (with_messages and not RAW.match(token.string)):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, re.sub(r"``[^`]*``|`[^`]*`|\{[^}]*\}", " ", line)


def lines_of_docstrings(text: str) -> Iterator[int]:
    """Yield the first line of each string that is a statement: a docstring, also of an attribute."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.lineno


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
