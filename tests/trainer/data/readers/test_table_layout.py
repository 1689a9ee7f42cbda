"""The layout with a table of labels and folders of images, in the forms that competitions use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import labels_of, problems_of, sample_image, save
from trainer.data.duplicates import find_duplicates
from trainer.data.folds import fold_groups
from trainer.data.read import DataOptions, read_images
from trainer.formats.submission import check_submission, write_submission

Kaggle = Callable[..., Path]


def test_ids_and_order_come_from_the_sample(kaggle: Kaggle) -> None:
    found = read_images(kaggle())
    assert found.reader == "table"
    assert found.train_ids == ("a0", "a1", "a2", "a3", "a4", "a5")
    assert labels_of(found) == ["dog", "cat"] * 3
    assert found.test_ids == ("t2", "t0", "t1")
    assert found.test_images.name(0) == "test_images/t2.png (sample_submission.csv row 2)"
    np.testing.assert_array_equal(found.test_images.read(0), sample_image(1002))
    assert found.submission is not None
    assert (found.submission.header, found.submission.kind) == (("id", "label"), "label")


@pytest.mark.parametrize("folders", [("train", "test"), ("images", "images"), ("jpeg/train", "jpeg/test"), (".", ".")])
def test_images_are_found_wherever_competitions_put_them(kaggle: Kaggle, folders: tuple[str, str]) -> None:
    found = read_images(kaggle(folders=folders))
    assert len(found.train_ids) == 6
    np.testing.assert_array_equal(found.train_images.read(3), sample_image(3))
    np.testing.assert_array_equal(found.test_images.read(0), sample_image(1002))


def test_equal_names_in_train_and_test_are_kept_apart(kaggle: Kaggle) -> None:
    train = [("1", "x"), ("2", "y"), ("3", "x")]
    folder = kaggle(train, sample=[("id", "label"), ("1", "x"), ("2", "x")], test_ids=["1", "2"])
    found = read_images(folder)
    np.testing.assert_array_equal(found.train_images.read(0), sample_image(0))
    np.testing.assert_array_equal(found.test_images.read(0), sample_image(1000))


def test_missing_test_image_is_not_replaced_by_a_training_image_of_that_name(kaggle: Kaggle) -> None:
    train = [("1", "x"), ("2", "y"), ("3", "x")]
    folder = kaggle(train, sample=[("id", "label"), ("1", "x"), ("3", "x")], test_ids=["1"])
    assert "sample_submission.csv row 3: there is no image '3'" in problems_of(folder)


def test_ids_with_endings_and_integer_labels_with_gaps(kaggle: Kaggle) -> None:
    train = [(f"a{i}.png", str(label)) for i, label in enumerate([10, 2, 10, 7, 2, 7])]
    found = read_images(kaggle(train, sample=[("id", "label"), ("t0.png", "2")], test_ids=["t0"]))
    assert found.class_names == ("2", "7", "10")
    assert found.submission is not None and found.submission.kind == "integer"
    assert found.test_ids == ("t0.png",)


def test_signate_tables_without_header(kaggle: Kaggle) -> None:
    train = [(f"a{i}.png", "cat" if i % 2 else "dog") for i in range(4)]
    sample = [("t1.png", "dog"), ("t0.png", "dog")]
    found = read_images(
        kaggle(train, train_header=None, sample=sample, test_ids=["t0", "t1"], delimiter="\t", ending=".tsv")
    )
    assert found.train_ids == ("a0.png", "a1.png", "a2.png", "a3.png")
    form = found.submission
    assert form is not None
    assert (form.header, form.delimiter, form.kind, form.ids) == (None, "\t", "label", ("t1.png", "t0.png"))


def test_one_hot_columns_in_another_order_than_the_sample(kaggle: Kaggle) -> None:
    train = [("Train_0", "0", "1", "0"), ("Train_1", "1", "0", "0"), ("Train_2", "0", "0", "1")]
    found = read_images(
        kaggle(
            train,
            train_header=("image_id", "healthy", "scab", "rust"),
            sample=[("image_id", "scab", "rust", "healthy"), ("Test_0", "0.25", "0.25", "0.25")],
            test_ids=["Test_0"],
            folders=("images", "images"),
        )
    )
    assert found.class_names == ("healthy", "rust", "scab")
    assert labels_of(found) == ["scab", "healthy", "rust"]
    assert found.submission is not None
    assert found.submission.kind == "probabilities"
    assert [found.class_names[c] for c in found.submission.class_columns] == ["scab", "rust", "healthy"]


def test_one_hot_columns_without_a_sample_are_recognised_and_give_the_form(kaggle: Kaggle) -> None:
    train = [("a", "0.9", "0.1"), ("b", "0.2", "0.8"), ("c", "0.6", "0.4")]
    found = read_images(kaggle(train, train_header=("id", "wolf", "bear"), sample=None))
    assert labels_of(found) == ["wolf", "bear", "wolf"]
    assert found.submission is not None
    assert found.submission.header == ("id", "wolf", "bear")
    assert found.submission.kind == "probabilities"


def test_several_labels_and_none_are_refused_with_their_rows(kaggle: Kaggle) -> None:
    train = [("a", "1", "0"), ("b", "1", "1"), ("c", "0", "0"), ("d", "0", "1")]
    sample = [("id", "x", "y"), ("t0", "0.5", "0.5")]
    message = problems_of(kaggle(train, train_header=("id", "x", "y"), sample=sample))
    assert "train.csv row 3: it has the labels 'x', 'y'" in message
    assert "train.csv row 4: it has no label: its classes add up to 0" in message
    assert "row 2" not in message


@pytest.mark.parametrize("with_sample", [True, False])
def test_a_class_column_without_an_image_is_not_trained_and_always_0(
    kaggle: Kaggle, tmp_path: Path, with_sample: bool
) -> None:
    header = ("id", "z", "y", "x")
    train = [("a", "0.0", "0.0", "1.0"), ("b", "0.0", "1.0", "0.0")]
    sample = [header, *((f"t{i}", "0", "0", "0") for i in range(3))] if with_sample else None
    found = read_images(kaggle(train, train_header=header, sample=sample))
    assert found.class_names == ("x", "y")
    assert any("no image has the label 'z'" in warning for warning in found.warnings)
    assert found.submission is not None
    submission = tmp_path / "submission.csv"
    proba = np.array([[0.75, 0.25]] * 3)
    write_submission(submission, found.submission, found.class_names, found.test_ids, proba, "probabilities")
    assert submission.read_text() == "id,z,y,x\n" + "".join(f"t{i},0,0.25,0.75\n" for i in range(3))
    check_submission(submission, found.submission, found.class_names, "probabilities")


def test_the_sample_names_the_label_among_many_columns(kaggle: Kaggle) -> None:
    train = [("a", "3", "no", "left"), ("b", "4", "yes", "right"), ("c", "5", "no", "left")]
    header = ("id", "age", "sick", "side")
    found = read_images(kaggle(train, train_header=header, sample=[("id", "sick"), ("t0", "no")]))
    assert found.class_names == ("no", "yes")


def test_an_undecided_label_column_asks_for_the_option(kaggle: Kaggle) -> None:
    train = [("a", "3", "no"), ("b", "4", "yes"), ("c", "3", "no")]
    folder = kaggle(train, train_header=("id", "age", "sick"), sample=[("id", "answer"), ("t0", "no")])
    message = problems_of(folder)
    assert "--label-column NAME (data.label_column)" in message and "'age', 'sick'" in message
    assert read_images(folder, DataOptions(label_column="sick")).class_names == ("no", "yes")
    assert "no column 'sic'" in problems_of(folder, DataOptions(label_column="sic"))


def test_label_column_is_the_one_that_holds_the_samples_classes(kaggle: Kaggle) -> None:
    train = [("a", "5", "pug"), ("b", "6", "husky"), ("c", "7", "pug")]
    sample = [("id", "pug", "husky"), ("t0", "0.5", "0.5")]
    found = read_images(kaggle(train, train_header=("id", "weight", "breed"), sample=sample))
    assert labels_of(found) == ["pug", "husky", "pug"]
    assert found.submission is not None and found.submission.class_columns == (1, 0)


def test_image_names_in_a_column_of_their_own(kaggle: Kaggle) -> None:
    folder = kaggle([("a", "x"), ("b", "y")], sample=[("id", "label"), ("902", "x")], test_ids=["t7"])
    (folder / "train.csv").write_text("id,file,label\n1,a.png,x\n2,b.png,y\n")
    (folder / "test.csv").write_text("id,file\n901,t0.png\n902,t7.png\n")
    found = read_images(folder)
    assert found.train_ids == ("1", "2")
    assert found.test_ids == ("902",)
    assert found.test_images.name(0).startswith("test_images/t7.png")


def test_a_test_table_lists_the_ids_where_there_is_no_sample(kaggle: Kaggle) -> None:
    folder = kaggle(sample=None)
    (folder / "test.csv").write_text("id\nt1\nt0\n")
    found = read_images(folder)
    assert found.test_ids == ("t1", "t0")
    assert found.submission is not None and found.submission.header == ("id", "label")


def test_without_sample_and_test_table_the_test_files_count(kaggle: Kaggle) -> None:
    assert read_images(kaggle(sample=None)).test_ids == ("t0", "t1", "t2")


def test_labels_that_read_like_image_names_are_not_taken_for_ids(kaggle: Kaggle) -> None:
    rows = [(str(i % 2), str(i)) for i in range(6)]
    folder = kaggle([(identifier, label) for label, identifier in rows], sample=None)
    (folder / "train.csv").write_text("answer,number\n" + "".join(f"{label},{i}\n" for label, i in rows))
    found = read_images(folder)
    assert found.train_ids == ("0", "1", "2", "3", "4", "5")
    assert found.class_names == ("0", "1")


def test_group_column_is_kept(kaggle: Kaggle) -> None:
    train = [("a", "x", "p1"), ("b", "y", "p2"), ("c", "x", "p1")]
    folder = kaggle(train, train_header=("id", "label", "patient"), sample=None)
    found = read_images(folder, DataOptions(group_column="patient", label_column="label"))
    assert found.groups == ("p1", "p2", "p1")


def test_semicolons_quotes_byte_order_mark_and_crlf(kaggle: Kaggle) -> None:
    folder = kaggle([("a", "x"), ("b", "y")])
    (folder / "train.csv").write_bytes('\ufeffid;label\r\na;"x; or so"\r\nb;"y ""quoted"""\r\n'.encode())
    (folder / "sample_submission.csv").write_bytes('\ufeffid;label\r\nt0;"x; or so"\r\n'.encode())
    found = read_images(folder)
    assert found.class_names == ("x; or so", 'y "quoted"')
    form = found.submission
    assert form is not None
    assert (form.delimiter, form.newline, form.bom, form.kind) == (";", "\r\n", True, "label")


