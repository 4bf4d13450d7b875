"""Copy code and parameters into the pages, so that a page can be read whole without building it.

``quote.py`` writes what differs and names the pages; ``quote.py --check`` only names them. A page asks in a comment:

``<!-- code: FILE PIECE … -->`` before a block of Python: what the file has between ``# [START piece]`` and
``# [END piece]``. The piece ``imports`` is what the file imports for the others; without a piece it is the whole file.

``<!-- parameters: CLASS -->``, ``<!-- methods: CLASS NAME … -->`` or ``<!-- fields: CLASS -->``, up to
``<!-- end -->``: a table of what its docstrings say.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_provider_meisa"

_MARK = re.compile(r"^ *# \[(?:START|END) \w+\]\n", re.MULTILINE)
_CODE = re.compile(
    r"(<!-- code: (\S+)((?: \w+)*) -->\n\n```python\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL
)
_TABLE = re.compile(
    r"(<!-- (parameters|methods|fields): ([\w.]+)((?: \w+)*) -->\n)(.*?)(?=^<!-- end -->$)",
    re.MULTILINE | re.DOTALL,
)
_PARAM = re.compile(r"^:param (\w+):(.*?)(?=^:\w|\Z)", re.MULTILINE | re.DOTALL)
_RETURNS = re.compile(r"^:return:(.*?)(?=^:\w|\Z)", re.MULTILINE | re.DOTALL)
_ELSEWHERE = "and the other parameters"


def pages() -> list[Path]:
    """Return the pages, and README."""
    found = sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)
    return [ROOT / "README.md", *found]


def quoted(page: str) -> str:
    """Return a page with everything copied that it asks for."""
    page = _CODE.sub(lambda match: match[1] + code(ROOT / match[2], match[3].split()), page)
    return _TABLE.sub(
        lambda match: f"{match[1]}\n{_written(match[2], load(match[3]), match[4].split())}\n\n", page
    )


# Code


def code(file: Path, names: list[str]) -> str:
    """Return pieces of a file, or all of it, without the marks."""
    text = file.read_text(encoding="utf-8")
    if not names:
        return _formatted(_MARK.sub("", text))
    pieces = [_piece(file, text, name) for name in names if name != "imports"]
    found = "\n".join(pieces)
    return _formatted(f"{_imports(text, found)}\n{found}" if "imports" in names else found)


@functools.cache
def _formatted(text: str) -> str:
    """Return Python with the blank lines and line breaks of the formatter, which checks the pages, too."""
    command = [
        Path(sys.executable).with_name("ruff"),
        "format",
        "--quiet",
        "--stdin-filename",
        ROOT / "page.py",
    ]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return ran.stdout


def _piece(file: Path, text: str, name: str) -> str:
    match = re.search(rf"^ *# \[START {name}\]\n(.*?)^ *# \[END {name}\]$", text, re.MULTILINE | re.DOTALL)
    if match is None:
        raise SystemExit(f"{file} has no piece {name!r}.")
    return _MARK.sub("", textwrap.dedent(match[1])).strip("\n") + "\n"


def _imports(text: str, used_by: str) -> str:
    """Return what a file imports, as far as a piece of it uses it, in the groups of the formatter."""
    used = {node.id for node in ast.walk(ast.parse(used_by)) if isinstance(node, ast.Name)}
    groups: dict[int, str] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if alias.name in used]
            if node.names:
                group = _group(node)
                groups[group] = f"{groups.get(group, '')}{ast.unparse(node)}\n"
    return "\n".join(groups[group] for group in sorted(groups))


def _group(node: ast.Import | ast.ImportFrom) -> int:
    top = ((node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or "").partition(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top == PACKAGE else 1


# Parameters


def load(dotted: str) -> Any:
    """Return a class or a function by its dotted name."""
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _written(kind: str, one: Any, names: list[str]) -> str:
    match kind:
        case "methods":
            return "\n\n".join(_method(name, getattr(one, name)) for name in names)
        case "fields":
            return _table(("Field", "What it is"), list(_described(one)))
    return parameters(one)


def parameters(one: Any) -> str:
    """Return the table of what a class or function takes."""
    described = dict(_described(one))
    if not described:
        return "It has no parameters."
    defaults = _defaults(one)
    rows = [(name, _default(defaults, name), text) for name, text in described.items()]
    return _table(("Parameter", "Default", "What it is"), rows)


def _method(name: str, method: Any) -> str:
    doc = inspect.getdoc(method) or ""
    prose = [_plain(paragraph) for paragraph in re.split(r"^:\w", doc, flags=re.MULTILINE)[0].split("\n\n")]
    lines = [line for paragraph in filter(None, prose) for line in _sentences(paragraph)]
    parts = [f"### `{name}`", "\n".join(lines)]
    if _PARAM.search(doc):
        parts.append(parameters(method))
    annotation = inspect.signature(method).return_annotation
    if returned := _RETURNS.search(doc):
        parts.append(f"Returns {_plain(returned[1])}")
    elif annotation not in {"None", inspect.Signature.empty}:
        parts.append(f"Returns `{annotation}`.")
    return "\n\n".join(parts)


def _described(one: Any) -> Iterator[tuple[str, str]]:
    for name, text in _PARAM.findall(inspect.getdoc(one) or ""):
        if name != "kwargs" and not text.strip().startswith(_ELSEWHERE):
            plain = _plain(text)
            yield name, plain[:1].upper() + plain[1:]


def _defaults(one: Any) -> dict[str, inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    for each in reversed(one.__mro__) if inspect.isclass(one) else [one]:
        if each is not object and (not inspect.isclass(one) or each.__module__.startswith(PACKAGE)):
            found |= inspect.signature(each).parameters
    return found


def _default(defaults: dict[str, inspect.Parameter], name: str) -> str:
    parameter = defaults.get(name)
    if parameter is None or parameter.default is inspect.Parameter.empty:
        return "required"
    return f"`{parameter.default!r}`".replace("'", '"')


def _plain(text: str) -> str:
    """Return a text of a docstring as Markdown, in one line."""
    return re.sub(r"(`+)(.+?)\1", r"`\2`", " ".join(text.split()))


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", text)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *((f"`{name}`", *rest) for name, *rest in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main(*options: str) -> int:
    """Write the pages that differ, or only name them; return 1 if there are any to name."""
    differing = [
        page
        for page in pages()
        if quoted(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")
    ]
    for page in differing:
        if "--check" not in options:
            page.write_text(quoted(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(page.relative_to(ROOT))
    return int("--check" in options and bool(differing))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(
        prefix="meisa-docs-"
    ) as home:  # Airflow makes a home where it is imported
        os.environ.setdefault("AIRFLOW_HOME", home)
        sys.exit(main(*sys.argv[1:]))
