"""An image of another part of the data never stands in for a missing one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

IDS = tuple(map(str, range(8)))


def folder_of(root: Path, folders: dict[str, Sequence[str]], *, ending: str = "") -> Path:
    """A training table for the images 0 to 7, and images of these names in folders."""
    for seed, (folder, names) in enumerate(folders.items()):
        for name in names:
            save(root / folder / f"{name}.png", 100 * seed + int(name), 8)
    rows = [(f"{i}{ending}", ("cat", "dog")[int(i) % 2]) for i in IDS]
    write_table(root / "train.csv", [("id", "label"), *rows])
    return root


@pytest.mark.parametrize("main", ["train", "images", "train/images"])
@pytest.mark.parametrize(
    "other",
    ["valid", "val_images", "val2017", "Validation", "test", "test_images", "masks", "train_masks", "val_masks", "gt"],
)
@pytest.mark.parametrize("ending", ["", ".png", ".jpg"])
def test_folders_of_another_kind_are_no_substitute(tmp_path: Path, main: str, other: str, ending: str) -> None:
    root = folder_of(tmp_path, {main: IDS[:7], other: IDS[6:]}, ending=ending)
    message = problems_of(root)
    assert f"train.csv row 9: there is no image '7{ending}'" in message
    why = "is another image" if "mask" in other or other == "gt" else "lies in a folder of"
    assert f"{other}/7.png {why}" in message or ending == ".jpg"
    save(root / main / "7.png", 7, 8)
    assert read_images(root, verify=False).train_images.paths == tuple(f"{main}/{i}.png" for i in IDS)


@pytest.mark.parametrize("other", ["valid", "test", "test_images", "masks", "eval/images"])
@pytest.mark.parametrize("prefix", ["", "train/", "/kaggle/input/train/"])
def test_a_training_table_needs_training_images(tmp_path: Path, other: str, prefix: str) -> None:
    root = folder_of(tmp_path, {other: IDS})
    write_table(root / "train.csv", [("id", "label"), *((f"{prefix}{i}.png", "ab"[int(i) % 2]) for i in IDS)])
    (root / "train_images.zip").write_bytes(b"PK\x03\x04")
    message = problems_of(root)
    assert "train.csv: no value of the column 'id' names an image" in message
    assert f"such as {other}/0.png" in message and "train_images.zip: unpack it first" in message


@pytest.mark.parametrize("folder", ["valid", "test", "masks"])
@pytest.mark.parametrize("above", ["", "data/"])
def test_a_path_may_name_any_folder(tmp_path: Path, folder: str, above: str) -> None:
    root = folder_of(tmp_path, {f"{above}{folder}": IDS, "train": ()})
    write_table(root / "train.csv", [("id", "label"), *((f"{folder}/{i}.png", "ab"[int(i) % 2]) for i in IDS)])
    assert len(read_images(root, verify=False).y) == 8


@pytest.mark.parametrize("other", ["extra", "images", "valid", "masks"])
def test_other_folders_are_no_substitute_for_a_test_image(tmp_path: Path, other: str) -> None:
    root = folder_of(tmp_path, {"train": IDS, "test": ("1", "2", "3"), other: ("4",)})
    rows = [(str(i), "cat") for i in range(1, 5)]
    write_table(root / "sample_submission.csv", [("id", "label"), *rows])
    assert "sample_submission.csv row 5: there is no image '4'" in problems_of(root)
    rows[-1] = (f"{other}/4.png", "cat")
    write_table(root / "sample_submission.csv", [("id", "label"), *rows])
    assert read_images(root, verify=False).test_images.paths[-1] == f"{other}/4.png"


def test_training_images_beside_the_training_folder_are_reported(tmp_path: Path) -> None:
    found = read_images(folder_of(tmp_path, {"train": IDS[:6], "more": IDS[6:]}), verify=False)
    assert "outside of the train folder: 2 images, such as more/6.png" in found.notes


def test_masks_may_be_classes(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"mask": IDS[:4], "no_mask": IDS[4:]})
    assert len(read_images(root, verify=False).y) == 8


@pytest.mark.parametrize(
    "other",
    ["seg_out", "predictions", "pred_masks", "outputs", "overlays", "unet_out", "prob_maps", "SegmentationClass",
     "ground_truth", "lung_masks", "runs/predict", "マスク", "予測結果"],
)  # fmt: skip
def test_what_programs_make_of_images_is_no_image(tmp_path: Path, other: str) -> None:
    root = folder_of(tmp_path, {"images": IDS[:7], other: IDS[6:]})
    assert f"there is no image '7' ({other}/7.png is another image" in problems_of(root)
    save(root / "images" / "7.png", 7, 8)
    assert read_images(root, verify=False).train_images.paths == tuple(f"images/{i}.png" for i in IDS)


@pytest.mark.parametrize("folder", ["labels", "masks", "seg_out", "data/labels", "labels/images", "masks/train"])
def test_a_folder_of_masks_holds_the_images_where_nothing_else_does(tmp_path: Path, folder: str) -> None:
    root = folder_of(tmp_path, {folder: IDS})
    assert len(read_images(root, verify=False).y) == 8
    for competitor in ("images", "test", "gt"):
        save(root / competitor / "99.png", 99, 8)
        assert f"{folder}/7.png is another image; if it is meant" in problems_of(root)
        (root / competitor / "99.png").unlink()
    (root / "images.zip").write_bytes(b"PK")
    assert "images.zip: unpack it first" in problems_of(root)
    save(root / "Images" / "99.png", 99, 8)
    assert "images.zip, it was not unpacked as a whole" in problems_of(root)


@pytest.mark.parametrize(
    "names", [("mask", "no_mask"), ("Mask", "Non Mask"), ("mask", "unmasked"), ("mask", "mask_off")]
)
def test_a_class_called_mask_needs_no_warning(tmp_path: Path, names: tuple[str, str]) -> None:
    for i in range(8):
        save(tmp_path / names[i % 2] / f"{i}.png", i, 8)
    found = read_images(tmp_path, verify=False)
    assert set(found.class_names) == set(names) and not found.warnings


def test_a_class_called_mask_beside_other_classes(tmp_path: Path) -> None:
    for i in range(9):
        save(tmp_path / ("helmet", "gloves", "mask")[i % 3] / f"{i}.png", i, 8)
    write_table(tmp_path / "t.csv", [("id", "label"), *((str(i), "xyz"[i % 3]) for i in range(9))])
    assert len(read_images(tmp_path, verify=False).y) == 9
    save(tmp_path / "gloves" / "2.png", 2, 8)  # now mask/2.png may be the mask of this image
    assert "there is no image '5' (mask/5.png is another image" in problems_of(tmp_path)


def test_masks_beside_class_folders_are_no_class(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path / ("cat", "dog")[i % 2] / f"{i}.jpg", i, 8)
        save(tmp_path / "masks" / f"{i}.png", 100 + i, 8)
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("cat", "dog")
    assert "not read: masks/, masks of other images by its name and theirs" in found.warnings
    assert len(read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names) == 3


def test_masks_in_folders_for_the_same_classes(tmp_path: Path) -> None:
    for i in range(8):
        for part in ("images", "masks"):
            save(tmp_path / part / ("cat", "dog")[i % 2] / f"{i}.png", i, 8)
    found = read_images(tmp_path, verify=False)
    assert (found.class_names, len(found.y)) == (("cat", "dog"), 8)
    assert "not read: 8 images in masks/" in found.warnings
