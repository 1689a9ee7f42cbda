"""Ids and file names that differ in form: matched by reported rules, and never to another id's image."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.images import FileImages
from trainer.data.read import read_images
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ColumnMatch, ImageMatcher
from trainer.formats.delimited import write_table


def match(paths: Sequence[str], cells: Sequence[str], root: Path = Path()) -> ColumnMatch:
    return ImageMatcher(ImageFiles(root, paths), "train").match(cells)


def test_unicode_forms_are_one_name() -> None:
    name = "Übung_é"
    decomposed = unicodedata.normalize("NFD", name)
    for stored, cell in ((decomposed, name), (name, decomposed)):
        found = match([f"images/{stored}.png"], [cell, f"{cell}.png", f"images/{cell}.png"])
        assert set(found.paths.values()) == {f"images/{stored}.png"} and not found.errors
    both = match([f"{name}.png", f"{decomposed}.png"], [name, decomposed])
    assert both.paths == {name: f"{name}.png", decomposed: f"{decomposed}.png"}


@pytest.mark.parametrize(
    ("stored", "cell"),
    [
        ("{:03d}.png", "{}"),
        ("{:03d}.png", "{}.0"),
        ("{:03d}.png", "{}.png"),
        ("{}.png", "{:03d}"),
    ],
)
def test_leading_zeros(stored: str, cell: str) -> None:
    found = match([stored.format(i) for i in range(120)], [cell.format(i) for i in range(120)])
    assert found.paths == {cell.format(i): stored.format(i) for i in range(120)}
    assert any("leading zeros" in note for note in found.notes)


def test_leading_zeros_that_fit_two_files_are_refused() -> None:
    found = match(["01.png", "001.png", "02.png"], ["1", "2"])
    assert found.paths == {"2": "02.png"}
    assert "could be 001.png or 01.png" in str(found.errors["1"])


def test_another_extension() -> None:
    found = match(["a.png", "b.png"], ["a.jpg", "b.jpg", "c.jpg", "a.txt"])
    assert found.paths == {"a.jpg": "a.png", "b.jpg": "b.png"}
    assert "'a.jpg' for a.png" in found.notes[0]


def test_a_mask_does_not_replace_a_missing_image() -> None:
    found = match(["images/a.jpg", "masks/a.png", "masks/b.png"], ["a.jpg", "b.jpg"])
    assert found.paths == {"a.jpg": "images/a.jpg"} and "no image 'b.jpg'" in str(found.errors["b.jpg"])


TREE = ["224px/cat/1.jpg", "224px/cat/2.jpg", "224px/dog/1.jpg"]


@pytest.mark.parametrize(
    "front", ["Datasets/{}", "/kaggle/input/comp/{}", "../input/{}", "C:\\Users\\me\\{}", "https://host/x/{}"]
)
def test_paths_of_another_machine(front: str) -> None:
    cells = [front.format(path) for path in TREE]
    found = match(TREE, cells)
    assert found.paths == dict(zip(cells, TREE, strict=True))
    assert len(found.notes) == 1 and found.notes[0].startswith("paths begin with")


@pytest.mark.parametrize("front", ["/home/me/proj", "..", "~", "~/data", "C:\\proj", "{root}"])
def test_some_paths_of_another_machine_among_relative_ones(tmp_path: Path, front: str) -> None:
    cells = [f"./{TREE[0]}", TREE[1].replace("/", "//"), f"{front.format(root=tmp_path)}/{TREE[2]}"]
    found = match([*TREE, "1.jpg"], cells, tmp_path)
    assert found.paths == dict(zip(cells, TREE, strict=True))
    assert [note[:17] for note in found.notes] == ([] if front == "{root}" else ["1 path begins wit"])


@pytest.mark.parametrize("cell", ["/x/emu/2.jpg", "../2.jpg", "x/224px/dog/1.jpg", "{root}/emu/2.jpg"])
def test_a_path_of_another_machine_names_a_folder_where_other_paths_do(tmp_path: Path, cell: str) -> None:
    cell = cell.format(root=tmp_path)
    found = match(TREE, [*TREE[:2], cell], tmp_path)
    assert list(found.errors) == [cell]
    assert ("leaves the data folder" in str(found.errors[cell])) == (cell[0] in "/." and str(tmp_path) not in cell)


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("/x/224px/emu/1.jpg", "leaves the data folder"),  # not cat/1.jpg
        ("/x/224px/emu/2.jpg", "leaves the data folder"),  # not cat/2.jpg, the only one of that name
        ("/x/224px/../cat/1.jpg", "leaves the data folder"),
        ("emu/2.jpg", "there is no image"),
    ],
)
def test_a_folder_that_is_missing_is_not_replaced_by_another(cell: str, why: str) -> None:
    found = match(TREE, [*(f"/x/{path}" for path in TREE), cell])
    assert set(found.paths) == {f"/x/{path}" for path in TREE}
    assert why in str(found.errors[cell])


def test_an_image_of_the_same_ending_is_not_called_another() -> None:
    found = match(TREE, [*TREE[:2], "x/224px/dog/1.jpg", "x/1.jpg"])

    assert "224px/dog/1.jpg ends in the same way" in str(found.errors["x/224px/dog/1.jpg"])
    assert "2 images have this name, but none is in such a folder" in str(found.errors["x/1.jpg"])


def test_an_ending_that_fits_two_files_is_refused() -> None:
    found = match(["a/cat/1.jpg", "b/cat/1.jpg"], ["/x/cat/1.jpg"])
    assert not found.paths and "could be a/cat/1.jpg or b/cat/1.jpg" in str(found.errors["/x/cat/1.jpg"])


def test_paths_of_test_images_name_no_training_images() -> None:
    assert not match(["train/1.jpg", "train/2.jpg"], ["/x/test/1.jpg", "/x/test/2.jpg"]).paths


@pytest.mark.parametrize(("second", "fits"), [(b"same", True), (b"other", False)])
def test_copies_of_one_file_are_no_question(tmp_path: Path, second: bytes, fits: bool) -> None:
    for name, content in (("a", b"same"), ("b", second)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(content)
    found = match(["a/1.png", "b/1.png"], ["1"], tmp_path)
    assert found.paths == ({"1": "a/1.png"} if fits else {})
    assert bool(found.notes) == fits


def test_a_path_names_its_file_whatever_the_folders_are_called() -> None:
    paths = ["images/car/1.png", "images/test/1.png", "images/steam train/1.png"]
    assert match(paths, paths).paths == {path: path for path in paths}


@pytest.mark.parametrize("change", [str.upper, str.title])
def test_the_case_of_a_file_name_with_extension_is_ignored(change: Callable[[str], str]) -> None:
    assert match(["a1.png"], [change("a1.png")]).paths == {change("a1.png"): "a1.png"}


names = st.sampled_from(["1", "01", "001", "2", "10", "a", "é", "e\u0301", "b 1"])
folders = st.lists(st.sampled_from(["cat", "dog", "train", "images", "x", "é", "e\u0301"]), max_size=3)
suffixes = st.sampled_from([".png", ".jpg", ""])


@st.composite
def paths_of(draw: st.DrawFn, *, absolute: bool) -> str:
    front = draw(st.sampled_from(["", "/", "../", "C:\\"])) if absolute else ""
    suffix = draw(suffixes) if absolute else draw(suffixes.filter(bool))
    return front + "/".join([*draw(folders), draw(names) + suffix])


def _plain(path: str) -> tuple[str, ...]:
    """Folders and name in one Unicode form; the name without extension and leading zeros."""
    parts = PurePosixPath(unicodedata.normalize("NFC", path).replace("\\", "/")).parts
    stem = parts[-1].removesuffix(".png").removesuffix(".jpg")
    return (*parts[:-1], stem.lstrip("0") if stem.isdecimal() else stem)


@given(
    paths=st.lists(paths_of(absolute=False), max_size=8, unique=True),
    cells=st.lists(paths_of(absolute=True), max_size=8, unique=True),
)
@example(paths=["1.png", "cat/01.png"], cells=["cat/1.png", "cat/cat/1.png"])
def test_a_match_has_the_name_of_its_id_and_never_another_folder_of_the_column(
    paths: list[str], cells: list[str]
) -> None:
    found = match(paths, cells)
    assert found.paths.keys() | found.errors.keys() == set(cells)
    assert found.paths.keys().isdisjoint(found.errors)
    common = {cell: _common(_plain(cell), _plain(path)) for cell, path in found.paths.items()}
    assert all(length >= 1 for length in common.values())
    shortened = [cell for cell in found.paths if cell not in found.exact and common[cell] == 1 and "/" in cell]
    if shortened:  # the file name alone: then no path of the column fits better
        assert not any(common[cell] > 1 for cell in found.paths)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("owl  hawk/{}.png", ""),
        ("owl hawks/{}.png", "(images/owl hawk/{}.png is nearly the same path; if it is meant, write this path"),
        ("P02/{}.png", "(3 images have this name, but none is in such a folder)"),
        ("gone/{}.png", "(3 images have this name, but none is in such a folder)"),
    ],
)
def test_a_path_to_another_folder_names_only_a_path_that_is_nearly_equal(
    tmp_path: Path, written: str, hint: str
) -> None:
    places = ("owl hawk", "zebra", "P01")
    for seed, place in enumerate(places):
        for i in range(3):
            save(tmp_path / "images" / place / f"{i}.png", 10 * seed + i, 8)
    rows = [(f"images/{place}/{i}.png", place) for place in places[1:] for i in range(3)]
    rows += [(f"images/{written.format(i)}", "owl hawk") for i in range(3)]
    write_table(tmp_path / "labels.csv", [("image", "label"), *rows])
    if hint:
        message = problems_of(tmp_path)
        assert all(f"there is no image 'images/{written.format(i)}' {hint.format(i)}" in message for i in range(3))
    else:
        assert labels_of(read_images(tmp_path, verify=False)).count("owl hawk") == 3


@pytest.mark.parametrize("around", ["", "data/"])
@pytest.mark.parametrize("parts", [("train", "val", "test"), ("training", "test")])
@pytest.mark.parametrize("ids", ["{}.png", "{}"])
def test_photos_go_before_copies_of_them_in_folders_of_parts(
    tmp_path: Path, around: str, parts: tuple[str, ...], ids: str
) -> None:
    """Copies of another size, as in a division of one's own: not two sizes among the training images."""
    rows = [("image", "label")]
    for number in range(24):
        save(tmp_path / "photos" / f"{number:02}.png", number, 16)
        part = parts[number % 4 % len(parts)]
        save(tmp_path / f"{around}{part}" / f"{number:02}.png", number, 8)
        rows.append((ids.format(f"{number:02}"), "ab"[number % 2]))
    write_table(tmp_path / "labels.csv", rows)
    found = read_images(tmp_path, verify=False)
    assert isinstance(found.train_images, FileImages)
    assert found.train_images.paths == tuple(f"photos/{number:02}.png" for number in range(24))
    assert any("photos/ holds the images of all ids" in note for note in found.notes)
    assert any("may be copies of those in photos/" in note for note in found.notes) == ("test" in parts)
    assert not any("that it does not list" in warning for warning in found.warnings)


def test_a_training_folder_goes_before_an_incomplete_one(tmp_path: Path) -> None:
    rows = [("image", "label")]
    for number in range(24):
        save(tmp_path / ("train" if number < 16 else "photos") / f"{number:02}.png", number, 8)
        rows.append((f"{number:02}.png", "ab"[number % 2]))
    save(tmp_path / "photos" / "00.png", 99, 8)
    write_table(tmp_path / "labels.csv", rows)
    found = read_images(tmp_path, verify=False)
    assert isinstance(found.train_images, FileImages)
    assert found.train_images.paths[0] == "train/00.png"
