"""Data whose labels or parts may mean two things are a question, and the advice in it works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.image_set import ImageSet
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

PEOPLE = ("P01", "P02", "P03", "P04")
SHUFFLED = (3, 0, 7, 1, 9, 4, 11, 2, 6, 10, 5, 8)


def by_id(found: ImageSet) -> dict[str, str]:
    """The label of each training image by its id."""
    return dict(zip(found.train_ids, labels_of(found), strict=True))


def table(root: Path, *names: str, count: int = 12, folder: str = "images") -> Path:
    """A table of cats and dogs, and an image for each of the names; else for ``count`` numbers."""
    images = names or tuple(f"{i}.png" for i in range(count))
    for seed, name in enumerate(images):
        save(root / folder / name, seed, 8)
    write_table(root / "labels.csv", [("image", "label"), *((name, "cd"[i % 2]) for i, name in enumerate(images))])
    return root


@pytest.mark.parametrize("name", ["patient_id", "subject", "camera", "site", "video", "folder"])
def test_a_column_that_equals_the_folders_is_no_answer_if_it_names_patients(tmp_path: Path, name: str) -> None:
    rows = [(f"{person}_{i}.png", person, "ab"[(i + k) % 2]) for k, person in enumerate(PEOPLE) for i in range(3)]
    for seed, (image, person, _) in enumerate(rows):
        save(tmp_path / "images" / person / image, seed, 8)
    write_table(tmp_path / "labels.csv", [("image", name, "grade"), *rows])
    message = problems_of(tmp_path)
    assert f"could be 'grade', {name!r}" in message and "--label-column" in message
    found = read_images(tmp_path, DataOptions(label_column="grade"), verify=False)
    assert by_id(found) == {image: grade for image, _, grade in rows}


@pytest.mark.parametrize("name", ["category", "class", "target"])
def test_a_column_of_parts_is_no_label_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    parts = ["train", "train", "train", "val", "test", "test"]
    rows = [(f"{i}.png", parts[i % 6], "ab"[i // 6 % 2]) for i in range(24)]
    for seed, (image, *_) in enumerate(rows):
        save(tmp_path / "images" / image, seed, 8)
    write_table(tmp_path / "data.csv", [("image", name, "animal"), *rows])
    found = read_images(tmp_path, verify=False)
    assert by_id(found) == {image: label for image, part, label in rows if part == "train"}
    assert set(found.test_ids) == {image for image, part, _ in rows if part == "test"}


@pytest.mark.parametrize("extension", [".png", ""])
def test_the_names_of_the_images_may_say_the_parts(tmp_path: Path, extension: str) -> None:
    names = [f"train_{i:04}" for i in range(12)] + [f"test_{i:04}" for i in range(4)]
    for seed, name in enumerate(names):
        save(tmp_path / "images" / f"{name}.png", seed, 8)
    write_table(
        tmp_path / "labels.csv",
        [("image", "label"), *((name + extension, "xyz"[i % 3]) for i, name in enumerate(names))],
    )
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), len(found.test_ids)) == (12, 4)


@pytest.mark.parametrize("place", ["splits/split.csv", "meta/split.csv", "annotations/subset.csv"])
def test_a_split_further_down_divides_the_table(tmp_path: Path, place: str) -> None:
    table(tmp_path)
    (tmp_path / place).parent.mkdir()
    write_table(tmp_path / place, [("image", "set"), *((f"{i}.png", "test" if i > 8 else "train") for i in range(12))])
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), set(found.test_ids)) == (9, {"9.png", "10.png", "11.png"})


@pytest.mark.parametrize("name", ["splits.yaml", "test.jsonl", "test.xlsx", "split.xlsx", "test_ids.npy", "splits.pkl"])
def test_a_split_of_an_unread_kind_beside_a_table_is_a_question(tmp_path: Path, name: str) -> None:
    (table(tmp_path) / name).write_text("test:\n- 9.png\n- 10.png\n")
    assert f"{name} is not read, though it may divide the images" in problems_of(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / "test.txt").write_text("9.png\n10.png\n")
    assert set(read_images(tmp_path, verify=False).test_ids) == {"9.png", "10.png"}, "the advice"


def test_files_called_after_a_part_divide_nothing_where_the_test_images_are_known(tmp_path: Path) -> None:
    """As in ISIC 2024, whose images are also in HDF5 files."""
    table(tmp_path, folder="train-image")
    for seed in range(3):
        save(tmp_path / "test-image" / f"t{seed}.png", 50 + seed, 8)
    for name in ("train-image.hdf5", "test-image.hdf5", "test-metadata.parquet"):
        (tmp_path / name).write_bytes(b"x")
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), len(found.test_ids)) == (12, 3)


@pytest.mark.parametrize("line", ["9.png,10.png,11.png", "9.png 10.png 11.png", "9.png; 10.png; 11.png;"])
def test_a_list_may_have_all_images_on_one_line(tmp_path: Path, line: str) -> None:
    (table(tmp_path) / "test.txt").write_text(f"{line}\n")
    assert set(read_images(tmp_path, verify=False).test_ids) == {"9.png", "10.png", "11.png"}


@pytest.mark.parametrize("name", ["do_not_train.txt", "exclude_from_train.txt", "not_for_training.csv", "bad.txt"])
@pytest.mark.parametrize("with_table", [False, True])
def test_a_list_of_excluded_images_is_no_list_of_training_images(tmp_path: Path, name: str, with_table: bool) -> None:
    if with_table:
        table(tmp_path)
    for seed in range(12):
        if not with_table:
            save(tmp_path / "cd"[seed % 2] / f"{seed}.png", seed, 8)
    (tmp_path / name).write_text("3.png\n4.png\n")
    assert f"{name} lists 2 images" in problems_of(tmp_path)
    (tmp_path / name).unlink()
    assert len(read_images(tmp_path, verify=False).train_ids) == 12, "the advice"


@pytest.mark.parametrize("twin", ["{}_test", "val_{}", "{} validation", "{}-holdout"])
def test_folders_with_a_part_of_another_class_are_a_question(tmp_path: Path, twin: str) -> None:
    for seed, name in enumerate(("cats", "dogs", twin.format("cats"), twin.format("dogs"))):
        for i in range(3):
            save(tmp_path / name / f"{i}.png", 3 * seed + i, 8)
    message = problems_of(tmp_path)
    assert "may hold test or validation images of 'cats', 'dogs'" in message
    assert len(read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names) == 4


def test_a_class_may_be_called_after_a_test_without_a_twin(tmp_path: Path) -> None:
    for seed, name in enumerate(("test tubes", "flasks", "validation stamps")):
        save(tmp_path / name / "0.png", seed, 8)
    assert len(read_images(tmp_path, verify=False).class_names) == 3


@pytest.mark.parametrize("place", ["data/labels.csv", "labels/train_labels.csv", "labels.csv"])
@pytest.mark.parametrize(
    "content", ["case,diagnosis\nA1,nv\nA2,mel\nA3,nv\nA4,mel\n", "version https://git-lfs.github.com/spec/v1\n"]
)
def test_labels_further_down_that_name_no_image_are_a_question(tmp_path: Path, place: str, content: str) -> None:
    for seed, name in enumerate(("north", "south", "west")):
        for i in range(4):
            save(tmp_path / "images" / name / f"{name}{i}.png", 4 * seed + i, 8)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(content)
    message = problems_of(tmp_path)
    assert "names no image" in message or "Git LFS" in message
    assert read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names == ("north", "south", "west")


@pytest.mark.parametrize("kind", ["files.txt", "rename_log.csv", "mapping.tsv", "images.json"])
def test_ids_that_another_file_gives_other_images_are_a_question(tmp_path: Path, kind: str) -> None:
    for i in SHUFFLED:
        save(tmp_path / "images" / f"{i}.png", i, 8)
    write_table(tmp_path / "labels.csv", [("id", "label"), *((str(i), "xyz"[i % 3]) for i in range(12))])
    pairs = [(str(i), f"{SHUFFLED[i]}.png") for i in range(12)]
    if kind == "images.json":
        (tmp_path / kind).write_text(json.dumps(dict(pairs)))
    elif kind == "files.txt":
        (tmp_path / kind).write_text("".join(f"{i} {name}\n" for i, name in pairs))
    else:
        rows = [("old", "new"), *((f"{i}.png", name) for i, name in pairs)]
        write_table(tmp_path / kind, rows, delimiter="\t" if kind == "mapping.tsv" else ",")
    expected = f"labels.csv labels '0', which is images/0.png by its name, and images/3.png by {kind}"
    assert expected in problems_of(tmp_path)
    assert by_id(read_images(tmp_path, DataOptions(table="labels.csv"), verify=False))["0"] == "x"
    write_table(tmp_path / "labels.csv", [("id", "label"), *((name, "xyz"[int(i) % 3]) for i, name in pairs)])
    (tmp_path / kind).unlink()
    assert by_id(read_images(tmp_path, verify=False))["3.png"] == "x", "the advice"


def test_an_image_and_its_mask_are_no_other_name(tmp_path: Path) -> None:
    table(tmp_path)
    for i in range(12):
        save(tmp_path / "masks" / f"{i}_mask.png", 50 + i, 8)
    write_table(tmp_path / "pairs.csv", [("image", "mask"), *((f"{i}.png", f"{i}_mask.png") for i in range(12))])
    assert labels_of(read_images(tmp_path, verify=False)) == ["c", "d"] * 6


def test_predictions_are_no_labels(tmp_path: Path) -> None:
    (table(tmp_path) / "labels.csv").rename(tmp_path / "predictions_resnet.csv")
    assert "predictions_resnet.csv may hold predictions by its name" in problems_of(tmp_path)
    assert len(read_images(tmp_path, DataOptions(table="predictions_resnet.csv"), verify=False).train_ids) == 12


def test_images_in_other_folders_are_counted(tmp_path: Path) -> None:
    table(tmp_path)
    for seed in range(5):
        save(tmp_path / "images_2" / f"b{seed}.png", 50 + seed, 8)
    warnings = "\n".join(read_images(tmp_path, verify=False).warnings)
    assert "not read: 5 images in other folders than those of labels.csv, such as images_2/b0.png" in warnings


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("0", "1", "True", "False"), "are read as classes of their own"),
        (("0", "1", "O"), "'O' (4 images) is"),
    ],
)
def test_labels_in_two_notations_are_reported(tmp_path: Path, labels: tuple[str, ...], says: str) -> None:
    rows = [(f"{i}.png", labels[i % len(labels)]) for i in range(12)]
    for seed, (image, _) in enumerate(rows):
        save(tmp_path / "train" / image, seed, 8)
    write_table(tmp_path / "train.csv", [("id", "label"), *rows])
    assert says in "\n".join(read_images(tmp_path, verify=False).warnings)


def test_json_is_no_list_of_labels(tmp_path: Path) -> None:
    rows = [(f"{i}.png", ["cat", "dog", '{"choices": ["cat","dog"]}'][i % 3]) for i in range(9)]
    for seed, (image, _) in enumerate(rows):
        save(tmp_path / "images" / image, seed, 8)
    write_table(tmp_path / "labels.csv", [("image", "label"), *rows])
    assert "3 labels are JSON" in problems_of(tmp_path, DataOptions(several_labels="yes"))


def test_an_image_of_two_classes_is_reported_beside_repeated_rows(tmp_path: Path) -> None:
    rows = [(f"{i}.png", label) for i in range(12) for label in ("a", "a", "b")]
    for i in range(12):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    write_table(tmp_path / "labels.csv", [("image", "label"), *rows])
    assert "12 ids have several labels, and each would be kept" in problems_of(tmp_path)
    warnings = "\n".join(read_images(tmp_path, DataOptions(skip_bad=True), verify=False).warnings)
    assert "the image '0.png' has the labels 'a' and 'b'" in warnings
    assert "the first row of each label was taken" in warnings and "--several-labels yes" in warnings


def test_a_link_that_leads_to_no_file_is_to_be_removed(tmp_path: Path) -> None:
    for seed, name in enumerate(("cat", "dog")):
        save(tmp_path / name / "0.png", seed, 8)
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path.parent / "nothing.png")
    assert "dog/gone.png: the link leads to no file" in problems_of(tmp_path)
    assert len(read_images(tmp_path, DataOptions(skip_bad=True)).train_ids) == 2, "the advice"


def test_images_behind_a_link_are_named_where_a_table_lists_them(tmp_path: Path) -> None:
    data = table(tmp_path / "data")
    (data / "images").rename(tmp_path / "disk")
    (data / "images").symlink_to(tmp_path / "disk")
    assert "The images may be in images, which is a link to a folder outside of the data" in problems_of(data)


@pytest.mark.parametrize("table_of_tests", ["sample_submission.csv", "test.csv"])
def test_test_images_that_are_still_packed_are_mentioned(tmp_path: Path, table_of_tests: str) -> None:
    table(tmp_path, folder="train")
    write_table(tmp_path / table_of_tests, [("image", "label"), *((f"t{i}.png", "c") for i in range(5))])
    (tmp_path / "test.zip").write_bytes(b"PK\x03\x04")
    assert "The images may be in test.zip: unpack it first" in problems_of(tmp_path)


def test_pixels_of_images_are_no_ids_of_numbered_ones(tmp_path: Path) -> None:
    """As MNIST's table beside its images."""
    for i in range(20):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    header = ("label", *(f"pixel{i}" for i in range(64)))
    rows = [tuple(str((i * 7 + column) % 20) for column in range(65)) for i in range(40)]
    write_table(tmp_path / "train.csv", [header, *rows])
    assert "Tables of pixel values are not read" in problems_of(tmp_path)


