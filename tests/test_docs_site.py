"""The documentation as it is built: nothing is missing, every link inside it leads somewhere, and its search finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("docs_site")  # which is built once

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the documentation as `make docs` does, and give what came of it, and where."""
    folder = tmp_path_factory.mktemp("docs")
    ran = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, folder / "html"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AIRFLOW_HOME": str(folder / "airflow")},
    )
    return ran, folder / "html"


@pytest.fixture(scope="module")
def site(built):
    return built[1]


def test_the_docs_build_without_a_warning(built):
    ran, folder = built
    assert ran.returncode == 0, ran.stderr
    assert (folder / "index.html").exists()


def check_links(folder):
    """Run what `make docs` runs; return its exit code and what it says."""
    command = [sys.executable, DOCS / "_scripts" / "check_links.py", folder]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout


def test_every_link_anchor_and_picture_inside_the_docs_is_there(site):
    assert check_links(site) == (0, "Every link inside the documentation leads somewhere.\n")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('<a href="gone.html">', "page.html: this leads nowhere: gone.html"),
        ('<a href="page.html#gone">', "page.html: this leads nowhere: page.html#gone"),
        ('<img alt="a picture" src="gone.png">', "page.html: this leads nowhere: gone.png"),
        ('<img src="data:image/png,">', "page.html: a picture has no text: data:image/png,"),
    ],
)
def test_a_broken_link_is_named(tmp_path, written, said):
    (tmp_path / "page.html").write_text(f'<h1 id="here"></h1><a href="#here">{written}')
    assert check_links(tmp_path) == (1, f"{said}\n")


@pytest.fixture(scope="module")
def search(site):
    """Look words up as the page of the search does: pages that have all of them, and names in Python."""
    from sphinx.search.en import SearchEnglish

    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    stemmer = SearchEnglish({})

    def pages_with(word):
        stem = stemmer.stem(word.lower())
        found = [index[part].get(stem, []) for part in ("terms", "titleterms")]
        return {number for pages in found for number in (pages if isinstance(pages, list) else [pages])}

    def look_up(words):
        named = {entry[0] for entries in index["objects"].values() for entry in entries if entry[4] == words}
        numbers = set.intersection(*(pages_with(word) for word in words.split())) | named
        return {index["docnames"][number] for number in numbers}

    return look_up


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("rate limit", "quota"),
        ("unsubscribed", "how-to/preview"),
        ("resume retry", "resume"),
        ("lacks scope", "troubleshooting"),
        ("HttpOperator", "migrating"),
        ("verdict", "glossary"),
        ("max_in_flight", "reference/operators"),
        ("MeisaBulkEnrollOperator", "reference/operators"),
    ],
)
def test_the_search_finds_the_page_that_answers(search, words, page):
    assert page in search(words)
