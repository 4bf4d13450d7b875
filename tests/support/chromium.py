"""A headless Chromium of the system: no browser is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.programs import require_program

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def headless_chromium() -> Iterator[Browser]:
    """Start the browser, yield it, and close it."""
    program = require_program(*NAMES, package="chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No sandbox: Chromium refuses to make one for root, the user of containers. Only our own pages are opened.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