def test_a_table_of_groups_beside_the_training_table_is_left_out(tmp_path: Path) -> None:
    """As the cleaned lists of Google's landmarks."""
    names = [f"{i:016x}" for i in range(12)]
    for seed, name in enumerate(names):
        save(tmp_path / "train" / name[0] / name[1] / f"{name}.png", seed, 8)
    write_table(tmp_path / "train.csv", [("id", "landmark_id"), *((name, str(i % 3)) for i, name in enumerate(names))])
    groups = [(str(i), " ".join(names[i::3])) for i in range(3)]
    write_table(tmp_path / "train_clean.csv", [("landmark_id", "images"), *groups])
    found = read_images(tmp_path, verify=False)
    assert by_id(found) == {name: str(i % 3) for i, name in enumerate(names)}
    assert any("not read: train_clean.csv" in note for note in found.notes)


@pytest.mark.parametrize(("name", "text"), [("test_idx.txt", "3\n4\n8\n"), ("test_indexes.csv", "indexes\n3\n4\n8\n")])
def test_a_list_of_row_numbers_divides_nothing(tmp_path: Path, name: str, text: str) -> None:
    images = [f"a{i:03}.png" for i in range(12)]
    (table(tmp_path, *images) / name).write_text(text)
    found = read_images(tmp_path, verify=False)
    assert len(found.train_ids) == 12
    assert any(f"not used: {name!r}: numbers in place of images" in warning for warning in found.warnings)


