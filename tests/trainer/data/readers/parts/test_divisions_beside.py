"""Tables beside the labels, or beside class folders, that divide the images whatever else they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.trainer.data.readers.test_second_answers import KINDS, folder_of, names, refused, rows_of
from trainer.data.image_set import DataOptions
from trainer.data.read import read_images

LAST = 8
"""The first test image of twelve."""
TESTS = tuple(f"images/{number:03}.png" for number in range(LAST, 12))
LABELS = rows_of("image,label", 12, lambda i: (f"{i:03}.png", KINDS[i % 3]))
PATIENTS = rows_of("image,patient_id,label", 12, lambda i: (f"{i:03}.png", f"P{i // 2}", KINDS[i % 3]))
Row = Callable[[int], Sequence[object]]


def part(number: int) -> str:
    return "test" if number >= LAST else "train"


def parts_read(folder: Path, **options: str) -> tuple[str, ...]:
    """The test images. All others are for training."""
    found = read_images(folder, DataOptions(**options), verify=False)  # type: ignore[arg-type]
    assert set(found.train_images.paths).isdisjoint(found.test_images.paths)
    assert len(found.train_images.paths) + len(found.test_images.paths) == 12
    return tuple(found.test_images.paths)


@pytest.mark.parametrize("table", ["metadata", "splits", "folds"])
@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image,label,split", lambda i: (f"{i:03}", KINDS[i % 3], part(i))),
        ("image,label_id,split", lambda i: (f"{i:03}", i % 3, part(i))),
        ("image,sex,split", lambda i: (f"{i:03}", "MF"[i % 2], part(i))),
        ("image,patient_id,split", lambda i: (f"{i:03}", f"P{i // 2}", part(i))),
        ("image,width,height,split", lambda i: (f"{i:03}", 640, 480, part(i))),
        (",image,width,split", lambda i: (i, f"{i:03}", 640, part(i))),
        ("image,is_train", lambda i: (f"{i:03}", int(i < LAST))),
        ("image,site,is_test", lambda i: (f"{i:03}", "AB"[i % 2], i >= LAST)),
        ("image,train,test", lambda i: (f"{i:03}", i < LAST, i >= LAST)),
    ],
)
def test_a_second_table_divides_the_images(tmp_path: Path, table: str, header: str, row: Row) -> None:
    folder = folder_of(tmp_path, names(12), labels=LABELS, **{table: rows_of(header, 12, row)})
    assert parts_read(folder) == TESTS
    found = read_images(folder, verify=False)
    assert any(f"{table}.csv divides the rows of labels.csv" in note for note in found.notes)
    assert not any(note.startswith("not read") for note in found.notes)


@pytest.mark.parametrize("table", ["split", "splits_0", "train_val_test"])
def test_a_column_of_names_for_each_part(tmp_path: Path, table: str) -> None:
    wide = rows_of("train,val,test", 8, lambda i: (f"{i:03}", f"{i + 8:03}" * (i < 2), f"{i + 10:03}" * (i < 2)))
    found = read_images(folder_of(tmp_path, names(12), labels=LABELS, **{table: wide}), verify=False)
    assert found.test_images.paths == ("images/010.png", "images/011.png")
    assert set(found.train_images.paths) == set(names(8))


@pytest.mark.parametrize("table", ["patients", "splits"])
def test_a_table_of_patients_divides_their_images(tmp_path: Path, table: str) -> None:
    rows = rows_of("patient_id,age,split", 6, lambda i: (f"P{i}", 30 + i // 2, part(2 * i)))
    assert parts_read(folder_of(tmp_path, names(12), labels=PATIENTS, **{table: rows})) == TESTS


def test_a_table_of_folders_divides_their_images(tmp_path: Path) -> None:
    files = [f"P{i // 2}/{i}.png" for i in range(12)]
    labels = rows_of("patient_id,label", 6, lambda i: (f"P{i}", KINDS[i % 2]))
    splits = rows_of("patient_id,sex,split", 6, lambda i: (f"P{i}", "MF"[i % 2], part(2 * i)))
    folder = folder_of(tmp_path, files, labels=labels, meta=splits)
    assert parts_read(folder, table="labels.csv") == tuple(files[LAST:])


@pytest.mark.parametrize("name", ["test.txt", "test_patients.txt", "splits/test.txt", "test_ids.csv"])
@pytest.mark.parametrize("header", ["", "patient_id\n"])
def test_a_list_of_patients_is_refused_and_its_advice_works(tmp_path: Path, name: str, header: str) -> None:
    folder = folder_of(tmp_path, names(12), labels=PATIENTS)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(f"{header}P4\nP5\n")
    problem = refused(folder)
    assert f"{name} lists 2 values of the column 'patient_id' of labels.csv" in problem
    assert "Write a table splits.csv with the columns patient_id and split" in problem
    (folder / name).unlink()
    (folder / "splits.csv").write_text(rows_of("patient_id,split", 6, lambda i: (f"P{i}", part(2 * i))))
    assert parts_read(folder) == TESTS


def test_a_subset_of_the_labels_keeps_their_parts(tmp_path: Path) -> None:
    labels = rows_of("image,label,split", 12, lambda i: (f"{i:03}.png", KINDS[i % 3], part(i)))
    small = rows_of("image,label", 6, lambda i: (f"{2 * i:03}.png", KINDS[2 * i % 3]))
    found = read_images(folder_of(tmp_path, names(12), labels=labels, train_small=small), verify=False)
    assert set(found.train_images.paths).isdisjoint(TESTS)


@pytest.mark.parametrize("header", ["image,width,height,split", "image,width,note,split"])
def test_a_table_beside_class_folders_divides_the_images(tmp_path: Path, header: str) -> None:
    files = [f"{KINDS[i % 3]}/{i:03}.png" for i in range(12)]
    splits = rows_of(header, 12, lambda i: (f"{i:03}", 640, 480 + i, part(i)))
    assert set(parts_read(folder_of(tmp_path, files, splits=splits))) == set(files[LAST:])


def test_unknown_parts_in_a_second_table_are_a_question(tmp_path: Path) -> None:
    splits = rows_of("image,sex,split", 12, lambda i: (f"{i:03}", "MF"[i % 2], "ABC"[i // 4]))
    folder = folder_of(tmp_path, names(12), labels=LABELS, splits=splits)
    problem = refused(folder)
    assert "the column 'split' seems to divide the rows for training and testing, but 12 rows hold 'A', 'B'" in problem
    assert "--label-column" not in problem and "If splits.csv does not divide the images, move it" in problem
    (folder / "splits.csv").unlink()
    assert len(read_images(folder, verify=False).y) == 12


@pytest.mark.parametrize("column", ["exclude", "quality", "usable"])
def test_marks_in_a_second_table_are_named(tmp_path: Path, column: str) -> None:
    marks = rows_of(f"image,{column}", 12, lambda i: (f"{i:03}", "yes" if i > 9 else "no"))
    warnings = read_images(folder_of(tmp_path, names(12), labels=LABELS, qc=marks), verify=False).warnings
    assert any(warning.startswith(f"qc.csv: the column {column!r} ('no', 'yes') is not used") for warning in warnings)


@pytest.mark.parametrize("name", ["errata.txt", "blurred.csv", "unscharf.txt"])
def test_a_list_of_a_few_images_is_named(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, names(12), labels=LABELS)
    (folder / name).write_text("image\n" * name.endswith("csv") + "010.png\n011.png\n")
    warnings = read_images(folder, verify=False).warnings
    assert any(warning.startswith(f"not used: {name}, which names 2 training images") for warning in warnings)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("train/test", ("tr", "ts")),
        ("set", ("tr", "te")),
        ("set", ("Train.", "Test.")),
        ("Aufteilung", ("Lernen", "Testen")),
    ],
)
def test_short_forms_and_marks_at_the_end_are_parts(tmp_path: Path, column: str, values: tuple[str, str]) -> None:
    rows = rows_of(f"image,label,{column}", 12, lambda i: (f"{i:03}", KINDS[i % 3], values[i >= LAST]))
    assert parts_read(folder_of(tmp_path, names(12), labels=rows)) == TESTS


@pytest.mark.parametrize(
    ("column", "values"),
    [("Train(1)/Test(0)", (1, 0)), ("split_1", (0, 2)), ("split2", (1, 3)), ("fold", (0, -1)), ("train_val", (0, 1))],
)
def test_numbers_in_a_column_that_surely_divides_are_a_question(
    tmp_path: Path, column: str, values: tuple[int, int]
) -> None:
    rows = rows_of(f"image,label,{column}", 12, lambda i: (f"{i:03}", KINDS[i % 3], values[i >= LAST]))
    problem = refused(folder_of(tmp_path, names(12), labels=rows))
    assert f"the column {column!r} seems to divide the rows for training and testing" in problem


@pytest.mark.parametrize("column", ["", "index", "Unnamed: 0"])
def test_a_row_number_that_names_the_folders_makes_no_list_of_classes(tmp_path: Path, column: str) -> None:
    files = [f"images/{i % 2}/{i:03}.png" for i in range(12)]
    rows = rows_of(f"{column},path,category", 12, lambda i: (i, files[i], KINDS[i % 3]))
    found = read_images(folder_of(tmp_path, files, data=rows), verify=False)
    assert {path: found.class_names[label] for path, label in zip(found.train_images.paths, found.y, strict=True)} == {
        path: KINDS[i % 3] for i, path in enumerate(files)
    }


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " ", ","])
@pytest.mark.parametrize("form", [str, str.upper, "./{}".format, '"{}"'.format])
def test_lists_in_a_folder_are_read_whatever_separates_their_fields(
    tmp_path: Path, delimiter: str, form: Callable[[str], str]
) -> None:
    folder = folder_of(tmp_path, names(12))
    (folder / "lists").mkdir()
    for name, numbers in (("train", range(LAST)), ("test", range(LAST, 12))):
        lines = [f"{form(f'images/{i:03}.png')}{delimiter}{KINDS[i % 3]}\n" for i in numbers]
        (folder / "lists" / f"{name}.txt").write_text("".join(lines))
    assert parts_read(folder) == TESTS


@pytest.mark.parametrize("column", ["split_leaf", "trained_value", "restrained_test", "latest_train_stop"])
def test_a_name_that_only_resembles_a_division_is_no_question(tmp_path: Path, column: str) -> None:
    rows = rows_of(f"image,label,{column}", 12, lambda i: (f"{i:03}", KINDS[i % 3], 10 + i % 2))
    assert len(read_images(folder_of(tmp_path, names(12), labels=rows), verify=False).y) == 12


def test_numbers_that_divide_are_explained(tmp_path: Path) -> None:
    rows = rows_of("image,site,is_test", 12, lambda i: (f"{i:03}", "AB"[i % 2], int(i >= LAST)))
    notes = read_images(folder_of(tmp_path, names(12), labels=LABELS, splits=rows), verify=False).notes
    assert "splits.csv divides the rows of labels.csv (0 train, 1 test): 8 train, 4 test" in notes


def test_a_list_of_patients_beside_parts_in_the_labels_is_no_question(tmp_path: Path) -> None:
    labels = rows_of("image,patient_id,label,split", 12, lambda i: (f"{i:03}.png", f"P{i // 2}", KINDS[i % 3], part(i)))
    folder = folder_of(tmp_path, names(12), labels=labels)
    (folder / "splits").mkdir()
    (folder / "splits" / "test.txt").write_text("P4\nP5\n")
    assert parts_read(folder) == TESTS
