"""`search labels`: the page, the table, and what is printed."""

from __future__ import annotations

import base64
import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.page.labels.candidates import find_candidates
from search.page.labels.command import review_labels
from search.page.labels.page import MOST_SHOWN, NEIGHBOURS, review_page
from search.runtime.home import Home
from search.runtime.output_files import FileNotOurs
from search.study_state.study import Study
from storage.errors import UnknownStudyError
from storage.stores import Stores
from tests.search.page.html_reader import Element, read_html, section
from tests.search.page.labels.test_candidates import FLIPPED, several, sure_of
from tests.search.page.made_up import end_trials, lay_study
from tests.search.page.test_map import keep_features, keep_pixels
from tests.search.page.test_report_page import HOSTILE
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.names.own_files import REVIEW_PAGE, REVIEW_TABLE
from trainer.formats.label_tables import REVIEW_HEADER, read_review

WRONG = (4, 7, 9)


@pytest.fixture
def searched(stores: Stores, tmp_path: Path) -> Study:
    """A study with three labels that its probe contradicts, features and pixels of the images."""
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 0, lambda number, _: sure_of(WRONG), probes=1)
    home = Home(root=tmp_path / "home")
    y = np.concatenate([np.arange(60) % 3, np.full(6, 1)])
    y[list(WRONG)] = (y[list(WRONG)] + 1) % 3
    features = np.eye(3)[y] * 4 + np.random.default_rng(0).normal(0, 0.3, (66, 3))
    keep_features(home, study, features.astype(np.float32))
    keep_pixels(home, study, 66, side=160)
    return study


def review(url: str, tmp_path: Path, output: Path | None = None) -> tuple[Element, Path]:
    review_labels("made_up", url, tmp_path / "home", None, output)
    folder = output or tmp_path / "home" / "made_up"
    return read_html((folder / REVIEW_PAGE).read_text(encoding="utf-8")), folder / REVIEW_TABLE


def test_each_candidate_has_its_picture_and_its_neighbours(searched: Study, url: str, tmp_path: Path) -> None:
    page, table = review(url, tmp_path)
    cards = [card for card in section(page, "candidates").all("li") if card.attributes.get("class") == "card"]
    assert len(cards) == 3
    rows = list(csv.reader(table.open(encoding="utf-8")))
    assert tuple(rows[0]) == REVIEW_HEADER and {row[0] for row in rows[1:]} == {f"image-{i:04}" for i in WRONG}
    for card, (identifier, given, proposed, confidence, _, decision) in zip(cards, rows[1:], strict=True):
        assert identifier in card.text and f"Given {given} (" in card.text and f"proposed {proposed} (" in card.text
        assert 0.0 < float(confidence) <= 1.0 and decision == ""
        pictures = card.all("img")
        assert len(pictures) == 1 + NEIGHBOURS
        assert all(picture.attributes["src"].startswith("data:image/jpeg;base64,") for picture in pictures)
        assert all(picture.attributes["alt"] for picture in pictures)
        (near,) = card.all("ul")
        assert [each.text for each in near.all("li")].count(proposed) >= 3, "it lies among images of that class"


def test_the_picture_is_that_of_the_image(searched: Study, stores: Stores, tmp_path: Path) -> None:
    page = review_page(stores, Home(root=tmp_path / "home"), find_candidates(stores, searched), [], "search labels")
    for shot in page.candidates:
        jpeg = base64.b64decode(shot.picture.partition(",")[2])
        with Image.open(io.BytesIO(jpeg)) as picture:
            assert picture.size == (128, 128)
            assert abs(np.asarray(picture, np.float64).mean() - int(shot.image[-4:])) < 3.0


