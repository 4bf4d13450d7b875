"""The Meisa page and the tab, in a browser."""

import re
from collections import Counter

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.timeout(300)
TWO_THEMES = pytest.mark.parametrize("theme", ["light", "dark"])


def card(page, name):
    return page.get_by_role("region", name=name, exact=True)


def test_the_page_is_reached_from_the_navigation_and_shows_what_the_sandbox_holds(visit, environment):
    page = visit("/")
    page.get_by_role("link", name="Meisa").click()
    expect(page.get_by_role("heading", name="Meisa", exact=True)).to_be_visible()
    held = len(environment.sandboxes["meisa_default"].enrollments("onboarding"))
    assert held == 1199
    row = card(page, "Sequences").get_by_role("row", name="Onboarding")
    expect(row).to_contain_text("active")
    expect(row).to_contain_text(f"{held:,}")
    for status in ("draft", "paused"):
        expect(card(page, "Sequences")).to_contain_text(status)


def test_the_latest_runs_have_their_statuses_their_file_and_links(visit, environment):
    page = visit("/plugin/meisa")
    row = card(page, "Latest runs").get_by_role("row", name="nightly")
    for message in (
        "1,199 enrolled",
        "1 suppressed",
        "1 invalid",
        "1 duplicate",
        "1,202",
        environment.outcomes,
        "success",
    ):
        expect(row).to_contain_text(message)
    expect(row.get_by_role("link", name="nightly")).to_have_attribute("href", "/airflow/dags/nightly")
    row.get_by_role("link", name="task", exact=True).click()
    expect(page).to_have_url(re.compile(r"/dags/nightly/runs/[^/]+/tasks/task"))


def test_latest_runs_have_their_id_date_and_attempt(visit, environment):
    page = visit("/plugin/meisa")
    row = card(page, "Latest runs").get_by_role("row", name="nightly")
    for message in (environment.runs["nightly"], "attempt 1"):
        expect(row).to_contain_text(message)


def test_failed_run_shows_its_error_in_list_and_tab(visit, environment):
    page = visit("/plugin/meisa")
    row = card(page, "Latest runs").get_by_role("row", name="misspelled")
    expect(row).to_contain_text("failed")
    expect(row).to_contain_text("No sequence has the slug 'onbording'")
    page = visit(f"/dags/misspelled/runs/{environment.runs['misspelled']}/tasks/task/plugin/meisa-run")
    expect(page.get_by_role("alert")).to_contain_text("No sequence has the slug 'onbording'")


def test_contact_sync_is_shown_with_its_ledger(visit, environment):
    page = visit("/plugin/meisa")
    row = card(page, "Latest runs").get_by_role("row", name="contacts")
    for message in ("Contact sync", "12 created", "12 new, 0 changed, 0 gone", "success"):
        expect(row).to_contain_text(message)
    expect(card(page, "Ledgers").get_by_role("row", name="contacts")).to_contain_text("under 0.1 MiB")
    page = visit(f"/dags/contacts/runs/{environment.runs['contacts']}/tasks/task/plugin/meisa-run")
    expect(page.get_by_text("12 rows", exact=True)).to_be_visible()
    expect(card(page, "Contact sync contacts")).to_contain_text("Gone from the source")


def test_filters_are_read_from_the_url(visit):
    page = visit("/plugin/meisa?dag=nightly&days=30")
    runs = card(page, "Latest runs")
    expect(runs.get_by_role("row", name="nightly")).to_be_visible()
    expect(runs.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("combobox", name="Period")).to_have_value("30")
    page.get_by_role("combobox", name="DAG").select_option("misspelled")
    expect(runs.get_by_role("row", name="misspelled")).to_be_visible()
    expect(runs.get_by_role("row", name="nightly")).to_have_count(0)
    page.get_by_role("button", name="Show all").click()
    expect(runs.get_by_role("row", name="nightly")).to_be_visible()


@pytest.mark.parametrize(
    ("label", "value", "query"),
    [
        ("Job", "sync_contacts", "job=sync_contacts"),
        ("Sequence or sync", "onboarding", "sequence=onboarding"),
        ("Connection", "meisa_slow", "connection=meisa_slow"),
    ],
)
def test_filter_is_kept_in_the_url(visit, label, value, query):
    page = visit("/plugin/meisa")
    runs = card(page, "Latest runs")
    expect(runs.get_by_role("row", name="misspelled")).to_be_visible()
    page.get_by_role("combobox", name=label, exact=True).select_option(value)
    expect(page).to_have_url(re.compile(query))
    expect(runs.get_by_role("row", name="misspelled")).to_have_count(0)


def test_markup_in_a_filter_stays_text(visit):
    page = visit("/plugin/meisa?sequence=%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D1%3E")
    expect(page.get_by_text("No run of this period matches the filters")).to_be_visible()
    expect(page.get_by_role("combobox", name="Sequence or sync")).to_have_value(
        "<img src=x onerror=document.title=1>"
    )
    assert page.locator(".meisa img").count() == 0


def test_the_chart_says_the_same_as_its_table_and_the_sandbox(visit, environment):
    page = visit("/plugin/meisa")
    chart = card(page, "Outcomes over time")
    picture = chart.get_by_role("img", name=re.compile("^onboarding, from .* 1,199 enrolled, 1 suppressed"))
    expect(picture).to_be_visible()
    assert Counter(
        piece.get_attribute("class").removeprefix("meisa-") for piece in picture.locator("rect").all()
    ) == dict.fromkeys(("enrolled", "suppressed", "invalid", "duplicate"), 1)
    chart.get_by_text("Show as a table").click()
    (line,) = chart.locator("tbody tr").filter(has_text="onboarding").all()
    heads = chart.locator("thead th").all_inner_texts()
    cells = line.locator("td").all_inner_texts()[1:]
    message = {head: int(cell.replace(",", "")) for head, cell in zip(heads[2:], cells, strict=True)}
    message = {head: number for head, number in message.items() if number}
    assert message == {"enrolled": 1199, "suppressed": 1, "invalid": 1, "duplicate": 1}


