"""Which columns hold ids, labels and parts: by evidence, and a question where two fit equally well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataError, DataOptions, ImageSet, read_images
from trainer.formats.delimited import write_table
from trainer.formats.part_words import Part

Rows = Sequence[Sequence[object]]
IDS = [7, 2, 11, 5, 0, 9, 3, 10, 1, 8, 4, 6]  # numbers that are no row numbers


def label(i: int) -> str:
    return ("cat", "dog")[i % 2]


def folder_of(
    root: Path, rows: Rows, *, files: Sequence[str] = (), sample: Rows = (), test: Sequence[str] = ()
) -> Path:
    """A data folder: train.csv, images 0.png to 11.png in train/, and a sample submission."""
    for seed, name in enumerate(files or [f"{i}.png" for i in range(12)]):
        save(root / "train" / name, seed, 8)
    for seed, name in enumerate(test, 900):
        save(root / "test" / name, seed, 8)
    write_table(root / "train.csv", [[str(cell) for cell in row] for row in rows])
    if sample:
        write_table(root / "sample_submission.csv", [[str(cell) for cell in row] for row in sample])
    return root


def label_by_file(found: ImageSet) -> dict[str, str]:
    names = [found.train_images.name(i).split(" ")[0] for i in range(len(found.y))]
    return dict(zip(names, labels_of(found), strict=True))


RIGHT = {f"train/{i}.png": label(i) for i in IDS}


@pytest.mark.parametrize("counter", ["", "Unnamed: 0", "index"])
@pytest.mark.parametrize("name", ["id", "image_id", "scan"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_numbers_the_rows_is_no_id(tmp_path: Path, counter: str, name: str, first: int) -> None:
    rows = [(counter, name, "label"), *((row, i, label(i)) for row, i in enumerate(IDS, first))]
    found = read_images(folder_of(tmp_path, rows), verify=False)
    assert label_by_file(found) == RIGHT
    assert f"train.csv: id column {name!r}, label column 'label'" in found.notes
    assert any("not read as image names" in note for note in found.notes)


@given(order=st.permutations(range(12)))
@settings(max_examples=20)
def test_the_labels_do_not_depend_on_the_order_of_rows(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    rows = [("Unnamed: 0", "id", "label"), *((row, i, label(i)) for row, i in enumerate(order))]
    root = tmp_path_factory.getbasetemp() / "orders"
    assert label_by_file(read_images(folder_of(root, rows), verify=False)) == RIGHT


@given(order=st.permutations(range(5)))
@settings(max_examples=20)
def test_the_labels_do_not_depend_on_the_order_of_columns(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    header = ("", "id", "label", "fold", "age")
    rows = [header, *((row, i, label(i), row % 3, 20 + row % 4) for row, i in enumerate(IDS))]
    root = tmp_path_factory.getbasetemp() / "columns"
    rows = [tuple(row[column] for column in order) for row in rows]
    assert label_by_file(read_images(folder_of(root, rows), verify=False)) == RIGHT


def test_file_names_go_before_numbers(tmp_path: Path) -> None:
    rows = [("id", "filename", "label"), *((row, f"{i}.png", label(i)) for row, i in enumerate(IDS))]
    sample = [("id", "label"), (100, "cat"), (101, "dog")]
    root = folder_of(tmp_path, rows, sample=sample, test=["100.png", "101.png"])
    found = read_images(root, verify=False)
    assert label_by_file(found) == RIGHT
    assert found.train_ids == tuple(map(str, range(12)))  # the sample asks for them


@pytest.mark.parametrize("names", [("id", "image"), ("id", "photo_no"), ("scan", "shot")])
def test_two_columns_that_name_different_images_are_a_question(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = [(*names, "label"), *((row, i, label(i)) for row, i in enumerate(IDS))]
    root = folder_of(tmp_path, rows)
    message = problems_of(root)
    assert f"the columns {names[0]!r}, {names[1]!r} name images" in message and "--id-column NAME" in message
    assert label_by_file(read_images(root, DataOptions(id_column=names[1]), verify=False)) == RIGHT


@pytest.mark.parametrize(
    "numbers", [range(5, 17), range(11, -1, -1), range(100, 112), [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13]]
)
def test_a_row_number_from_any_start_is_a_question(tmp_path: Path, numbers: Sequence[int]) -> None:
    rows = [("id", "photo", "label"), *((row, i, label(i)) for row, i in zip(numbers, reversed(IDS), strict=True))]
    rows = [(row, i if isinstance(i, str) else sorted(numbers)[i], name) for row, i, name in rows]
    root = folder_of(tmp_path, rows, files=[f"{i}.png" for i in numbers])
    assert "the columns 'id', 'photo' name images" in problems_of(root)


ADDRESSES = [
    "{0}.png (https://host/x/{0}.png)",
    "/data/upload/1/0000000a-{}.png",
    "https://host/x/{}.png?raw=true",
    "/data/local-files/?d=train/{}.png",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_go_before_task_numbers(tmp_path: Path, address: str) -> None:
    rows = [("annotation_id", "choice", "id", "image")]
    rows += [(100 + row, label(i), row, address.format(i)) for row, i in enumerate(IDS)]  # type: ignore[misc]
    found = read_images(folder_of(tmp_path, rows), DataOptions(label_column="choice"), verify=False)
    assert label_by_file(found) == RIGHT


@pytest.mark.parametrize(
    "name", ["IMG_{}.jpg", "https://host/x/IMG_{}.jpg?raw=true", "photos\\P{}.JPG", "P{}.jpg (https://host/x)"]
)
def test_numbers_name_no_images_beside_file_names_that_are_missing(tmp_path: Path, name: str) -> None:
    rows = [("id", "photo", "label"), *((i, name.format(i + 17), label(i)) for i in IDS)]
    sample = [("id", "label"), (100, "cat"), (101, "dog")]
    root = folder_of(tmp_path, rows, sample=sample, test=["100.png", "101.png"])
    message = problems_of(root)
    assert "numbers in 'id'" in message and "column 'photo'" in message and "--id-column NAME" in message
    assert label_by_file(read_images(root, DataOptions(id_column="id"), verify=False)) == RIGHT


def test_two_label_columns_are_a_question_unless_they_agree(tmp_path: Path) -> None:
    rows = [("id", "label", "category"), *((i, label(i), "xyz"[i % 3]) for i in IDS)]
    message = problems_of(folder_of(tmp_path, rows))
    assert "it could be 'label', 'category'" in message and "--label-column NAME" in message
    rows = [("id", "label", "class_name"), *((i, i % 2, label(i)) for i in IDS)]
    assert read_images(folder_of(tmp_path, rows), verify=False).class_names == ("0", "1")


@pytest.mark.parametrize("across", ["x", "Bbox [x", "center_x"])
def test_a_coordinate_is_no_label(tmp_path: Path, across: str) -> None:
    rows = [("filename", across, "y", "kind"), *((f"{i}.png", i % 5, i % 3, label(i)) for i in IDS)]
    assert read_images(folder_of(tmp_path, rows), verify=False).class_names == ("cat", "dog")


def test_a_y_beside_a_merged_column_is_a_label(tmp_path: Path) -> None:
    rows = [("filename", "age_x", "y", "kind"), *((f"{i}.png", i % 5, label(i), "abc"[i % 3]) for i in IDS)]
    assert read_images(folder_of(tmp_path, rows), verify=False).class_names == ("cat", "dog")


def test_a_table_of_boxes_is_a_question_beside_one_of_all_images(tmp_path: Path) -> None:
    findings = ("None", "Mass", "Nodule")
    rows = [("Image Index", "Finding Labels", "Patient ID"), *((f"{i}.png", findings[i % 3], i // 2) for i in IDS)]
    root = folder_of(tmp_path, rows)
    (root / "train.csv").rename(root / "Data_Entry_2017.csv")
    boxes = [("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")]
    boxes += [(f"{i}.png", findings[i % 3], "1.5", f"{i}.5", "8", "9") for i in IDS if i % 3]
    write_table(root / "BBox_List_2017.csv", boxes)
    message = problems_of(root)
    assert "'BBox_List_2017.csv', 'Data_Entry_2017.csv'" in message and "--label-column NAME" in message
    options = DataOptions(table="Data_Entry_2017.csv", label_column="Finding Labels")
    assert len(read_images(root, options, verify=False).train_ids) == 12


@pytest.mark.parametrize("names", [("category", "variety"), ("breed", "adoption_speed"), ("label", "source")])
def test_columns_that_a_usual_name_passes_over_are_noted(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = [("id", *names), *((i, label(i), "xyz"[i % 3]) for i in IDS)]
    found = read_images(folder_of(tmp_path, rows), verify=False)
    assert any(f"are {names[0]!r}, a usual name, but {names[1]!r} could hold them" in note for note in found.notes)


@pytest.mark.parametrize("predictions", [("w0 w1 w2",) * 2, ("w0 w1 w2", "w2 w1 w0"), ("w0", "w1 w2")])
def test_a_sample_with_several_values_a_row_shows_the_labels(tmp_path: Path, predictions: tuple[str, str]) -> None:
    rows = [("image", "species", "individual_id"), *((f"{i}.png", label(i), f"w{i % 3}") for i in IDS)]
    sample = [("image", "predictions"), *zip(("a.png", "b.png"), predictions, strict=True)]
    root = folder_of(tmp_path, rows, sample=sample, test=["a.png", "b.png"])
    assert read_images(root, verify=False).class_names == ("w0", "w1", "w2")


@pytest.mark.parametrize(("values", "classes"), [((0, 1), ("0", "1")), (("cat", "dog"), ("cat", "dog"))])
def test_the_sample_shows_whether_labels_are_names_or_numbers(
    tmp_path: Path, values: tuple[object, object], classes: tuple[str, str]
) -> None:
    rows = [("id", "label", "label_id"), *((i, label(i), i % 2) for i in IDS)]
    sample = [("id", "answer"), ("a", values[0]), ("b", values[1])]
    found = read_images(folder_of(tmp_path, rows, sample=sample, test=["a.png", "b.png"]), verify=False)
    assert found.class_names == classes


def test_numbers_in_the_sample_for_named_classes_are_refused(tmp_path: Path) -> None:
    rows = [("id", "label"), *((i, label(i)) for i in IDS)]
    sample = [("id", "label"), ("a", 0), ("b", 1)]
    message = problems_of(folder_of(tmp_path, rows, sample=sample, test=["a.png", "b.png"]))
    assert "holds '0', '1', which look like numbers of classes" in message


@pytest.mark.parametrize(("written", "classes"), [("1", ("0", "1")), ("1.0", ("0.0", "1.0"))])
def test_labels_with_a_decimal_point_follow_the_sample(tmp_path: Path, written: str, classes: tuple[str, str]) -> None:
    rows = [("id", "label"), *((i, f"{i % 2}.0") for i in IDS)]
    sample = [("id", "label"), ("a", written), ("b", written.replace("1", "0"))]
    found = read_images(folder_of(tmp_path, rows, sample=sample, test=["a.png", "b.png"]), verify=False)
    assert found.class_names == classes


def test_columns_that_cannot_hold_labels(tmp_path: Path) -> None:
    rows = [("id", "fold", "width", "remark", "breed"), *((i, i % 3, 8, f"r{i}", label(i)) for i in IDS)]
    assert read_images(folder_of(tmp_path, rows), verify=False).class_names == ("cat", "dog")
    rows = [("id", "remark"), *((i, f"r{i}") for i in IDS)]
    assert "no column can hold the labels" in problems_of(folder_of(tmp_path, rows))


def test_a_first_row_without_its_image_is_no_header(tmp_path: Path) -> None:
    rows = [(f"a{i}f", label(i)) for i in range(9)]
    folder = folder_of(tmp_path, rows, files=[f"a{i}f.png" for i in range(1, 9)])
    assert "row 1: there is no image 'a0f'" in problems_of(folder)


def test_tables_of_pixels_are_refused(tmp_path: Path) -> None:
    rows = [("label", *(f"pixel{i}" for i in range(70))), *((i % 2, *[0] * 70) for i in range(12))]
    message = problems_of(folder_of(tmp_path, rows, files=["a.png"]))
    assert "none of its 71 columns names an image. Tables of pixel values are not read" in message


@pytest.mark.parametrize(
    ("column", "values", "n_test"),
    [
        ("split", ("train", "val", "test"), 4),
        ("dataset", ("Training", "Test", "Test"), 8),
        ("is_test", ("0", "1", "0"), 4),
        ("istest", ("0", "1", "0"), 4),
        ("inTrain", ("1", "0", "0"), 8),
        ("isValid", ("False", "True", "False"), 0),
        ("holdout", ("no", "yes", "no"), 4),
        ("is_test", ("", "x", ""), 4),
        ("is_valid", ("False", "True", "False"), 0),
        ("Usage", ("Training", "PublicTest", "PrivateTest"), 8),
        ("split", ("trn", "tst", "tst"), 8),
        ("分割", ("学習", "評価", "検証"), 4),
        ("is_training_image", ("1", "0", "0"), 8),
        ("train", ("1", "0", "1"), 4),
        ("data_split", ("train", "train_extra", "test"), 4),
    ],
)
def test_one_table_for_all_parts(tmp_path: Path, column: str, values: tuple[str, ...], n_test: int) -> None:
    rows = [("id", "label", column), *((i, label(i // 3), values[i % 3]) for i in range(12))]
    found = read_images(folder_of(tmp_path, rows), verify=False)
    known = (
        "train",
        "training",
        "trn",
        "学習",
        "train_extra",
        "false",
        "no",
        "",
        "1" if "train" in column.lower() else "0",
    )
    training = [str(i) for i in range(12) if values[i % 3].lower() in known]
    assert list(found.train_ids) == training
    assert len(found.test_ids) == n_test and not set(found.test_ids) & set(training)
    left_out = 12 - len(training) - n_test
    assert any(f"not read: {left_out} validation rows" in warning for warning in found.warnings) == (left_out > 0)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("split", ("train", "test", "")),
        ("split", ("train", "test", "unused")),
        ("set", ("train", "A", "B")),
        ("partition", ("0", "1", "2")),
        ("is_train", ("1", "0", "")),
        ("origin", ("train", "test", "other")),
    ],
)
def test_unknown_parts_are_refused(tmp_path: Path, column: str, values: tuple[str, ...]) -> None:
    rows = [("id", "label", column), *((i, label(i // 3), values[i % 3]) for i in range(12))]
    root = folder_of(tmp_path, rows)
    message = problems_of(root)
    assert f"the column {column!r} seems to divide the rows" in message and "Write train, val or test" in message
    found = read_images(root, DataOptions(group_column=column), verify=False)
    assert found.groups is not None and len(found.train_ids) == 12


@pytest.mark.parametrize(
    ("column", "values"),
    [("fold", "012"), ("set", "AB"), ("vehicle", ("train", "bus")), ("phase", ("venous", "arterial"))],
)
def test_other_columns_do_not_divide_the_rows(tmp_path: Path, column: str, values: Sequence[str]) -> None:
    rows = [("id", "label", column), *((i, label(i // 3), values[i % len(values)]) for i in range(12))]
    assert len(read_images(folder_of(tmp_path, rows), verify=False).train_ids) == 12


@pytest.mark.parametrize("first", ["7", "99"])
def test_a_table_without_a_header_loses_no_row(tmp_path: Path, first: str) -> None:
    rows = [(first, "dog"), *((i, label(i)) for i in IDS[1:])]
    root = folder_of(tmp_path, rows)
    if first == "99":
        assert "train.csv row 1: there is no image '99'" in problems_of(root)
    else:
        assert len(read_images(root, verify=False).y) == 12


def test_a_header_may_be_called_as_an_image_is(tmp_path: Path) -> None:
    rows = [("image", "label"), *((i, label(i)) for i in IDS)]
    files = ["image.png", *(f"{i}.png" for i in range(12))]
    assert read_images(folder_of(tmp_path, rows, files=files), verify=False).class_names == ("cat", "dog")


def test_rows_without_a_label_can_be_left_out(tmp_path: Path) -> None:
    rows = [("id", "label"), *((i, "NaN" if i == 7 else "" if i == 2 else label(i)) for i in IDS)]
    root = folder_of(tmp_path, rows)
    message = problems_of(root)
    assert "train.csv row 2: the label is missing: 'NaN'" in message and "row 3: the label is empty" in message
    found = read_images(root, DataOptions(skip_bad=True), verify=False)
    assert (len(found.y), sorted(found.skipped)) == (10, ["2", "7"])


def test_spellings_of_a_label_are_a_question(tmp_path: Path) -> None:
    rows = [("id", "label"), *((i, "Cat" if i == 2 else label(i)) for i in IDS)]
    root = folder_of(tmp_path, rows)
    assert "differ only in spelling: 'cat' (5 images) and 'Cat' (1 image)" in problems_of(root)
    assert read_images(root, DataOptions(similar_labels="merge"), verify=False).class_names == ("cat", "dog")
    assert read_images(root, DataOptions(similar_labels="keep"), verify=False).class_names == ("Cat", "cat", "dog")


def test_blanks_around_labels_are_removed_aloud(tmp_path: Path) -> None:
    rows = [("id", "label"), *((i, "cat " if i == 2 else label(i)) for i in IDS)]
    found = read_images(folder_of(tmp_path, rows), verify=False)
    assert found.class_names == ("cat", "dog")
    assert any("blanks around labels are removed: 'cat' (also 'cat ')" in warning for warning in found.warnings)


def test_further_columns_of_a_sample_stay(tmp_path: Path) -> None:
    rows = [("id", "label"), *((i, label(i)) for i in IDS)]
    sample = [("id", "file", "label"), (1, "a.png", "cat"), (2, "b.png", "cat")]
    found = read_images(folder_of(tmp_path, rows, sample=sample, test=["a.png", "b.png"]), verify=False)
    assert found.test_ids == ("1", "2") and found.test_images.name(1).startswith("test/b.png")
    assert found.submission is not None
    assert (found.submission.kind, found.submission.fixed) == ("label", {1: ("a.png", "b.png")})


@pytest.mark.parametrize("mark", "\uff0c\u3001\uff1b:^~")
def test_an_unknown_delimiter_is_named(tmp_path: Path, mark: str) -> None:
    for i in range(4):
        save(tmp_path / "train" / f"a{i}.png", i)
    rows = [("id", "label"), *((f"a{i}", ["cat", "dog"][i % 2]) for i in range(4))]
    (tmp_path / "train.csv").write_text("\n".join(map(mark.join, rows)), encoding="utf-8")
    with pytest.raises(DataError, match="delimiter was not recognised") as caught:
        read_images(tmp_path)
    assert repr(mark) in str(caught.value)


@pytest.mark.parametrize("name", ["fold", "kfold", "Fold ID", "cv_fold"])
def test_a_column_of_folds_that_is_not_used_is_named(tmp_path: Path, name: str) -> None:
    rows = [("id", "label", name), *((i, label(i), i % 3) for i in range(12))]
    found = read_images(folder_of(tmp_path, rows), verify=False)
    note = f"the column {name!r} is not used, because new folds are cut: `search start --study STUDY --folds TABLE`"
    assert note in "\n".join(found.notes)
    grouped = read_images(tmp_path, DataOptions(group_column=name), verify=False)
    assert "is not used" not in "\n".join(grouped.notes)


def test_a_rank_called_class_is_a_question(tmp_path: Path) -> None:
    header = ("file", "kingdom", "class", "order", "scientificName")
    kinds = (
        ("Aves", "Owls", "Bubo bubo"),
        ("Insecta", "Flies", "Musca domestica"),
        ("Insecta", "Bees", "Apis mellifera"),
    )
    rows = [header, *((f"{i}.png", "Animalia", *kinds[i % 3]) for i in range(12))]
    message = problems_of(folder_of(tmp_path / "a", rows))
    assert "it could be 'class', 'order', 'scientificName'" in message
    species = [(*header[:4], "species"), *rows[1:]]
    found = read_images(folder_of(tmp_path / "b", species), verify=False)
    assert found.class_names == ("Apis mellifera", "Bubo bubo", "Musca domestica")
    no_rank = [("file", "class", "order"), *((f"{i}.png", label(i), f"{i % 3}") for i in range(12))]
    assert read_images(folder_of(tmp_path / "c", no_rank), verify=False).class_names == ("cat", "dog")


def test_a_title_above_the_header_is_named(tmp_path: Path) -> None:
    rows = [("Labels of spring", ""), ("", ""), ("id", "label"), *((f"{i}.png", label(i)) for i in range(12))]
    message = problems_of(folder_of(tmp_path, rows))
    assert "train.csv row 3 looks like the header, but 'Labels of spring' stands above it" in message


@pytest.mark.parametrize("folder", ["CAM{}", "CAM{}\\100EK113", "./CAM{}/"])
def test_a_column_of_folders_and_one_of_file_names_are_named(tmp_path: Path, folder: str) -> None:
    rows: list[tuple[object, ...]] = [("File", "RelativePath", "Species")]
    for camera in (1, 2):
        for i in range(6):
            place = folder.format(camera)
            save(tmp_path / place.replace("\\", "/") / f"IMG_{i}.JPG", 10 * camera + i, 8)
            rows.append((f"IMG_{i}.JPG", place, label(i + camera)))
    write_table(tmp_path / "data.csv", [[str(cell) for cell in row] for row in rows])
    message = problems_of(tmp_path)
    assert "the columns 'RelativePath' and 'File' name the images together, because 6 file names" in message
    assert message.count("\n") == 0 and "/IMG_0.JPG'" in message


@pytest.mark.parametrize("name", ["patient_id", "PatientID", "Subject", "artist"])
def test_a_column_that_may_group_images_is_named(tmp_path: Path, name: str) -> None:
    rows = [("id", name, "label"), *((f"{i}.png", f"p{i % 6}", label(i)) for i in range(12))]
    root = folder_of(tmp_path, rows)
    assert any(f"--group-column {name}" in warning for warning in read_images(root, verify=False).warnings)
    grouped = read_images(root, DataOptions(group_column=name), verify=False)
    assert not any("--group-column" in warning for warning in grouped.warnings)


@pytest.mark.parametrize("form", ["{:02}.03.2021", "2021-03-{:02} 10:15", "2021年3月{}日", "https://a.org/{}"])
@pytest.mark.parametrize("name", ["taken", "aufgenommen", "撮影"])
def test_a_lone_column_of_dates_or_links_is_no_label(tmp_path: Path, form: str, name: str) -> None:
    folder = folder_of(tmp_path, [("id", name), *((i, form.format(1 + i % 3)) for i in IDS)])
    kind = "links" if "http" in form else "dates"
    assert f"the only column that could hold labels is {name!r}, which holds {kind}" in problems_of(folder)
    chosen = read_images(folder, DataOptions(label_column=name), verify=False)
    assert sorted(label_by_file(chosen).values()) == sorted(form.format(1 + i % 3) for i in IDS)


def test_an_id_of_few_rows_is_no_label(tmp_path: Path) -> None:
    files = [f"{i}.png" for i in range(8)]
    folder = folder_of(tmp_path, [("id", "file_name"), *((100 + i, name) for i, name in enumerate(files))], files=files)
    assert "no column can hold the labels; the columns are 'id', 'file_name'" in problems_of(folder)
    write_table(folder / "train.csv", [("kind", "file_name"), *((f"k{i}", name) for i, name in enumerate(files))])
    assert read_images(folder, verify=False).class_names == tuple(f"k{i}" for i in range(8)), "one-shot classes"


OTHERS = [4, 9, 0, 7, 10, 2, 6, 1, 11, 3, 8, 5]
"""Numbers of annotations, in another order than `IDS`."""


@pytest.mark.parametrize(
    "name", ["photo_id", "file no", "picture", "slide", "frame", "reference", "tile", "jpg", "crop"]
)
def test_numbers_of_annotations_under_the_usual_name_are_a_question(tmp_path: Path, name: str) -> None:
    rows = [("id", name, "label"), *((other, i, label(i)) for other, i in zip(OTHERS, IDS, strict=True))]
    root = folder_of(tmp_path, rows)
    assert f"the columns 'id', {name!r} name images, but different ones in the same row" in problems_of(root)
    assert label_by_file(read_images(root, DataOptions(id_column=name))) == RIGHT


@pytest.mark.parametrize("name", ["nr", "No.", "#"])
def test_a_number_beside_another_unusual_column_is_a_question(tmp_path: Path, name: str) -> None:
    rows = [(name, "sample", "label"), *((i, other, label(i)) for other, i in zip(OTHERS, IDS, strict=True))]
    root = folder_of(tmp_path, rows)
    assert f"the columns {name!r}, 'sample' name images, but different ones in the same row" in problems_of(root)
    assert label_by_file(read_images(root, DataOptions(id_column=name))) == RIGHT


@pytest.mark.parametrize(
    ("name", "cell"), [("photo", "foto {}"), ("Bild", "Nr. {:03}"), ("file", "{}. Bild"), ("remark", "photo {}")]
)
def test_numbers_within_text_about_images_contradict_row_numbers(tmp_path: Path, name: str, cell: str) -> None:
    rows = [("id", name, "label"), *((other, cell.format(i), label(i)) for other, i in zip(OTHERS, IDS, strict=True))]
    root = folder_of(tmp_path, rows)
    assert f"those in {name!r}, such as {cell.format(IDS[0])!r}, would name others" in problems_of(root)
    assert len(read_images(root, DataOptions(id_column="id")).train_ids) == len(IDS)


@pytest.mark.parametrize("cells", [[f"photo {i}" for i in range(12)], [f"plant {i}" for i in OTHERS]])
def test_numbers_within_text_that_agree_or_mean_no_images_are_no_question(tmp_path: Path, cells: list[str]) -> None:
    name = cells[0].split()[0]
    rows = [("id", name, "label"), *((i, cells[i], label(i)) for i in IDS)]
    assert label_by_file(read_images(folder_of(tmp_path, rows), DataOptions())) == RIGHT


@pytest.mark.parametrize("values", [[i % 5 for i in IDS], range(12), [i // 2 for i in OTHERS]])
def test_a_further_column_of_numbers_is_no_question(tmp_path: Path, values: Sequence[int]) -> None:
    rows = [("id", "weight", "label"), *((i, value, label(i)) for i, value in zip(IDS, values, strict=True))]
    assert label_by_file(read_images(folder_of(tmp_path, rows), DataOptions())) == RIGHT


def test_a_table_without_the_named_column_is_no_source_of_labels(tmp_path: Path) -> None:
    """As the boxes beside the table of findings of NIH ChestX-ray14."""
    rows = [("image", "finding one", "finding two"), *((f"{i}.png", label(i), "AB"[i % 2]) for i in IDS)]
    root = folder_of(tmp_path, rows)
    write_table(root / "boxes.csv", [("image", "finding"), *((f"{i}.png", label(i)) for i in IDS[:4])])
    found = read_images(root, DataOptions(label_column="finding one"))
    assert label_by_file(found) == RIGHT
    assert any("not read: boxes.csv has no column 'finding one'" in note for note in found.notes)


def parts_table(tmp_path: Path, header: Sequence[str], cells: Callable[[str], Sequence[object]]) -> Path:
    """Twelve images: six for training, three for validation, three for testing."""
    part = {**dict.fromkeys(range(6), "train"), **dict.fromkeys(range(6, 9), "val")}
    rows = [("image", "label", *header), *((f"{i}.png", label(i), *cells(part.get(i, "test"))) for i in range(12))]
    return folder_of(tmp_path, rows)


@pytest.mark.parametrize(
    ("one", "two"),
    [("is_val", "is_test"), ("is_validation", "is_final_validation"), ("is_valid", "in_test"), ("is_train", "is_test"),
     ("used_for_training", "used_for_test"), ("holdout", "is_val"), ("is_test", "validation")],
)  # fmt: skip
def test_two_columns_of_parts_are_a_question(tmp_path: Path, one: str, two: str) -> None:
    first: Part = "train" if "train" in one else "test" if one in ("is_test", "holdout") else "val"
    second: Part = "val" if two in ("is_val", "validation") else "test"
    root = parts_table(tmp_path, (one, two), lambda part: (int(part == first), int(part == second)))
    message = problems_of(root)
    assert "divide the rows for training and testing" in message and repr(two) in message
    root = parts_table(tmp_path, ("split",), lambda part: (part,))
    found = read_images(root)
    assert (len(found.train_ids), len(found.test_ids)) == (6, 3), "the advice"


def test_columns_that_say_the_same_part_are_no_question(tmp_path: Path) -> None:
    root = parts_table(
        tmp_path, ("split", "is_test"), lambda part: ("test" if part == "test" else "train", part == "test")
    )
    found = read_images(root)
    assert (len(found.train_ids), len(found.test_ids)) == (9, 3)
    assert "'split', 'is_test' divide the rows" in problems_of(
        parts_table(tmp_path, ("split", "is_test"), lambda part: (part, int(part != "test")))
    )


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("in_testset", "no", "yes"), ("used_for_training", "1", "0"), ("use for", "model training", "model testing"),
     ("purpose", "for training", "for test"), ("dataset", "APTOS train", "APTOS test"), ("use_for_test", "", "x")],
)  # fmt: skip
def test_parts_under_unusual_names_and_among_other_words(tmp_path: Path, name: str, train: str, test: str) -> None:
    found = read_images(parts_table(tmp_path, (name,), lambda part: (test if part == "test" else train,)))
    assert (len(found.train_ids), len(found.test_ids)) == (9, 3)
    assert set(found.test_ids) == {"9.png", "10.png", "11.png"}


def test_parts_of_several_sources_are_a_question(tmp_path: Path) -> None:
    sources = iter(["APTOS", "IDRiD"] * 6)
    root = parts_table(
        tmp_path, ("dataset",), lambda part: (f"{next(sources)} {'train' if part == 'train' else 'test'}",)
    )
    assert "the column 'dataset' seems to divide the rows" in problems_of(root)


@pytest.mark.parametrize("name", ["is_valid", "is_valid_image"])
def test_a_column_that_calls_most_images_valid_is_a_question(tmp_path: Path, name: str) -> None:
    root = parts_table(tmp_path, (name,), lambda part: (part != "test",))
    assert "says that 9 of 12 images are for validation" in problems_of(root)
    found = read_images(parts_table(tmp_path, (name,), lambda part: (part == "val",)))
    assert len(found.train_ids) == 9, "three are for validation"


def test_a_column_with_one_part_does_not_hide_one_that_divides_the_rows(tmp_path: Path) -> None:
    """Its value may be the folder that all images came from."""
    found = read_images(parts_table(tmp_path, ("dataset", "split"), lambda part: ("train", part)))
    assert (len(found.train_ids), len(found.test_ids)) == (6, 3)


def test_a_sample_that_asks_for_a_mask_and_its_class_asks_for_no_class_columns(tmp_path: Path) -> None:
    """As in the steel defects of Severstal."""
    rows = [("ImageId", "ClassId", "EncodedPixels"), *((f"{i}.png", i % 3 + 1, f"29102 {i} 29346 24") for i in IDS)]
    root = folder_of(tmp_path, rows)
    save(root / "test_images" / "90.png", 90, 8)
    write_table(root / "sample_submission.csv", [("ImageId", "EncodedPixels", "ClassId"), ("90.png", "1 409600", "0")])
    assert read_images(root, verify=False).class_names == ("1", "2", "3")
