"""The page for a person."""

from __future__ import annotations

from html.parser import HTMLParser

import requests

from airflow_provider_meisa.sandbox.server import Sandbox


class Elements(HTMLParser):
    """Collects the elements of a page and the attributes that make a browser load something."""

    def __init__(self, page):
        super().__init__()
        self.names, self.loads = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href"} and tag != "a"]


def page_of(sandbox):
    response = requests.get(sandbox.url + "/", timeout=10)
    assert response.status_code == 200
    return response.text


def test_an_empty_sandbox_shows_its_sequences_and_limits(tmp_path):
    with Sandbox(tmp_path / "s.db", rate_limits="7/minute") as sandbox:
        page = page_of(sandbox)
    assert "7/minute" in page
    assert "live and test" in page
    assert "None yet." in page
    for slug in ("onboarding", "reactivation", "winback", "legacy"):
        assert f'<th scope="row">{slug}</th>' in page
    assert '<meta http-equiv="refresh" content="5">' in page


def test_the_page_shows_what_was_enrolled(live, test_caller, sandbox):
    live.enroll("shown@example.org")
    test_caller.enroll("shown-test@example.org")
    page = page_of(sandbox)
    assert "shown@example.org" in page
    assert "shown-test@example.org" in page


def test_everything_from_outside_is_escaped(live, sandbox):
    nasty = '"><script>alert(1)</script>'
    sandbox.put_sequence("nasty", name=nasty, status="active")
    sandbox.put_sequence(f"slug-{nasty}", name="x", status=nasty)
    live.enroll("nasty'&`x@example.org", slug="nasty", trigger_source=nasty)
    page = page_of(sandbox)
    assert "script" not in Elements(page).names
    assert "&lt;script&gt;" in page
    assert "nasty&#x27;&amp;`x@example.org" in page


def test_the_page_loads_nothing_from_elsewhere_and_shows_no_key(sandbox):
    page = page_of(sandbox)
    assert Elements(page).loads == ["data:,"]
    assert sandbox.key not in page
    assert "url(" not in page


def test_a_sandbox_without_limits_says_so(sandbox):
    assert "<dd>none</dd>" in page_of(sandbox)


def test_the_page_shows_contacts_and_automations(live, sandbox):
    nasty = "<script>alert(1)</script>"
    live.post(
        "/contacts/upsert/",
        {
            "email": "contact@example.org",
            "external_id": "id-4711",
            "first_name": "Ada",
            "last_name": nasty,
            "custom_fields": {"plan": nasty, "long": "x" * 1000},
            "tag_names": [nasty],
        },
    )
    page = page_of(sandbox)
    assert "script" not in Elements(page).names
    for shown in ("contact@example.org", "id-4711", "Ada &lt;script&gt;", "contact_created", "tag_added"):
        assert shown in page
    assert "x" * 300 not in page
