"""Take the pictures of the documentation from the running product: ``_static/screenshots/*.png``.

It starts what ``make ui`` starts, runs example DAGs against the sandbox, and photographs Airflow's pages in a
headless Chromium. Everything in the pictures is real; times and ports differ from one run to the next.

Names of pictures as arguments take these alone: ``screenshots.py form log``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests
from playwright.sync_api import BrowserContext, FloatRect, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "docs" / "_static" / "screenshots"
LARGEST = 150_000  # bytes of one picture

RUN = "nightly"
OUTCOMES = Path("/tmp/meisa/outcomes.jsonl")  # noqa: S108 - it is shown in the pictures, and removed afterwards
RUNS: dict[str, dict[str, str]] = {  # what has run before the pictures are taken
    "warehouse_to_sequence": {"outcomes_path": str(OUTCOMES)},
    "enroll_one": {},
    "mapped_sequences": {},
}
TASK = f"/dags/warehouse_to_sequence/runs/{RUN}/tasks/enroll"


def _nothing(_page: Page) -> None:
    pass


@dataclass(frozen=True)
class Shot:
    """One picture.

    :param name: of the file, without its suffix.
    :param path: of the page, below Airflow's URL.
    :param ready: a text that is there once the page is complete.
    :param part: what of the page is in the picture, as a CSS selector.
    :param prepare: what a person does on the page before.
    :param size: of the window, in CSS pixels; what lies below is not in the picture.
    """

    name: str
    path: str
    ready: str
    part: str = "body"
    prepare: Callable[[Page], None] = _nothing
    size: tuple[int, int] = (1100, 700)


def fill_form(page: Page) -> None:
    """Open the form of a new connection of type Meisa, and fill in what must be."""
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_role("combobox").first.click()
    page.keyboard.type("meisa")
    page.keyboard.press("Enter")
    form.locator("input[name=connection_id]").fill("meisa_default")
    form.get_by_text("Extra Fields", exact=True).click()
    form.get_by_text("Dashboard URL").wait_for()


def unfold_log(page: Page) -> None:
    """Show our groups of lines, and the whole of each line."""
    page.get_by_text("▶ Before sending").click()
    page.get_by_text("▶ Batches").click()
    page.keyboard.press("w")


PANEL = "#details-panel"
HANDLE = 14  # CSS pixels by which the handle at a panel's left edge sticks into it
FORM = "[role=dialog]"
LOG = "[data-testid=virtualized-list]"

SHOTS = [
    Shot("form", "/connections", "Add Connection", FORM, fill_form, size=(1000, 1500)),
    Shot("log", TASK, "Batches", LOG, unfold_log, size=(1300, 860)),
    Shot("details", f"{TASK}/details", "Extra Links", PANEL, size=(1300, 520)),
    Shot("rendered", f"{TASK}/rendered_templates", "sequence_slug", PANEL, size=(1300, 670)),
    Shot("page", "/plugin/meisa", "Show as a table", size=(1300, 945)),
    Shot("tab", f"{TASK}/plugin/meisa-run", "Needs attention", PANEL, size=(1300, 660)),
]


def main(names: list[str]) -> int:
    """Take the pictures with these names, or all."""
    shots = [shot for shot in SHOTS if not names or shot.name in names]
    TARGET.mkdir(parents=True, exist_ok=True)
    with airflow() as url:
        for dag, conf in RUNS.items():
            run(url, dag, conf)
        with chromium() as browser:
            for shot in shots:
                take(shot, url, browser)
    OUTCOMES.unlink(missing_ok=True)
    with suppress(OSError):  # the folder belongs to another user
        OUTCOMES.parent.rmdir()
    large = [shot.name for shot in shots if (TARGET / f"{shot.name}.png").stat().st_size > LARGEST]
    if large:
        print(f"Larger than {LARGEST:,} bytes: {', '.join(large)}")
    return bool(large)


@contextmanager
def airflow() -> Iterator[str]:
    """Run Airflow with the sandbox, as ``make ui`` does, and yield its URL."""
    command = [sys.executable, str(ROOT / "dev" / "scripts" / "ui.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield next(line.split()[1] for line in process.stdout or () if line.startswith("Airflow:"))
        finally:
            process.terminate()
            process.wait(timeout=90)


def run(url: str, dag: str, conf: dict[str, str]) -> None:
    """Run a DAG to its end, once Airflow responds."""
    session = requests.Session()
    session.trust_env = False
    until(lambda: responds(session, f"{url}/api/v2/monitor/health"), "Airflow responds")
    token = session.get(f"{url}/auth/token", timeout=30).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
    api = f"{url}/api/v2/dags/{dag}"
    until(lambda: responds(session, api), f"{dag} is known")
    session.patch(api, json={"is_paused": False}, timeout=30).raise_for_status()
    wish = {"dag_run_id": RUN, "logical_date": None, "conf": conf}
    session.post(f"{api}/dagRuns", json=wish, timeout=30).raise_for_status()
    until(lambda: state(session, f"{api}/dagRuns/{RUN}") in ("success", "failed"), f"{dag} has ended")
    if state(session, f"{api}/dagRuns/{RUN}") == "failed":
        sys.exit(f"{dag} has failed.")


def responds(session: requests.Session, url: str) -> bool:
    """Say whether there is something at an address."""
    try:
        return session.get(url, timeout=10).ok
    except requests.RequestException:
        return False


def state(session: requests.Session, url: str) -> str:
    """Return the state of a run."""
    return str(session.get(url, timeout=30).json()["state"])


def until(condition: Callable[[], bool], what: str, *, within: float = 240) -> None:
    """Look again and again until a condition holds.

    :param within: seconds, after which it is given up.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"Not within {within:g} s: {what}.")
        time.sleep(0.5)


@contextmanager
def chromium() -> Iterator[BrowserContext]:
    """Run Chromium: Debian's where it is installed, or else the one that playwright has."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_context(
            color_scheme="light", locale="en-GB", timezone_id="UTC", reduced_motion="reduce"
        )
        browser.close()


def take(shot: Shot, url: str, browser: BrowserContext) -> None:
    """Photograph one page."""
    page = browser.new_page()
    page.set_viewport_size({"width": shot.size[0], "height": shot.size[1]})
    page.goto(url + shot.path)
    page.get_by_text(shot.ready).first.wait_for()
    page.wait_for_load_state("networkidle")
    shot.prepare(page)
    page.mouse.move(0, 0)
    path = TARGET / f"{shot.name}.png"
    page.screenshot(path=path, clip=frame(page, shot.part), animations="disabled")
    page.close()
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def frame(page: Page, part: str) -> FloatRect:
    """Return where a part of the page is, without the handle at a panel's edge."""
    box = page.locator(part).first.bounding_box()
    if box is None:
        sys.exit(f"There is no {part} on {page.url}.")
    edge = HANDLE if part == PANEL else 0
    return {"x": box["x"] + edge, "y": box["y"], "width": box["width"] - edge, "height": box["height"]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
