"""Chromium for the tests of the report page: one browser a session, a fresh window a test.

Without Chromium (Debian: apt-get install chromium) these tests are skipped by name; with SBR_NEEDS_BROWSER=1, as in CI,
they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from made_page import made_page

from sbr.report.page.data import PageData
from sbr.report.page.render import render

NAMES = ("chromium", "chromium-browser", "google-chrome")


def _missing(what: str) -> None:
    if os.environ.get("SBR_NEEDS_BROWSER") == "1":
        pytest.fail(f"{what}, and SBR_NEEDS_BROWSER=1 asks for the tests of the report page")
    pytest.skip(f"{what}: the report page is not tested")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        _missing("no Chromium on this machine")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield chromium
        chromium.close()


def until(window: Any, condition: str) -> None:
    """Wait until the JavaScript expression holds.  Playwright's own waiting needs eval, which the page forbids."""
    for _ in range(400):
        if window.evaluate(condition):
            return
        window.wait_for_timeout(25)
    pytest.fail(f"in 10 seconds it did not become true that {condition}")


@dataclass
class Windows:
    """Opens pages and remembers what went wrong in them."""

    browser: Any
    folder: Path
    problems: list[str] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)

    def open(self, file: Path, state: str = "", ready: bool = True, watch: bool = True, **options: Any) -> Any:
        """A window of `file` in the `state` of a deep link; what it logs, raises or asks for fails the test."""
        window = self.browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options}).new_page()
        window.set_default_timeout(10_000)
        self.opened.append(window)
        if watch:
            window.on("console", lambda message: self.problems.append(f"console: {message.text}"))
            window.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
            window.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}") or dialog.dismiss())
            window.on("request", lambda request: self._look(request.url, file))
        window.goto(file.as_uri() + (f"#{state}" if state else ""))
        if ready:
            window.wait_for_selector("html[data-ready]")
            until(window, "!document.querySelector('.case[data-loaded=false]')")
        return window

    def _look(self, url: str, file: Path) -> None:
        if url.split("#")[0] != file.as_uri() and not url.startswith(("data:", "blob:")):
            self.problems.append(f"request: {url}")

    def show(self, page: PageData, name: str = "other", **options: Any) -> Any:
        """A window of another page."""
        file = self.folder / f"{name}.html"
        file.write_text(render(page), encoding="utf-8")
        return self.open(file, **options)


@pytest.fixture
def windows(browser: Any, tmp_path: Path) -> Iterator[Windows]:
    opened = Windows(browser, tmp_path)
    yield opened
    for window in opened.opened:
        window.context.close()
    assert not opened.problems


@pytest.fixture(scope="session")
def made() -> PageData:
    return made_page(24)


@pytest.fixture(scope="session")
def made_file(made: PageData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render(made), encoding="utf-8")
    return file


@pytest.fixture
def open_page(windows: Windows, made_file: Path) -> Callable[..., Any]:
    """open_page("case=L1/103", color_scheme="dark") -> a window of the page of `made`."""
    return lambda state="", **options: windows.open(made_file, state, **options)
