"""Pages in a real browser: Debian's Chromium, without a window, steered by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from docs.site.browser import NAMES
from storage.stores import Stores, open_stores

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium of this machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[test]'")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("needs a browser: `sudo apt install chromium` brings one (Debian, Ubuntu)")
    with playwright.sync_playwright() as started:
        # Chromium's own sandbox does not start for root, as in containers. The pages are ours.
        launched = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """Stores of a new SQLite database."""
    opened = open_stores(f"sqlite:///{tmp_path / 'retable.db'}", create=True)
    yield opened
    opened.database.close()


@dataclass
class Watched:
    """A page, and what happened on it."""

    page: Page
    requests: list[str] = field(default_factory=list)
    """Addresses of all requests but data URIs."""
    errors: list[str] = field(default_factory=list)
    """Errors and warnings of the console, exceptions of scripts, requests without an answer."""

    def watch(self) -> None:
        """Note requests and errors from now on."""
        self.page.on("request", self._note)
        self.page.on("requestfailed", lambda request: self.errors.append(f"{request.url}: {request.failure}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text)
        )

    def _note(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url)

    def overflow(self) -> list[str]:
        """The elements wider than the window, outside of areas that scroll by themselves."""
        found: list[str] = self.page.evaluate(
            """() => [...document.querySelectorAll('body *')]
                .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
                .filter(e => !e.closest('.scroll'))
                .map(e => `<${e.tagName.toLowerCase()} class="${e.className.baseVal ?? e.className}">`)"""
        )
        return found

    def violations(self) -> list[str]:
        """What axe-core objects to: rules of WCAG 2.2 up to level AA, and its best practices."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
        found: list[dict[str, Any]] = axe.Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]} ({len(one['nodes'])} elements)" for one in found]

    def reached_by_tab(self) -> tuple[int, int]:
        """Number of elements that the Tab key reaches, and of those that take part in it."""
        self.page.evaluate(
            """() => {
                const focusable = 'a[href], button, summary, input, select, [tabindex="0"]';
                window.expected = [...document.querySelectorAll(focusable)]
                    .filter(e => e.checkVisibility());
                window.seen = new Set();
                document.addEventListener('focusin', event => window.seen.add(event.target));
            }"""
        )
        expected = int(self.page.evaluate("window.expected.length"))
        for _ in range(expected + 1):
            self.page.keyboard.press("Tab")
        return int(self.page.evaluate("window.expected.filter(e => window.seen.has(e)).length")), expected


@pytest.fixture
def opened(browser: Browser) -> Iterator[Any]:
    """Opens a page: ``opened(width=390, scheme="dark")``."""
    contexts = []

    def open_page(*, width: int = 1280, height: int = 900, scheme: str = "light") -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.watch()
        return watched

    yield open_page
    for context in contexts:
        context.close()
