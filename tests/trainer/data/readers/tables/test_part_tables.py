"""Parts by number, and tables that divide the images into parts without labelling them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table
from trainer.formats.parts import numbered_parts, seems_numbered

IDS = [f"{i:06}" for i in range(20)]


def label(i: int) -> str:
    return "ab"[i % 2]


def part(i: int) -> int:
    return 0 if i < 12 else 1 if i < 16 else 2


def folder_of(root: Path, *, merged: str = "", divided_by: str = "", words: bool = False) -> Path:
    for i, name in enumerate(IDS):
        save(root / "img_align_celeba" / f"{name}.jpg", i, 8)
    if merged:
        rows = [("image_id", "label", merged), *((f"{name}.jpg", label(i), str(part(i))) for i, name in enumerate(IDS))]
    else:
        rows = [("image_id", "label"), *((f"{name}.jpg", label(i)) for i, name in enumerate(IDS))]
    write_table(root / "labels.csv", rows)
    if divided_by:
        cells = [("train", "val", "test")[part(i)] if words else str(part(i)) for i in range(20)]
        table = [(f"{name}.jpg", cell) for name, cell in zip(IDS, cells, strict=True)]
        headed = [("image_id", "partition"), *table] if divided_by.endswith("csv") else table
        write_table(root / divided_by, headed, delimiter="," if divided_by.endswith("csv") else " ")
    return root


@pytest.mark.parametrize("name", ["partition", "split", "subset", "data_split", "dataset_split"])
def test_numbers_in_a_column_of_parts(tmp_path: Path, name: str) -> None:
    found = read_images(folder_of(tmp_path, merged=name), verify=False)
    assert (len(found.y), found.test_ids) == (12, tuple(f"{name}.jpg" for name in IDS[16:]))
    assert f"the numbers in {name!r} are parts: 0 train, 1 val, 2 test" in found.notes
    assert any("not read: 4 validation rows" in warning for warning in found.warnings)


@pytest.mark.parametrize("name", ["phase", "cluster", "stage"])
def test_numbers_in_another_column_are_no_parts(tmp_path: Path, name: str) -> None:
    assert len(read_images(folder_of(tmp_path, merged=name), verify=False).y) == 20


def test_a_fold_column_that_is_mostly_0_is_a_question(tmp_path: Path) -> None:
    message = problems_of(folder_of(tmp_path, merged="fold"))
    assert "the column 'fold' seems to divide the rows" in message and "Write train, val or test there" in message
    assert seems_numbered("fold", {"0": 12, "1": 4, "2": 4}) and not seems_numbered("fold", {"0": 7, "1": 7, "2": 6})


def test_numbers_of_equal_frequency_may_be_folds() -> None:
    assert numbered_parts("split", {"0": 10, "1": 9, "2": 8}) is None
    assert numbered_parts("split", {"0": 10, "1": 2, "2": 12}) == {"0": "train", "1": "val", "2": "test"}
    assert numbered_parts("split", {"0.0": 10, "1.0": 2, "2.0": 2}) == {"0.0": "train", "1.0": "val", "2.0": "test"}
    assert (
        numbered_parts("split", {"1": 10, "2": 2, "3": 2}) is None and numbered_parts("split", {"0": 9, "1": 2}) is None
    )


@pytest.mark.parametrize("name", ["list_eval_partition.csv", "list_eval_partition.txt", "split.csv", "my_split.txt"])
@pytest.mark.parametrize("words", [True, False])
def test_a_table_of_parts_divides_the_table_of_labels(tmp_path: Path, name: str, *, words: bool) -> None:
    found = read_images(folder_of(tmp_path, divided_by=name, words=words), verify=False)
    assert found.train_ids == tuple(f"{name}.jpg" for name in IDS[:12])
    assert labels_of(found) == [label(i) for i in range(12)]
    assert found.test_ids == tuple(f"{name}.jpg" for name in IDS[16:])
    assert any(f"{name} divides the rows of labels.csv" in note for note in found.notes)


def test_a_table_of_parts_may_be_numbered_in_another_order(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    rows = [("file", "split"), *((name, ("train", "test")[i % 5 > 2]) for i, name in reversed(list(enumerate(IDS))))]
    write_table(root / "split.csv", rows)
    assert read_images(root, verify=False).train_ids == tuple(f"{name}.jpg" for i, name in enumerate(IDS) if i % 5 < 3)


def test_images_without_a_part_are_an_error(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    write_table(
        root / "split.csv", [("file", "split"), *((name, ("train", "test")[i % 2]) for i, name in enumerate(IDS[:9]))]
    )
    assert "split.csv divides the images into parts, but names none for 11 of 20 rows of labels.csv" in problems_of(
        root
    )


def test_two_tables_of_parts_are_a_question(tmp_path: Path) -> None:
    root = folder_of(tmp_path, divided_by="split.csv")
    folder_of(tmp_path, divided_by="old_split.csv", words=True)
    assert "'old_split.csv', 'split.csv': each divides the images into parts" in problems_of(root)


def test_a_table_of_parts_holds_no_labels(tmp_path: Path) -> None:
    root = folder_of(tmp_path, divided_by="list_eval_partition.csv")
    (root / "labels.csv").unlink()
    assert "list_eval_partition.csv divides the images into parts, but no table labels them" in problems_of(root)
    header = ("image_id", "Male", "Young")
    write_table(root / "attr.csv", [header, *((f"{name}.jpg", str(i % 2), str(i % 3)) for i, name in enumerate(IDS))])
    assert "it could be 'Male', 'Young'" in problems_of(root)
    found = read_images(root, DataOptions(label_column="Male"), verify=False)
    assert (len(found.y), len(found.test_ids)) == (12, 4)


@pytest.mark.parametrize("paths", [True, False], ids=["paths", "names"])
@pytest.mark.parametrize("folders", [("cat", "dog"), ("images",)])
def test_test_rows_beside_a_folder_of_other_test_images_are_a_question(
    tmp_path: Path, folders: tuple[str, ...], *, paths: bool
) -> None:
    """A path names its image in spite of the test folder, a name does not: the question is the same."""
    rows, root = [], tmp_path / "data"
    for i in range(24):
        image = save(root / folders[i % len(folders)] / f"{i:04}.png", i, 8).relative_to(root)
        rows.append(
            (image.as_posix() if paths else image.name, ("cat", "dog")[i % 2], ["train", "train", "test"][i % 3])
        )
    for i in range(5):
        save(root / "test" / f"{i + 100}.png", i + 100, 8)
    write_table(root / "labels.csv", [("image", "label", "split"), *rows])
    message = problems_of(root)
    assert "labels.csv lists 8 test images" in message and "while test/ holds 5 other images" in message
    write_table(root / "labels.csv", [("image", "label", "split"), *(row for row in rows if row[2] == "train")])
    found = read_images(root)
    assert (len(found.train_ids), len(found.test_ids)) == (16, 5)
    write_table(root / "labels.csv", [("image", "label", "split"), *rows])
    (root / "test").rename(tmp_path / "test")
    found = read_images(root)
    assert (len(found.train_ids), len(found.test_ids)) == (16, 8)


def test_images_in_the_test_folder_that_the_test_rows_leave_out_are_named(tmp_path: Path) -> None:
    rows = [(f"train/{i}.png", "ab"[i % 2], "train") for i in range(8)]
    rows += [(f"test/{i}.png", "ab"[i % 2], "test") for i in range(8, 12)]
    for i, (path, _, _) in enumerate(rows):
        save(tmp_path / path, i, 8)
    save(tmp_path / "test" / "12.png", 12, 8)
    write_table(tmp_path / "labels.csv", [("image", "label", "split"), *rows])
    found = read_images(tmp_path)
    assert (len(found.train_ids), len(found.test_ids)) == (8, 4)
    assert any("not read: 1 image in the folder of test images that labels.csv" in text for text in found.warnings)
