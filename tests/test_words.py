"""The check of words in `make check`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "dev" / "scripts" / "check_words.py"

pytestmark = pytest.mark.unit


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_words", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_words"] = module
    spec.loader.exec_module(module)
    return module


check_words = load_script()


def lines_found(name: str, text: str) -> list[int]:
    return [finding.line for finding in check_words.check(Path(name), text)]


@pytest.mark.parametrize(
    "sentence",
    ["It goes on.", "Mend it.", "Somebody did.", "It is no list.", "It was told.", "The next try resumes."],
)
def test_phrase_in_a_page_is_found(sentence: str) -> None:
    assert lines_found("page.md", f"# Page\n\n{sentence}\n") == [3]


@pytest.mark.parametrize(
    "sentence",
    [
        "A recommendation.",
        "There is no retry.",
        "It is no longer sent.",
        "Going once.",
        "The response says so.",
    ],
)
def test_proper_use_is_not_found(sentence: str) -> None:
    assert lines_found("page.md", sentence) == []


def test_code_in_a_page_is_skipped() -> None:
    assert lines_found("page.md", "Call `mend`.\n```python\nmend()  # anew\n```\nStart anew.\n") == [5]


def test_copied_table_is_skipped() -> None:
    assert lines_found("page.md", "<!-- parameters: A -->\n| anew |\n<!-- end -->\nanew\n") == [4]


def test_only_unreleased_changes_are_checked() -> None:
    assert lines_found("CHANGELOG.md", "## [Unreleased]\n- anew\n## [0.1.0]\n- anew\n") == [2]


def test_docstring_comment_and_message_are_found() -> None:
    module = '"""Start anew."""\nmend = 1  # mend it\nraise ValueError(f"{mend} is no list")\nanew = "anew"\n'
    assert lines_found("module.py", module) == [1, 2, 3]


def test_regular_expression_is_skipped() -> None:
    assert lines_found("module.py", 'PATTERN = r"it is no (list|text)"\nTEXT = "It is no text"\n') == [2]


def test_strings_of_tests_are_data() -> None:
    module = '"""Start anew."""\nTEXT = "It is no text"  # said\nclass A:\n    b: int\n    """No thing."""\n'
    assert lines_found("tests/test_module.py", module) == [1, 2, 5]


def test_finding_names_the_replacement() -> None:
    (finding,) = check_words.check(Path("page.md"), "Mend it.")
    assert finding.phrase == "Mend"
    assert finding.instead == "fix"


def test_pages_and_modules_of_this_repository_pass(capsys: pytest.CaptureFixture[str]) -> None:
    status = check_words.main([])
    assert (status, capsys.readouterr().out) == (0, "")
