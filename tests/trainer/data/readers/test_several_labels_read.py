"""Tables whose images have several labels: class columns with several ones, cells that list labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.images import problems_of, save
from trainer.data.folds import make_folds
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import DataError, read_images
from trainer.data.readers.columns.several_labels import separator_of
from trainer.formats.delimited import write_table
from trainer.formats.submission import check_submission, decide_kind, write_submission

PLANTS = (
    *("healthy", "scab", "rust", "complex", "frog_eye_leaf_spot", "powdery_mildew", "scab frog_eye_leaf_spot"),
    *("rust complex", "scab frog_eye_leaf_spot complex", "powdery_mildew complex"),
)
COLUMNS = ((1, 0, 1), (0, 1, 0), (1, 1, 0), (0, 0, 0), (0, 0, 1), (1, 1, 1), (0, 1, 0), (1, 0, 0))


def folder(root: Path, header: str, rows: Sequence[str], sample: Sequence[str] = ()) -> Path:
    """A table with an image for each row, and a sample submission for two test images."""
    lines = [header]
    for i, row in enumerate(rows):
        save(root / "train" / f"{i}.png", i, 8)
        lines.append(f"{i}.png,{row}")
    (root / "train.csv").write_text("\n".join(lines), encoding="utf-8")
    if sample:
        for i in range(2):
            save(root / "test" / f"t{i}.png", 90 + i, 8)
        body = [f"t{i}.png,{sample[1]}" for i in range(2)]
        (root / "sample_submission.csv").write_text("\n".join([sample[0], *body]), encoding="utf-8")
    return root


def read(root: Path, **options: object) -> ImageSet:
    return read_images(root, DataOptions(**options), verify=False)  # type: ignore[arg-type]


def columns(root: Path, cell: str = "0") -> Path:
    rows = [",".join(map(str, row)) for row in COLUMNS]
    return folder(root, "image,b,a,c", rows, ["image,b,a,c", ",".join([cell] * 3)])


def test_columns_with_several_ones(tmp_path: Path) -> None:
    found = read(columns(tmp_path))
    assert found.class_names == ("a", "b", "c") and found.several_labels
    assert found.y.tolist() == [[b_a_c[1], b_a_c[0], b_a_c[2]] for b_a_c in COLUMNS]
    assert found.class_counts().tolist() == [4, 4, 3]
    assert found.label_of(0) == "b + c" and found.label_of(3) == "(none)"
    assert found.fingerprint != read(tmp_path, several_labels="yes").without([0], [], []).fingerprint


@pytest.mark.parametrize(("slips", "others"), [(1, 3), (2, 20)])
def test_few_rows_of_several_ones_are_slips(tmp_path: Path, slips: int, others: int) -> None:
    rows = ["1,1,0"] * slips + ["1,0,0", "0,1,0", "0,0,1"] * others
    root = folder(tmp_path, "image,b,a,c", rows, ["image,b,a,c", "0,0,0"])
    message = problems_of(root)
    assert "train.csv row 2" in message and "--several-labels yes" in message
    assert read(root, several_labels="yes").y.sum() == 2 * slips + 3 * others


def test_columns_without_a_sample_need_the_option(tmp_path: Path) -> None:
    root = folder(tmp_path, "image,b,a,c", [",".join(map(str, row)) for row in COLUMNS])
    assert "--several-labels yes" in problems_of(root)
    assert read(root, several_labels="yes").y.tolist() == [[a, b, c] for b, a, c in COLUMNS]


@pytest.mark.parametrize("mark", [" ", "|", ";", ", "])
def test_cells_that_list_labels(tmp_path: Path, mark: str) -> None:
    cells = [f'"{name.replace(" ", mark)}"' for name in PLANTS * 2]
    found = read(folder(tmp_path, "image,labels", cells, ["image,labels", "healthy"]))
    assert found.class_names == ("complex", "frog_eye_leaf_spot", "healthy", "powdery_mildew", "rust", "scab")
    assert found.y.sum(axis=1).tolist() == [len(name.split()) for name in PLANTS] * 2
    assert found.submission is not None and found.submission.kind == "labels"
    assert any("--several-labels no" in note for note in found.notes)
    one = read(tmp_path, several_labels="no")
    assert not one.several_labels and len(one.class_names) == len(PLANTS)


@pytest.mark.parametrize(
    "names",
    [
        ("sea lion", "polar bear", "emu"),
        ("golden retriever", "labrador retriever", "flat coated retriever", "beagle"),
        ("apple", "pie", "apple pie"),
        ("red car", "blue car", "red bus", "blue bus", "car", "bus"),
        ("fish, fried", "fish, raw", "rice"),
    ],
)
def test_names_with_blanks_and_commas_stay_one_label(names: tuple[str, ...]) -> None:
    assert separator_of([*names] * 3) is None


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (("16 0", "7 1 2 0", "5", "1", "18", "0 5"), " "),
        (("Edema|Mass", "No Finding", "Edema|Mass|Nodule", "Nodule", "Mass", "Edema"), "|"),
        ([" ".join(w for k, w in enumerate("abcd") if i >> k & 1) for i in range(1, 16)], " "),
    ],
)
def test_lists_are_recognised(cells: Sequence[str], mark: str) -> None:
    assert separator_of(cells) == mark


def test_the_columns_of_the_sample_name_the_labels(tmp_path: Path) -> None:
    cells = ["sea lion;emu", "emu", "sea lion", "emu"]
    found = read(folder(tmp_path, "image,labels", cells, ["image,emu,sea lion", "0.5,0.5"]))
    assert found.class_names == ("emu", "sea lion") and found.y[0].tolist() == [1, 1]
    assert found.submission is not None and found.submission.kind == "probabilities"


def test_a_row_for_each_label(tmp_path: Path) -> None:
    root = folder(tmp_path, "image,label", ["a", "b", "a", "c"])
    with (root / "train.csv").open("a") as table:
        table.write("\n0.png,c\n3.png,a\n")
    found = read(root, several_labels="yes")
    assert found.train_ids == ("0.png", "1.png", "2.png", "3.png")
    assert [found.label_of(i) for i in range(4)] == ["a + c", "b", "a", "a + c"]


@pytest.mark.parametrize("sampled", [False, True])
def test_names_with_blanks_in_a_row_for_each_label(tmp_path: Path, sampled: bool) -> None:
    labels = [("scab",), ("frog eye", "rust"), ("rust",), ("frog eye",), ("scab", "frog eye")]
    sample = ["image,frog eye,rust,scab", "0,0,1"] if sampled else []
    folder(tmp_path, "image,label", [own[0] for own in labels], sample)
    lines = [f"{i}.png,{label}" for i, own in enumerate(labels) for label in own]
    (tmp_path / "train.csv").write_text("\n".join(["image,label", *lines]))
    found = read(tmp_path, several_labels="yes")
    assert found.class_names == ("frog eye", "rust", "scab")
    assert [found.label_of(row) for row in range(5)] == [
        "scab",
        "frog eye + rust",
        "rust",
        "frog eye",
        "frog eye + scab",
    ]


def test_blanks_inside_names_are_kept_between_other_separators(tmp_path: Path) -> None:
    cells = ["lung mass|edema", "pleural effusion", "lung mass|pleural effusion", "edema", "pleural effusion|edema"]
    found = read(folder(tmp_path, "image,labels", cells), several_labels="yes")
    assert found.class_names == ("edema", "lung mass", "pleural effusion")
    assert found.label_of(2) == "lung mass + pleural effusion"


@pytest.mark.parametrize(
    ("needs", "kind", "cells"),
    [("labels", "indicators", ["1,0,1", "0,0,0"]), ("probabilities", "probabilities", ["0.75,0.25,1", "0.5,0,0.5"])],
)
def test_submissions_of_columns(tmp_path: Path, needs: str, kind: str, cells: list[str]) -> None:
    form = read(columns(tmp_path)).submission
    assert form is not None and decide_kind(form, ("a", "b", "c"), needs) == kind  # type: ignore[arg-type]
    proba = np.array([[0.25, 0.75, 1.0], [0.0, 0.5, 0.5]])
    path = tmp_path / "out.csv"
    write_submission(path, form, ("a", "b", "c"), form.ids, proba, kind)  # type: ignore[arg-type]
    check_submission(path, form, ("a", "b", "c"), kind)  # type: ignore[arg-type]
    assert path.read_text().split() == ["image,b,a,c", *(f"t{i}.png,{own}" for i, own in enumerate(cells))]


def test_submissions_of_lists(tmp_path: Path) -> None:
    found = read(folder(tmp_path, "image,labels", list(PLANTS * 2), ["image,labels", "healthy"]))
    form, proba = found.submission, np.zeros((2, 6))
    assert form is not None and decide_kind(form, found.class_names, "labels") == "labels"
    proba[0, [0, 5]] = 0.9
    path = tmp_path / "out.csv"
    write_submission(path, form, found.class_names, form.ids, proba, "labels")
    check_submission(path, form, found.class_names, "labels")
    assert path.read_text() == "image,labels\nt0.png,complex scab\nt1.png,\n"
    path.write_text("image,labels\nt0.png,complex cat\nt1.png,\n")
    with pytest.raises(DataError, match="'cat' is not a label"):
        check_submission(path, form, found.class_names, "labels")
    with pytest.raises(DataError, match="valid: probabilities, labels, indicators"):
        decide_kind(form, found.class_names, "labels", "integer")


@given(st.integers(0, 1000))
def test_folds_hold_their_share_of_each_label(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = (rng.random((120, 5)) < np.array([0.6, 0.4, 0.2, 0.1, 0.05])).astype(np.int64)
    folds = make_folds(y, np.arange(120), 4, seed)
    assert np.bincount(folds).tolist() == pytest.approx([30] * 4, abs=4)
    counts = np.stack([y[folds == fold].sum(axis=0) for fold in range(4)])
    assert (np.abs(counts - y.sum(axis=0) / 4) <= 3).all()
    assert (folds == make_folds(y, np.arange(120), 4, seed)).all()


def test_folds_keep_groups_together() -> None:
    rng = np.random.default_rng(0)
    y, groups = (rng.random((60, 3)) < 0.4).astype(np.int64), np.repeat(np.arange(20), 3)
    folds = make_folds(y, groups, 4, 0)
    assert len(np.unique(np.stack([groups, folds]), axis=1).T) == 20


def test_an_empty_class_column_beside_zeros_is_a_forgotten_label(tmp_path: Path) -> None:
    rows = [",".join(map(str, row)) for row in COLUMNS * 2]
    root = folder(tmp_path, "image,b,a,c", [*rows, ",1,1", ",,"], ["image,b,a,c", "0,0,0"])
    message = problems_of(root, DataOptions(several_labels="yes"))
    assert "train.csv row 18: the class column 'b' is empty" in message and "row 19" in message
    assert len(read(root, several_labels="yes", skip_bad=True).y) == 16


def test_marks_and_empty_cells_are_yes_and_no(tmp_path: Path) -> None:
    rows = [",".join("x" * value for value in row) for row in COLUMNS]
    found = read(folder(tmp_path, "image,b,a,c", rows, ["image,b,a,c", "0,0,0"]), several_labels="yes")
    assert found.y.tolist() == [[a, b, c] for b, a, c in COLUMNS]


def test_one_row_with_another_value_is_the_only_problem(tmp_path: Path) -> None:
    rows = [",".join(map(str, row)) for row in COLUMNS * 3]
    root = folder(tmp_path, "image,b,a,c", [*rows, "0.5,1,0"], ["image,b,a,c", "0,0,0"])
    message = problems_of(root)
    assert "train.csv row 26: a class column holds a probability" in message and "exactly one" not in message


def test_the_user_who_says_one_label_is_not_told_otherwise(tmp_path: Path) -> None:
    message = problems_of(columns(tmp_path), DataOptions(several_labels="no"))
    assert "it has the labels" in message and "--several-labels" not in message


LISTS = ("cat|dog", "dog|fox", "cat", "dog", "fox", "cat|fox")


def test_a_list_with_another_separator_is_refused(tmp_path: Path) -> None:
    message = problems_of(folder(tmp_path, "image,labels", [*LISTS * 2, "cat;fox"]))
    assert "train.csv row 14: 'cat;fox' seems to list the labels 'cat', 'fox', but '|' separates" in message


def test_lists_in_brackets_are_refused(tmp_path: Path) -> None:
    rows = [f'"{[*row.split("|")]}"' for row in LISTS * 2]
    message = problems_of(folder(tmp_path, "image,labels", [*rows, "[]"]))
    assert "12 labels are lists in brackets" in message and "cat|dog" in message


def test_brackets_are_an_image_without_labels(tmp_path: Path) -> None:
    root = folder(tmp_path, "image,labels", [*LISTS * 2, "[]"])
    assert read(root).y.sum(axis=1).tolist() == [2, 2, 1, 1, 1, 2] * 2 + [0]
    (root / "train.csv").write_text((root / "train.csv").read_text().replace("[]", ""))
    assert "row 14: the label is empty; [] stands for an image without labels" in problems_of(root)


@pytest.mark.parametrize("cell", ["O", "2", "-1", "0.5", "u", "maybe"])
@pytest.mark.parametrize("sampled", [False, True])
def test_another_cell_in_columns_of_0_and_1_is_named(tmp_path: Path, cell: str, sampled: bool) -> None:
    rows = [",".join(map(str, row)) for row in COLUMNS]
    rows[3] = f"0,0,{cell}"
    root = folder(tmp_path, "image,b,a,c", rows, ["image,b,a,c", "0,0,0"] if sampled else [])
    message = problems_of(root, DataOptions(several_labels="yes"))
    assert "train.csv row 5: " in message and (sampled or f"{cell!r} in the column 'c'" in message)
    assert sampled or f"train.csv row 5: {cell!r} in the column 'c'" in problems_of(root)


def test_columns_that_are_labels_and_those_that_are_not_are_named(tmp_path: Path) -> None:
    rows = [f"{','.join(map(str, row))},1,{'MF'[i % 2]},{30 + i},{i % 2},{i % 4}" for i, row in enumerate(COLUMNS * 3)]
    found = read(folder(tmp_path, "image,b,a,c,animal,sex,age,fold,grade", rows), several_labels="yes")
    assert found.class_names == ("a", "b", "c") and found.y.tolist() == [[a, b, c] for b, a, c in COLUMNS * 3]
    assert any("the labels are the 3 columns that hold 0 and 1: 'b', 'a', 'c'" in note for note in found.notes)
    assert any("not among the labels: 'age', 'fold'" in note for note in found.notes)
    assert [warning.split("'")[1] for warning in found.warnings] == ["animal", "sex", "grade"]


@pytest.mark.parametrize(("yes", "no"), [("on", "off"), ("1", "2")])
def test_other_words_for_yes_and_no_are_named(tmp_path: Path, yes: str, no: str) -> None:
    rows = [",".join((no, yes)[value] for value in row) for row in COLUMNS]
    message = problems_of(folder(tmp_path, "image,b,a,c", rows), DataOptions(several_labels="yes"))
    assert "write 1 where an image has the label" in message and "--several-labels" not in message


def test_forgotten_cells_alone_are_named(tmp_path: Path) -> None:
    rows = ["1,,", ",1,0", ",0,1", ",1,1"] * 2
    message = problems_of(folder(tmp_path, "image,b,a,c", rows), DataOptions(several_labels="yes"))
    assert "train.csv row 2: the class column 'a' is empty" in message


def test_another_cell_is_named_beside_other_columns(tmp_path: Path) -> None:
    rows = [f"{','.join(map(str, row))},{'xy'[i % 2]}" for i, row in enumerate(COLUMNS)]
    rows[3] = "0,0,O,x"
    message = problems_of(folder(tmp_path, "image,b,a,c,site", rows))
    assert "it could be 'b', 'a', 'c', 'site'" in message and "train.csv row 5: 'O' in the column 'c'" in message


@pytest.mark.parametrize(("labels", "separator"), [(("apple", "rust"), " "), (("golden retriever", "rust"), "|")])
def test_a_submission_of_names_with_blanks_has_another_separator(
    tmp_path: Path, labels: tuple[str, str], separator: str
) -> None:
    """A row a label, and no sample submission that would say how labels are listed."""
    lines = [f"{i}.png,{label}" for i in range(8) for label in (labels if i % 2 else labels[:1])]
    for i in range(8):
        save(tmp_path / "train" / f"{i}.png", i, 8)
    save(tmp_path / "test" / "t.png", 90, 8)
    (tmp_path / "train.csv").write_text("\n".join(["image,label", *lines]), encoding="utf-8")
    found = read(tmp_path, several_labels="yes")
    assert found.class_names == labels and found.submission is not None
    assert found.submission.separator == separator
    path, form = tmp_path / "submission.csv", found.submission
    write_submission(path, form, labels, form.ids, np.ones((1, 2), np.float32), "labels")
    check_submission(path, form, labels, "labels")
    assert path.read_text().splitlines()[1] == f"t.png,{separator.join(labels)}"


def test_labels_called_x_and_y_are_named_as_coordinates(tmp_path: Path) -> None:
    rows = [[str(i), str(i % 2), str(int(i % 3 > 0)), str(int(i % 4 > 1)), str(int(i % 5 > 1))] for i in range(12)]
    for row in rows:
        save(tmp_path / "train" / f"{row[0]}.png", int(row[0]), 8)
    write_table(tmp_path / "train.csv", [["id", "x", "y", "fog", "rain"], *rows])
    found = read_images(tmp_path, DataOptions(several_labels="yes"), verify=False)
    assert found.class_names == ("fog", "rain")
    assert any("'x', 'y' are taken for coordinates and not read as labels" in line for line in found.warnings)
