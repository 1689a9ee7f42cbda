"""What lies beside class folders: tables and archives that are not read, and folders and files that are no class."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


def classes(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names or ("left", "right")):
        for i in range(3):
            save(root / name / f"{i}.png", 10 * seed + i, 8)
    return root


ENDINGS = ("xlsx", "xls", "ods", "json", "jsonl", "parquet", "csv.gz", "csv.zip", "tab", "xml", "db", "coco.json")


def advice(ending: str) -> str:
    """How such a file becomes a table."""
    return "export its labels as CSV" if ending == "db" else "save it as CSV"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("stem", ["labels", "_annotations", "metadata", "train", "my_labels"])
def test_labels_in_a_file_that_is_not_read(tmp_path: Path, ending: str, stem: str) -> None:
    (classes(tmp_path) / f"{stem}.{ending}").write_bytes(b"x")
    message = problems_of(tmp_path)
    assert f"{stem}.{ending} is not read" in message and advice(ending) in message and "--layout folders" in message
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert f"{stem}.{ending} is not read: {advice(ending)}" in found.warnings


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("place", [".", "train"])
def test_another_file_that_may_be_a_table_is_named(tmp_path: Path, ending: str, place: str) -> None:
    (classes(tmp_path / place) / f"notes.{ending}").write_bytes(b"x")
    assert read_images(tmp_path, verify=False).warnings == (f"notes.{ending} is not read: {advice(ending)}",)


@pytest.mark.parametrize(
    ("name", "text", "is_table"),
    [
        ("synset_labels.txt", "n01 cat, house cat\nn02 dog\n", False),
        ("imagenet_labels.txt", "10: 'tench, Tinca tinca',\n11: 'goldfish',\n", False),
        ("labels.txt", "background\ntench, Tinca tinca\ngoldfish\n", False),
        ("labels.txt", "The labels, as given by experts.\nPlease cite us.\n", False),
        ("labels.txt", "", False),
        ("labels.txt", "left/0.png a, b\nleft/1.png c\n", True),
        ("class_labels.csv", "10,cat,house cat\n11,dog\n", True),
        ("labels.csv", 'id,label\n"x,cat\n', True),
    ],
)
def test_a_text_with_labels_in_its_name_that_is_no_table(tmp_path: Path, name: str, text: str, is_table: bool) -> None:
    (classes(tmp_path) / name).write_text(text)
    if is_table:
        assert "If the folders 'left', 'right' are the classes, add --layout folders" in problems_of(tmp_path)
    options = DataOptions(layout="folders" if is_table else None)
    found = read_images(tmp_path, options, verify=False)
    assert found.class_names == ("left", "right")
    assert found.warnings == (f"not read: '{name}', because the folders give the labels",)


@pytest.mark.parametrize("place", ["meta/meta.csv", "data/tables/labels.tsv"])
def test_a_table_in_another_folder_labels_images_that_lie_in_a_folder_each(tmp_path: Path, place: str) -> None:
    """As Derm7pt is published: the folders are those of cases, and no classes."""
    rows = []
    for i in range(8):
        save(tmp_path / "images" / f"case{i}" / "clinic.png", i, 8)
        rows.append((str(i + 1), "ab"[i % 2], f"case{i}/clinic.png"))
    (tmp_path / place).parent.mkdir(parents=True)
    write_table(tmp_path / place, [("case_num", "diagnosis", "clinic"), *rows])
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == ["a", "b"] * 4
    assert f"the labels are those of {place}, not the folders" in "\n".join(found.warnings)
    folders = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert folders.class_names == tuple(f"case{i}" for i in range(8))


def test_a_table_in_another_folder_that_says_what_the_class_folders_say_changes_nothing(tmp_path: Path) -> None:
    classes(tmp_path)
    rows = [(f"{name}/{i}.png", name) for name in ("left", "right") for i in range(3)]
    (tmp_path / "meta").mkdir()
    write_table(tmp_path / "meta" / "labels.csv", [("image", "label"), *rows])
    write_table(tmp_path / "meta" / "classes.csv", [("number", "name"), ("0", "left"), ("1", "right")])
    write_table(
        tmp_path / "meta" / "camera.csv", [("image", "width"), *((path, str(i)) for i, (path, _) in enumerate(rows))]
    )
    assert labels_of(read_images(tmp_path, verify=False)) == ["left"] * 3 + ["right"] * 3


def test_archives_are_named_unless_they_are_unpacked(tmp_path: Path) -> None:
    for name in ("bird.zip", "test.tar.gz", "left.zip"):
        (classes(tmp_path) / name).write_bytes(b"PK\x03\x04")
    assert read_images(tmp_path, verify=False).warnings == ("not read: bird.zip, test.tar.gz: unpack them",)
    (tmp_path / "bird.zip").unlink()
    (tmp_path / "sample_submission.csv").write_text("id,label\na,left\nb,left\n")
    assert "test.tar.gz: unpack" in problems_of(tmp_path)


def test_an_archive_may_hold_the_last_images_of_a_table(tmp_path: Path) -> None:
    classes(tmp_path, "train")
    write_table(tmp_path / "train.csv", [("id", "label"), *((str(i), "ab"[i % 2]) for i in range(5))])
    (tmp_path / "train_2.zip").write_bytes(b"PK\x03\x04")
    message = problems_of(tmp_path)
    assert "train.csv row 6: there is no image '4'" in message
    assert message.count("The images may be in train_2.zip: unpack it first") == 1


def test_a_linked_test_folder_outside_of_the_data_is_named(tmp_path: Path) -> None:
    save(tmp_path / "disk" / "0.png", 99)
    (classes(tmp_path / "a") / "test").symlink_to(tmp_path / "disk")
    table = [("id", "label"), *((str(i), "ab"[i % 2]) for i in range(3))]
    write_table(classes(tmp_path / "b", "train") / "train.csv", table)
    (tmp_path / "b" / "test").symlink_to(tmp_path / "disk")
    for data in ("a", "b"):
        (warning,) = read_images(tmp_path / data, verify=False).warnings
        assert "test is a link to a folder outside of the data" in warning


@pytest.mark.parametrize(
    "names", [("images", "masks"), ("original", "resized"), ("images", "labels"), ("images", "val")]
)
def test_folders_of_images_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    message = problems_of(classes(tmp_path, *names))
    assert "not like classes" in message and "--layout folders" in message
    assert len(read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names) == 2


@pytest.mark.parametrize("name", ["valid", "images", "masks", "評価"])
def test_a_class_with_the_name_of_a_part_is_reported(tmp_path: Path, name: str) -> None:
    found = read_images(classes(tmp_path, "cat", "dog", name), verify=False)
    assert any(f"the folder {name!r} is read as a class" in warning for warning in found.warnings)


@pytest.mark.parametrize("ending", ["_mask", "_mask_1", "_superpixels", "_segmentation", "_Segmentation"])
def test_masks_beside_their_images_are_left_out(tmp_path: Path, ending: str) -> None:
    classes(tmp_path)
    save(tmp_path / "left" / "benign (1).jpg", 50)
    save(tmp_path / "left" / f"benign (1){ending}.png", 51)
    save(tmp_path / "right" / f"alone{ending}.png", 52)
    found = read_images(tmp_path, verify=False)
    assert "left/benign (1).jpg" in found.train_ids and f"right/alone{ending}.png" in found.train_ids
    assert len(found.train_ids) == 8
    assert any(f"masks (1), such as left/benign (1){ending}.png" in warning for warning in found.warnings)


def _beside(root: Path, header: str, values: str, name: str = "meta.csv") -> Path:
    """Twelve images in the class folders a and b, and a table with one of ``values`` for each."""
    images = [f"{folder}/{i}.png" for folder in "ab" for i in range(6)]
    for seed, image in enumerate(images):
        save(root / image, seed, 8)
    rows = [f"{image},{values[i]}" for i, image in enumerate(images)]
    (root / name).write_text("\n".join([header, *rows]))
    return root


def test_a_column_that_may_be_no_label_does_not_replace_the_class_folders(tmp_path: Path) -> None:
    _beside(tmp_path, "file,camera name", "uvuvuvuvuvuv")
    message = problems_of(tmp_path)
    assert "the labels may be the column 'camera name' of meta.csv, or the folders 'a', 'b' of the images" in message
    assert "--label-column 'camera name'" in message and "--layout folders" in message
    chosen = read_images(tmp_path, DataOptions(label_column="camera name"), verify=False)
    assert labels_of(chosen) == list("uvuvuvuvuvuv")
    assert labels_of(read_images(tmp_path, DataOptions(layout="folders"), verify=False)) == ["a"] * 6 + ["b"] * 6


@pytest.mark.parametrize(
    ("header", "values", "name"),
    [
        ("file,label", "uvuvuvuvuvuv", "meta.csv"),
        ("file,camera", "uvuvuvuvuvuv", "labels.csv"),
        ("file,sick", "000000111111", "meta.csv"),  # another name of the same classes
    ],
)
def test_a_table_of_labels_beside_folders(tmp_path: Path, header: str, values: str, name: str) -> None:
    found = read_images(_beside(tmp_path, header, values, name), verify=False)
    assert labels_of(found) == list(values)


@pytest.mark.parametrize(
    "content",
    [
        '{"left": 0, "right": 1}',
        '{"0": "right", "1": "left"}',
        '["left", "right"]',
        '{"classes": ["left", "right"]}',
        '{"Left": [1], "RIGHT": [2]}',
    ],
)
@pytest.mark.parametrize("name", ["label_map.json", "labels.json", "class_indices.json", "train_labels.json"])
def test_a_json_file_that_lists_the_classes(tmp_path: Path, content: str, name: str) -> None:
    (classes(tmp_path) / name).write_text(content)
    assert read_images(tmp_path, verify=False).warnings == ()


@pytest.mark.parametrize("content", ['{"left": 0}', '{"left": 0, "up": 1}', '["0.png"]', "[]", "{}", "3", "x", "[[1]]"])
def test_another_json_file_with_labels_in_its_name(tmp_path: Path, content: str) -> None:
    (classes(tmp_path) / "label_map.json").write_text(content)
    assert "label_map.json is not read" in problems_of(tmp_path)


COCO = '{"images": [{"id": 1, "file_name": "left/0.png"}], "annotations": [{"image_id": 1, "category_id": 3}]}'


@pytest.mark.parametrize("name", ["train2018.json", "coco.json", "a.json"])
def test_coco_beside_classes_is_refused_with_what_to_write(tmp_path: Path, name: str) -> None:
    (classes(tmp_path) / name).write_text(COCO)
    message = problems_of(tmp_path)
    assert name in message and "file_name" in message and "columns image and label" in message
    assert "--layout folders" in message
    assert len(read_images(tmp_path, DataOptions(layout="folders"), verify=False).y) == 6


def test_coco_without_classes_is_named(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / "train2017" / f"{i}.png", i, 8)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text(COCO)
    message = problems_of(tmp_path)
    assert "annotations/instances_train2017.json" in message and "columns image and label" in message


def test_parts_in_a_file_of_vertex_are_no_warning_alone(tmp_path: Path) -> None:
    row = '{"imageGcsUri": "gs://b/left/0.png", "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": "test"}}'
    (classes(tmp_path) / "import.jsonl").write_text(row)
    assert "import.jsonl is not read" in problems_of(tmp_path)


def test_tables_of_labels_in_several_folders_are_no_classes(tmp_path: Path) -> None:
    for site in ("north", "south"):
        for number in range(4):
            save(tmp_path / site / f"{number}.png", number + 9 * (site == "south"), 8)
        rows = [f"{number}.png,{'ab'[number % 2]}" for number in range(4)]
        (tmp_path / site / "labels.csv").write_text("\n".join(("file,label", *rows)))
    assert "'north/labels.csv', 'south/labels.csv' may hold the labels" in problems_of(tmp_path)
    assert read_images(tmp_path, DataOptions(layout="folders")).class_names == ("north", "south")


FLAT_PARTS = [
    ("train", "test", "extra"),
    ("Train", "Test", "readme pics"),
    ("train", "test1", "sample"),
    ("train", "extra"),
    ("train", "unlabeled"),
    ("trn", "tst", "cat"),
    ("train", "val", "cat"),
    ("flowers_train", "flowers_val", "flowers_test"),
    ("leaf_train", "leaf_val"),
    ("images_train", "images_test", "extra"),
    ("bounding_box_train", "bounding_box_test", "query"),
    ("学習", "評価", "extra"),
    ("crop_part1", "UTKFace"),
]


@pytest.mark.parametrize("names", FLAT_PARTS)
@pytest.mark.parametrize("place", [".", "Market"])
def test_a_folder_for_a_part_of_the_images_is_no_class_beside_other_parts(
    tmp_path: Path, names: tuple[str, ...], place: str
) -> None:
    classes(tmp_path / place, *names)
    message = problems_of(tmp_path)
    assert "are not read as classes" in message and names[0] in message and "--layout folders" in message
    assert f"such as {names[0]}/0.png" in message or f"such as {place}/{names[0]}/0.png" in message
    tests = {name for name in names if "test" in name.lower() or name == "評価"}
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert set(found.class_names) == {*names} - tests
    rows = [(f"{names[0]}/{i}.png", "ab"[i % 2]) for i in range(3)]
    write_table(tmp_path / place / "labels.csv", [("image", "label"), *rows])
    assert labels_of(read_images(tmp_path, verify=False)) == ["a", "b", "a"]


def test_several_test_folders_beside_parts_are_the_first_question(tmp_path: Path) -> None:
    """As data for the translation of images are published."""
    classes(tmp_path, "trainA", "trainB", "testA", "testB", "extra")
    assert "testA, testB: each could be the test folder; leave only one of them" in problems_of(tmp_path)
    (tmp_path / "testB").rename(tmp_path / "other")
    assert "add --layout folders" in problems_of(tmp_path)
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert (found.class_names, len(found.test_ids)) == (("extra", "other", "trainA", "trainB"), 3)


def test_an_empty_folder_beside_parts_is_named_in_the_advice(tmp_path: Path) -> None:
    classes(tmp_path, "train", "test", "extra")
    (tmp_path / "docs").mkdir()
    assert "move 'docs' out of the data, and add --layout folders" in problems_of(tmp_path)
    (tmp_path / "docs").rmdir()
    assert read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names == ("extra", "train")


@pytest.mark.parametrize(
    "names", [("train", "car", "plane"), ("steam train", "test tubes"), ("train", "extra", "cat"), ("raw", "cooked")]
)
def test_a_class_may_be_called_like_a_part_beside_other_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = read_images(classes(tmp_path, *names), verify=False)
    assert labels_of(found) == [name for name in sorted(names) for _ in range(3)]


@pytest.mark.parametrize("place", [".", "images", "train"])
@pytest.mark.parametrize("name", ["val", "valid", "validation images"])
def test_folders_of_validation_images_beside_their_classes(tmp_path: Path, place: str, name: str) -> None:
    """They hold the classes that lie beside them once more."""
    classes(tmp_path / place)
    classes(tmp_path / place / name)
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("left", "right") and len(found.train_ids) == 6
    (warning,) = found.warnings
    assert warning.startswith("not read: 6 images in ") and "(folds are cut from the training images)" in warning


@pytest.mark.parametrize("header", ["image,label\n", ""])
@pytest.mark.parametrize(("stem", "tests"), [("val", 0), ("dev_set", 0), ("holdout", 2), ("test", 2)])
def test_a_list_of_held_out_images_with_their_labels(tmp_path: Path, stem: str, tests: int, header: str) -> None:
    """It divides the images of the class folders, and is no table of the training images."""
    classes(tmp_path, "cat", "dog", "emu")
    (tmp_path / f"{stem}.csv").write_text(f"{header}cat/2.png,cat\ndog/2.png,dog\n")
    found = read_images(tmp_path, verify=False)
    assert (found.class_names, len(found.train_ids), len(found.test_ids)) == (("cat", "dog", "emu"), 7, tests)
    assert not {"cat/2", "dog/2", "cat/2.png", "dog/2.png"} & set(found.train_ids)


def test_two_numbers_in_a_list_of_training_images_are_labels(tmp_path: Path) -> None:
    """They were read as the flag is_train, so that half of the images of train.txt were test images."""
    for number in range(12):
        save(tmp_path / "images" / f"{number}.png", number, 8)
    rows = [f"{number}.png {number % 2}" for number in range(12)]
    (tmp_path / "train.txt").write_text("\n".join(rows[:8]))
    (tmp_path / "test.txt").write_text("\n".join(row.split()[0] for row in rows[8:]))
    found = read_images(tmp_path, verify=False)
    assert (labels_of(found), len(found.test_ids)) == (["0", "1"] * 4, 4)


def test_numbers_of_two_class_folders_in_lists_of_parts(tmp_path: Path) -> None:
    for code, name in enumerate(("cat", "dog")):
        for number in range(6):
            save(tmp_path / name / f"{number}.png", 10 * code + number, 8)
            part = "train" if number < 3 else "val" if number < 5 else "test"
            with (tmp_path / f"{part}.txt").open("a") as file:
                file.write(f"{name}/{number}.png {code}\n")
    found = read_images(tmp_path, verify=False)
    assert (labels_of(found), len(found.test_ids)) == (["cat"] * 3 + ["dog"] * 3, 2)


@pytest.mark.parametrize(
    "name",
    [
        "keras_model.h5",
        "trained_model.h5",
        "train_best_epoch3.h5",
        "weights.hdf5",
        "EfficientNetB0-525.h5",
        "test_model.pt",
    ],
)
@pytest.mark.parametrize("beside", ["folders", "table"])
def test_a_file_that_holds_a_network_is_no_table(tmp_path: Path, name: str, beside: str) -> None:
    classes(tmp_path)
    if beside == "table":
        paths = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.png"))]
        write_table(tmp_path / "labels.csv", [("image", "label"), *((path, path.split("/")[0]) for path in paths)])
    (tmp_path / name).write_bytes(b"x")
    found = read_images(tmp_path, verify=False)
    assert not any(name in warning for warning in found.warnings)


@pytest.mark.parametrize("name", ["labels_of_model.h5", "labels.pkl", "train.mat"])
def test_labels_of_a_model_are_still_a_question(tmp_path: Path, name: str) -> None:
    classes(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    assert f"{name} is not read, though it may hold the labels: export its labels as CSV" in problems_of(tmp_path)