def test_missing_files_are_all_named_and_can_be_left_out(kaggle: Kaggle) -> None:
    folder = kaggle()
    (folder / "train_images" / "a1.png").unlink()
    (folder / "train_images" / "a4.png").unlink()
    (folder / "train_images" / "a2.png").write_bytes(b"")
    message = problems_of(folder)
    assert "train.csv row 3: there is no image 'a1'" in message
    assert "train.csv row 6: there is no image 'a4'" in message
    assert "train_images/a2.png (train.csv row 4): the file is empty" in message
    assert "--skip-bad" in message
    found = read_images(folder, DataOptions(skip_bad=True), verify=False)
    assert found.train_ids == ("a0", "a3", "a5")
    assert sorted(found.skipped) == ["a1", "a2", "a4"]
    assert labels_of(found) == ["dog", "cat", "cat"]
    assert len(found.warnings) == 3
    assert found.inspected is not None and len(found.inspected.hashes) == 6


def test_bad_test_images_are_never_left_out(kaggle: Kaggle) -> None:
    folder = kaggle()
    (folder / "test_images" / "t1.png").unlink()
    (folder / "test_images" / "t0.png").write_bytes((folder / "test_images" / "t0.png").read_bytes()[:60])
    message = problems_of(folder, DataOptions(skip_bad=True))
    assert "sample_submission.csv row 4: there is no image 't1'" in message
    assert "test_images/t0.png (sample_submission.csv row 3)" in message


