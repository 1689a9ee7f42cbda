"""Images and tables of other parts than the training images are named, and are no examples in advice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.images import FileImages
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


def images(folder: Path, *names: str, seed: int = 0) -> list[str]:
    for number, name in enumerate(names):
        save(folder / name, seed + number, 8)
    return list(names)


def kaggle(root: Path) -> Path:
    names = images(root / "train", *(f"a{number}.png" for number in range(6)))
    (root / "train.csv").write_text("id,label\n" + "".join(f"{one},{'ab'[n % 2]}\n" for n, one in enumerate(names)))
    return root


def classes(root: Path) -> Path:
    for seed, name in enumerate(("cat", "dog")):
        images(root / name, *(f"{name}{number}.png" for number in range(3)), seed=10 * seed)
    return root


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("predict", "p{}.png"),
        ("predict", "a{}.png"),
        ("inference", "{}.png"),
        ("inference_images", "p{}.png"),
        ("predictions", "p{}.png"),
        ("output", "p{}.png"),
        ("data/predict", "p{}.png"),
        ("unlabeled", "p{}.png"),
        ("private", "p{}.png"),
    ],
)
def test_images_to_predict_beside_a_table_are_counted(tmp_path: Path, folder: str, name: str) -> None:
    kaggle(tmp_path)
    images(tmp_path / folder, *(name.format(number) for number in range(3)), seed=50)
    found = read_images(tmp_path, verify=False)
    assert len(found.train_ids) == 6
    shown = re.escape(f"{folder}/{name.format(0)}")
    assert re.search(f"not read: 3 images in other folders than those of train.csv, such as {shown}", found.warnings[0])


@pytest.mark.parametrize("folder", ["predictions", "outputs", "results", "masks", "heatmaps"])
@pytest.mark.parametrize("name", ["a{}.png", "a{}_pred.png"])
def test_what_programs_made_of_the_images_needs_no_warning(tmp_path: Path, folder: str, name: str) -> None:
    kaggle(tmp_path)
    images(tmp_path / folder, *(name.format(number) for number in range(3)), seed=50)
    assert not read_images(tmp_path, verify=False).warnings


@pytest.mark.parametrize("tests", ["test", "test1"])
def test_advice_on_labels_in_names_counts_no_test_images(tmp_path: Path, tests: str) -> None:
    names = [f"{label}.{number}.png" for label in ("cat", "dog") for number in range(4)]
    images(tmp_path / "train", *names)
    images(tmp_path / tests, "1.png", "2.png", seed=50)
    message = problems_of(tmp_path)
    assert "the labels of 8 images" in message and "such as train/cat.0.png" in message
    rows = [f"train/{name},{name[:3]}" for name in names]
    (tmp_path / "labels.csv").write_text("\n".join(("image,label", *rows)))
    found = read_images(tmp_path, verify=False)
    assert len(found.train_ids) == 8 and len(found.test_ids) == 2


@pytest.mark.parametrize("inner", ["test", "test_images"])
def test_an_inner_folder_of_unlabelled_test_images_is_no_lost_class(tmp_path: Path, inner: str) -> None:
    classes(tmp_path / "train")
    classes(tmp_path / "test")
    images(tmp_path / "test" / inner, "x.png", seed=90)
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("cat", "dog") and len(found.test_ids) == 7
    assert "not trained" not in "".join(found.warnings)


def test_a_table_of_the_test_images_beside_classes(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    names = images(tmp_path / "test", *(f"t{number}.png" for number in range(4)), seed=50)
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{one},cat\n" for one in names))
    message = problems_of(tmp_path)
    assert "names 4 test images, such as test/t0.png, and no training image" in message
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert (len(found.train_ids), len(found.test_ids)) == (6, 4)
    (tmp_path / "labels.csv").rename(tmp_path / "test.csv")
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), found.test_ids) == (6, tuple(names))


@pytest.mark.parametrize("lists", ["labels/train.txt", "meta/train_list.txt"])
def test_advice_on_deep_folders_names_the_table_beside_them(tmp_path: Path, lists: str) -> None:
    rows = []
    for number in range(12):
        path = f"images{'abc'[number % 3]}/q/o/p{number}/{800 + number}.png"
        save(tmp_path / "images" / path, number, 8)
        rows.append(f"{path} {number % 2}")
    (tmp_path / lists).parent.mkdir()
    (tmp_path / lists).write_text("\n".join(rows))
    assert f"If {lists} holds the labels, add --table {lists} (data.table)" in problems_of(tmp_path)
    found = read_images(tmp_path, DataOptions(table=lists), verify=False)
    assert found.class_names == ("0", "1") and len(found.train_ids) == 12


@pytest.mark.parametrize("folder", ["output", "results", "data/output"])
@pytest.mark.parametrize("parts", [("test",), ("train", "val", "test")])
@pytest.mark.parametrize("renamed", [False, True])
def test_test_images_inside_a_folder_of_results_are_not_predicted(
    tmp_path: Path, folder: str, parts: Sequence[str], *, renamed: bool
) -> None:
    """What split-folders makes of the photos: its folder is called ``output``."""
    rows = [("image", "label")]
    for number in range(24):
        save(tmp_path / "photos" / f"{number}.png", number, 8)
        rows.append((f"{number}.png", "ab"[number % 2]))
        name = f"new_{number}.png" if renamed else f"{number}.png"
        save(tmp_path / folder / parts[number % len(parts)] / name, number, 8)
    write_table(tmp_path / "labels.csv", rows)
    found = read_images(tmp_path, verify=False)
    assert isinstance(found.train_images, FileImages)
    assert {path.partition("/")[0] for path in found.train_images.paths} == {"photos"}
    assert (len(found.train_ids), len(found.test_ids)) == (24, 0)
    assert any("not read: 24 images in other folders" in text for text in found.warnings) == renamed
