"""CUB-200-2011 and its like: several tables without headers, joined by the number of the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images

CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")


def write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))


def cub(root: Path, *, flat: bool = False) -> Path:
    """Four images of each of three birds; two of each are training images."""
    paths = [f"{name}/{name[4:]}_{i:04}.jpg" for name in CLASSES for i in range(4)]
    paths = [path.split("/")[1] if flat else path for path in paths]
    for seed, path in enumerate(paths):
        save(root / "images" / path, seed, 8)
    write(root / "images.txt", list(enumerate(paths, 1)))
    write(root / "image_class_labels.txt", [(i + 1, i // 4 + 1) for i in range(12)])
    write(root / "train_test_split.txt", [(i + 1, int(i % 4 < 2)) for i in range(12)])
    write(root / "classes.txt", list(enumerate(CLASSES, 1)))
    write(root / "bounding_boxes.txt", [(i + 1, 60.0, 27.0, 325.0, 304.0) for i in range(12)])
    write(root / "parts" / "parts.txt", [(1, "back"), (2, "beak")])
    write(root / "attributes" / "image_attribute_labels.txt", [(1, 1, 0, 3, 27.7)])
    return root


@pytest.mark.parametrize("flat", [True, False])
def test_cub_is_read_as_published(tmp_path: Path, *, flat: bool) -> None:
    found = read_images(cub(tmp_path, flat=flat), verify=False)
    assert found.class_names == CLASSES
    assert labels_of(found) == [name for name in CLASSES for _ in range(2)]
    assert [i for i in range(6) if "0001.jpg" in found.train_images.name(i)] == [1, 3, 5]
    assert len(found.test_ids) == 6 and not set(found.test_ids) & set(found.train_ids)
    notes = "\n".join(found.notes)
    assert "image_class_labels.txt labels the images that images.txt numbers, classes.txt names the classes" in notes
    assert "train_test_split.txt divides the rows of image_class_labels.txt (0 test, 1 train): 6 train, 6 test" in notes


def test_the_folders_may_be_read_instead(tmp_path: Path) -> None:
    found = read_images(cub(tmp_path), DataOptions(layout="folders"), verify=False)
    assert (found.class_names, len(found.y)) == (CLASSES, 12)


def test_segmentations_beside_the_images_do_not_count(tmp_path: Path) -> None:
    root = cub(tmp_path)
    for path in list((root / "images").rglob("*.jpg")):
        save(root / "segmentations" / path.relative_to(root / "images").with_suffix(".png"), 99, 8)
    assert read_images(root, verify=False).train_images.name(0).startswith("images/")


def test_tables_that_are_missing(tmp_path: Path) -> None:
    root = cub(tmp_path)
    (root / "classes.txt").unlink()
    assert read_images(root, verify=False).class_names == ("1", "2", "3")
    (root / "image_class_labels.txt").unlink()
    assert read_images(root, verify=False).class_names == CLASSES
    (root / "train_test_split.txt").unlink()
    assert len(read_images(root, verify=False).y) == 12


def test_names_of_classes_may_have_blanks(tmp_path: Path) -> None:
    root = cub(tmp_path)
    write(root / "classes.txt", [(1, "Black-footed Albatross"), (2, "Laysan"), (3, "Sooty"), (400, "Gull (Adult)")])
    assert read_images(root, verify=False).class_names == ("Black-footed Albatross", "Laysan", "Sooty")


def test_labels_that_contradict_the_folders_are_an_error(tmp_path: Path) -> None:
    root = cub(tmp_path)
    write(root / "image_class_labels.txt", [(i + 1, 3 if i == 2 else i // 4 + 1) for i in range(12)])
    message = problems_of(root)
    assert f"labels the image '3' as {CLASSES[2]!r}, but it lies in the folder {CLASSES[0]!r}: 1 of 12" in message
    assert len(read_images(root, DataOptions(layout="folders"), verify=False).y) == 12


@pytest.mark.parametrize(
    "names",
    [
        [(i, name) for i, name in enumerate([*CLASSES, "004.Crested_Auklet"])],
        [(i, name[4:].replace("_", " ")) for i, name in enumerate([*CLASSES, "004.Crested_Auklet"])],
        [(i, name) for i, name in enumerate([*CLASSES[1:], "004.Crested_Auklet"], 1)],
        [(1, CLASSES[1]), (2, CLASSES[0]), (3, CLASSES[2])],
        [(i + 1, f"{(i + 1) % 3 + 1}.Bird of kind {i}") for i in range(3)],
    ],
)
def test_names_that_contradict_the_folders_are_an_error(tmp_path: Path, names: list[tuple[int, str]]) -> None:
    root = cub(tmp_path)
    write(root / "classes.txt", names)
    message = problems_of(root)
    assert "labels contradict the folders. Correct image_class_labels.txt or classes.txt" in message
    assert "but it lies in the folder '00" in message
    assert len(read_images(root, DataOptions(layout="folders"), verify=False).y) == 12


@pytest.mark.parametrize("delimiter", [",", ": ", ";", "\t"])
def test_numbers_and_names_may_have_another_delimiter(tmp_path: Path, delimiter: str) -> None:
    root = cub(tmp_path)
    write(root / "classes.txt", [[f"{i}{delimiter}{name}"] for i, name in enumerate(CLASSES, 1)])
    assert read_images(root, verify=False).class_names == CLASSES
    write(root / "classes.txt", [[f"{i}{delimiter}{name}"] for i, name in enumerate([*CLASSES, "Auk"])])
    assert "contradict the folders" in problems_of(root)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(("name", "header"), [("classes.txt", []), ("class_names.csv", [["class_name"]])])
def test_classes_may_be_listed_in_order(tmp_path: Path, first: int, name: str, header: list[list[str]]) -> None:
    root = cub(tmp_path)
    (root / "classes.txt").unlink()
    write(root / "image_class_labels.txt", [(i + 1, i // 4 + first) for i in range(12)])
    write(root / name, [*header, ["Zino"], ["Albatross"], ["Monk seal"]])
    found = read_images(root, verify=False)
    assert labels_of(found) == [label for label in ("Zino", "Albatross", "Monk seal") for _ in range(2)]
    assert f"{name} names the classes in its order, from {first}" in "\n".join(found.notes)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([["Zino"], ["Albatross"]], "its 2 lines do not fit the labels"),
        ([["Zino"], ["Albatross"], ["Auk"], ["Gull"]], "its 4 lines do not fit the labels"),
        ([["0", "Zino"], ["1", "Auk"], ["2", "Gull"]], "it has no line for the label '3'"),
    ],
)
def test_a_list_of_classes_that_does_not_fit_is_named(tmp_path: Path, rows: list[list[str]], why: str) -> None:
    root = cub(tmp_path)
    write(root / "classes.txt", rows)
    found = read_images(root, verify=False)
    assert found.class_names == ("1", "2", "3")
    assert why in "\n".join(found.warnings) and "classes.txt does not name the classes" in "\n".join(found.warnings)


def test_folders_of_another_kind_do_not_contradict_names(tmp_path: Path) -> None:
    root = cub(tmp_path)
    write(root / "classes.txt", [(1, "1.cat"), (2, "2.dog"), (3, "3.Laysan Albatross")])
    for old, new in zip(CLASSES, ("2019", "2020", "2021"), strict=True):
        (root / "images" / old).rename(root / "images" / new)
        text = (root / "images.txt").read_text()
        (root / "images.txt").write_text(text.replace(f" {old}/", f" {new}/"))
    assert len(read_images(root, verify=False).class_names) == 3


def test_numbers_without_a_partner_are_an_error(tmp_path: Path) -> None:
    root = cub(tmp_path)
    write(root / "image_class_labels.txt", [(i + 1, i // 4 + 1) for i in range(11)])
    assert "image_class_labels.txt has no row for 1 numbers of images.txt: '12'" in problems_of(root)
    write(root / "image_class_labels.txt", [(i + 1, i // 4 + 1) for i in range(13)])
    assert "image_class_labels.txt labels 1 numbers that images.txt lacks: '13'" in problems_of(root)


def test_unknown_parts_are_refused(tmp_path: Path) -> None:
    root = cub(tmp_path)
    write(root / "train_test_split.txt", [(i + 1, i % 4 + 5) for i in range(12)])
    assert "train_test_split.txt seems to divide the images" in problems_of(root)


def test_a_missing_image_is_named_by_its_row(tmp_path: Path) -> None:
    root = cub(tmp_path)
    (root / "images" / CLASSES[0] / f"{CLASSES[0][4:]}_0001.jpg").unlink()
    assert "image_class_labels.txt row 2: there is no image" in problems_of(root)


def test_labels_in_a_file_that_is_not_read_are_named(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / "jpg" / f"image_{i:05}.jpg", i, 8)
    (tmp_path / "imagelabels.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    message = problems_of(tmp_path)
    assert "The labels may be in 'imagelabels.mat', which is not read: write a table labels.csv" in message
    (tmp_path / "labels.txt").write_text("".join(f"image_{i:05}.jpg {i % 2}\n" for i in range(4)))
    assert len(read_images(tmp_path, verify=False).y) == 4
