"""The documentation as it is built: nothing is missing, every link inside it leads somewhere, and its search finds."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.chromium import headless_chromium

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
    ("written", "message"),
    [
        ('<a href="gone.html">', "page.html: this leads nowhere: gone.html"),
        ('<a href="page.html#gone">', "page.html: this leads nowhere: page.html#gone"),
        ('<img alt="a picture" src="gone.png">', "page.html: this leads nowhere: gone.png"),
        ('<img src="data:image/png,">', "page.html: a picture has no text: data:image/png,"),
    ],
)
def test_a_broken_link_is_named(tmp_path, written, message):
    (tmp_path / "page.html").write_text(f'<h1 id="here"></h1><a href="#here">{written}')
    assert check_links(tmp_path) == (1, f"{message}\n")


@pytest.fixture(scope="module")
def index(site):
    """Return what the page of the search looks up."""
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))


@pytest.fixture(scope="module")
def search(index):
    """Look words up as the page of the search does: pages that have all of them."""
    from sphinx.search.en import SearchEnglish

    stemmer = SearchEnglish({})

    def pages_with(word):
        stem = stemmer.stem(word.lower())
        found = [index[part].get(stem, []) for part in ("terms", "titleterms")]
        return {number for pages in found for number in (pages if isinstance(pages, list) else [pages])}

    def look_up(words):
        numbers = set.intersection(*(pages_with(word) for word in words.split()))
        return {index["docnames"][number] for number in numbers}

    return look_up


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("rate limit", "rate-limits"),
        ("Redis", "rate-limits"),
        ("unsubscribed", "how-to/preview"),
        ("resume retry", "resume"),
        ("lacks scope", "troubleshooting"),
        ("Bad Request test connection", "known-problems"),
        ("HttpOperator", "migrating"),
        ("OpenLineage", "how-to/assets"),
        ("pytest fixture", "how-to/sandbox"),
        ("status", "glossary"),
        ("max_in_flight", "reference/operators"),
        ("MeisaBulkEnrollOperator", "reference/operators"),
        ("contact_enrollments", "how-to/hook"),
    ],
)
def test_search_finds_the_page(search, words, page):
    assert page in search(words)


@pytest.mark.parametrize(
    ("status", "pages"),
    [
        ("401", {"troubleshooting", "reference/errors"}),
        ("403", {"troubleshooting", "reference/errors"}),
        ("429", {"rate-limits", "troubleshooting", "reference/errors"}),
        ("503", {"rate-limits", "troubleshooting", "reference/errors"}),
    ],
)
def test_search_finds_an_http_status(index, status, pages):
    """Sphinx leaves words of digits out of its terms, so they are entries of its index."""
    found = {index["docnames"][number] for number, _, _ in index["indexentries"][status]}
    assert pages <= found
    assert "versions" not in found


@pytest.fixture
def served(site):
    """Serve the built pages on this machine."""
    handler = functools.partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, *_):
        """Log nothing."""


@pytest.mark.system
def test_search_page_shows_the_section_of_a_429(served):
    with headless_chromium() as browser:
        page = browser.new_page()
        page.goto(f"{served}/search.html?q=429")
        page.wait_for_selector("#search-results li a")
        found = [link.get_attribute("href") for link in page.query_selector_all("#search-results li a")]
    assert any("rate-limits.html" in link for link in found)
    assert any("troubleshooting.html#meisa-returns-429" in link for link in found)


# Copy buttons and llms.txt


def test_pages_have_copy_buttons(site):
    page = (site / "how-to" / "sql.html").read_text(encoding="utf-8")
    assert "copybutton.js" in page
    script = (site / "_static" / "copybutton.js").read_text(encoding="utf-8")
    assert "'$ '" in script or '"$ "' in script


def test_pages_are_complete_without_the_build(site):
    """No page asks Sphinx for what a reader of the repository would miss."""
    pages = [page for page in DOCS.rglob("*.md") if "_build" not in page.parts]
    directives = {
        name for page in pages for name in re.findall(r"^```\{([\w-]+)\}", page.read_text(), re.MULTILINE)
    }
    assert directives == {"toctree", "include"}


def test_llms_txt_lists_every_page_with_a_sentence(site):
    lines = (site / "llms.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# airflow-provider-meisa"
    assert lines[2].startswith("> Meisa sends lifecycle e-mail")
    links = [
        re.fullmatch(r"- \[(.+)\]\((.+)\.md\): (.{20,})", line) for line in lines if line.startswith("- ")
    ]
    assert all(links)
    built = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {link[2] for link in links} == built - {"index", "search", "genindex"}
    for link in links:
        source = (site / f"{link[2]}.md").read_text(encoding="utf-8")
        assert source.startswith(f"# {link[1]}\n")


def test_llms_txt_keeps_the_groups_of_the_side_bar(site):
    lines = (site / "llms.txt").read_text(encoding="utf-8").splitlines()
    captions = re.findall(r"^:caption: (.+)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == captions