def test_a_repeated_row_is_refused_or_left_out(kaggle: Kaggle) -> None:
    folder = kaggle()
    with (folder / "train.csv").open("a") as table:
        table.write("a1,cat\n")
    assert "rows 3 and 8: the id 'a1' is given 2 times, with the label 'cat'" in problems_of(folder)
    found = read_images(folder, DataOptions(skip_bad=True))
    assert found.train_ids == ("a0", "a1", "a2", "a3", "a4", "a5")
    assert found.skipped == ()


def test_a_table_of_boxes_is_explained_in_one_line(kaggle: Kaggle) -> None:
    rows = [(f"a{i}", "cd"[i % 2]) for i in range(8)]
    folder = kaggle(rows * 100, sample=None)
    message = problems_of(folder)
    assert len(message) < 600
    assert "8 ids are given several times" in message
    assert "'a0' in 100 rows (train.csv rows 2, 10, 18 and 97 more)" in message
    assert message.endswith("To take the first row of each label, add --skip-bad")
    found = read_images(folder, DataOptions(skip_bad=True))
    assert found.train_ids == tuple(f"a{i}" for i in range(8))
    (warning,) = (line for line in found.warnings if "given several times" in line)
    assert warning.startswith("the first row of each label was taken: ") and "--skip-bad" not in warning


