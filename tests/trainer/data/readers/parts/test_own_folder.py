"""A table means the images of its own folder where other folders repeat their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


def numbered(root: Path, folder: str, count: int, seed: int = 0) -> list[str]:
    """Images ``000.png`` and so on in a folder; their paths."""
    for i in range(count):
        save(root / folder / f"{i:03d}.png", seed + i, 8)
    return [f"{folder}/{i:03d}.png" for i in range(count)]


def label(path: Path, count: int, labels: str = "abc") -> None:
    rows = [(f"{i:03d}.png", labels[i % len(labels)]) for i in range(count)]
    path.parent.mkdir(exist_ok=True)
    write_table(path, [("image", "label"), *rows])


@pytest.mark.parametrize("other", ["train", "images", "data", "train_images"])
@pytest.mark.parametrize("own", ["external/images", "batch1/images", "external/2023/jpg"])
def test_a_table_means_the_images_below_its_folder(tmp_path: Path, own: str, other: str) -> None:
    paths = numbered(tmp_path, own, 12)
    numbered(tmp_path, other, 20, seed=100)
    label(tmp_path / own.split("/")[0] / "labels.csv", 12)
    found = read_images(tmp_path, DataOptions(layout="table"), verify=False)
    assert list(found.train_images.paths) == paths and labels_of(found) == list("abcabcabcabc")


def test_an_image_that_is_missing_in_the_folder_of_the_table_is_not_taken_from_another(tmp_path: Path) -> None:
    paths = numbered(tmp_path, "batch1", 11)
    numbered(tmp_path, "images", 20, seed=100)
    label(tmp_path / "batch1" / "labels.csv", 12)
    found = read_images(tmp_path, DataOptions(skip_bad=True), verify=False)
    assert list(found.train_images.paths) == paths


def test_a_table_without_images_beside_it_names_those_elsewhere(tmp_path: Path) -> None:
    paths = numbered(tmp_path, "images", 12)
    label(tmp_path / "meta" / "labels.csv", 12)
    assert list(read_images(tmp_path, verify=False).train_images.paths) == paths


def test_masks_and_previews_beside_a_table_are_not_its_images(tmp_path: Path) -> None:
    paths = numbered(tmp_path, "images", 12)
    numbered(tmp_path, "info/masks", 12, seed=200)
    label(tmp_path / "info" / "labels.csv", 12)
    assert list(read_images(tmp_path, verify=False).train_images.paths) == paths
    numbered(tmp_path, "info/thumbs", 12, seed=100)
    assert "'000.png' could be images/000.png or info/thumbs/000.png" in problems_of(tmp_path)


def test_a_table_may_name_images_beside_its_folder_by_other_names(tmp_path: Path) -> None:
    paths = numbered(tmp_path, "train", 8)
    for i in range(8, 12):
        save(tmp_path / "more" / f"{i:03d}.png", i, 8)
        paths.append(f"more/{i:03d}.png")
    label(tmp_path / "train" / "labels.csv", 12)
    found = read_images(tmp_path, DataOptions(layout="table"), verify=False)
    assert list(found.train_images.paths) == paths


@pytest.mark.parametrize("count", [8, 20])
@pytest.mark.parametrize("name", ["extra", "batch2", "new", "images2"])
def test_a_table_means_the_folder_with_its_name(tmp_path: Path, name: str, count: int) -> None:
    train, others = numbered(tmp_path, "train", 20), numbered(tmp_path, name, count, seed=100)
    label(tmp_path / "train.csv", 20)
    label(tmp_path / f"{name}.csv", count, "bca")
    found = read_images(tmp_path, verify=False)
    assert list(found.train_images.paths) == train
    assert f"{name}.csv, which labels {count} further images; --table {name}.csv chooses it" in str(found.warnings)
    found = read_images(tmp_path, DataOptions(table=f"{name}.csv"), verify=False)
    assert list(found.train_images.paths) == others and labels_of(found)[:3] == list("bca")


def test_a_training_table_means_the_folder_train_and_no_other_version(tmp_path: Path) -> None:
    paths = numbered(tmp_path, "train", 12)
    numbered(tmp_path, "train_512", 12, seed=100)
    label(tmp_path / "train.csv", 12)
    assert list(read_images(tmp_path, verify=False).train_images.paths) == paths


@pytest.mark.parametrize("version", ["test_512", "test_resized_x", "my_test"])
@pytest.mark.parametrize("table", ["sample_submission.csv", "test.csv"])
def test_the_folder_test_goes_before_another_version_of_it(tmp_path: Path, table: str, version: str) -> None:
    numbered(tmp_path, "train", 12)
    label(tmp_path / "train.csv", 12)
    tests = numbered(tmp_path, "test", 6, seed=50)
    numbered(tmp_path, version, 6, seed=100)
    label(tmp_path / table, 6, "a")
    found = read_images(tmp_path, verify=False)
    assert list(found.test_images.paths) == tests
    assert f"not read: 6 images with the names of those in test/, such as {version}/000.png" in found.warnings


def test_a_folder_with_further_test_images_is_no_version(tmp_path: Path) -> None:
    numbered(tmp_path, "train", 12)
    label(tmp_path / "train.csv", 12)
    numbered(tmp_path, "test", 3, seed=50)
    numbered(tmp_path, "test_512", 6, seed=100)
    label(tmp_path / "sample_submission.csv", 3, "a")
    assert "'000.png' could be test/000.png or test_512/000.png" in problems_of(tmp_path)


@pytest.mark.parametrize(
    ("folder", "name", "training"),
    [
        ("val", "val_labels.csv", "train_labels.csv"),
        ("val", "val.csv", "train.csv"),
        ("eval", "eval.csv", "train.csv"),
        ("holdout", "holdout.csv", "train.csv"),
    ],
)
@pytest.mark.parametrize("labels", ["abc", "bca"])
def test_a_list_of_validation_images_means_its_own_folder(
    tmp_path: Path, folder: str, name: str, training: str, labels: str
) -> None:
    paths = numbered(tmp_path, "train", 20)
    numbered(tmp_path, folder, 8, seed=100)
    label(tmp_path / training, 20)
    label(tmp_path / name, 8, labels)
    found = read_images(tmp_path, verify=False)
    assert list(found.train_images.paths) == paths and not found.test_ids
    assert f"not read: 8 images in {folder}/" in str(found.warnings) and "training images" not in str(
        [text for text in found.warnings if name in text]
    )


@pytest.mark.parametrize("count", [8, 20])
@pytest.mark.parametrize("name", ["extra", "unlabeled", "batch2", "pool", "images2", "train_512"])
def test_images_that_repeat_names_are_not_passed_over_in_silence(tmp_path: Path, name: str, count: int) -> None:
    paths = numbered(tmp_path, "train", 20)
    numbered(tmp_path, name, count, seed=100)
    label(tmp_path / "train.csv", 20)
    found = read_images(tmp_path, verify=False)
    assert list(found.train_images.paths) == paths
    warning = f"not read: {count} images with the names of others that train.csv lists, such as {name}/000.png"
    assert warning in found.warnings


@pytest.mark.parametrize(("name", "seed"), [("thumbs", 100), ("masks", 100), ("again", 0)])
def test_copies_and_masks_are_no_further_images(tmp_path: Path, name: str, seed: int) -> None:
    numbered(tmp_path, "train", 20)
    numbered(tmp_path, name, 20, seed=seed)
    label(tmp_path / "train.csv", 20)
    assert "with the names of others" not in str(read_images(tmp_path, verify=False).warnings)
