"""Which of several tables labels the images: layouts of competition sites with features, labels and validation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.data.readers.tables.find_tables import claim_level, is_named_validation
from trainer.formats.delimited import write_table

CLASSES = ("bird", "blank", "hog")


def camera_traps(root: Path, *, described: str = "features", one_hot: bool = True, sample: bool = True) -> Path:
    """18 training and 6 test images, each with a path and a site in one table and with labels in another one."""
    for part, numbers in (("train", range(18)), ("test", range(100, 106))):
        for i in numbers:
            save(root / f"{part}_features" / f"ZJ{i:06}.png", i, 8)
        rows = [(f"ZJ{i:06}", f"{part}_features/ZJ{i:06}.png", f"S{i % 5}") for i in numbers]
        write_table(root / f"{part}_{described}.csv", [("id", "filepath", "site"), *rows])
    header = ("id", *CLASSES) if one_hot else ("id", "label")
    labels = [(f"ZJ{i:06}", *(hot(i) if one_hot else (CLASSES[i % 3],))) for i in reversed(range(18))]
    write_table(root / "train_labels.csv", [header, *labels])
    if sample:
        cells = ("0.3",) * 3 if one_hot else ("bird",)
        write_table(root / "submission_format.csv", [header, *((f"ZJ{i:06}", *cells) for i in range(100, 106))])
    return root


def hot(i: int) -> list[str]:
    return [str(float(index == i % 3)) for index in range(3)]


@pytest.mark.parametrize("described", ["features", "metadata", "values", "info"])
@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("sample", [True, False])
def test_labels_go_before_features(tmp_path: Path, described: str, one_hot: bool, sample: bool) -> None:
    found = read_images(camera_traps(tmp_path, described=described, one_hot=one_hot, sample=sample), verify=False)

    expected = {f"train_features/ZJ{i:06}.png": CLASSES[i % 3] for i in range(18)}
    assert dict(zip(found.train_images.paths, labels_of(found), strict=True)) == expected
    assert list(found.test_images.paths) == [f"test_features/ZJ{i:06}.png" for i in range(100, 106)]


def test_a_table_of_labels_goes_before_one_of_metadata(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "train" / f"{i}.png", i, 8)
    write_table(tmp_path / "train_metadata.csv", [("id", "class_group"), *((str(i), "xyz"[i % 3]) for i in range(12))])
    write_table(tmp_path / "labels.csv", [("id", "label"), *((str(i), "ab"[i % 2]) for i in range(12))])

    assert labels_of(read_images(tmp_path, verify=False)) == list("ababababababab"[:12])


def test_a_column_of_the_sample_goes_before_the_name_of_a_table(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    ids = [str(i) for i in range(6)]
    write_table(tmp_path / "train.csv", [("id", "camera"), *((i, "pq"[int(i) // 3]) for i in ids)])
    write_table(tmp_path / "kinds.csv", [("id", "kind"), *((i, "ab"[int(i) % 2]) for i in ids)])
    write_table(tmp_path / "sample_submission.csv", [("id", "kind"), ("6", "a"), ("7", "b")])

    assert labels_of(read_images(tmp_path, verify=False)) == list("ababab")


@pytest.mark.parametrize("table", ["val.csv", "validation.csv", "LOC_val_solution.csv", "valid_labels.csv"])
def test_a_table_of_validation_images_is_left_out(tmp_path: Path, table: str) -> None:
    for part in ("train", "val", "test"):
        for i in range(6):
            save(tmp_path / part / f"{i}.png", ord(part[0]) + i, 8)
    rows = [(str(i), "ab"[i % 2]) for i in range(6)]
    write_table(tmp_path / "train.csv", [("id", "label"), *rows])
    write_table(tmp_path / table, [("id", "label"), *((i, "ba"["ab".index(label)]) for i, label in rows)])
    write_table(tmp_path / "test.csv", [("id",), *((str(i),) for i in range(6))])
    found = read_images(tmp_path, verify=False)

    assert dict(zip(found.train_images.paths, labels_of(found), strict=True)) == {
        f"train/{i}.png": "ab"[i % 2] for i in range(6)
    }
    assert len(found.test_ids) == 6
    assert any(f"not read: {table}, validation images" in warning for warning in found.warnings)


def test_names() -> None:
    order = ["train.csv", "train_labels.csv", "labels.csv", "train_metadata.csv", "data.csv"]
    assert sorted(order, key=lambda name: claim_level(Path(name))) == order
    assert claim_level(Path("train_solution.csv")) == claim_level(Path("train_labels.csv"))
    assert not any(is_named_validation(Path(name)) for name in ("trainval.txt", "train_val.csv", "values.csv"))


@pytest.mark.parametrize("numbers", [range(6), range(100, 106)])
def test_folders_with_random_ends_are_parts(tmp_path: Path, numbers: range) -> None:
    """As on Analytics Vidhya, whose archives have such names."""
    for i in range(8):
        save(tmp_path / "train_LbELtWX" / "train" / f"{i}.png", i, 8)
    for i in numbers:
        save(tmp_path / "test_ScVgIM0" / "test" / f"{i}.png", 50 + i, 8)
    rows = [(f"{i}.png", "ab"[i % 2]) for i in range(8)]
    write_table(tmp_path / "train_LbELtWX" / "train.csv", [("filename", "label"), *rows])
    tests = [(f"{i}.png",) for i in numbers]
    write_table(tmp_path / "test_ScVgIM0" / "test.csv", [("filename",), *tests])
    write_table(tmp_path / "sample_submission_I5njJSF.csv", [("filename", "label"), *((i, "a") for (i,) in tests)])
    found = read_images(tmp_path, verify=False)

    assert dict(zip(found.train_images.paths, labels_of(found), strict=True)) == {
        f"train_LbELtWX/train/{i}.png": "ab"[i % 2] for i in range(8)
    }
    assert list(found.test_images.paths) == [f"test_ScVgIM0/test/{i}.png" for i in numbers]
    assert not any("train_LbELtWX/train.csv" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "phone",
            "Handy",
            "Smartphone",
            "teléfono",
            "Fotografin",
            "Fotógrafa",
            "photographe",
            "observer",
            "Bearbeiterin",
        ),
        *("annotated_by", "checked by", "Geprüft von", "fotografo", "标注员", "担当者", "kb"),
    ],
)
def test_a_lone_column_of_persons_or_devices_is_no_label(tmp_path: Path, name: str) -> None:
    for i in range(8):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    write_table(tmp_path / "list.csv", [("file", name), *((f"{i}.png", "pq"[i // 4]) for i in range(8))])
    assert "--label-column" in problems_of(tmp_path)
    assert labels_of(read_images(tmp_path, DataOptions(label_column=name), verify=False)) == list("ppppqqqq")