def test_many_images_with_two_labels_are_counted(kaggle: Kaggle) -> None:
    rows = [(f"a{i}", label) for i in range(20) for label in "cd"]
    found = read_images(kaggle(rows, sample=None), DataOptions())
    assert len(found.train_ids) == 40
    assert len(found.warnings) == 7
    assert found.warnings[-2] == "... and 15 more images with several labels"


def test_an_image_with_two_labels_keeps_both_in_one_fold_and_is_reported(kaggle: Kaggle) -> None:
    folder = kaggle()
    with (folder / "train.csv").open("a") as table:
        table.write("a0,cat\n")
    found = read_images(folder, DataOptions())
    assert found.train_ids == ("a0", "a1", "a2", "a3", "a4", "a5", "a0")
    assert found.class_names[found.y[0]] == "dog" and found.class_names[found.y[6]] == "cat"
    expected = "rows 2 and 8: the image 'a0' has the labels 'dog' and 'cat'; both rows are kept, in one fold"
    assert any(expected in warning for warning in found.warnings)
    assert any("add --several-labels yes" in warning for warning in found.warnings)
    groups = fold_groups(found, find_duplicates(found).groups)
    assert groups[0] == groups[6] and len(set(groups.tolist())) == 6


def test_a_class_that_skip_bad_would_empty_is_refused(kaggle: Kaggle) -> None:
    folder = kaggle([("a", "x"), ("b", "y"), ("c", "z")], sample=None)
    (folder / "train_images" / "b.png").write_bytes(b"nothing")
    assert "the label 'y' has no readable image left" in problems_of(folder, DataOptions(skip_bad=True))
    (folder / "train_images" / "b.png").unlink()
    assert "the label 'y' has no image" in problems_of(folder, DataOptions(skip_bad=True))


@pytest.mark.parametrize("identifier", ["../outside", "/etc/outside", "train_images/../../outside", "C:\\outside"])
def test_paths_that_leave_the_folder_are_refused(kaggle: Kaggle, identifier: str) -> None:
    folder = kaggle()
    save(folder.parent / "outside.png", 5)
    with (folder / "train.csv").open("a") as table:
        table.write(f"{identifier},cat\n")
    message = problems_of(folder)
    assert "train.csv row 8" in message and "leaves the data folder" in message


def test_links_that_leave_the_folder_are_refused_and_inner_ones_followed(kaggle: Kaggle) -> None:
    folder = kaggle()
    outside = save(folder.parent / "outside.png", 5)
    (folder / "train_images" / "a9.png").symlink_to(outside)
    (folder / "train_images" / "a8.png").symlink_to(save(folder / "shared" / "one.png", 77))
    with (folder / "train.csv").open("a") as table:
        table.write("a8,cat\na9,cat\n")
    message = problems_of(folder)
    assert "train.csv row 9: train_images/a9.png is a link that leaves the data folder" in message
    assert "row 8" not in message


def test_empty_cells_and_control_characters_are_named_by_row(kaggle: Kaggle) -> None:
    folder = kaggle()
    (folder / "train.csv").write_text('id,label\na0,\n,cat\na1,"ca\x1bt"\na2,"<b>/cat</b>"\na3,dog\n')
    message = problems_of(folder)
    assert "row 2: the label is empty" in message
    assert "row 3: the id is empty" in message
    assert "row 4: the label holds a control character" in message
    assert "row 5" not in message


def test_no_id_names_an_image(kaggle: Kaggle) -> None:
    folder = kaggle(sample=None)
    (folder / "train.csv").write_text("id,label\nnix,cat\nnull,dog\n")
    message = problems_of(folder)
    assert "no value of the column 'id' names an image" in message and "data.id_column" in message


