"""A table with images in folders of parts is divided by these folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.read import DataOptions, read_images


def index_of(root: Path, counts: Mapping[str, int], *, cell: str = "{}", columns: str = "path,label") -> Path:
    """A table labels.csv of images in folders, each with the number of its images; labels take turns."""
    rows = [columns]
    for seed, (folder, count) in enumerate(counts.items()):
        for number in range(count):
            path = f"{folder}/{number}.png"
            save(root / path, 100 * seed + number, 8)
            rows.append(f"{cell.format(path)},{'cat' if number % 2 else 'dog'}")
    (root / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.mark.parametrize("cell", ["{}", "/kaggle/input/pets/{}", "pets\\{}", "./{}"])
@pytest.mark.parametrize(
    "folders",
    [
        ("train", "val", "test"),
        ("images/train", "images/valid", "images/test"),
        ("Training", "Validation", "Testing"),
        ("pets_train", "pets_val", "pets_test"),
        ("学習", "検証", "テスト"),
    ],
)
def test_rows_have_the_part_of_their_folder(tmp_path: Path, folders: tuple[str, ...], cell: str) -> None:
    found = read_images(index_of(tmp_path, dict(zip(folders, (8, 4, 6), strict=True)), cell=cell), verify=False)
    train, _, test = folders
    assert set(found.train_images.paths) == {f"{train}/{number}.png" for number in range(8)}
    assert found.test_images is not None and set(found.test_images.paths) == {f"{test}/{n}.png" for n in range(6)}
    assert "divide the rows of labels.csv: 8 train, 6 test, 4 val" in "\n".join(found.notes)
    (warning,) = found.warnings
    assert warning.startswith("not read: 4 validation rows of labels.csv")


@pytest.mark.parametrize(
    ("counts", "train"),
    [({"train": 8, "test": 4}, 8), ({"train": 8, "val": 4}, 8), ({"train/cat": 4, "train/dog": 4, "test/cat": 2}, 8)],
)
def test_two_parts_and_folders_for_the_classes(tmp_path: Path, counts: Mapping[str, int], train: int) -> None:
    found = read_images(index_of(tmp_path, counts), DataOptions(layout="table"), verify=False)
    assert len(found.train_ids) == train and all(path.startswith("train/") for path in found.train_images.paths)
    assert len(found.test_ids) == sum(count for folder, count in counts.items() if folder.startswith("test"))


@pytest.mark.parametrize(
    "counts",
    [
        {"images": 8, "test": 2},
        {"train": 8, "extra": 2},
        {"train": 4, "car": 4, "plane": 4},
        {"train/test": 4, "train/control": 4},
        {"test": 8},
    ],
)
def test_other_folders_divide_no_rows(tmp_path: Path, counts: Mapping[str, int]) -> None:
    found = read_images(index_of(tmp_path, counts), DataOptions(layout="table"), verify=False)
    assert len(found.train_ids) == sum(counts.values()) and not found.test_ids


def test_a_column_of_parts_overrules_the_folders(tmp_path: Path) -> None:
    index_of(tmp_path, {"train": 8, "val": 4})
    header, *rows = (tmp_path / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join((f"{header},split", *(f"{row},train" for row in rows))))
    assert len(read_images(tmp_path, verify=False).train_ids) == 12


def test_a_row_of_a_missing_image_has_the_part_of_its_cell(tmp_path: Path) -> None:
    index_of(tmp_path, {"train": 8, "val": 4, "test": 4})
    (tmp_path / "val" / "0.png").unlink()
    assert len(read_images(tmp_path, verify=False).train_ids) == 8
    (tmp_path / "train" / "0.png").unlink()
    assert "there is no image 'train/0.png'" in problems_of(tmp_path)


@pytest.mark.parametrize(("part", "kind"), [("test", "test"), ("val", "validation")])
def test_bare_names_of_images_of_another_part(tmp_path: Path, part: str, kind: str) -> None:
    rows = ["image,label"]
    for number in range(12):
        save(tmp_path / (part if number > 7 else "train") / f"a{number}.png", number, 8)
        rows.append(f"a{number}.png,{'cat' if number % 2 else 'dog'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    message = problems_of(tmp_path)
    assert f"{part}/a8.png lies in a folder of {kind} images: if it is one, remove the row" in message
    (tmp_path / "labels.csv").write_text("\n".join(rows[:9]))
    found = read_images(tmp_path, verify=False)
    assert len(found.train_ids) == 8 and len(found.test_ids) == (4 if part == "test" else 0)
    (tmp_path / "labels.csv").write_text("\n".join((*rows[:9], *(f"{part}/{row}" for row in rows[9:]))))
    found = read_images(tmp_path, verify=False)
    assert len(found.train_ids) == 8 and len(found.test_ids) == (4 if part == "test" else 0)
