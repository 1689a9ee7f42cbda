"""The pictures in the report: names, alternative texts, the way from a class to its pictures, the size."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from search.page.command import report, write_report
from search.page.facts import read_facts
from search.page.gallery.contents import write_gallery
from search.page.render import page_of, render
from search.runtime.home import Home
from search.study_state.study import read_study
from storage.stores import Stores
from tests.search.page.gallery.stored import gallery_of, of_sets, picture, record_export, second_labels
from tests.search.page.html_reader import Element, read_html, section
from tests.search.page.made_up import end_trials, lay_study, noisy
from trainer.evaluation.examples.example import Reason

HOSTILE = ("<script>alert(1)</script>", "a" * 300, "abc\u202egpj.exe", "猫 ねこ", "\"onload='x'{{7*7}}")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home")


def lay(stores: Stores, folder: Path, home: Home, names: tuple[str, ...] = ("red", "green", "blue")) -> None:
    """A study with an export and pictures: image 3 of class 0 taken for 1, image 4, and a test image of class 2."""
    study = lay_study(stores, folder, names=names)
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 1, lambda number, _: noisy(y, len(names), 0.7, number))
    record_export(stores, study)
    pictures = (
        picture(len(names), 0, 1),
        picture(len(names) + 1, 1, 1, reasons=(Reason.WEAK_CLASS,)),
        picture(2, None, 2, map=None, mapped=None, focus=""),
    )
    write_gallery(stores, home, study.name, gallery_of(study, *pictures, notes=("Some maps are left out.",)))


def html_of(stores: Stores, home: Home | None) -> str:
    return render(page_of(read_facts(stores, "made_up", home=home)))


def cards(root: Element) -> list[Element]:
    return [e for e in section(root, "gallery").all("li") if e.attributes.get("class", "").startswith("card")]


def test_a_picture_has_everything_about_its_image(stores: Stores, tmp_path: Path, home: Home) -> None:
    lay(stores, tmp_path, home)
    root = read_html(html_of(stores, home))
    assert [h.text for h in section(root, "gallery").all("h3")] == [
        "Largest losses",
        "Errors of the weakest classes",
        "Test images unlike the training images",
    ]
    wrong, right, test = cards(root)
    assert wrong.text == (
        "image-0003 red, taken for green. 80% green 15% blue 5% red (label) Also: label may be wrong."
    )
    assert "image-0004 green, recognised." in right.text and "Predicted as blue." in test.text
    alts = [image.attributes["alt"] for image in wrong.all("img")]
    assert alts == [
        "Training image image-0003, class red",
        "Class-activation map of image-0003 for class green: largest top left",
    ]
    assert [image.attributes["alt"] for image in test.all("img")] == ["Test image test-0002"]
    assert {(i.attributes["width"], i.attributes["height"]) for i in root.all("img")} == {("160", "120")}
    assert "Some maps are left out." in section(root, "gallery").text
    assert "Out-of-fold predictions of trial 0." in section(root, "gallery").text


def test_a_class_leads_to_its_pictures(stores: Stores, tmp_path: Path, home: Home) -> None:
    lay(stores, tmp_path, home)
    html = html_of(stores, home)
    root = read_html(html)
    heads = section(root, "errors").all("table")[0].all("th")
    links = {cell.text: [a.attributes["href"] for a in cell.all("a")] for cell in heads}
    assert (links["red"], links["green"], links["blue"]) == (["#class-0"], ["#class-1"], ["#class-2"])
    filters = {a.text: a for a in section(root, "gallery").all("nav")[0].all("a")}
    assert filters["red (1)"].attributes["id"] == "class-0" and "green (2)" in filters and "all" in filters
    assert [card.attributes["class"].split()[1:] for card in cards(root)] == [["of-0", "of-1"], ["of-1"], ["of-2"]]
    assert "main:has(#class-0:target) :is(.card:not(.of-0)" in html
    targets = {a.attributes["href"][1:] for a in root.all("a")}
    ids = re.findall(r' id="([^"]+)"', html)
    assert targets <= set(ids) and len(ids) == len(set(ids))
    assert all(card.all("a")[0].attributes["href"] == f"#{card.attributes['id']}" for card in cards(root))


def test_hostile_names_stay_text(stores: Stores, tmp_path: Path, home: Home) -> None:
    lay(stores, tmp_path, home, HOSTILE)
    html = html_of(stores, home)
    root = read_html(html)
    assert "<script" not in html and not re.search("[\u202a-\u202e\u2066-\u2069]", html)
    assert all(set(image.attributes) == {"alt", "src", "width", "height"} for image in root.all("img"))
    assert all(image.attributes["src"].startswith("data:image/jpeg;base64,/9j/") for image in root.all("img"))
    wrong, _, test = cards(root)
    assert "<script>alert(1)</script>, taken for aaa" in wrong.text and len(wrong.text) < 400
    assert "Predicted as abc\\u202egpj.exe." in test.text
    assert "猫 ねこ" in wrong.text + test.text + section(root, "errors").text


def lay_several(
    stores: Stores,
    folder: Path,
    home: Home,
    names: tuple[str, ...] = ("red", "green", "blue"),
    labels: tuple[int, ...] = (0, 1),
) -> None:
    """A study of several labels with an export and pictures: image 3 with ``labels``, image 4 without, a test image."""
    made = second_labels(len(names))
    made[3:5] = 0
    made[3, list(labels)] = 1
    study = lay_study(stores, folder, names=names, metric="mean_f1", y=made)
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 1, lambda number, _: np.where(y == 1, 0.8, 0.3).astype(np.float32))
    record_export(stores, study)
    pictures = (
        of_sets(3, labels, (0, 2)),
        of_sets(4, (), (), reasons=(Reason.UNSURE,)),
        of_sets(2, None, (2,), map=None, mapped=None, focus=""),
    )
    write_gallery(stores, home, study.name, gallery_of(study, *pictures))


def test_a_picture_shows_the_true_and_the_predicted_labels(stores: Stores, tmp_path: Path, home: Home) -> None:
    lay_several(stores, tmp_path, home)
    html = html_of(stores, home)
    root = read_html(html)
    assert [h.text for h in section(root, "gallery").all("h3")] == [
        "Largest losses",
        "Close decisions",
        "Test images unlike the training images",
    ]
    wrong, none, test = cards(root)
    assert wrong.text == (
        "image-0003 Labels: red, green. Predicted: red, blue. Missed: green. Wrong: blue. Map of red. "
        "90% red (label) 40% green (label) 20% blue Also: missed label."
    )
    assert "image-0004 Labels: no label. Predicted: no label. Map of red." in none.text
    assert test.text.startswith("test-0002 Predicted: blue. 90% red")
    assert [image.attributes["alt"] for image in wrong.all("img")] == [
        "Training image image-0003, labels: red, green",
        "Class-activation map of image-0003 for label red: largest top left",
    ]
    assert none.all("img")[0].attributes["alt"] == "Training image image-0004, labels: none"
    classes = [card.attributes["class"].split()[1:] for card in cards(root)]
    assert classes == [["of-0", "of-1", "of-2"], [], ["of-2"]]
    filters = {a.text for a in section(root, "gallery").all("nav")[0].all("a")}
    assert filters == {"all", "red (1)", "green (1)", "blue (2)"}
    heads = section(root, "errors").all("table")[0].all("th")
    links = {cell.text: [a.attributes["href"] for a in cell.all("a")] for cell in heads}
    assert (links["red"], links["green"], links["blue"]) == (["#class-0"], ["#class-1"], ["#class-2"])
    assert "main:has(#class-2:target) :is(.card:not(.of-2)" in html


def test_of_many_labels_some_are_counted(stores: Stores, tmp_path: Path, home: Home) -> None:
    lay_several(stores, tmp_path, home, tuple(f"label-{i}" for i in range(12)), tuple(range(12)))
    study = stores.study("made_up")
    every = of_sets(3, tuple(range(12)), (0,))
    write_gallery(stores, home, study.name, gallery_of(read_study(stores, study.name), every))
    (card,) = cards(read_html(html_of(stores, home)))
    assert "label-7 and 4 more. Predicted: label-0. Missed: label-1" in card.text and "label-8 and 3 more" in card.text
    assert card.attributes["class"].split()[1:] == [f"of-{i}" for i in range(12)]


def test_hostile_names_of_labels_stay_text(stores: Stores, tmp_path: Path, home: Home) -> None:
    lay_several(stores, tmp_path, home, HOSTILE)
    html = html_of(stores, home)
    root = read_html(html)
    assert "<script" not in html and not re.search("[\u202a-\u202e\u2066-\u2069]", html)
    assert all(set(image.attributes) == {"alt", "src", "width", "height"} for image in root.all("img"))
    wrong, _, test = cards(root)
    assert "Labels: <script>alert(1)</script>, aaa" in wrong.text and "Wrong: abc\\u202egpj.exe." in wrong.text
    assert "Predicted: abc\\u202egpj.exe." in test.text
    assert "猫 ねこ" in section(root, "errors").text


def test_before_an_export_there_is_no_section(stores: Stores, tmp_path: Path, home: Home) -> None:
    study = lay_study(stores, tmp_path)
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 1, lambda number, _: noisy(y, 3, 0.7, number))
    assert "gallery" not in [s.attributes["id"] for s in read_html(html_of(stores, home)).all("section")]


def test_a_home_without_pictures_says_how_to_get_them(stores: Stores, tmp_path: Path, home: Home) -> None:
    lay(stores, tmp_path, home)
    for other in (None, Home(root=tmp_path / "other")):
        root = read_html(html_of(stores, other))
        assert "search export-best --study made_up" in section(root, "gallery").text
        assert not root.all("img") and not [a for a in root.all("a") if a.attributes["href"].startswith("#class-")]


def test_pictures_of_an_earlier_leader_are_not_shown(stores: Stores, tmp_path: Path, home: Home) -> None:
    study = lay_study(stores, tmp_path)
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 2, lambda number, _: noisy(y, 3, 0.7, number))
    write_gallery(stores, home, study.name, gallery_of(study, picture(3, 0, 1), trial=0))
    record_export(stores, study, trial=1)
    assert not read_html(html_of(stores, home)).all("img")


def test_the_command_shows_them_again(stores: Stores, url: str, tmp_path: Path, home: Home) -> None:
    lay(stores, tmp_path, home)
    first, second = tmp_path / "first.html", tmp_path / "second.html"
    write_report(stores, "made_up", first, home=home)
    report("made_up", url, home.root, second)
    galleries = [section(read_html(path.read_text(encoding="utf-8")), "gallery") for path in (first, second)]
    assert galleries[0] == galleries[1] and len(galleries[0].all("img")) == 5
