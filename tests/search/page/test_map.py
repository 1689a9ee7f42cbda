"""The map of the images in the report: its places, its marks, its pictures, its limits."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.page.command import add_to_export
from search.page.facts import Facts, read_facts
from search.page.image_map import MOST_IMAGES, read_map
from search.page.picture_sheet import MOST_BYTES, read_thumbnails, sheet_of
from search.page.render import page_of, render
from search.page.sections.map import MapView, image_map
from search.runtime.home import Home
from search.study_setup.create_study import create_study
from search.study_state.study import Study
from search.workflow.export.draw_pictures import REPORT_SECONDS
from search.workflow.export.export_best import MAP_SECONDS, is_time_for_report
from storage.stores import Stores
from tests.search.page.html_reader import Element, read_html, section
from tests.search.page.made_up import end_trials, lay_study, noisy
from tests.search.page.test_report_page import HOSTILE
from tests.search.small_study import COLOURS, study_plan, write_competition
from tests.trainer.images import NO_ARRAYS
from trainer.probing.origin import Origin, write_origin

KEY = hashlib.sha256(b"features").hexdigest()


def keep_features(home: Home, study: Study, features: np.ndarray, key: str = KEY, size: int = 64) -> Path:
    """Put features into the cache, as a probe does."""
    home.features.mkdir(parents=True, exist_ok=True)
    path = home.features / f"{key}-identity.npy"
    np.save(path, features)
    write_origin(home.features, key, Origin(fingerprint=study.fingerprint, backbone="test_resnet", image_size=size))
    return path


def keep_pixels(home: Home, study: Study, count: int, side: int = 80) -> None:
    """Put images into the cache: image i has the grey value i % 256."""
    home.pixels.mkdir(parents=True, exist_ok=True)
    grey = (np.arange(count) % 256).astype(np.uint8)
    pixels = np.broadcast_to(grey[:, None, None, None], (count, side, side, 3))
    np.save(home.pixels / f"{study.fingerprint[:32]}-{side}-squash-bicubic.npy", np.ascontiguousarray(pixels))


def mapped(
    stores: Stores,
    folder: Path,
    *,
    names: tuple[str, ...] = ("red", "green", "blue"),
    per_class: int = 20,
    tests: int = 40,
) -> tuple[Facts, Home]:
    """A study whose classes are groups in the features; the test images look like the second class."""
    study = lay_study(stores, folder, names=names, per_class=per_class, test_images=tests)
    y, home = stores.datasets.get(study.fingerprint).y, Home(root=folder / "home")
    end_trials(stores, study, 1, lambda number, _: noisy(y, len(names), 0.9, number))
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 4, (len(names), 16))
    groups = np.concatenate([y, np.full(tests, 1)])
    keep_features(home, study, (centres[groups] + rng.normal(0, 1, (len(groups), 16))).astype(np.float32))
    keep_pixels(home, study, len(groups))
    return read_facts(stores, "made_up", home=home), home


def drawn(facts: Facts) -> tuple[str, Element]:
    html = render(page_of(facts))
    return html, section(read_html(html), "map")


def test_each_image_is_a_point_with_its_marks(stores: Stores, tmp_path: Path) -> None:
    facts, _ = mapped(stores, tmp_path)
    html, found = drawn(facts)
    assert facts.oof is not None
    y, predicted = facts.dataset.y, facts.oof.argmax(axis=1)
    points = {p.attributes["aria-label"].partition(":")[0]: p for p in found.all("input")}
    assert len(points) == len(y) + 40 and len(html) < 5_000_000
    for i, name in enumerate(facts.dataset.train_ids):
        marks, label = points[name].attributes["class"].split(), points[name].attributes["aria-label"]
        assert ("wrong" in marks) == (predicted[i] != y[i])
        assert label == f"{name}: {facts.dataset.class_names[y[i]]}" + (
            f", taken for {facts.dataset.class_names[predicted[i]]}" * int(predicted[i] != y[i])
        )
    assert points["test-0000"].attributes["class"].split()[:2] == ["mark", "test"]
    assert f"the {(predicted != y).sum()} mistakes of trial 0" in found.text
    alike = [name for name, p in points.items() if "alike" in p.attributes["class"].split()]
    classes = {facts.dataset.train_ids[i]: y[i] for i in range(len(y))}
    assert len(alike) == 6 and all(classes[name] == 1 for name in alike), "the test images are all of one class"


def test_classes_differ_in_colour_and_in_shape(stores: Stores, tmp_path: Path) -> None:
    facts, _ = mapped(stores, tmp_path, names=tuple(f"class {i:02}" for i in range(30)), per_class=4)
    view = image_map(facts)
    marks = [row.style for row in view.classes if row.name]
    own = [mark for mark in marks if mark != "other"]
    assert len(marks) == 30 and len(own) == len(set(own)) == 23
    for one, other in itertools.pairwise(own):
        assert one[:2] != other[:2] and one[3:] != other[3:], "neighbours in the legend differ in both"


def test_the_table_says_what_the_picture_shows(stores: Stores, tmp_path: Path) -> None:
    facts, _ = mapped(stores, tmp_path)
    _, found = drawn(facts)
    (table,) = found.all("table")
    header, *rows = table.rows()
    assert header[:4] == ["class", "images", "mistakes", "like test images"]
    assert [row[0] for row in rows] == ["red", "green", "blue", "test images"]
    assert [row[1] for row in rows] == ["20", "20", "20", "40"]
    assert rows[3][5].startswith("green"), "test images look like that class"
    assert float(rows[0][4].strip("%<>")) > 90.0


def test_the_same_features_give_the_same_page_and_the_second_report_reads_the_places(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, home = mapped(stores, tmp_path)
    first = image_map(facts)
    (kept,) = home.features.glob(f"{KEY}-map*.npy")
    kept.unlink()
    assert image_map(facts) == first, "computed again"
    monkeypatch.setattr("search.page.image_map.place_images", lambda *_: pytest.fail("computed a second time"))
    assert image_map(facts) == first, "read"


@pytest.mark.parametrize("damage", ["empty", "pickle", "shape", "nan", "beyond", "type", *NO_ARRAYS])
def test_a_damaged_file_of_places_is_computed_again(stores: Stores, tmp_path: Path, damage: str) -> None:
    facts, home = mapped(stores, tmp_path)
    first = image_map(facts)
    (kept,) = home.features.glob(f"{KEY}-map*.npy")
    places = np.load(kept)
    if damage == "empty":
        kept.write_bytes(b"")
    elif damage in NO_ARRAYS:
        kept.write_bytes(NO_ARRAYS[damage])
    else:
        wrong = {
            "pickle": np.array([{}] * len(places), object),
            "shape": places[1:],
            "nan": places * np.nan,
            "beyond": places + 1.0,
            "type": places.astype(np.float64),
        }[damage]
        np.save(kept, wrong, allow_pickle=True)
    assert image_map(facts) == first
    np.testing.assert_array_equal(np.load(kept), places)


@pytest.mark.parametrize("damage", ["missing", "empty", "count", "nan", "pickle", "flat", *NO_ARRAYS])
def test_without_usable_features_the_section_names_the_commands(stores: Stores, tmp_path: Path, damage: str) -> None:
    facts, home = mapped(stores, tmp_path)
    path = home.features / f"{KEY}-identity.npy"
    features = np.load(path)
    path.unlink()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage in NO_ARRAYS:
        path.write_bytes(NO_ARRAYS[damage])
    elif damage != "missing":
        wrong = {
            "count": features[1:],
            "nan": features * np.nan,
            "pickle": np.array([{}] * len(features), object),
            "flat": features[:, 0],
        }[damage]
        np.save(path, wrong, allow_pickle=True)
    _, found = drawn(facts)
    assert not found.all("input")
    assert (
        "search check --study made_up --weights FOLDER" in found.text and "search report --study made_up" in found.text
    )


def test_near_a_deadline_the_map_is_left_out(stores: Stores, tmp_path: Path) -> None:
    facts, _ = mapped(stores, tmp_path)
    _, found = drawn(replace(facts, home=None))
    assert "left out" in found.text and not found.all("input")
    assert add_to_export(stores, "made_up", tmp_path, facts.home, with_map=False)
    assert "left out" in (tmp_path / "report.html").read_text()
    now = stores.database.now()
    stores.studies.set_deadline(facts.study.id, now + REPORT_SECONDS + MAP_SECONDS / 2, hours=1.0, period_began=now)
    assert is_time_for_report(stores, "made_up") and not is_time_for_report(stores, "made_up", more=MAP_SECONDS)
    stores.studies.set_deadline(facts.study.id, now + 2 * MAP_SECONDS, hours=1.0, period_began=now)
    assert is_time_for_report(stores, "made_up", more=MAP_SECONDS)


def test_the_pictures_are_one_small_sheet(stores: Stores, tmp_path: Path) -> None:
    facts, _ = mapped(stores, tmp_path)
    html, found = drawn(facts)
    (area,) = [div for div in found.all("div") if div.attributes.get("role") == "radiogroup"]
    address = re.search(
        r"--sheet: url\(data:image/jpeg;base64,([A-Za-z0-9+/=]+)\); --columns: (\d+)", area.attributes["style"]
    )
    assert address is not None and html.count("data:image") == 1
    sheet = Image.open(io.BytesIO(base64.b64decode(address[1])))
    side = sheet.width // int(address[2])
    for point in found.all("input")[::7]:
        name = point.attributes["aria-label"].partition(":")[0]
        ids = (*facts.dataset.train_ids, *facts.dataset.test_ids)
        style = dict(part.split(":") for part in point.attributes["style"].split(";"))
        left, top = int(style["--i"]) * side, int(style["--j"]) * side
        assert abs(np.array(sheet)[top + side // 2, left + side // 2].mean() - ids.index(name) % 256) <= 3


def test_the_page_still_loads_nothing_and_runs_nothing(stores: Stores, tmp_path: Path) -> None:
    html, _ = drawn(mapped(stores, tmp_path)[0])
    without = re.sub(r"url\(data:image/jpeg;base64,[A-Za-z0-9+/=]+\)", "", html)
    assert "<script" not in html and not re.search(r"https?://|url\(|@import| on\w+=", without)


def test_of_many_images_a_sample_is_shown(stores: Stores, tmp_path: Path) -> None:
    facts, home = mapped(stores, tmp_path, per_class=900, tests=300)
    found = read_map(facts, home)
    assert found is not None and len(found.rows) == len(found.places) == MOST_IMAGES
    counts = np.bincount(facts.dataset.y[found.rows[found.rows < 2700]])
    assert counts.tolist() == [600, 600, 600] and (found.rows >= 2700).sum() == 200
    view = image_map(facts)
    assert "A sample of 2,000 of 3,000 images" in view.summary and view.sheet is not None
    assert len(view.sheet.uri) < 1_500_000


def test_noise_makes_the_largest_sheet() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (MOST_IMAGES, 64, 64, 3), np.uint8)
    sheet = sheet_of(pictures)
    assert sheet is not None and len(base64.b64decode(sheet.uri.partition(",")[2])) <= MOST_BYTES
    assert sheet_of(pictures[:0]) is None


def test_without_images_there_is_a_map_without_pictures(stores: Stores, tmp_path: Path) -> None:
    facts, home = mapped(stores, tmp_path)
    for path in home.pixels.iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    assert len(read_thumbnails(stores, facts.study, home, [0, 1], 64)) == 0
    html, found = drawn(facts)
    assert found.all("input") and "no longer has the images" in found.text and "data:image" not in html


def test_pictures_are_read_from_the_folder_where_the_cache_lacks_them(
    stores: Stores, study_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_competition(tmp_path)
    study, home = create_study(stores, study_plan(study_file, folder)), Home(root=tmp_path / "home")
    n = len(stores.datasets.get(study.fingerprint).y)
    pictures = read_thumbnails(stores, study, home, [0, 1, n], 24)
    assert pictures.shape == (3, 24, 24, 3)
    for picture, colour in zip(pictures[:2], ("blue", "green"), strict=True):
        assert picture.mean(axis=(0, 1)).argmax() == np.argmax(COLOURS[colour])
    (folder / "train" / "p000.png").unlink()
    assert len(read_thumbnails(stores, study, home, [0, 1, n], 24)) == 0
    assert "no pictures" in caplog.text


def test_hostile_and_japanese_names(stores: Stores, tmp_path: Path) -> None:
    facts, _ = mapped(stores, tmp_path, names=HOSTILE)
    html, found = drawn(facts)
    assert "<script" not in html and "\u202e" not in html
    assert any("猫 ねこ" in point.attributes["aria-label"] for point in found.all("input"))
    assert all(set(p.attributes) == {"type", "name", "class", "style", "aria-label"} for p in found.all("input"))


def test_the_features_of_the_best_probe_come_first(stores: Stores, tmp_path: Path) -> None:
    study, home = lay_study(stores, tmp_path, budget=1), Home(root=tmp_path / "home")
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 0, lambda number, _: noisy(y, 3, 0.5 + 0.4 * (number == 0), number), probes=2)
    features = np.random.default_rng(0).normal(size=(66, 8)).astype(np.float32)
    for size in (32, 48, 640):
        keep_features(home, study, features, hashlib.sha256(str(size).encode()).hexdigest(), size)
    found = read_map(read_facts(stores, "made_up"), home)
    assert found is not None and found.origin.image_size == 32


def test_a_few_images_have_no_map(stores: Stores, tmp_path: Path) -> None:
    study, home = lay_study(stores, tmp_path, names=["a", "b"], per_class=2, test_images=0), Home(root=tmp_path)
    keep_features(home, study, np.zeros((4, 3), np.float32))
    view: MapView = image_map(read_facts(stores, "made_up", home=home))
    assert "search check" in view.missing
