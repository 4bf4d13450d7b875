"""The page on the nights after the first. The response of the API is given, because past nights cannot be had."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.timeout(300)

LONG = "warehouse_to_sequence_for_customers_of_all_regions_and_every_plan_that_has_a_trial"
ERROR = (
    "The query failed: the database reports an unknown column. Nothing was sent. Correct the column in sql, or "
    "create it in the warehouse; the query ran on the connection of conn_id. A retry does not help, so Airflow "
    "fails the task at once. <img src=x onerror=document.title=1>"
)
NIGHTS = 5
KNOWN = 40_000


def night(number, *, dag="nightly", job="enroll", target="onboarding", counts=None, **changes):
    """Return one run, as many nights ago."""
    at = datetime.now(UTC) - timedelta(days=number, minutes=5)
    counts = {} if counts is None else counts
    summary = {
        "kind": "bulk",
        "job": job,
        "target": target,
        "connection": "meisa_default",
        "environment": "live",
        "total": sum(counts.values()),
        "counts": counts,
        "complete": True,
        "stopped_by": "",
        "elapsed_s": 74.0,
        "outcomes_path": f"s3://warehouse-exports/meisa/{dag}/{at:%Y-%m-%d}/outcomes.jsonl.gz",
        "ledger": {"name": target, "entries": KNOWN - 120 * number},
        **dict.fromkeys(("new", "changed", "gone", "backlog")),
    }
    run = {
        "dag_id": dag,
        "run_id": f"scheduled__{at:%Y-%m-%d}T03:00:00+00:00",
        "task_id": "enroll",
        "map_index": -1,
        "operator": "SqlToMeisaSequenceOperator",
        "state": "success",
        "try_number": 1,
        "logical_date": at.isoformat(),
        "begun": at.isoformat(),
        "started": at.isoformat(),
        "ended": (at + timedelta(seconds=74)).isoformat(),
        "summary": summary,
        "progress": None,
        "error": None,
    }
    found = {**run, **changes}
    if "sync" in found:
        summary.update(found.pop("sync"))
    return found


def runs():
    found = []
    for number in range(NIGHTS):
        counts = {"enrolled": 120 - 9 * number, "enrolled_before": KNOWN, "invalid": 3}
        sync = {"new": 12, "changed": 300, "gone": 4, "backlog": 40}
        contacts = {"created": 12, "updated": 300, "unchanged": 250_000}
        found += [
            night(number, counts=counts),
            night(number, dag="crm", job="sync_contacts", target="contacts", counts=contacts, sync=sync),
        ]
    error = {
        "job": "enroll",
        "target": LONG,
        "connection": "meisa_default",
        "environment": "",
        "message": ERROR,
    }
    failed = {"summary": None, "error": error, "state": "failed", "try_number": 3}
    return [night(0, dag="empty", target="reactivation"), night(0, dag=LONG, task_id=LONG, **failed), *found]


@pytest.fixture
def nights(visit):
    """Open the page with five nights."""

    def show(query="", **arguments):
        page = visit("/", **arguments)
        body = {"runs": runs(), "dags": ["crm", "empty", "nightly", LONG], "truncated": False}
        page.route("**/meisa/runs*", lambda route: route.fulfill(json=body))
        page.goto(f"{page.url.split('/airflow')[0]}/airflow/plugin/meisa{query}")
        return page

    return show


def card(page, name):
    return page.get_by_role("region", name=name, exact=True)


def tallest(page, status):
    """Return the height of the tallest bar of a status."""
    bars = page.locator(f".meisa-panel rect.meisa-{status}")
    return max(float(bar.get_attribute("height")) for bar in bars.all())


def test_known_contacts_do_not_dwarf_the_new(nights):
    page = nights()
    expect(page.locator(".meisa-panel")).to_have_count(2)
    assert tallest(page, "enrolled") > 2 * tallest(page, "enrolled_before")
    assert tallest(page, "updated") > tallest(page, "unchanged")
    expect(card(page, "Outcomes over time")).to_contain_text("Below the line, on a scale of its own")


def test_known_contacts_can_be_hidden(nights):
    page = nights()
    row = card(page, "Latest runs").get_by_role("row", name="nightly").first
    expect(row).to_contain_text("40,000 enrolled before")
    page.get_by_role("checkbox", name="Show known contacts").uncheck()
    expect(page.locator(".meisa-panel rect.meisa-enrolled_before")).to_have_count(0)
    expect(row).not_to_contain_text("enrolled before")
    expect(row).to_contain_text("120 enrolled")
    assert page.url.endswith("?known=hide")


def test_ledger_shows_its_size_and_growth(nights):
    row = card(nights(), "Ledgers").get_by_role("row", name="onboarding")
    for text in ("40,000", "0.6 MiB", "+480"):
        expect(row).to_contain_text(text)


def test_sync_shows_changes_gone_and_backlog(nights):
    row = card(nights("?job=sync_contacts"), "Latest runs").locator("tbody tr").first
    expect(row).to_contain_text("12 created, 300 updated, 250,000 unchanged")
    expect(row).to_contain_text("12 new, 300 changed, 4 gone, 40 backlog")
    expect(row).to_contain_text("live key")


def test_run_without_rows_says_so(nights):
    row = card(nights("?dag=empty"), "Latest runs").locator("tbody tr")
    expect(row).to_contain_text("no rows")
    expect(row).to_contain_text("0")


def test_long_error_opens_and_markup_in_it_stays_text(nights):
    page = nights(f"?sequence={LONG}")
    row = card(page, "Latest runs").locator("tbody tr")
    row.get_by_text("The query failed").first.click()
    expect(row.get_by_text("<img src=x onerror=document.title=1>")).to_be_visible()
    assert page.locator(".meisa img").count() == 0


@pytest.mark.parametrize("width", [420, 1280])
def test_long_names_need_no_sideways_scrolling(nights, width):
    page = nights(width=width)
    expect(card(page, "Latest runs").get_by_role("row", name="nightly").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if width > 1000:
        too_wide = page.evaluate(
            "[...document.querySelectorAll('.meisa-scroll')].map(box => [box.ariaLabel, box.scrollWidth, "
            "box.clientWidth]).filter(([label, needed, width]) => needed > width)"
        )
        assert too_wide == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_of_nights_has_no_script_error(nights, theme):
    page = nights(theme=theme)
    expect(page.locator(".meisa-panel")).to_have_count(2)
    assert json.loads(page.evaluate("JSON.stringify(document.title)")) != "1"
