"""A table with one row for each folder, such as a patient, labels every image of the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.folds import fold_groups, make_folds
from trainer.data.read import DataOptions, ImageSet, read_images
from trainer.formats.delimited import write_table

PATIENTS = [f"P{i:03}" for i in range(6)]


def label(i: int) -> str:
    return "ab"[i % 2]


ROWS = [(patient, label(i)) for i, patient in enumerate(PATIENTS)]


def folder_of(
    root: Path,
    rows: Sequence[Sequence[str]] = ROWS,
    *,
    header: Sequence[str] = ("patient_id", "label"),
    table: str = "train_labels.csv",
    images: str = "train/{}/{}.png",
    folders: Sequence[str] = tuple(PATIENTS),
) -> Path:
    for seed, folder in enumerate(folders):
        for i in range(3):
            save(root / images.format(folder, i), 10 * seed + i, 8)
    write_table(root / table, [header, *rows] if header else rows)
    return root


def check(found: ImageSet) -> None:
    assert labels_of(found) == [label(i) for i in range(6) for _ in range(3)]
    assert found.groups is not None and len(set(found.groups)) == 6
    duplicates = np.arange(18)
    folds = make_folds(found.y, fold_groups(found, duplicates), 3, 0)
    assert all(len(set(folds[3 * i : 3 * i + 3])) == 1 for i in range(6)), "no fold divides a patient"


@pytest.mark.parametrize("table", ["train_labels.csv", "metadata.csv", "labels.txt", "train/labels.csv"])
@pytest.mark.parametrize("images", ["train/{}/{}.png", "{}/{}.png", "train/{}/FLAIR/{}.png"])
def test_every_image_of_a_folder_gets_its_label(tmp_path: Path, table: str, images: str) -> None:
    if table.startswith("train/") and not images.startswith("train/"):
        pytest.skip("the table would be a folder beside the patients")
    found = read_images(folder_of(tmp_path, table=table, images=images), verify=False)
    check(found)
    assert f"{table} labels folders: the 18 images of 6 folders named in 'patient_id' get" in "\n".join(found.notes)


@pytest.mark.parametrize("front", ["", "MURA-v1.1/", "/data/MURA-v1.1/"])
def test_paths_of_inner_folders_without_a_header(tmp_path: Path, front: str) -> None:
    """As MURA is published: the names of its inner folders recur, and its paths begin with the name of the archive."""
    place = "train/elbow/{}/study1_{}/"
    rows = [(front + place.format(patient, ("neg", "pos")[i % 2]), label(i)) for i, patient in enumerate(PATIENTS)]
    for seed, (folder, _) in enumerate(rows):
        for i in range(3):
            save(tmp_path / folder.removeprefix(front) / f"image{i}.png", 10 * seed + i, 8)
    write_table(tmp_path / "train_labeled_studies.csv", rows)
    check(read_images(tmp_path, verify=False))


def test_paths_of_the_class_folders_themselves_are_a_question(tmp_path: Path) -> None:
    for seed, name in enumerate("xyzw"):
        save(tmp_path / "photos" / name / "0.png", seed, 8)
    write_table(tmp_path / "labels.csv", [(f"photos/{name}/", kind) for name, kind in zip("xyzw", "aabb", strict=True)])
    message = problems_of(tmp_path)
    assert "labels.csv may label folders of images, or describe classes" in message and "--table labels.csv" in message


@pytest.mark.parametrize("images", ["train/{}/{}.png", "{}/{}.png"])
@pytest.mark.parametrize("labels", ["aab", "aabc", "abcdd"])
def test_few_folders_with_classes_of_one_folder(tmp_path: Path, labels: str, images: str) -> None:
    rows = [(f"P{i:03}", name) for i, name in enumerate(labels)]
    folders = [patient for patient, _ in rows]
    found = read_images(folder_of(tmp_path, rows, table="labels.csv", folders=folders, images=images), verify=False)
    assert labels_of(found) == [name for name in labels for _ in range(3)]
    assert found.groups is not None and len(set(found.groups)) == len(labels)


@pytest.mark.parametrize("options", [DataOptions(table="train_labels.csv"), DataOptions(id_column="patient_id"),
                                     DataOptions(layout="table"), DataOptions(label_column="label")])  # fmt: skip
def test_options_name_what_is_read(tmp_path: Path, options: DataOptions) -> None:
    check(read_images(folder_of(tmp_path), options, verify=False))


@pytest.mark.parametrize("written", ["{}", "{}.0", "{:05}"])
def test_folders_may_be_numbers(tmp_path: Path, written: str) -> None:
    numbers = [f"{i:05}" for i in range(6)]
    rows = [(written.format(i), str(i % 2)) for i in range(6)]
    root = folder_of(tmp_path, rows, header=("BraTS21ID", "MGMT_value"), folders=numbers)
    found = read_images(root, verify=False)
    assert found.class_names == ("0", "1") and found.train_images.name(17).startswith("train/00005/2.png")


def test_folders_and_images_may_have_the_same_numbers(tmp_path: Path) -> None:
    root = folder_of(tmp_path, [(str(i), str(i % 2)) for i in range(6)], folders=list("012345"))
    assert len(read_images(root, verify=False).y) == 18


def test_a_table_without_a_header_loses_no_folder(tmp_path: Path) -> None:
    check(read_images(folder_of(tmp_path, header=()), verify=False))


def test_one_hot_labels_of_folders(tmp_path: Path) -> None:
    rows = [(patient, str(1 - i % 2), str(i % 2)) for i, patient in enumerate(PATIENTS)]
    check(read_images(folder_of(tmp_path, rows, header=("patient", "a", "b")), verify=False))


def test_the_group_may_be_another_column(tmp_path: Path) -> None:
    rows = [(patient, label(i), f"site{i // 2}") for i, patient in enumerate(PATIENTS)]
    root = folder_of(tmp_path, rows, header=("patient", "label", "site"))
    found = read_images(root, DataOptions(group_column="site"), verify=False)
    assert found.groups is not None and set(found.groups) == {"site0", "site1", "site2"}


def test_columns_are_chosen_by_folders(tmp_path: Path) -> None:
    patients = [f"P{i:03}" for i in range(12)]
    rows = [(patient, f"name{i}", label(i)) for i, patient in enumerate(patients)]
    root = folder_of(tmp_path, rows, header=("patient", "remark", "state"), folders=patients)
    assert read_images(root, verify=False).class_names == ("a", "b"), "each remark occurs in one row"


def test_missing_and_further_folders(tmp_path: Path) -> None:
    root = folder_of(tmp_path, folders=[*PATIENTS[:5], "P999"])
    assert "train_labels.csv row 7: there is no folder 'P005/' with images" in problems_of(root)
    found = read_images(root, DataOptions(skip_bad=True), verify=False)
    assert len(found.y) == 15
    assert any("3 images in folders without a row in train_labels.csv" in warning for warning in found.warnings)


def test_two_labels_of_a_folder_are_an_error(tmp_path: Path) -> None:
    message = problems_of(folder_of(tmp_path, [*ROWS, ("P000", "b")]))
    assert "train_labels.csv row 8 describes the folder 'P000' again, and otherwise than row 2" in message
    check(read_images(folder_of(tmp_path, [*ROWS, ROWS[0]]), verify=False))


@pytest.mark.parametrize(
    ("table", "header", "folders"),
    [
        ("labels.csv", ("breed", "species"), ("abyssinian", "beagle", "bengal", "pug")),
        ("classes.csv", ("id", "label"), ("c1", "c2", "c3", "c4")),
        ("labels.csv", ("wnid", "label"), ("n02085620", "n02085782", "n02085936", "n02086079")),
        ("info.csv", ("name", "family"), ("abyssinian", "beagle", "bengal", "pug")),
    ],
)
def test_a_table_that_may_describe_classes_is_a_question(
    tmp_path: Path, table: str, header: tuple[str, str], folders: tuple[str, ...]
) -> None:
    rows = [(folder, label(i)) for i, folder in enumerate(folders)]
    root = folder_of(tmp_path, rows, header=header, table=table, folders=folders)
    message = problems_of(root)
    assert f"add --table {table} (data.table)" in message and "add --layout folders" in message
    assert read_images(root, DataOptions(layout="folders"), verify=False).class_names == folders
    assert read_images(root, DataOptions(table=table), verify=False).class_names == ("a", "b")


def test_a_table_of_images_goes_before_one_of_folders(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    rows = [(f"{patient}/{i}.png", "xy"[i % 2], patient) for patient in PATIENTS for i in range(3)]
    write_table(root / "train.csv", [("image", "label", "patient"), *rows])
    found = read_images(root, DataOptions(group_column="patient"), verify=False)
    assert found.class_names == ("x", "y") and "not read: train_labels.csv, which describes folders" in found.notes
    (root / "train.csv").unlink()
    rows = [(f"{patient}/{i}.png", str(i)) for patient in PATIENTS for i in range(3)]
    write_table(root / "images.csv", [("image", "slice"), *rows])
    check(read_images(root, verify=False))


def test_a_submission_for_each_folder_is_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    for name in ("T0", "T1"):
        for i in range(2):
            save(root / "test" / name / f"{i}.png", 90 + i, 8)
    sample = root / "sample_submission.csv"
    write_table(sample, [("patient_id", "label"), ("T0", "a"), ("T1", "a")])
    assert "asks for one prediction for each folder of images, such as 'T0'" in problems_of(root)
    sample.unlink()
    found = read_images(root, verify=False)
    check(found)
    assert found.test_ids == ("T0/0.png", "T0/1.png", "T1/0.png", "T1/1.png")


@pytest.mark.parametrize("cell", ["{}.mp4", "videos/{}.avi", "{}.nii.gz", "{}.svs"])
@pytest.mark.parametrize("header", [("filename", "label"), ("slide", "diagnosis"), ("Video", "Klasse")])
@pytest.mark.parametrize("images", ["{}/{}.png", "frames/{}/{}.png"])
def test_folders_with_the_frames_of_a_file(tmp_path: Path, images: str, header: Sequence[str], cell: str) -> None:
    rows = [(cell.format(patient), kind) for patient, kind in ROWS]
    check(read_images(folder_of(tmp_path, rows, header=header, table="metadata.csv", images=images), verify=False))


@pytest.mark.parametrize("cell", ["P{}", "P{}.mp4", "P{:02}"])
def test_folders_with_zeros_in_front_of_their_number(tmp_path: Path, cell: str) -> None:
    rows = [(cell.format(i), label(i)) for i in range(6)]
    check(read_images(folder_of(tmp_path, rows, images="Bilder/{}/{}.png", table="metadata.csv"), verify=False))


def test_zeros_that_make_two_folders_differ(tmp_path: Path) -> None:
    """A row may mean either folder."""
    folders = [f"P{i}" for i in range(3)] + [f"P{i:02}" for i in range(3)]
    rows = [(folder, label(i)) for i, folder in enumerate(folders)]
    check(read_images(folder_of(tmp_path, rows, folders=folders, images="{}/{}.png"), verify=False))
    write_table(tmp_path / "train_labels.csv", [("patient_id", "label"), *((f"P{i:03}", label(i)) for i in range(3))])
    assert "names no image" in problems_of(tmp_path)


def test_image_files_called_like_folders_do_not_name_them(tmp_path: Path) -> None:
    rows = [(f"{patient}.png", kind) for patient, kind in ROWS]
    assert "names no image" in problems_of(folder_of(tmp_path, rows, images="{}/{}.png"))