def test_the_rate_left_is_shown_and_another_connection_has_another(visit):
    page = visit("/plugin/meisa")
    left = card(page, "Rate limits")
    expect(left.get_by_text(re.compile(r"of 1,000 left"))).to_be_visible()
    expect(left.get_by_role("progressbar", name="Rate limit 60/minute")).to_be_visible()
    page.get_by_role("combobox", name="Connection").select_option("meisa_slow")
    expect(left.get_by_text(re.compile(r"of 10,000 left"))).to_be_visible()
    expect(card(page, "Sequences").get_by_role("row", name="Onboarding")).to_be_visible()


def test_the_keyboard_suffices_and_the_focus_is_seen(visit):
    page = visit("/plugin/meisa")
    expect(card(page, "Sequences").get_by_role("row", name="Onboarding")).to_be_visible()
    page.get_by_role("combobox", name="Connection").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("combobox", name="Connection")).to_have_value("meisa_default")
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "() => { const now = document.activeElement; return [now.innerText || now.ariaLabel || now.tagName,"
            " now.closest('.meisa') ? getComputedStyle(now).outlineStyle : 'elsewhere']; }"
        )
        if outline == "elsewhere":
            break
        assert outline != "none", name
        reached.append(name)
        if name == "Show as a table":
            page.keyboard.press("Enter")
            expect(card(page, "Outcomes over time").get_by_role("table")).to_be_visible()
    assert {"Refresh", "Show as a table", "task", "nightly", "Copy"} <= set(reached)


@TWO_THEMES
def test_page_and_tab_wear_the_theme_of_the_page_around_them(visit, environment, theme):
    page = visit("/plugin/meisa", theme=theme)
    heading = page.get_by_role("heading", name="Meisa", exact=True)
    expect(heading).to_be_visible()
    ours, theirs = (
        page.evaluate(f"getComputedStyle(document.querySelector('{what}')).color")
        for what in (".meisa h1", "body")
    )
    assert ours == theirs
    expect(page.locator("html")).to_have_class(re.compile(theme))
    select = page.get_by_role("combobox", name="Period")
    colours = select.evaluate(
        "node => [getComputedStyle(node).color, getComputedStyle(node).backgroundColor]"
    )
    assert colours[0] != colours[1]


def test_a_narrow_window_needs_no_sideways_scrolling_of_the_page(visit):
    page = visit("/plugin/meisa", width=420)
    expect(card(page, "Latest runs").get_by_role("row", name="nightly")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_tab_of_a_task_shows_its_statuses_and_its_masked_rejects(visit, environment):
    page = visit(f"/dags/nightly/runs/{environment.runs['nightly']}/tasks/task")
    page.get_by_role("link", name="Meisa", exact=True).last.click()
    expect(page.get_by_text("1,202 addresses", exact=True)).to_be_visible()
    statuses = page.locator(".meisa-statuses")
    for message in ("1,199 enrolled", "1 suppressed", "1 invalid", "1 duplicate"):
        expect(statuses).to_contain_text(message)
    expect(page.get_by_role("row", name="***")).to_contain_text("no @")
    expect(page.get_by_text(environment.outcomes)).to_be_visible()
    expect(page.get_by_role("link", name="Sequence in Meisa").last).to_have_attribute(
        "href", re.compile("^https://")
    )


def test_the_tab_of_another_task_says_that_it_is_none_of_ours(visit, environment):
    page = visit(f"/dags/unrelated/runs/{environment.runs['unrelated']}/tasks/task/plugin/meisa-run")
    expect(
        page.get_by_text("this task does not enroll or sync contacts, or wait for sequences")
    ).to_be_visible()


def test_the_tab_follows_a_task_that_runs_until_its_account(visit, environment):
    page = visit(environment.run("slow"))
    going = page.locator(".meisa-card", has=page.get_by_role("progressbar", name="Progress"))
    expect(going).to_contain_text(re.compile(r"\d of 5,002 addresses"), timeout=60_000)
    expect(page.get_by_text("5,002 addresses", exact=True)).to_be_visible(timeout=60_000)
    expect(page.locator(".meisa-statuses")).to_contain_text("5,000 enrolled")


def test_a_viewer_sees_runs_but_nothing_of_the_connections(visit, environment):
    before = len(environment.sandboxes["meisa_default"].requests())
    page = visit("/plugin/meisa", user="viewer")
    expect(card(page, "Latest runs").get_by_role("row", name="nightly")).to_contain_text("1,199 enrolled")
    expect(page.get_by_text("There is no connection to Meisa that you may read")).to_be_visible()
    expect(card(page, "Sequences")).to_have_count(0)
    expect(card(page, "Rate limits")).to_have_count(0)
    assert "meisa_default" not in page.inner_text("main")
    assert len(environment.sandboxes["meisa_default"].requests()) == before


def test_no_key_and_no_address_is_anywhere_in_the_page(visit, environment):
    page = visit("/plugin/meisa")
    expect(card(page, "Latest runs").get_by_role("row", name="nightly")).to_be_visible()
    content = page.content()
    assert environment.sandboxes["meisa_default"].key not in content
    assert "@example.com" not in content