@pytest.mark.parametrize("ending", ["", "-samples"])
def test_a_list_of_numbered_classes_labels_no_numbered_images(tmp_path: Path, ending: str) -> None:
    """As Teachable Machine writes it."""
    for seed, name in enumerate(("Class 1", "Class 2")):
        for i in range(5):
            save(tmp_path / f"{name}{ending}" / f"{i}.png", 5 * seed + i, 8)
    (tmp_path / "labels.txt").write_text("0 Class 1\n1 Class 2\n")
    found = read_images(tmp_path, verify=False)
    assert found.class_names == (f"Class 1{ending}", f"Class 2{ending}") and len(found.train_ids) == 10


def test_folders_that_hold_annotations_each_are_a_question(tmp_path: Path) -> None:
    """As the data sets of a Supervisely project."""
    for seed, name in enumerate(("ds0", "ds1")):
        for i in range(4):
            save(tmp_path / name / "img" / f"{name}_{i}.png", 4 * seed + i, 8)
            (tmp_path / name / "ann").mkdir(exist_ok=True)
            (tmp_path / name / "ann" / f"{name}_{i}.png.json").write_text("{}")
    assert "holds annotations, such as ds0/ann, and may be a data set instead of a class" in problems_of(tmp_path)
    assert read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names == ("ds0", "ds1")
    rows = [(f"{name}_{i}.png", "cd"[i % 2]) for name in ("ds0", "ds1") for i in range(4)]
    write_table(tmp_path / "labels.csv", [("image", "label"), *rows])
    assert by_id(read_images(tmp_path, verify=False)) == dict(rows)