def test_what_is_printed(searched: Study, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, table = review(url, tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 labels may be wrong by the out-of-fold predictions of 1 linear probe" in printed
    assert re.search("Expected number of wrong labels: about [1-9] of 60", printed)
    assert "image-0004: green (" in printed and "rather blue (" in printed
    assert str(table) in printed and f"search labels --study made_up --apply {table} --data DATA" in printed


def test_decisions_survive_a_second_review(searched: Study, stores: Stores, url: str, tmp_path: Path) -> None:
    _, table = review(url, tmp_path)
    text = table.read_text(encoding="utf-8")
    lines = [f"{line}keep" if line.startswith("image-0007") else line for line in text.splitlines()]
    table.write_text("\n".join([*lines, "image-0050,blue,red,0.9,,drop", ""]), encoding="utf-8")
    end_trials(stores, searched, 1, lambda number, _: sure_of((*WRONG, 12)))
    review(url, tmp_path)
    found = {row.id: row.decision for row in read_review(table)}
    assert found == {
        "image-0004": "",
        "image-0007": "keep",
        "image-0009": "",
        **({"image-0012": ""} if "image-0012" in found else {}),
        "image-0050": "drop",
    }


def test_files_of_other_origin_stay(searched: Study, url: str, tmp_path: Path) -> None:
    for name, text in ((REVIEW_PAGE, "<p>mine</p>"), (REVIEW_TABLE, "my,table\n1,2\n")):
        folder = tmp_path / name.partition(".")[2]
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(FileNotOurs, match="left alone"):
            review(url, tmp_path, folder)
        assert [path.name for path in folder.iterdir()] == [name] and (folder / name).read_text() == text


def test_names_from_outside_are_escaped(stores: Stores, url: str, tmp_path: Path) -> None:
    classes = len(HOSTILE)
    study = lay_study(stores, tmp_path, names=HOSTILE)
    n = 20 * classes
    end_trials(stores, study, 1, lambda number, _: sure_of(tuple(range(classes)), n, classes=classes))
    review_labels("made_up", url, tmp_path / "home", None, tmp_path / "out")
    html = (tmp_path / "out" / REVIEW_PAGE).read_text(encoding="utf-8")
    page = read_html(html)
    assert not page.all("script") and "<script" not in html and "{{" in html
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", html)
    assert not re.search(r"(src|href)=\"(?!#|data:image/)", html) and "default-src 'none'" in html
    rows = read_review(tmp_path / "out" / REVIEW_TABLE)
    assert {row.given for row in rows} == set(HOSTILE), "the table holds the exact names"


def test_without_images_and_features_there_are_names(stores: Stores, url: str, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 1, lambda number, _: sure_of(WRONG))
    page, _ = review(url, tmp_path)
    found = section(page, "candidates")
    assert not found.all("img") and "image-0004" in found.text
    assert "There are no pictures" in found.text and "There are no neighbours" in found.text


def test_a_study_without_candidates_says_so(
    stores: Stores, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 1, lambda number, _: sure_of(()))
    page, table = review(url, tmp_path)
    assert "No label looks wrong" in capsys.readouterr().out
    assert "No label looks wrong" in section(page, "summary").text
    assert table.read_text(encoding="utf-8").strip() == ",".join(REVIEW_HEADER)


def test_a_page_of_many_candidates_is_bounded(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, per_class=300)
    wrong = tuple(range(0, 900, 4))
    end_trials(stores, study, 1, lambda number, _: sure_of(wrong, n=900))
    found = find_candidates(stores, study)
    page = review_page(stores, Home(root=tmp_path / "home"), found, [], "search labels")
    assert len(page.candidates) == MOST_SHOWN and page.left_out == len(found.candidates) - MOST_SHOWN > 0


def test_given_and_proposed_lists_are_read_on_the_page_and_in_the_table(
    stores: Stores, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y, proba = several()
    study = lay_study(stores, tmp_path, metric="mean_f1", y=y)
    end_trials(stores, study, 0, lambda number, _: proba, probes=1)
    keep_features(Home(root=tmp_path / "home"), study, np.pad(proba, ((0, 6), (0, 0))))
    page, table = review(url, tmp_path)
    cards = {card.text.split()[1]: card for card in section(page, "candidates").all("li") if card.all("ul")}
    assert "Given green (90%), blue (90%); proposed red (90%), green (90%), blue (90%)." in cards["image-0004"].text
    assert [each.text for each in cards["image-0004"].all("b")] == ["red"]
    assert "Given green (10%); proposed no label." in cards["image-0007"].text
    near = [each.text for each in cards["image-0007"].all("ul")[0].all("li")]
    assert len(near) == NEIGHBOURS and near.count("no label") >= 3
    rows = {row.id: row for row in read_review(table)}
    assert rows["image-0007"].proposed == "[]" and rows["image-0004"].given == "green|blue"
    printed = " ".join(capsys.readouterr().out.split())
    assert "The labels of 4 images may be wrong by the out-of-fold predictions of 1 linear probe" in printed
    assert "Expected number of wrong labels: about 4 of 3 labels of 60 images" in printed
    assert "image-0007: green (10%), rather (none)" in printed
    assert "| between them, [] for none" in printed and "| between them, [] for none" in page.text


def test_lists_of_hostile_names_are_escaped(stores: Stores, url: str, tmp_path: Path) -> None:
    classes = len(HOSTILE)
    y, proba = several(20 * classes, classes)
    proba[:, -1] = 0.5
    names = (*HOSTILE[:-1], "[]|\\keep")
    study = lay_study(stores, tmp_path, metric="mean_f1", y=y, names=names)
    end_trials(stores, study, 1, lambda number, _: proba)
    review_labels("made_up", url, tmp_path / "home", None, tmp_path / "out")
    html = (tmp_path / "out" / REVIEW_PAGE).read_text(encoding="utf-8")
    assert not read_html(html).all("script") and "<script" not in html and "{{" in html
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", html)
    cells = LabelCells(class_names=names, several=True)
    found = {int(row.id[-4:]): row for row in read_review(tmp_path / "out" / REVIEW_TABLE)}
    assert found.keys() == FLIPPED.keys(), "the last label is not judged"
    for row, label in FLIPPED.items():
        assert cells.read(found[row].given).tolist() == y[row].tolist()
        proposed = y[row].copy()
        proposed[label] = 1 - proposed[label]
        assert cells.read(found[row].proposed).tolist() == proposed.tolist()


def test_an_unknown_study_is_named(searched: Study, url: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownStudyError, match="other"):
        review_labels("other", url, tmp_path, None, None)
