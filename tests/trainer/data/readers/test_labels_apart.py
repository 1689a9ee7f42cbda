"""Files in other folders beside class folders that may hold the labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

LABELS = list("abcabcabcabc")
CASES = tuple(f"case{i}" for i in range(4))


def cases(root: Path, place: str) -> list[tuple[str, str]]:
    """Twelve images in four folders of cases, which are no classes; their paths in ``place`` with their labels."""
    paths = [f"case{i // 3}/{i}.png" for i in range(12)]
    for seed, path in enumerate(paths):
        save(root / place / path, seed, 8)
    return list(zip(paths, LABELS, strict=True))


@pytest.mark.parametrize("place", [".", "img", "images"])
@pytest.mark.parametrize(
    "name",
    [
        "annotations/instances_default.json",
        "Anno/labels.json",
        "Anno/labels",
        "metadata/labels.xlsx",
        "metadata/labels.parquet",
        "metadata/table.mat",
        "lists/labels.npy",
        "labels.npy",
        "labels.dat",
        "labels",
    ],
)
def test_labels_in_a_file_that_is_not_read_are_a_question(tmp_path: Path, place: str, name: str) -> None:
    rows = cases(tmp_path, place)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    message = problems_of(tmp_path)
    assert f"{name} is not read, though it may hold the labels" in message and "--layout folders" in message
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert found.class_names == CASES and any(f"{Path(name).name} is not read" in text for text in found.warnings)
    (tmp_path / name).unlink()
    write_table((tmp_path / name).with_suffix(".csv"), [("image", "label"), *rows])
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS


@pytest.mark.parametrize("place", [".", "img"])
@pytest.mark.parametrize("name", ["Anno/list_category_img.txt", "Anno/list.txt", "gt/gt.txt"])
def test_a_text_without_a_header_is_a_question_as_in_the_data_folder(tmp_path: Path, place: str, name: str) -> None:
    rows = cases(tmp_path, place)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("".join(f"{path} {label}\n" for path, label in rows))
    message = problems_of(tmp_path)
    assert f"the labels may be the column '2' of {name}, or the folders 'case0'" in message
    assert labels_of(read_images(tmp_path, DataOptions(label_column="2"), verify=False)) == LABELS
    assert read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names == CASES


@pytest.mark.parametrize("place", [".", "img"])
@pytest.mark.parametrize("name", ["labels/labels.txt", "annotations/train_labels.txt", "splits/train.txt"])
def test_a_text_called_after_labels_or_training_labels_the_images(tmp_path: Path, place: str, name: str) -> None:
    rows = cases(tmp_path, place)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("".join(f"{path} {label}\n" for path, label in rows))
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == LABELS
    assert any("the labels are those of" in text and "--layout folders" in text for text in found.warnings)


def test_a_table_of_deepfashion_with_a_count_and_further_texts(tmp_path: Path) -> None:
    """As DeepFashion's categories are published: the folders in ``img`` are those of items."""
    rows = [(f"img/{path}", str("abc".index(label) + 1)) for path, label in cases(tmp_path, "img")]
    (tmp_path / "Anno").mkdir()
    text = "".join(f"{path} {label}\n" for path, label in rows)
    (tmp_path / "Anno" / "list_category_img.txt").write_text(f"12\nimage_name category_label\n{text}")
    boxes = "".join(f"{path} {i} 1 20 20\n" for i, (path, _) in enumerate(rows))
    (tmp_path / "Anno" / "list_bbox.txt").write_text(f"12\nimage_name x_1 y_1 x_2 y_2\n{boxes}")
    (tmp_path / "Eval").mkdir()
    parts = "".join(f"{path} {'train' if i < 9 else 'test'}\n" for i, (path, _) in enumerate(rows))
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text(f"12\nimage_name evaluation_status\n{parts}")
    found = read_images(tmp_path, DataOptions(table="Anno/list_category_img.txt"), verify=False)
    assert labels_of(found) == [label for _, label in rows[:9]]
    assert len(found.test_ids) == 3
    assert "'category_label' of Anno/list_category_img.txt" in problems_of(tmp_path)
    chosen = read_images(tmp_path, DataOptions(label_column="category_label"), verify=False)
    assert labels_of(chosen) == labels_of(found)


def test_a_folder_of_labels_with_any_name_is_no_empty_class_alone(tmp_path: Path) -> None:
    rows = cases(tmp_path, ".")
    (tmp_path / "Truth").mkdir()
    (tmp_path / "Truth" / "answers.json").write_text(json.dumps({path: {"label": label} for path, label in rows}))
    message = problems_of(tmp_path)
    assert "the class folder Truth holds no images" in message
    assert "if answers.json in it holds the labels, save it as CSV" in message
    write_table(tmp_path / "Truth" / "answers.csv", [("image", "label"), *rows])
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS


@pytest.mark.parametrize("place", [".", "images"])
def test_files_in_other_folders_that_are_no_labels_change_nothing(tmp_path: Path, place: str) -> None:
    rows = cases(tmp_path, place)
    for name, content in {
        "annotations/0.xml": "<annotation/>",
        "annotations/1.json": "{}",
        "meta/classes.txt": "\n".join(CASES),
        "meta/labels.txt": "\n".join(name.title() for name in CASES),
        "meta/labels.json": json.dumps(CASES),
        "meta/notes.txt": "12 images",
        "meta/joint.txt": "".join(f"{path} {path[:5]} {'wet' * (i % 2)}\n" for i, (path, _) in enumerate(rows)),
        "meta/numbers.txt": "".join(f"{path} {path[4]}\n" for path, _ in rows),
        "docs/labels.txt": "".join(f"{i} {name}\n" for i, name in enumerate(CASES)),
        "splits/train.txt": "".join(f"{path} {path[4]}\n" for path, _ in rows[:9]),
        "splits/test.txt": "".join(f"{path} {path[4]}\n" for path, _ in rows[9:]),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == [path.split("/")[0] for path, _ in rows[:9]]
    assert len(found.test_ids) == 3


def test_annotations_of_single_images_in_folders_called_after_the_classes_change_nothing(tmp_path: Path) -> None:
    """As Caltech 101 is published."""
    rows = cases(tmp_path, "images")
    for path, _ in rows:
        (tmp_path / "Annotations" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "Annotations" / path).with_name(f"annotation_{Path(path).stem}.mat").write_bytes(b"x")
    assert labels_of(read_images(tmp_path, verify=False)) == [path.split("/")[0] for path, _ in rows]
