"""Masks, copies and images put aside in folders that a table labels are no images of the patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.read import DataOptions, ImageSet, read_images
from trainer.formats.delimited import write_table

PATIENTS = [f"P{number:02}" for number in range(1, 7)]
IMAGES = [f"{patient}/{number}.jpg" for patient in PATIENTS for number in range(3)]


def written(root: Path, images: Sequence[str], *, place: str = "{}") -> Path:
    """Write the images of the patients, further ``images``, and the table of the patients."""
    for seed, path in enumerate([*(place.format(image) for image in IMAGES), *images]):
        save(root / path, seed, 8)
    write_table(
        root / "labels.csv",
        [("patient_id", "label"), *((patient, "ab"[index % 2]) for index, patient in enumerate(PATIENTS))],
    )
    return root


def read(root: Path, *, layout: str | None = None) -> ImageSet:
    return read_images(root, DataOptions(layout=layout), verify=False)


def paths_of(found: ImageSet) -> list[str]:
    return [found.train_images.name(row).split(" (")[0] for row in range(len(found.y))]


def beside(ending: str) -> list[str]:
    return [str(PurePosixPath(image).with_suffix("")) + ending for image in IMAGES]


@pytest.mark.parametrize("ending", ["_mask.png", "-seg.png", "_heatmap.jpg", "_overlay.png", "_annotated.png"])
def test_masks_beside_the_images_are_left_out(tmp_path: Path, ending: str) -> None:
    found = read(written(tmp_path, beside(ending)))
    assert paths_of(found) == IMAGES
    assert [warning for warning in found.warnings if "masks (18)" in warning]
    assert "the 18 images of 6 folders" in "\n".join(found.notes)


def test_some_masks_and_one_of_each_folder(tmp_path: Path) -> None:
    found = read(written(tmp_path, [*beside("_mask.png")[:4], *(f"{patient}/mask.png" for patient in PATIENTS)]))
    assert paths_of(found) == IMAGES
    assert len(found.warnings) == 1 and "masks (10)" in found.warnings[0]


def test_a_mask_that_is_worn_and_a_label_are_images(tmp_path: Path) -> None:
    further = [f"{patient}/{name}.jpg" for patient in PATIENTS for name in ("label", "mask", "no_mask")]
    assert len(paths_of(read(written(tmp_path, further)))) == 36


@pytest.mark.parametrize(("ending", "shown"), [("_thumb.jpg", "'_thumb'"), ("_cam.png", "'_cam'"), (".png", "0.png")])
def test_files_made_from_all_images_are_warned_of(tmp_path: Path, ending: str, shown: str) -> None:
    found = read(written(tmp_path, beside(ending)))
    assert len(found.y) == 36
    assert len(found.warnings) == 1 and shown in found.warnings[0]


@pytest.mark.parametrize(
    "inner", ["thumbs", "processed", "excluded", "bad", "backup", "nicht verwenden", "削除", "T1/previews"]
)
def test_inner_folders_put_aside_are_a_question(tmp_path: Path, inner: str) -> None:
    further = [f"{patient}/{inner}/{number}.jpg" for patient in PATIENTS for number in range(2)]
    root = written(tmp_path, further)
    assert f"{PATIENTS[0]}/{inner}" in problems_of(root)
    found = read(root, layout="table")
    assert len(found.y) == 30 and inner in "\n".join(found.warnings)
    for path in further:
        (root / path).unlink()
    assert paths_of(read(root)) == IMAGES


@pytest.mark.parametrize("place", ["processed", "images", "T1", "follow-up"])
def test_images_that_all_lie_in_an_inner_folder(tmp_path: Path, place: str) -> None:
    root = written(tmp_path, [])
    for patient in PATIENTS:
        (root / patient).rename(root / "moved")
        (root / patient).mkdir()
        (root / "moved").rename(root / patient / place)
    found = read(root)
    assert len(found.y) == 18 and not found.warnings


def test_several_kinds_of_recordings_are_images(tmp_path: Path) -> None:
    further = [f"{patient}/{inner}/{n}.jpg" for patient in PATIENTS for inner in ("left", "right") for n in range(2)]
    found = read(written(tmp_path, further))
    assert len(found.y) == 42 and not found.warnings


@pytest.mark.parametrize(
    ("place", "further"),
    [
        ("images/{}", "previews/{}"),
        ("images/{}", "raw/{}"),
        ("raw/{}", "images/{}"),
        ("images/{}", "normalized/{}"),
        ("data/images/{}", "data/backup/{}"),
        ("{}", "Export 2023/{}"),
    ],
)
def test_a_second_folder_with_the_same_images_is_a_question(tmp_path: Path, place: str, further: str) -> None:
    root = written(tmp_path, [further.format(image) for image in IMAGES], place=place)
    message = problems_of(root)
    doubted = place if further.startswith("images") else further
    assert repr(doubted.format("P01")) in message and "(18 images)" in message
    assert len(read(root, layout="table").y) == 36


def test_one_copy_is_a_question(tmp_path: Path) -> None:
    assert "'Export/P01' (1 image)" in problems_of(written(tmp_path, ["Export/P01/0.jpg"]))


def test_second_folders_that_may_show_something_else_are_read(tmp_path: Path) -> None:
    root = written(tmp_path, [f"T2/{image}" for image in IMAGES], place="T1/{}")
    found = read(root)
    assert len(found.y) == 36
    assert len(found.warnings) == 1 and "T2/P01/0.jpg" in found.warnings[0]


def test_second_folders_with_other_images_are_read(tmp_path: Path) -> None:
    further = [f"2024/{patient}/later_{number}.jpg" for patient in PATIENTS for number in range(2)]
    found = read(written(tmp_path, further, place="2023/{}"))
    assert len(found.y) == 30 and not found.warnings
