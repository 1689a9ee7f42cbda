"""Columns and tables that could answer the question of the labels otherwise: a question, never a silent choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, save
from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions
from trainer.data.read import read_images

KINDS = ("cat", "dog", "emu")


def names(count: int, folder: str = "images") -> list[str]:
    return [f"{folder}/{number:03}.png" for number in range(count)]


def folder_of(root: Path, files: Sequence[str], **tables: str) -> Path:
    """A data folder with these image files and tables, by their stems."""
    for number, name in enumerate(files):
        save(root / "data" / name, number, 8)
    for stem, text in tables.items():
        (root / "data" / f"{stem}.csv").write_text(text, encoding="utf-8")
    return root / "data"


def rows_of(header: str, count: int, row: Callable[[int], Sequence[object]]) -> str:
    return "\n".join([header, *(",".join(map(str, row(number))) for number in range(count)), ""])


def refused(folder: Path, **options: str) -> str:
    with pytest.raises(DataError) as caught:
        read_images(folder, DataOptions(**options), verify=False)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("column", ["camera", "patient_id", "PatientID", "date", "annotator", "source", "Licence"])
def test_a_lone_column_of_metadata_is_no_label_unless_it_is_chosen(tmp_path: Path, column: str) -> None:
    table = rows_of(f"image,{column}", 20, lambda i: (f"{i:03}.png", "AB"[i % 2]))
    folder = folder_of(tmp_path, names(20), metadata=table)
    assert f"could hold labels is {column!r}" in refused(folder) and f"--label-column {column}" in refused(folder)
    chosen = read_images(folder, DataOptions(label_column=column), verify=False)
    assert labels_of(chosen) == ["A", "B"] * 10


def test_a_table_called_after_labels_may_hold_any_column(tmp_path: Path) -> None:
    table = rows_of("image,camera", 20, lambda i: (f"{i:03}.png", "AB"[i % 2]))
    assert labels_of(read_images(folder_of(tmp_path, names(20), labels=table), verify=False)) == ["A", "B"] * 10


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("corrected_label", lambda i: KINDS[(i + (i in (3, 4))) % 3]),
        ("new_label", lambda i: "cat" if i in (4, 5) else ""),
    ],
)
def test_a_second_column_of_the_same_labels_is_a_question(
    tmp_path: Path, column: str, value: Callable[[int], str]
) -> None:
    table = rows_of(f"image,label,{column}", 30, lambda i: (f"{i:03}.png", KINDS[i % 3], value(i)))
    assert f"'label', '{column}'. They differ in some rows" in refused(folder_of(tmp_path, names(30), train=table))


@pytest.mark.parametrize("column", ["gold", "Gold standard", "truth", "GT", "ground_truth", "majority_vote"])
@pytest.mark.parametrize("kinds", [KINDS, ("0", "1"), ("yes", "no", "maybe")])
def test_a_column_called_after_the_truth_is_a_question_however_much_it_differs(
    tmp_path: Path, column: str, kinds: Sequence[str]
) -> None:
    table = rows_of(
        f"image,label,{column}", 30, lambda i: (f"{i:03}.png", kinds[i % len(kinds)], kinds[i // 3 % len(kinds)])
    )
    folder = folder_of(tmp_path, names(30), train=table)
    assert f"'label', '{column}'. They differ in some rows" in refused(folder)
    found = read_images(folder, DataOptions(label_column=column), verify=False)
    assert labels_of(found) == [kinds[i // 3 % len(kinds)] for i in range(30)]


@pytest.mark.parametrize("values", [("low", "high"), ("", "")])
def test_a_column_called_gold_that_holds_no_labels_is_no_question(tmp_path: Path, values: tuple[str, str]) -> None:
    table = rows_of("image,label,gold", 30, lambda i: (f"{i:03}.png", KINDS[i % 3], values[i // 3 % 2]))
    assert labels_of(read_images(folder_of(tmp_path, names(30), train=table), verify=False)) == list(KINDS) * 10


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("column", ["label_clean", "corrected_label", "label_v2", "final_label", "relabel", "checked"])
def test_a_second_column_of_the_same_labels_is_a_question_beside_a_sample_submission(
    tmp_path: Path, column: str, *, filled: bool
) -> None:
    table = rows_of(
        f"image,label,{column}",
        30,
        lambda i: (f"{i:03}.png", KINDS[i % 3], KINDS[(i + 1) % 3] if i in (3, 4) else KINDS[i % 3] * filled),
    )
    sample = rows_of("image,label", 2, lambda i: (f"{i:03}.png", KINDS[0]))
    folder = folder_of(tmp_path, [*names(30, "train"), *names(2, "test")], train=table, sample_submission=sample)
    assert f"'label', '{column}'. They differ in some rows" in refused(folder)
    assert labels_of(read_images(folder, DataOptions(label_column="label"), verify=False)) == list(KINDS) * 10
    if filled:
        assert labels_of(read_images(folder, DataOptions(label_column=column), verify=False))[3] == KINDS[1]


@pytest.mark.parametrize("column", ["pred", "label_old", "label_orig", "pseudo_label"])
def test_predicted_and_former_labels_do_not_rival_those_that_a_sample_submission_asks_for(
    tmp_path: Path, column: str
) -> None:
    table = rows_of(
        f"image,label,{column}", 30, lambda i: (f"{i:03}.png", KINDS[i % 3], KINDS[(i + (i in (3, 4))) % 3])
    )
    sample = rows_of("image,label", 2, lambda i: (f"{i:03}.png", KINDS[0]))
    folder = folder_of(tmp_path, [*names(30, "train"), *names(2, "test")], train=table, sample_submission=sample)
    assert labels_of(read_images(folder, verify=False)) == list(KINDS) * 10


def test_another_question_with_the_same_answers_is_none(tmp_path: Path) -> None:
    table = rows_of("image,label,male", 30, lambda i: (f"{i:03}.png", i % 2, i // 2 % 2))
    assert labels_of(read_images(folder_of(tmp_path, names(30), train=table), verify=False)) == ["0", "1"] * 15


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("test", lambda i: int(i > 24)),
        ("valid", lambda i: "no" if i % 7 else "yes"),
        ("set", lambda i: 1 if i < 24 else 2 if i < 27 else 3),
        ("use", lambda i: "fit" if i < 24 else "eval"),
        ("cohort", lambda i: "discovery" if i < 24 else "validation"),
    ],
)
def test_a_column_that_may_divide_the_rows_is_a_question(
    tmp_path: Path, column: str, value: Callable[[int], object]
) -> None:
    table = rows_of(f"image,label,{column}", 30, lambda i: (f"{i:03}.png", KINDS[i % 3], value(i)))
    assert f"the column {column!r} seems to divide the rows" in refused(folder_of(tmp_path, names(30), train=table))


def test_a_flag_of_training_rows_divides_them(tmp_path: Path) -> None:
    table = rows_of("image,label,train_flag", 30, lambda i: (f"{i:03}.png", KINDS[i % 3], int(i < 25)))
    found = read_images(folder_of(tmp_path, names(30), train=table), verify=False)
    assert (len(found.train_ids), found.test_ids) == (25, tuple(f"{i:03}.png" for i in range(25, 30)))


@pytest.mark.parametrize("missing", [0, 4, 6, 20])
def test_two_columns_of_numbers_name_other_images_also_where_files_are_missing(tmp_path: Path, missing: int) -> None:
    table = rows_of("id,image,label", 40, lambda i: (i, (7 * i + 3) % 40 if i >= missing else 100 + i, KINDS[i % 2]))
    folder = folder_of(tmp_path, [f"images/{number}.png" for number in range(40)], train=table)
    assert "'id', 'image' name images, but different ones" in refused(folder)


def test_a_row_number_is_no_id_beside_names_that_the_folder_lacks(tmp_path: Path) -> None:
    table = rows_of(",image,label", 20, lambda i: (i, f"IMG_{i + 500}", KINDS[i % 2]))
    folder = folder_of(tmp_path, [f"images/{number}.png" for number in range(20)], train=table)
    assert "file names that the folder lacks, such as 'IMG_500'" in refused(folder)


def test_names_in_one_table_and_numbers_in_another_may_contradict(tmp_path: Path) -> None:
    named = rows_of("image,label", 30, lambda i: (f"{i:03}.png", KINDS[i % 2]))
    numbered = rows_of("image,label", 30, lambda i: (f"{i:03}.png", i % 2 if i > 2 else 1 - i % 2))
    folder = folder_of(tmp_path, names(30), train=named, labels=numbered)
    assert "label 3 of 30 images differently, such as images/000.png as 'cat' and '1'" in refused(folder)
    numbered = rows_of("image,label", 30, lambda i: (f"{i:03}.png", i % 2))
    (folder / "labels.csv").write_text(numbered)
    assert labels_of(read_images(folder, verify=False)) == ["cat", "dog"] * 15


def test_labels_that_are_not_the_folders_of_the_images_are_named(tmp_path: Path) -> None:
    files = [f"{KINDS[i % 2]}/{i:03}.png" for i in range(24)]
    table = rows_of("file,label", 24, lambda i: (files[i], "good" if i // 2 % 2 else "bad"))
    found = read_images(folder_of(tmp_path, files, metadata=table), verify=False)
    assert labels_of(found) == ["bad", "bad", "good", "good"] * 6
    assert any("not the folders 'cat', 'dog' of the images" in warning for warning in found.warnings)


@pytest.mark.parametrize("columns", ["image,label", "image"])
def test_a_test_table_that_shares_images_with_the_training_table_is_refused(tmp_path: Path, columns: str) -> None:
    train = rows_of("image,label", 10, lambda i: (f"{i:03}", KINDS[i % 2]))
    test = rows_of(columns, 5, lambda i: (f"{i + 9:03}", "cat")[: columns.count(",") + 1])
    message = refused(folder_of(tmp_path, names(14), train=train, test=test))
    assert "009" in message and "test.csv" in message


def test_a_name_beside_a_column_of_labels_is_no_folder(tmp_path: Path) -> None:
    """`0` fits two files, and no folder is called cat."""
    files = [*(f"train/{i:04}.png" for i in range(8)), *(f"crops/{i}.png" for i in range(8))]
    table = rows_of("id,label", 8, lambda i: (i, KINDS[i % 2]))
    message = refused(folder_of(tmp_path, files, train=table))
    assert "'0' could be crops/0.png or train/0000.png" in message and "together" not in message


@pytest.mark.parametrize("name", ["hold_out", "to_predict", "cat_aug", "misc", "Thumbnails", "未分類"])
def test_a_folder_that_may_be_no_class_is_named(tmp_path: Path, name: str) -> None:
    found = read_images(
        folder_of(tmp_path, [f"{c}/{c}{i}.png" for c in ("cat", "dog", name) for i in range(3)]), verify=False
    )
    assert any(f"the folder {name!r} is read as a class" in warning for warning in found.warnings)


def test_a_copy_further_down_with_other_labels_is_named_and_can_be_chosen(tmp_path: Path) -> None:
    def table(changed: int) -> str:
        return rows_of("id,label", 12, lambda number: (f"{number:03}", KINDS[(number + (number < changed)) % 3]))

    folder = folder_of(tmp_path, names(12), train=table(0))
    copy = folder / "backup" / "train.csv"
    copy.parent.mkdir()
    copy.write_text(table(0), encoding="utf-8")
    assert not any("backup" in warning for warning in read_images(folder, verify=False).warnings)
    copy.write_text(table(2), encoding="utf-8")
    images = read_images(folder, verify=False)
    assert labels_of(images)[:3] == ["cat", "dog", "emu"]
    (warning,) = [warning for warning in images.warnings if "backup" in warning]
    assert "gives 2 of 12 images another label than train.csv" in warning and "--table backup/train.csv" in warning
    chosen = read_images(folder, DataOptions(table="backup/train.csv"), verify=False)
    assert labels_of(chosen)[:3] == ["dog", "emu", "emu"]
    copy.write_text(rows_of("id,label", 12, lambda number: (f"{number:03}", number % 3)), encoding="utf-8")
    of_numbers = read_images(folder, verify=False)
    assert not any("backup" in warning for warning in of_numbers.warnings), "numbers of the same classes"


@pytest.mark.parametrize("name", ["train_preds", "predictions", "oof", "model_outputs"])
@pytest.mark.parametrize("header", ["image,label", "image,cat,dog,emu"])
def test_predictions_beside_the_labels_are_left_out(tmp_path: Path, header: str, name: str) -> None:
    table = rows_of("image,label", 30, lambda i: (f"{i:03}.png", KINDS[i % 3]))
    shares = {"image,label": (("cat",), ("dog",)), "image,cat,dog,emu": ((0.7, 0.2, 0.1), (0.1, 0.7, 0.2))}[header]
    predicted = rows_of(header, 30, lambda i: (f"{i:03}.png", *shares[i % 2]))
    folder = folder_of(tmp_path, names(30), **{"train": table, name: predicted})
    found = read_images(folder, verify=False)
    assert labels_of(found) == list(KINDS) * 10
    assert any(f"{name}.csv, which holds predictions by its name" in warning for warning in found.warnings)
    assert f"--table {name}.csv" in "".join(found.warnings)
    assert set(labels_of(read_images(folder, DataOptions(table=f"{name}.csv"), verify=False))) == {"cat", "dog"}


@pytest.mark.parametrize("above", [1, 2, 3])
@pytest.mark.parametrize("header", ["Datei,Klasse", "Datei,Klasse,Bemerkung", "Foto,Zustand,Wer"])
def test_titles_above_the_header_are_named(tmp_path: Path, header: str, above: int) -> None:
    blanks = "," * header.count(",")
    titles = [f"Auswertung Projekt X{blanks}", f"Stand 01.02.2023{blanks}", f"Anna{blanks}"][:above]
    rows = [f"{i:03}.png,{KINDS[i % 3]}{',' * (header.count(',') - 1)}" for i in range(30)]
    folder = folder_of(tmp_path, names(30), Liste="\n".join([*titles, header, *rows]))
    assert f"Liste.csv row {above + 1} looks like the header, but 'Auswertung Projekt X'" in refused(folder)
    (folder / "Liste.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    assert labels_of(read_images(folder, verify=False)) == list(KINDS) * 10


@pytest.mark.parametrize("header", ["Datei,", "", "000.png,"])
def test_a_header_or_first_row_of_one_cell_is_no_title(tmp_path: Path, header: str) -> None:
    rows = [f"{i:03}.png,{KINDS[i % 3]}" for i in range(1, 30)]
    folder = folder_of(tmp_path, names(30)[1:], Liste="\n".join([*filter(None, [header]), *rows]))
    if header.startswith("000"):
        assert "looks like the header" not in refused(folder)
    else:
        assert len(labels_of(read_images(folder, verify=False))) == 29
