"""The HTML report in a browser: it draws without an error or a request, on a telephone as on a screen, and in print."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from search.page.facts import read_facts
from search.page.render import page_of, render
from storage.stores import Stores
from tests.browser.conftest import Watched
from tests.search.page.made_up import end_trials, lay_study, noisy
from tests.search.page.test_report_page import HOSTILE

pytestmark = pytest.mark.slow

# fmt: off
JAPANESE = (
    "油絵", "水彩画", "版画", "素描", "日本画", "浮世絵", "書", "彫刻", "陶磁器", "漆器",
    "織物", "刀剣", "甲冑", "仏像", "絵巻", "屏風", "掛軸", "茶碗", "花瓶", "人形",
    "能面", "根付", "印籠", "硯箱", "鏡", "銅鐸", "埴輪", "土偶", "勾玉", "古墳の出土品",
)
# fmt: on
NAMES = {"hostile": HOSTILE, "japanese": JAPANESE, "two": ("cat", "dog")}


@pytest.fixture
def report(stores: Stores, tmp_path: Path) -> Callable[[str], Path]:
    """Writes the report of a made-up study with the classes of `NAMES`."""

    def write(names: str) -> Path:
        study = lay_study(stores, tmp_path, names=NAMES[names], budget=12)
        dataset = stores.datasets.get(study.fingerprint)
        classes = len(dataset.class_names)
        end_trials(stores, study, 12, lambda i, _: noisy(dataset.y, classes, 0.6 + 0.02 * i, i), probes=2)
        path = tmp_path / "report.html"
        path.write_text(render(page_of(read_facts(stores, study.name))), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("names", NAMES)
def test_the_report_can_be_read(names: str, report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    path = report(names)
    for width, scheme in ((390, "light"), (390, "dark"), (820, "light"), (1280, "dark")):
        seen = opened(width=width, scheme=scheme)
        seen.page.goto(path.as_uri())
        assert seen.page.locator("section").count() >= 7
        boxes = [picture.bounding_box() for picture in seen.page.locator("figure svg").all() if picture.is_visible()]
        assert len(boxes) >= 5 and all(box is not None and box["width"] > 100 for box in boxes), (width, scheme)
        assert (seen.overflow(), seen.violations(), seen.errors) == ([], [], []), (width, scheme)
        assert seen.requests == [path.as_uri()]


def test_names_from_outside_are_text(report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    seen = opened()
    seen.page.goto(report("hostile").as_uri())
    shown = seen.page.inner_text("body")
    assert "<script>alert(1)</script>" in shown and "{{7*7}}" in shown and "&lt;b&gt;" in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x07]", seen.page.content())
    assert seen.page.evaluate("document.querySelectorAll('main script').length") == 0


def test_the_keyboard_reaches_everything(report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    seen = opened(width=390)
    seen.page.goto(report("japanese").as_uri())
    reached, expected = seen.reached_by_tab()
    assert reached == expected >= 10


def test_a_focused_element_is_marked(report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    seen = opened()
    seen.page.goto(report("two").as_uri())
    for selector in ("nav a", ".scroll"):
        seen.page.locator(selector).first.focus()
        seen.page.keyboard.press("Shift+Tab")
        seen.page.keyboard.press("Tab")
        style = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none", selector


@pytest.mark.parametrize("names", NAMES)
def test_nothing_is_cut_off_in_print(names: str, report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    seen = opened(width=794)  # A4 at 96 dots an inch
    seen.page.goto(report(names).as_uri())
    seen.page.emulate_media(media="print")
    assert seen.page.locator("nav").is_hidden()
    cut = seen.page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"
    )
    assert cut == []
    assert seen.overflow() == []
    assert seen.page.pdf(format="A4").startswith(b"%PDF")
