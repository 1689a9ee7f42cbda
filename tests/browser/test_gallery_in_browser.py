"""The pictures of the report in a browser: a class leads to its pictures alone, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.page.facts import read_facts
from search.page.gallery.contents import write_gallery
from search.page.render import page_of, render
from search.runtime.home import Home
from storage.stores import Stores
from tests.browser.conftest import Watched
from tests.browser.test_report_in_browser import JAPANESE
from tests.search.page.gallery.stored import gallery_of, of_sets, picture, record_export, second_labels
from tests.search.page.made_up import end_trials, lay_study, noisy
from tests.search.page.test_report_page import HOSTILE
from trainer.evaluation.examples.example import ONE_LABEL, SEVERAL_LABELS, Reason

pytestmark = pytest.mark.slow

NAMES = {"hostile": HOSTILE, "japanese": JAPANESE, "digits": tuple(map(str, range(10)))}


@pytest.fixture
def report(stores: Stores, tmp_path: Path) -> Callable[[str], Path]:
    """Writes a report in which image i of class i is taken for class i + 1, for six classes, and a test image."""

    def write(names: str) -> Path:
        study = lay_study(stores, tmp_path, names=NAMES[names])
        y = stores.datasets.get(study.fingerprint).y
        end_trials(stores, study, 1, lambda number, _: noisy(y, len(NAMES[names]), 0.7, number))
        record_export(stores, study)
        reasons = [reason for reason in ONE_LABEL if reason is not Reason.FAR]
        pictures = [
            picture(i, i, i + 1, shares=((i + 1, 0.8), (i, 0.1)), reasons=(reasons[i % len(reasons)],))
            for i in range(6)
        ]
        test = picture(0, None, 1, map=None, mapped=None, focus="")
        home = Home(root=tmp_path / "home")
        write_gallery(stores, home, study.name, gallery_of(study, *pictures, test, notes=("A note.",)))
        path = tmp_path / "report.html"
        path.write_text(render(page_of(read_facts(stores, study.name, home=home))), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("names", NAMES)
def test_the_pictures_can_be_read(names: str, report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    path = report(names)
    for width, scheme in ((390, "dark"), (820, "light"), (1280, "dark")):
        seen = opened(width=width, scheme=scheme)
        seen.page.goto(path.as_uri())
        pictures = seen.page.locator(".card img")
        assert pictures.count() == 13
        assert seen.page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 160)")
        assert all(box is not None and box["width"] > 100 for box in (one.bounding_box() for one in pictures.all()))
        assert (seen.overflow(), seen.violations(), seen.errors) == ([], [], []), (width, scheme)
        assert seen.requests == [path.as_uri()]


def test_pictures_of_several_labels_can_be_read_and_filtered(
    stores: Stores, tmp_path: Path, opened: Callable[..., Watched]
) -> None:
    home, path, labels = Home(root=tmp_path / "home"), tmp_path / "report.html", tuple(range(len(HOSTILE)))
    reasons = [reason for reason in SEVERAL_LABELS if reason is not Reason.FAR]
    given = second_labels(len(HOSTILE))
    for i in range(len(reasons)):
        given[i] = np.isin(labels, (i, i + 1))
    given[9] = 1
    study = lay_study(stores, tmp_path, names=HOSTILE, metric="mean_f1", y=given)
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 1, lambda number, _: np.where(y == 1, 0.8, 0.3).astype(np.float32))
    record_export(stores, study)
    pictures = [of_sets(i, (i, i + 1), (i,), reasons=(reason,)) for i, reason in enumerate(reasons)]
    write_gallery(
        stores, home, study.name, gallery_of(study, *pictures, of_sets(0, None, labels), of_sets(9, labels, ()))
    )
    path.write_text(render(page_of(read_facts(stores, study.name, home=home))), encoding="utf-8")
    seen = opened(width=390)
    seen.page.goto(path.as_uri())
    assert seen.page.locator(".card img").count() == 2 * (len(reasons) + 2)
    assert (seen.overflow(), seen.violations(), seen.errors) == ([], [], [])
    seen.page.locator("#class-2").click()
    assert sum(card.is_visible() for card in seen.page.locator(".card").all()) == 4
    seen.page.locator(".filter a", has_text="all").first.click()
    assert all(card.is_visible() for card in seen.page.locator(".card").all())


def test_a_class_leads_to_its_pictures_alone(report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    seen = opened()
    seen.page.goto(report("digits").as_uri())
    seen.page.locator("#errors th a", has_text="3").first.click()
    shown = [card.inner_text() for card in seen.page.locator(".card").all() if card.is_visible()]
    assert len(shown) == 2 and all("class 3" in text for text in shown)
    groups = [group for group in seen.page.locator(".shots").all() if group.is_visible()]
    assert len(groups) == 2, "groups without a picture of the class are hidden"
    seen.page.locator(".filter a", has_text="all").click()
    assert all(card.is_visible() for card in seen.page.locator(".card").all())


def test_the_keyboard_filters_the_pictures(report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    seen = opened(width=390)
    seen.page.goto(report("japanese").as_uri())
    reached, expected = seen.reached_by_tab()
    assert reached == expected >= 20
    seen.page.locator("#class-2").focus()
    seen.page.keyboard.press("Enter")
    assert sum(card.is_visible() for card in seen.page.locator(".card").all()) == 2


@pytest.mark.parametrize("names", NAMES)
def test_pictures_are_printed_whole(names: str, report: Callable[[str], Path], opened: Callable[..., Watched]) -> None:
    seen = opened(width=794)  # A4 at 96 dots an inch
    seen.page.goto(report(names).as_uri())
    seen.page.emulate_media(media="print")
    assert seen.page.locator(".filter").is_hidden()
    assert all(card.is_visible() for card in seen.page.locator(".card").all())
    assert seen.overflow() == []
    assert seen.page.pdf(format="A4").startswith(b"%PDF")
