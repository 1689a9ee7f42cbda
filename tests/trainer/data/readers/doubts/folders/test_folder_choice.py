"""What to do where folders may be the classes, and that it works when it is followed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


def images(root: Path, *folders: str, seed: int = 0) -> list[str]:
    """Three images in each folder; their paths."""
    paths = [f"{folder}/{i}{seed}.png" for folder in folders for i in range(3)]
    for number, path in enumerate(paths):
        save(root / path, 100 * seed + number, 8)
    return paths


@pytest.mark.parametrize("copies", ["augmented", "thumbs", "Augmented_images"])
@pytest.mark.parametrize("originals", ["{name}", "{name}/original"])
def test_inner_folders_of_copies_are_to_be_moved_out(tmp_path: Path, copies: str, originals: str) -> None:
    for seed, name in enumerate(("cat", "dog")):
        images(tmp_path, originals.format(name=name), f"{name}/{copies}", seed=seed)
    message = problems_of(tmp_path)
    assert f"The inner folders {copies!r} hold copies by their names: move them out of the data" in message
    assert "labels.csv" not in message
    for name in ("cat", "dog"):
        shutil.rmtree(tmp_path / name / copies)
    assert labels_of(read_images(tmp_path, verify=False)) == ["cat"] * 3 + ["dog"] * 3


@pytest.mark.parametrize(
    ("right", "others"),
    [
        ("original", ("augmented/cat", "augmented/dog")),
        ("OriginalDataset", ("AugmentedPlantDataset/cat", "AugmentedPlantDataset/dog")),
        ("CUB/images", ("segmentations/cat", "segmentations/dog")),
        ("simpsons", ("simpsons_testset/simpsons_testset",)),
        ("second/second/images/TRAIN", ("second/second/images/TEST_SIMPLE/cat", "first/first/JPEGImages")),
    ],
)
def test_the_only_folder_with_class_folders_is_to_be_given(tmp_path: Path, right: str, others: tuple[str, ...]) -> None:
    images(tmp_path, f"{right}/cat", f"{right}/dog", seed=1)
    images(tmp_path, *others, seed=2)
    message = problems_of(tmp_path)
    given = message.partition(" as the data folder")[0].rpartition("give ")[2]
    assert (tmp_path / right).is_relative_to(given) and Path(given) != tmp_path
    assert labels_of(read_images(Path(given), verify=False)) == ["cat"] * 3 + ["dog"] * 3


def test_a_folder_beside_others_with_one_class_each_is_not_to_be_given(tmp_path: Path) -> None:
    images(tmp_path, "a/abbey", "a/airfield", "b/bar")
    assert "as the data folder" not in problems_of(tmp_path)


def test_a_table_beside_class_folders_further_down_names_them(tmp_path: Path) -> None:
    paths = images(tmp_path, "faces/bart", "faces/lisa", seed=1)
    images(tmp_path, "faces_testset/faces_testset", seed=2)
    rows = [(path, "uv"[number % 2]) for number, path in enumerate(paths)]
    write_table(tmp_path / "annotation.csv", [("file", "camera"), *rows])
    message = problems_of(tmp_path)
    assert "--label-column camera" in message and "--layout folders" not in message
    assert f"If the folders are the classes, give {tmp_path / 'faces'} as the data folder" in message
    assert labels_of(read_images(tmp_path / "faces", verify=False)) == ["bart"] * 3 + ["lisa"] * 3
    chosen = read_images(tmp_path, DataOptions(label_column="camera"), verify=False)
    assert labels_of(chosen) == [label for _, label in rows]


def test_folders_that_no_layout_reads_are_to_be_written_into_a_table(tmp_path: Path) -> None:
    """As BreakHis is published: folders of patients and magnifications lie between the classes and the images."""
    places = [
        f"{name}/SOB/{kind}{name[0]}/{zoom}" for name in ("benign", "malignant") for kind in "xy" for zoom in "14"
    ]
    paths = images(tmp_path, *places)
    write_table(tmp_path / "folds.csv", [("file", "mag"), *((path, path.split("/")[-2]) for path in paths)])
    message = problems_of(tmp_path)
    assert "--layout folders" not in message
    assert "If the folders are the classes, write a table labels.csv with the columns image and label" in message
    assert message.endswith(f"such as {paths[0]}")
    write_table(tmp_path / "labels.csv", [("image", "label"), *((path, path.split("/")[0]) for path in paths)])
    assert labels_of(read_images(tmp_path, verify=False)) == [path.split("/")[0] for path in paths]


def test_a_table_of_unclear_labels_beside_class_folders_names_the_folders(tmp_path: Path) -> None:
    """As the labels of UC Merced's objects are published."""
    paths = images(tmp_path, "beach", "field")
    rows = [(path, str(number % 2), str(number % 3 % 2), "1") for number, path in enumerate(paths)]
    write_table(tmp_path / "multilabels.csv", [("image", "sand", "sea", "sky"), *rows])
    message = problems_of(tmp_path)
    assert "If the folders 'beach', 'field' are the classes, add --layout folders (data.layout)" in message
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert labels_of(found) == ["beach"] * 3 + ["field"] * 3


