"""A real browser for tests: Debian's Chromium without a window, looking like a person's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.support.installing import give_up
from tests.support.prerequisites import BROWSERS, find_browser

USER_AGENT: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
"""Without "Headless", which trackers and the service take for a bot."""
ARGUMENTS: Final = (
    # For the browser as a whole: what a page sends while it is left would not heed a context's own.
    f"--user-agent={USER_AGENT}",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # It must not call home: a machine without the internet refuses, many times a second.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-blink-features=AutomationControlled",  # navigator.webdriver silences trackers
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser and close it in the end; fail (or skip) when there is none."""
    path = find_browser()
    if path is None:
        give_up(
            f"These tests need one of {', '.join(BROWSERS)} on PATH: python -m tests.support.prerequisites"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=list(ARGUMENTS), ignore_default_args=["--enable-automation"]
        )
        try:
            yield browser
        finally:
            browser.close()


def visitor(browser: Browser) -> BrowserContext:
    """Give a fresh visitor: no cookies, no cache, a laptop's window."""
    return browser.new_context(viewport={"width": 1280, "height": 800})
