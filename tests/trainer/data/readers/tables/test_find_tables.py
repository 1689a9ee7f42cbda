"""Which table, or which folders, give the labels: by evidence, and a question where several do."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

Rows = Sequence[Sequence[str]]
LABELS = [("id", "label"), *((f"a{i}", ("cat", "dog")[i % 2]) for i in range(8))]
OTHER = [*LABELS[:8], ("a7", "cat")]


def folder_of(root: Path, tables: dict[str, Rows], folders: Sequence[str] = ("images",)) -> Path:
    """A data folder with these tables, and images a0.png to a7.png by turns in these folders."""
    for i in range(8):
        save(root / folders[i % len(folders)] / f"a{i}.png", i, 8)
    for name, rows in tables.items():
        (root / name).parent.mkdir(exist_ok=True)
        write_table(root / name, rows)
    return root


def test_image_folders_beside_a_table_are_no_classes(tmp_path: Path) -> None:
    metadata = [("lesion", "image_id", "dx", "age"), *((f"l{i}", f"a{i}", "xy"[i % 2], str(i % 3)) for i in range(8))]
    pixels = [(*(f"pixel{i}" for i in range(8)), "label"), *[("0",) * 9] * 5]
    folders = ("HAM10000_images_part_1", "HAM10000_images_part_2")
    root = folder_of(tmp_path, {"HAM10000_metadata.csv": metadata, "hmnist_8_8_L.csv": pixels}, folders)
    found = read_images(root, verify=False)
    assert (found.reader, found.class_names) == ("table", ("x", "y"))
    assert "not read: hmnist_8_8_L.csv, which names no image" in found.notes
    (root / "HAM10000_metadata.csv").unlink()
    message = problems_of(root)
    assert "look like parts of one set" in message and "'hmnist_8_8_L.csv'" in message
    assert read_images(root, DataOptions(layout="folders"), verify=False).class_names == folders


@pytest.mark.parametrize(
    ("name", "advice"), [("HAM10000_metadata.tab", "save it as CSV"), ("HAM10000_metadata", "add .csv to its name")]
)
def test_a_table_of_another_kind_beside_image_folders_is_named(tmp_path: Path, name: str, advice: str) -> None:
    root = folder_of(tmp_path, {}, ("HAM10000_images_part_1", "HAM10000_images_part_2"))
    (root / name).write_text("image_id\tdx\na0\tnv\n")
    message = problems_of(root)
    assert f"{name} is not read" in message and advice in message and "--layout folders" in message


@pytest.mark.parametrize("name", ["train.csv", "metadata.csv"])
def test_folders_are_no_classes_while_a_table_of_labels_names_no_image(tmp_path: Path, name: str) -> None:
    rows = [LABELS[0], *((f"x{identifier}", label) for identifier, label in LABELS[1:])]
    root = folder_of(tmp_path, {name: rows}, ("north", "south"))
    message = problems_of(root)
    assert f"{name} names no image" in message and "--layout folders" in message
    assert read_images(root, DataOptions(layout="folders"), verify=False).class_names == ("north", "south")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "cat\ndog\n"),
        ("classes.txt", "0 cat\n1 dog\n"),
        ("class_labels.csv", "id,name\n0,cat\n1,dog\n"),
        ("monkey_labels.txt", "Label, Latin Name, Images\ncat  , felis  , 4\ndog , canis , 4\n"),
        ("label_map.csv", "label,text\nCat,a cat\nDog,a dog\n"),
        ("README.txt", "these are, all in all\nlabels\n"),
    ],
)
def test_a_list_of_classes_beside_the_class_folders_is_no_table_of_labels(tmp_path: Path, name: str, text: str) -> None:
    root = folder_of(tmp_path, {}, ("cat", "dog"))
    (root / name).write_text(text)
    found = read_images(root, verify=False)
    assert (found.reader, found.class_names) == ("folders", ("cat", "dog"))
    assert any(name in warning for warning in found.warnings) == (name not in ("classes.txt", "README.txt"))


def test_a_table_that_repeats_the_folders_is_read(tmp_path: Path) -> None:
    rows = [("file", "animal", "sex"), *((f"a{i}.png", ("cat", "dog")[i % 2], "mf"[i // 4]) for i in range(8))]
    found = read_images(folder_of(tmp_path, {"list.csv": rows}, ("cat", "dog")), verify=False)
    assert (found.reader, found.class_names) == ("table", ("cat", "dog"))


def test_a_table_that_contradicts_the_folders_is_a_question(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"train.csv": OTHER}, ("cat", "dog"))
    message = problems_of(root)
    assert "row 9 labels dog/a7.png as 'cat': 1 of 8 labels contradict" in message
    assert labels_of(read_images(root, DataOptions(layout="table"), verify=False)).count("cat") == 5
    assert labels_of(read_images(root, DataOptions(layout="folders"), verify=False)).count("cat") == 4


def test_a_table_about_the_images_of_class_folders(tmp_path: Path) -> None:
    sizes = [("file", "width", "height"), *((f"a{i}.png", str(8 + i % 2), "8") for i in range(8))]
    root = folder_of(tmp_path, {"meta.csv": sizes}, ("cat", "dog"))
    assert read_images(root, verify=False).reader == "folders"
    patients = [("file", "age", "sex"), *((f"a{i}.png", str(i % 3), "mf"[i // 4]) for i in range(8))]
    write_table(root / "meta.csv", patients)
    message = problems_of(root)
    assert "it could be 'age', 'sex'" in message and "the folders 'cat', 'dog' may be the classes" in message
    assert "--layout folders" in message
    assert read_images(root, DataOptions(label_column="sex"), verify=False).class_names == ("f", "m")


@pytest.mark.parametrize("names", [("train.csv", "train_v2.csv"), ("a.csv", "b.csv"), ("labels.csv", "extra.csv")])
def test_two_tables_that_contradict_each_other_are_a_question(tmp_path: Path, names: tuple[str, str]) -> None:
    root = folder_of(tmp_path, {names[0]: LABELS, names[1]: OTHER})
    message = problems_of(root)
    assert f"{names[0]!r}, {names[1]!r} label 1 of 8 images differently" in message or names[0] in message
    assert "such as images/a7.png as" in message and "--table NAME" in message
    assert labels_of(read_images(root, DataOptions(table=names[1]), verify=False))[7] == "cat"


def test_two_tables_that_agree(tmp_path: Path) -> None:
    found = read_images(folder_of(tmp_path, {"train.csv": LABELS, "train_v2.csv": LABELS}), verify=False)
    assert "train.csv: id column 'id', label column 'label'" in found.notes
    assert "not read: train_v2.csv" in found.notes


def test_further_labels_in_a_second_table_are_reported(tmp_path: Path) -> None:
    first, second = LABELS[:5], [LABELS[0], *LABELS[5:]]
    root = folder_of(tmp_path, {"train.csv": first, "extra_labels.csv": second})
    warnings = read_images(root, verify=False).warnings
    assert any("not read: extra_labels.csv, which labels 4 further images" in warning for warning in warnings)
    (root / "train.csv").rename(root / "train_v1.csv")
    (root / "extra_labels.csv").rename(root / "train_v2.csv")
    assert "each of these could be the table of training labels" in problems_of(root)


def test_the_table_with_a_clear_column_of_labels_is_read(tmp_path: Path) -> None:
    metadata = [("id", "age", "sex"), *((f"a{i}", str(i % 3), "mf"[i % 2]) for i in range(8))]
    truth = [("id", "x", "y"), *((f"a{i}", str(i % 2) + ".0", str(1 - i % 2) + ".0") for i in range(8))]
    tables = {"ISIC_Training_GroundTruth.csv": truth, "ISIC_Training_Metadata.csv": metadata}
    found = read_images(folder_of(tmp_path, tables), verify=False)
    assert found.class_names == ("x", "y")
    assert any("not read: ISIC_Training_Metadata.csv" in note for note in found.notes)


def test_a_table_in_a_folder_below(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"labels/all.csv": LABELS})
    assert read_images(root, verify=False).class_names == ("cat", "dog")
    assert len(read_images(root, DataOptions(table="labels/all.csv"), verify=False).y) == 8


@pytest.mark.parametrize("name", ["nothing.csv", "../train.csv"])
def test_a_table_that_is_not_there(tmp_path: Path, name: str) -> None:
    root = folder_of(tmp_path / "data", {"train.csv": LABELS})
    write_table(tmp_path / "train.csv", LABELS)
    message = problems_of(root, DataOptions(table=name))
    assert f"--table (data.table) is {name!r}" in message and "its tables are 'train.csv'" in message


def test_our_own_tables_are_no_data(tmp_path: Path) -> None:
    ours: dict[str, Rows] = {
        "folds.csv": [("image_id", "label", "group", "fold"), *((f"a{i}", "wrong", "", "0") for i in range(8))],
        "predictions.csv": [("image_id", "y_pred", "p_x", "p_y"), *((f"a{i}", "x", "1", "0") for i in range(8))],
        "my_labels.csv": [("image_id", "label", "group", "fold"), *((f"a{i}", "wrong", "", "0") for i in range(8))],
    }
    found = read_images(folder_of(tmp_path, {"data.csv": LABELS, **ours}), verify=False)
    assert found.class_names == ("cat", "dog") and len(found.notes) == 1
    assert [warning for warning in found.warnings if "Retable wrote" in warning and "'my_labels.csv'" in warning]
    assert not any("folds.csv" in warning or "predictions.csv" in warning for warning in found.warnings)


OWN_HEADERS = [("image_id", "label", "group", "fold"), ("image_id", "p_cat", "p_dog")]


@pytest.mark.parametrize("header", OWN_HEADERS)
@pytest.mark.parametrize("name", ["train.csv", "labels.csv", "train_labels.csv", "labels_v2.csv"])
def test_a_table_of_labels_may_have_the_columns_of_our_own(tmp_path: Path, header: Sequence[str], name: str) -> None:
    def cells(i: int) -> tuple[str, ...]:
        return (("cat", "dog")[i % 2], f"g{i // 2}", str(i // 4)) if "fold" in header else (str(i % 2), str(1 - i % 2))

    found = read_images(folder_of(tmp_path, {name: [header, *((f"a{i}", *cells(i)) for i in range(8))]}), verify=False)
    assert len(found.class_names) == 2 and len(found.y) == 8


@pytest.mark.parametrize("header", OWN_HEADERS)
def test_the_only_table_has_the_columns_of_our_own(tmp_path: Path, header: Sequence[str]) -> None:
    rows = [(f"a{i}", str(i % 2), str(1 - i % 2), "0")[: len(header)] for i in range(8)]
    root = folder_of(tmp_path, {"mine.csv": [header, *rows]})
    message = problems_of(root)
    assert "Not read: 'mine.csv'" in message and "--table NAME" in message
    options = DataOptions(table="mine.csv", label_column="label" if "label" in header else None)
    assert len(read_images(root, options, verify=False).y) == 8


def test_classes_may_be_called_test_tubes_or_steam_train(tmp_path: Path) -> None:
    names = ("steam train", "test tubes", "training shoes")
    found = read_images(folder_of(tmp_path / "a", {}, names), verify=False)
    assert found.class_names == names and not found.test_ids
    assert "the folder 'test tubes' is read as a class" in found.notes
    paths = [(f"{names[i % 3]}/a{i}.png", names[i % 3]) for i in range(8)]
    found = read_images(folder_of(tmp_path / "b", {"train.csv": [("path", "label"), *paths]}, names), verify=False)
    assert found.class_names == names and len(found.y) == 8 and not found.test_ids


def test_a_training_table_may_list_images_of_a_class_called_test(tmp_path: Path) -> None:
    names = ("car", "test")
    paths = [(f"{names[i % 2]}/a{i}.png", names[i % 2]) for i in range(8)]
    found = read_images(folder_of(tmp_path, {"labels.csv": [("path", "label"), *paths]}, names), verify=False)
    assert found.class_names == names and not found.test_ids


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
@pytest.mark.parametrize("as_table", [True, False])
def test_a_submission_has_the_unicode_form_of_the_sample(
    tmp_path: Path, forms: tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]], as_table: bool
) -> None:
    here, there = ([unicodedata.normalize(form, name) for name in ("café", "thé")] for form in forms)
    tables: dict[str, Rows] = {"sample_submission.csv": [("id", "label"), ("t", there[0])]}
    if as_table:
        tables["train.csv"] = [("id", "label"), *((f"a{i}", here[i % 2]) for i in range(8))]
    root = folder_of(tmp_path, tables, ("train",) if as_table else here)
    save(root / "test" / "t.png", 99, 8)
    found = read_images(root, verify=False)
    assert found.class_names[0] == there[0]
    assert found.submission is not None and found.submission.kind == "label"
    assert not found.warnings


def test_lists_of_images_beside_class_folders_are_no_labels(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "images" / ("001.Auk", "002.Jay")[i % 2] / f"{i}.jpg", i, 8)
    (tmp_path / "attributes").mkdir()
    lines = [f"{i + 1} {('001.Auk', '002.Jay')[i % 2]}/{i}.jpg\n" for i in range(12)]
    (tmp_path / "images.txt").write_text("".join(lines))
    (tmp_path / "classes.txt").write_text("1 001.Auk\n2 002.Jay\n")
    assert read_images(tmp_path, verify=False).class_names == ("001.Auk", "002.Jay")
    for path in (tmp_path / "images").rglob("*.jpg"):
        path.rename(path.with_stem(f"bird{path.stem}"))
    (tmp_path / "image_class_labels.txt").write_text("".join(f"{i + 1} {1 + i % 2}\n" for i in range(12)))
    assert "image_class_labels.txt names no image" in problems_of(tmp_path)


def test_a_table_beside_the_images_of_each_part(tmp_path: Path) -> None:
    for seed, (part, count) in enumerate((("train", 12), ("valid", 4), ("test", 4))):
        for i in range(count):
            save(tmp_path / part / f"{part}{i}.jpg", 100 * seed + i, 8)
        rows = [(f"{part}{i}.jpg", str(i % 2), str(1 - i % 2)) for i in range(count)]
        write_table(tmp_path / part / "_classes.csv", [("filename", "cat", "dog"), *rows])
    found = read_images(tmp_path, verify=False)
    assert (found.class_names, len(found.y), len(found.test_ids)) == (("cat", "dog"), 12, 4)
    for table in tmp_path.rglob("_classes.csv"):
        table.unlink()
    assert "none of the known layouts" in problems_of(tmp_path)  # train and valid are no classes


def test_labels_of_a_sample_of_images_are_no_sample_submission(tmp_path: Path) -> None:
    found = read_images(folder_of(tmp_path, {"sample_labels.csv": LABELS}), verify=False)
    assert found.class_names == ("cat", "dog") and not found.test_ids


@pytest.mark.parametrize("name", ["data_sample.csv", "sample_data.csv", "Data-Sample.csv"])
def test_a_sample_of_the_rows_of_a_table_is_no_sample_submission(tmp_path: Path, name: str) -> None:
    found = read_images(folder_of(tmp_path, {"data.csv": LABELS, name: LABELS[:3]}), verify=False)
    assert (len(found.y), found.test_ids) == (len(LABELS) - 1, ())


def test_an_export_into_the_data_folder_is_no_sample(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"train.csv": LABELS, "submission.csv": [("id", "label"), ("t", "cat")]}, ("train",))
    save(root / "test" / "u.png", 99, 8)
    assert "there is no image 't'" in problems_of(root)
    (root / "MODEL_CARD.md").write_text("a model")
    assert read_images(root, verify=False).test_ids == ("u",)


@pytest.mark.parametrize("images", ["annotations.csv", "data.csv", "metadata.csv"])
@pytest.mark.parametrize("classes", ["labels.csv", "label_map.csv", "category_labels.csv"])
@pytest.mark.parametrize("columns", [("id", "label"), ("class_id", "name"), ("number", "name", "about")])
def test_a_list_of_classes_is_no_table_of_labels(
    tmp_path: Path, images: str, classes: str, columns: tuple[str, ...]
) -> None:
    for i in range(20):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    write_table(tmp_path / images, [("image_id", "class_id"), *((str(i), str(i * 7 % 5)) for i in range(20))])
    names = [(str(i), f"name{i}", f"about {i // 2}")[: len(columns)] for i in range(5)]
    write_table(tmp_path / classes, [columns, *names])
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), found.class_names) == (20, ("0", "1", "2", "3", "4"))
    assert f"not read: {classes}, which lists the classes of {images}" in found.notes


@pytest.mark.parametrize("name", ["corrections.csv", "labels.csv"])
def test_a_correction_of_an_image_of_each_class_is_no_list_of_classes(tmp_path: Path, name: str) -> None:
    for i in range(20):
        save(tmp_path / "images" / f"a{i}.png", i, 8)
    write_table(tmp_path / "train.csv", [("id", "label"), *((f"a{i}.png", f"kind{i % 5}") for i in range(20))])
    write_table(tmp_path / name, [("id", "label"), *((f"a{i}.png", f"kind{(i + 1) % 5}") for i in range(5))])
    corrects = "seems to correct the labels of 5 images"
    assert (corrects if name == "corrections.csv" else "label 5 of 5 images differently") in problems_of(tmp_path)
    chosen = read_images(tmp_path, DataOptions(table="train.csv"))
    assert labels_of(chosen) == [f"kind{i % 5}" for i in range(20)]
    examples = [("label", "example"), *((f"kind{i % 5}", f"a{i}.png") for i in range(5))]
    write_table(tmp_path / name, examples)
    assert len(read_images(tmp_path).train_ids) == 20, "an example of each class contradicts nothing"


def test_a_correction_beside_class_folders_is_a_question(tmp_path: Path) -> None:
    for i in range(9):
        save(tmp_path / f"kind{i % 3}" / f"a{i}.png", i, 8)
    rows = [("image", "label"), *((f"a{i}.png", f"kind{(i + 1) % 3}") for i in range(3))]
    write_table(tmp_path / "notes.csv", rows)
    assert "3 of 3 labels contradict the folders of their images" in problems_of(tmp_path)
    (tmp_path / "notes.csv").rename(tmp_path / "fixes.csv")
    assert "fixes.csv seems to correct the labels of 3 images" in problems_of(tmp_path)
    write_table(tmp_path / "fixes.csv", [("image", "label"), *((f"a{i}.png", f"kind{i % 3}") for i in range(3))])
    assert len(read_images(tmp_path).train_ids) == 9


@pytest.mark.parametrize("name", ["train.csv", "labels.csv"])
def test_a_table_of_labels_without_rows_is_not_passed_over(tmp_path: Path, name: str) -> None:
    root = folder_of(tmp_path, {"old.csv": OTHER})
    (root / name).write_text("id,label\n")
    assert f"{name} has no rows below its header" in problems_of(root)
    (root / name).unlink()
    assert labels_of(read_images(root)) == [label for _, label in OTHER[1:]]


def test_a_row_with_too_many_fields_is_named_before_another_table(tmp_path: Path) -> None:
    """As in Fashion Product Images, whose ``images.csv`` lists links."""
    root = folder_of(tmp_path, {"images.csv": [("filename", "link"), *((f"a{i}.png", f"h{i}") for i in range(8))]})
    lines = ["id,kind", *(f"a{i},{'xy'[i % 2]}" for i in range(8))]
    (root / "styles.csv").write_text("\n".join([*lines[:5], lines[5] + ",more", *lines[6:]]))
    assert "styles.csv row 6 has 3 fields, the first row has 2" in problems_of(root)
    assert "styles.csv row 6 has 3 fields" in problems_of(root, DataOptions(label_column="kind"))
    (root / "styles.csv").write_text("\n".join(lines))
    assert labels_of(read_images(root, DataOptions(table="styles.csv"))) == ["x", "y"] * 4


def test_a_list_of_classes_may_hold_many_that_no_image_has(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    write_table(tmp_path / "data.csv", [("image_id", "class_id"), *((str(i), str(i % 2)) for i in range(20))])
    write_table(tmp_path / "labels.csv", [("id", "label"), *((str(i), f"name{i}") for i in range(10))])
    assert read_images(tmp_path, verify=False).class_names == ("0", "1")


def test_the_classes_of_an_unclear_table_are_not_read_in_its_place(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    rows = [(str(i), str(i * 7 % 5), "ab"[i % 2]) for i in range(20)]
    write_table(tmp_path / "data.csv", [("image_id", "kind", "annotator"), *rows])
    write_table(tmp_path / "labels.csv", [("id", "label"), *((str(i), f"name{i}") for i in range(5))])
    assert "it could be 'kind', 'annotator'" in problems_of(tmp_path)


@pytest.mark.parametrize("name", ["unlabeled.csv", "train_unlabelled.csv", "no_labels.csv"])
def test_a_table_of_unlabelled_images_is_not_read(tmp_path: Path, name: str) -> None:
    others = [("id", "source"), *((f"b{i}", "xy"[i % 2]) for i in range(8))]
    root = folder_of(tmp_path, {"data.csv": LABELS, name: others})
    for i in range(8):
        save(root / "images" / f"b{i}.png", 50 + i, 8)
    found = read_images(root, verify=False)
    assert found.class_names == ("cat", "dog") and len(found.train_ids) == 8