def test_parts_with_inner_folders_are_not_to_be_read_as_classes(tmp_path: Path) -> None:
    """As MVTec AD and PASCAL VOC are published."""
    mvtec, voc = tmp_path / "mvtec", tmp_path / "voc"
    images(mvtec / "bottle", "train/good", "test/good", "test/broken", "ground_truth/broken")
    message = problems_of(mvtec)
    assert "--layout folders" not in message and "write a table labels.csv with the columns image and label" in message
    assert message.endswith("All paths here begin inside of bottle")
    images(voc / "VOC", "JPEGImages", "SegmentationClass")
    (voc / "VOC" / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "VOC" / "ImageSets" / "Main" / "trainval.txt").write_text("00\n10\n")
    message = problems_of(voc)
    assert "'JPEGImages', 'SegmentationClass' look like parts of one set, not like classes" in message
    assert "Main" not in message, "which holds lists alone"


def test_an_error_in_an_inner_folder_says_where_its_paths_begin(tmp_path: Path) -> None:
    """As CompCars is published."""
    paths = images(tmp_path, "data/image/1/3/2010", "data/image/1/4/2010", "data/image/78/3/2011")
    write_table(tmp_path / "data" / "notes.csv", [("maker", "name"), ("1", "a")])
    message = problems_of(tmp_path)
    assert "image/1/3/2010/00.png" in message and "All paths here begin inside of data" in message
    assert "begin inside of" not in problems_of(tmp_path / "data")
    write_table(tmp_path / "data" / "labels.csv", [("image", "label"), *((path, path.split("/")[2]) for path in paths)])
    assert labels_of(read_images(tmp_path, verify=False)) == ["1"] * 6 + ["78"] * 3


@pytest.mark.parametrize("patients", [("P00", "P01", "P02"), ("P0{c}", "P1{c}", "P2{c}"), ("2020", "2021", "2022")])
@pytest.mark.parametrize("reading", ["outer", "inner"])
@pytest.mark.parametrize("place", ["", "train/", "data/train/"])
def test_patients_in_class_folders_become_groups_of_a_table_of_folders(
    tmp_path: Path, patients: tuple[str, ...], reading: str, place: str
) -> None:
    """Each patient numbers the images from 0, so that moving them would overwrite some."""
    paths = []
    for seed, outer in enumerate(("benign", "malignant")):
        paths += images(tmp_path, *(f"{place}{outer}/{own.format(c=outer[0])}" for own in patients), seed=seed)
    message = problems_of(tmp_path)
    assert "move the images" not in message and "the columns folder, label and group" in message
    first = patients[0].format(c="b")
    before, _, after = message.partition("If the inner folders (")
    row = f"{place.removeprefix('data/')}benign/{first}"
    assert f"one row for each inner folder, such as {row},benign,{first}; --group-column group" in before
    columns = (-3, -2) if reading == "outer" else (-2, -3)
    if reading == "inner":
        if "{c}" in patients[0]:
            assert "are the classes, move them all into one folder" in after
            return
        assert f"are the classes, the same row is {row},{first},benign" in after
    root = tmp_path / "data" if place.startswith("data/") else tmp_path
    cells = {path.rpartition("/")[0]: [Path(path).parts[column] for column in columns] for path in paths}
    rows = [(inner.removeprefix("data/"), *own) for inner, own in cells.items()]
    write_table(root / "labels.csv", [("folder", "label", "group"), *rows])
    found = read_images(tmp_path, DataOptions(group_column="group"), verify=False)
    given = {path: tuple(cells[path.rpartition("/")[0]]) for path in paths}
    read = [found.train_images.name(i).partition(" ")[0] for i in range(len(paths))]
    assert sorted(read) == sorted(path.removeprefix("data/") for path in paths)
    assert found.groups is not None
    pairs = dict(zip(read, zip(labels_of(found), found.groups, strict=True), strict=True))
    assert pairs == {path.removeprefix("data/"): pair for path, pair in given.items()}


def test_images_beside_the_class_folders_need_a_row_each(tmp_path: Path) -> None:
    """A table of folders would pass over them."""
    for seed, outer in enumerate(("benign", "malignant")):
        images(tmp_path, *(f"{outer}/P{seed}{i}" for i in range(2)), seed=seed)
    images(tmp_path, "normal", seed=5)
    message = problems_of(tmp_path)
    assert "one row for each image, such as benign/P00/00.png,benign,P00; --group-column group" in message