def test_an_id_that_fits_two_files_is_refused(kaggle: Kaggle) -> None:
    folder = kaggle()
    save(folder / "train_extra" / "a0.png", 50)
    assert "'a0' could be train_extra/a0.png or train_images/a0.png" in problems_of(folder)


def test_binary_table(kaggle: Kaggle) -> None:
    folder = kaggle()
    (folder / "train.csv").write_bytes(b"PK\x03\x04\x00\x00")
    assert "train.csv is not a text table but a binary file" in problems_of(folder)


def test_repeated_sample_ids(kaggle: Kaggle) -> None:
    folder = kaggle(sample=[("id", "label"), ("t0", "cat"), ("t0", "cat")])
    assert "sample_submission.csv row 3: the id 't0' was already in row 2" in problems_of(folder)


def test_a_class_column_of_the_sample_without_training_images(kaggle: Kaggle) -> None:
    folder = kaggle(sample=[("id", "cat", "dog", "emu"), ("t0", "0", "0", "0")])
    assert any("columns 'emu', but no training" in warning for warning in read_images(folder).warnings)
    (folder / "sample_submission.csv").write_text("id,cat,emu\nt0,0,0\n")
    message = problems_of(folder)
    assert "columns 'emu', but no training image has such a label" in message
    assert "no column for the training labels 'dog'" in message


def test_the_fingerprint_follows_content_and_not_place(kaggle: Kaggle, tmp_path: Path) -> None:
    folder = kaggle()
    first = read_images(folder).fingerprint
    folder = folder.rename(tmp_path / "moved")
    assert read_images(folder, verify=False).fingerprint == first
    save(folder / "test_images" / "t0.png", 4711)
    changed = read_images(folder).fingerprint
    assert changed != first
    text = (folder / "train.csv").read_text()
    (folder / "train.csv").write_text(text.replace("a0,dog", "a0,cat"))
    assert read_images(folder).fingerprint not in (first, changed)


def test_images_that_no_row_names_are_counted(tmp_path: Path) -> None:
    for number in range(9):
        save(tmp_path / "train" / f"{number}.png", number, 8)
    save(tmp_path / "train" / "0_mask.png", 90, 8)
    rows = [f"{number}.png,{'ab'[number % 2]}" for number in range(6)]
    (tmp_path / "train.csv").write_text("\n".join(("file,label", *rows)))
    warnings = read_images(tmp_path, verify=False).warnings
    assert [line for line in warnings if "does not list" in line] == [
        "not read: 3 images beside those of train.csv that it does not list, such as train/6.png"
    ]
    (tmp_path / "train.csv").write_text("\n".join(("file,label", *rows, "6.png,a", "7.png,a", "8.png,b")))
    assert "does not list" not in "".join(read_images(tmp_path, verify=False).warnings)


def test_training_images_in_a_test_folder_are_named(tmp_path: Path) -> None:
    paths = [*(f"images/{number}.png" for number in range(6)), *(f"test/{number}.png" for number in range(6, 8))]
    for number, path in enumerate(paths):
        save(tmp_path / path, number, 8)
    rows = [f"{path},{'ab'[number % 2]}" for number, path in enumerate(paths)]
    (tmp_path / "labels.csv").write_text("\n".join(("path,label", *rows)))
    assert "in a folder of test images, but listed by labels.csv: 2 training images, such as test/6.png" in "\n".join(
        read_images(tmp_path, verify=False).warnings
    )


def test_validation_images_beside_a_table_are_counted(kaggle: Kaggle) -> None:
    folder = kaggle()
    for i in range(3):
        save(folder / "valid" / f"v{i}.png", 500 + i, 8)
    assert any("not read: 3 images in valid/" in warning for warning in read_images(folder, verify=False).warnings)


@pytest.mark.parametrize("skip_bad", [True, False])
def test_labels_of_merged_cells_are_no_rows_to_skip(tmp_path: Path, skip_bad: bool) -> None:
    for i in range(12):
        save(tmp_path / "images" / f"a{i}.png", i, 8)
    labels = ["cat" if i == 0 else "dog" if i == 5 else "" for i in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["label,image", *(f"{labels[i]},a{i}.png" for i in range(12))]))
    message = problems_of(tmp_path, DataOptions(skip_bad=skip_bad))
    assert "2 of 12 rows have a label" in message and "write the label into every row" in message
    assert "--skip-bad" not in message