def test_a_text_table_beside_class_folders_is_mentioned(tmp_path: Path) -> None:
    for seed, name in enumerate(("30601", "30602")):
        save(tmp_path / "faces" / name / f"{seed}.png", seed, 8)
    text = "user_id\toriginal_image\tgender\n30601\tx.jpg\tm\n30602\ty.jpg\tf\n"
    (tmp_path / "fold_0_data.txt").write_text(text)
    (tmp_path / "notes.txt").write_text("Some words, and a comma.\nMore words.\n")
    warnings = "\n".join(read_images(tmp_path, verify=False).warnings)
    assert "'fold_0_data.txt', because the folders give the labels" in warnings and "notes.txt" not in warnings


@pytest.mark.parametrize("place", ["photos.csv", "data/photos.csv", "data/train/photos.csv"])
@pytest.mark.parametrize("labels", ["data/train/metadata.jsonl", "data/labels.json", "annotations.xlsx"])
def test_a_side_table_is_no_answer_beside_labels_of_another_kind(tmp_path: Path, place: str, labels: str) -> None:
    """Hugging Face's metadata.jsonl holds boxes with labels, and a table of one's own the light."""
    rows = [(f"{i:04}.png", ("sun", "shade")[i % 2]) for i in range(12)]
    for seed, (name, _) in enumerate(rows):
        save(tmp_path / "data" / "train" / name, seed, 8)
    objects = {"bbox": [[1, 2, 3, 4]], "categories": [0]}
    lines = (json.dumps({"file_name": name, "objects": objects}) + "\n" for name, _ in rows)
    (tmp_path / labels).write_text("".join(lines))
    write_table(tmp_path / place, [("image", "light"), *rows])
    message = problems_of(tmp_path)
    assert f"in {labels.rpartition('/')[2]}" in message.replace("data/", "").replace("train/", "")
    assert "which is not read" in message and "--label-column light" in message
    assert by_id(read_images(tmp_path, DataOptions(label_column="light"), verify=False)) == dict(rows)
    (tmp_path / labels).unlink()
    assert by_id(read_images(tmp_path, verify=False)) == dict(rows)


def test_a_table_of_labels_is_read_beside_the_file_that_it_was_made_from(tmp_path: Path) -> None:
    table(tmp_path)
    (tmp_path / "annotations.json").write_text("[]")
    assert len(read_images(tmp_path, verify=False).train_ids) == 12
