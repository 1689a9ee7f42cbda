"""One-hot columns: quoted names, names with blanks, TRUE and FALSE, marks, and flags beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, ImageSet, read_images
from trainer.formats.shares import are_shares, share

CLASSES = ("sea lion", "polar bear", "emu")


def table_of(root: Path, header: str, one: str = "1", zero: str = "0", end: str = "") -> Path:
    """A table of six images whose class is the column of their number modulo 3."""
    rows = []
    for i in range(6):
        save(root / "train" / f"{i}.png", i, 8)
        rows.append(",".join([f"{i}.png", *(one if i % 3 == k else zero for k in range(3))]) + end.format(i % 2))
    (root / "train.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    return root


def check(found: ImageSet) -> None:
    assert labels_of(found) == [CLASSES[i % 3] for i in range(6)]
    assert found.notes[0] == "train.csv: id column 'id', one column per class"


@pytest.mark.parametrize("quote", ["{}", '"{}"', "'{}'", '"""{}"""', "\u201c{}\u201d", " {} "])
@pytest.mark.parametrize("id_quoted", [True, False])
def test_names_of_one_hot_columns(tmp_path: Path, quote: str, *, id_quoted: bool) -> None:
    header = ",".join([quote.format("id") if id_quoted else "id", *map(quote.format, CLASSES)])
    check(read_images(table_of(tmp_path, header), verify=False))


def test_quotation_marks_stay_in_a_submission(tmp_path: Path) -> None:
    header = "id,'sea lion','polar bear','emu'"
    save(tmp_path / "test" / "t.png", 99, 8)
    (tmp_path / "sample_submission.csv").write_text(f"{header}\nt.png,0,0,0\n")
    found = read_images(table_of(tmp_path, header), verify=False)
    check(found)
    assert found.submission is not None and found.submission.header == tuple(header.split(","))
    assert found.submission.class_columns == (2, 1, 0)


@pytest.mark.parametrize(
    ("one", "zero"),
    [("TRUE", "FALSE"), ("True", "False"), ("1", "FALSE"), ("yes", "no"), ("T", "F"), ("WAHR", "FALSCH"), ("x", ""),
     ("1", ""), ("\u2713", ""), ("1.0", "0.0"), ("'1'", "'0'"), (" 1", " 0"),
     ("1", "-1"), ("1.0", "-1.0"), ("+1", "-1"), (" 1", " -1")],
)  # fmt: skip
def test_values_of_one_hot_columns(tmp_path: Path, one: str, zero: str) -> None:
    check(read_images(table_of(tmp_path, "id,sea lion,polar bear,emu", one, zero), verify=False))


@pytest.mark.parametrize("end", [",{}", ",10{}"])
def test_a_column_beside_the_one_hot_columns_is_named(tmp_path: Path, end: str) -> None:
    found = read_images(table_of(tmp_path, "id,sea lion,polar bear,emu,flipped", end=end), verify=False)
    check(found)
    assert "not among the one-hot columns: 'flipped'" in found.notes


@pytest.mark.parametrize(("cells", "bad"), [("TRUE,TRUE,FALSE", "labels"), ("maybe,TRUE,FALSE", "'maybe'")])
def test_rows_that_are_not_one_hot_are_refused(tmp_path: Path, cells: str, bad: str) -> None:
    root = table_of(tmp_path, "id,sea lion,polar bear,emu", "TRUE", "FALSE")
    save(root / "test" / "t.png", 99, 8)
    (root / "sample_submission.csv").write_text("id,sea lion,polar bear,emu\nt.png,0,0,0\n")
    with (root / "train.csv").open("a") as table:
        table.write(f"\n0.png,{cells}\n")
    message = problems_of(root)
    assert "train.csv row 8" in message and bad in message


@given(st.floats(0, 1))
def test_probabilities_are_shares(value: float) -> None:
    text = f"{value:.12f}"
    assert share(text) == float(text)
    assert are_shares([[text, f"{1 - value:.12f}"]], 0.01)


def test_other_cells_are_no_shares() -> None:
    assert [share(cell) for cell in ("-1", "2", "nan", "cat")] == [None] * 4
    assert not are_shares([], 0.01)
    assert not are_shares([["1", ""], ["1", ""]], 0.01), "an empty column is no class"


def signed(root: Path, rows: list[tuple[int, ...]], sample: bool) -> Path:
    """A table of images with one column for each of three classes; ``sample``: beside a sample submission."""
    lines = ["id,sea lion,polar bear,emu"]
    for i, row in enumerate(rows):
        save(root / "train" / f"{i}.png", i, 8)
        lines.append(",".join([f"{i}.png", *map(str, row)]))
    (root / "train.csv").write_text("\n".join(lines))
    if sample:
        save(root / "test" / "t.png", 99, 8)
        (root / "sample_submission.csv").write_text("id,sea lion,polar bear,emu\nt.png,0,0,0\n")
    return root


def test_one_and_minus_one_beside_a_sample_submission(tmp_path: Path) -> None:
    found = read_images(signed(tmp_path, [(1, -1, -1), (-1, 1, -1), (-1, -1, 1)] * 2, sample=True), verify=False)
    check(found)
    assert not found.warnings


@pytest.mark.parametrize("sample", [True, False])
@pytest.mark.parametrize("odd", [(-1, -1, -1), (1, 0, -1), (-1, 0, 0), (1, -1, 0)])
def test_minus_one_is_no_label_where_rows_are_not_one_hot(
    tmp_path: Path, odd: tuple[int, ...], *, sample: bool
) -> None:
    rows = [odd, (-1, 1, -1), (-1, -1, 1), (1, -1, -1)] * 2
    message = problems_of(signed(tmp_path, rows, sample))
    wanted = ("train.csv row 2",) if sample else ("the label column is ambiguous", "they are not one-hot")
    assert any(text in message for text in wanted)


@pytest.mark.parametrize(("one", "zero"), [("2", "1"), ("1", "2"), ("100", "0"), ("0", "1"), ("-1", "1")])
def test_other_codes_are_refused(tmp_path: Path, one: str, zero: str) -> None:
    assert "the label column is ambiguous" in problems_of(table_of(tmp_path, "id,sea lion,polar bear,emu", one, zero))


PAIR = ("id,cat,dog,{}", [f"{i}.png,{1 - i % 2},{i % 2}," for i in range(12)])


def pair(root: Path, other: str, cells: list[str]) -> Path:
    for i in range(12):
        save(root / "train" / f"{i}.png", i, 8)
    header, rows = PAIR
    (root / "train.csv").write_text("\n".join([header.format(other), *map(str.__add__, rows, cells)]))
    return root


@pytest.mark.parametrize("cells", [[str(30 + i) for i in range(12)], ["1"] * 12, ["x"] * 12])
def test_two_one_hot_columns_beside_one_that_holds_no_labels(tmp_path: Path, cells: list[str]) -> None:
    found = read_images(pair(tmp_path, "age", cells), verify=False)
    assert labels_of(found) == ["cat", "dog"] * 6 and "not among the one-hot columns: 'age'" in found.notes


@pytest.mark.parametrize("cells", [["x", "x", "y"] * 4, ["1", "0", "0"] * 4])
def test_two_one_hot_columns_beside_possible_labels_are_a_question(tmp_path: Path, cells: list[str]) -> None:
    message = problems_of(pair(tmp_path, "site", cells))
    assert "the one-hot columns 'cat', 'dog', or 'site'. Remove 'site'" in message
    table = tmp_path / "train.csv"
    table.write_text("\n".join(line.rpartition(",")[0] for line in table.read_text().split("\n")))
    assert labels_of(read_images(tmp_path, verify=False)) == ["cat", "dog"] * 6


@pytest.mark.parametrize(
    ("cells", "says", "better"),
    [("0,0,0", "holds no 1: write 1 into one, or remove the row", "0,1,0"),
     ("0,1,1", "holds 2 times 1: leave it in one of 'polar bear', 'emu'", "0,1,0"),
     ("0,0,0", "(image '4.png')", None)],
)  # fmt: skip
def test_a_single_row_that_is_not_one_hot_is_named(tmp_path: Path, cells: str, says: str, better: str | None) -> None:
    rows = [f"{i}.png,{','.join(str(int(i % 3 == k)) for k in range(3))}" for i in range(20)]
    for i in range(20):
        save(tmp_path / "train" / f"{i}.png", i, 8)

    def write(new: str | None) -> None:
        lines = [row for i, row in enumerate(rows) if i != 4] if new is None else [*rows]
        if new is not None:
            lines[4] = f"4.png,{new}"
        (tmp_path / "train.csv").write_text("\n".join(["id,sea lion,polar bear,emu", *lines]), encoding="utf-8")

    write(cells)
    problems = problems_of(tmp_path)
    assert "train.csv row 6 (image '4.png')" in problems and says in problems
    assert "--label-column" not in problems and "--several-labels yes" in problems

    write(better)
    assert read_images(tmp_path, verify=False).class_names == tuple(sorted(CLASSES))
    write(cells)
    assert read_images(tmp_path, DataOptions(several_labels="yes"), verify=False).several_labels


def test_one_row_is_counted_in_the_singular(tmp_path: Path) -> None:
    table_of(tmp_path, "id,sea lion,polar bear,emu")
    table = tmp_path / "train.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("4.png,0,1,0", "4.png,0,0,0"), encoding="utf-8")

    assert "1 row holds no 1, and can be removed if it has no label" in problems_of(tmp_path)
