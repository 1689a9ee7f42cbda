"""Submissions have exactly the sample's format, and the check refuses wrong ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainer.data.read import DataError
from trainer.data.readers.sample_submission import read_sample
from trainer.formats.delimited import read_table, write_table
from trainer.formats.submission import (
    OF_ONE,
    SubmissionError,
    SubmissionFormat,
    check_submission,
    decide_kind,
    default_format,
    write_submission,
)

CLASSES = ("cat", "dog", "emu")
PROBA = np.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])


def sample(
    tmp_path: Path, text: str, classes: tuple[str, ...] = CLASSES, *, header: bool = True
) -> tuple[SubmissionFormat, str]:
    path = tmp_path / "sample_submission.csv"
    path.write_bytes(text.encode())
    form, warnings = read_sample(read_table(path), has_header=header, id_column="id", class_names=classes)
    return form, " ".join(warnings)


@pytest.mark.parametrize(
    ("text", "classes", "kind"),
    [
        ("id,y\na,cat\nb,dog\n", CLASSES, "label"),
        ("id,y\na,2\nb,2\n", ("1", "2", "10"), "integer"),
        ("id,y\na,0\nb,0\n", ("0", "1"), None),
        ("id,y\na,0.5\nb,0.5\n", ("0", "1"), "probability"),
        ("id,y\na,0.5\nb,0.5\n", ("cat", "dog"), "probability"),
        ("id,y\na,\nb,\n", CLASSES, None),
        ("id,y\na,0\nb,0\n", CLASSES, None),
        ("id,dog,cat,emu\na,0,0,0\n", CLASSES, "probabilities"),
    ],
)
def test_kind_of_the_sample(tmp_path: Path, text: str, classes: tuple[str, ...], kind: str | None) -> None:
    assert sample(tmp_path, text, classes)[0].kind == kind


def test_placeholders_and_unknown_labels_are_mentioned(tmp_path: Path) -> None:
    assert "holds '0'" in sample(tmp_path, "id,y\na,0\n")[1]
    assert "holds 'yak'" in sample(tmp_path, "id,y\na,cat\nb,yak\n")[1]
    assert sample(tmp_path, "id,y\na,cat\n")[1] == ""


def test_the_metric_decides_where_the_sample_does_not(tmp_path: Path) -> None:
    binary = sample(tmp_path, "id,y\na,0\n", ("0", "1"))[0]
    assert decide_kind(binary, ("0", "1"), "labels") == "integer"
    assert decide_kind(binary, ("0", "1"), "probabilities") == "probability"
    assert decide_kind(binary, ("0", "1"), "labels", "probabilities") == "probabilities"
    none = default_format(id_header="id", label_header="y", ids=["a"], class_columns=(), class_names=CLASSES)
    assert decide_kind(none, CLASSES, "probabilities") == "probabilities"
    assert decide_kind(none, CLASSES, "labels") == "label"
    decided = sample(tmp_path, "id,y\na,cat\n")[0]
    assert decide_kind(decided, CLASSES, "probabilities") == "label"


@pytest.mark.parametrize("override", ["probability", "integer", "nonsense"])
def test_kinds_that_do_not_fit_are_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(SubmissionError):
        decide_kind(sample(tmp_path, "id,y\na,cat\n")[0], CLASSES, "labels", override)


@pytest.mark.parametrize(
    ("text", "header", "expected"),
    [
        ("id,y\r\nb,cat\r\na,cat\r\nc,cat\r\n", True, b"id,y\r\nb,dog\r\na,cat\r\nc,emu\r\n"),
        ("b\tcat\na\tcat\nc\tcat\n", False, b"b\tdog\na\tcat\nc\temu\n"),
        ("\ufeffname;id\ncat;b\ncat;a\ncat;c\n", True, "\ufeffname;id\ndog;b\ncat;a\nemu;c\n".encode()),
        (
            "id,emu,cat,dog\nb,0,0,0\na,0,0,0\nc,0,0,0\n",
            True,
            b"id,emu,cat,dog\nb,0.3,0.2,0.5\na,0.1,0.7,0.2\nc,0.7,0.1,0.2\n",
        ),
    ],
)
def test_written_as_the_sample_is(tmp_path: Path, text: str, header: bool, expected: bytes) -> None:
    form, _ = sample(tmp_path, text, header=header)
    kind = decide_kind(form, CLASSES, "labels")
    path = tmp_path / "submission.csv"
    write_submission(path, form, CLASSES, form.ids, PROBA, kind)
    assert path.read_bytes() == expected
    check_submission(path, form, CLASSES, kind)


def test_one_probability_is_that_of_the_positive_class(tmp_path: Path) -> None:
    proba = np.array([[0.25, 0.75]])
    path = tmp_path / "submission.csv"
    for header, expected in (("target", "0.75"), ("cat", "0.25")):
        form, _ = sample(tmp_path, f"id,{header}\na,0.5\n", ("cat", "dog"))
        write_submission(path, form, ("cat", "dog"), ["a"], proba, "probability")
        assert path.read_text() == f"id,{header}\na,{expected}\n"


@pytest.mark.parametrize(
    "columns", ["Class_1,Class_2,Class_10", "1,2,10", "CLASS 1,class-2,class10"], ids=["prefix", "bare", "punctuation"]
)
def test_columns_are_matched_with_classes(tmp_path: Path, columns: str) -> None:
    for classes in (("1", "2", "10"), ("class_1", "class_2", "class_10")):
        form, _ = sample(tmp_path, f"id,{columns}\na,0,0,0\n", classes)
        assert form.class_columns == (0, 1, 2)


def test_columns_that_are_not_the_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'yak'.*no training image") as caught:
        sample(tmp_path, "id,cat,dog,yak\na,0,0,0\n")
    assert "no column for the training labels 'emu'" in str(caught.value)


def test_every_override_gives_a_valid_submission(tmp_path: Path) -> None:
    """For every form of the sample, each kind that fits the classes is written and passes the check."""
    classes = ("0", "1")
    proba = np.array([[0.9, 0.1], [0.2, 0.8]])
    path = tmp_path / "submission.csv"
    for text in ("id,y\na,0\nb,0\n", "id,0,1\na,0,0\nb,0,0\n", "id,y\na,0.5\nb,0.5\n"):
        form, _ = sample(tmp_path, text, classes)
        for kind in OF_ONE:
            write_submission(path, form, classes, form.ids, proba, decide_kind(form, classes, "labels", kind))
            check_submission(path, form, classes, kind)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("b,dog", "x,dog", "row 2: the id is 'x', not 'b'"),
        ("b,dog\na,cat", "a,cat\nb,dog", "row 2: the id is 'a', not 'b'"),
        ("c,emu\n", "", "has 2 predictions, the sample has 3"),
        ("b,dog", "b,", "row 2 has no value"),
        ("b,dog", "b,yak", "row 2: 'yak' is not a label"),
        ("id,y", "id,z", "the header is 'id', 'z'"),
    ],
)
def test_a_changed_submission_fails_the_check(tmp_path: Path, before: str, after: str, message: str) -> None:
    form, _ = sample(tmp_path, "id,y\nb,cat\na,cat\nc,cat\n")
    path = tmp_path / "submission.csv"
    write_submission(path, form, CLASSES, form.ids, PROBA, "label")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(SubmissionError, match=message):
        check_submission(path, form, CLASSES, "label")


@pytest.mark.parametrize("value", ["nan", "inf", "-0.1", "1.5", "dog"])
def test_probabilities_are_checked(tmp_path: Path, value: str) -> None:
    form, _ = sample(tmp_path, "id,cat,dog,emu\nb,0,0,0\n")
    path = tmp_path / "submission.csv"
    path.write_text(f"id,cat,dog,emu\nb,0.5,{value},0.1\n")
    with pytest.raises(SubmissionError, match=r"row 2: .* is not a probability"):
        check_submission(path, form, CLASSES, "probabilities")


def test_wrong_predictions_are_not_written(tmp_path: Path) -> None:
    form, _ = sample(tmp_path, "id,y\nb,cat\na,cat\nc,cat\n")
    path = tmp_path / "submission.csv"
    bad = PROBA.copy()
    bad[1, 1] = np.nan
    for ids, proba in ((("a", "b", "c"), PROBA), (form.ids, PROBA[:2]), (form.ids, bad)):
        with pytest.raises(SubmissionError):
            write_submission(path, form, CLASSES, ids, proba, "label")
    assert [file.name for file in tmp_path.iterdir()] == ["sample_submission.csv"]


cells = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=8).filter(str.strip)


@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=8), delimiter=st.sampled_from(",\t;| "))
@example(rows=[(":", ":"), ("0", "|")], delimiter="|")
@example(rows=[(":", ":"), ("0", "0 ")], delimiter=" ")
@settings(max_examples=80)
def test_cells_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "table.csv"
    write_table(path, rows, delimiter=delimiter, newline="\r\n", bom=True)
    assert list(read_table(path, delimiter).rows) == rows


@pytest.mark.parametrize(
    ("name", "text", "delimiter"),
    [
        ("a.csv", "id,label\n1,a;b\n2,c;d\n", ","),
        ("a.tsv", "id\tlabel\n1\ta,b\n2\tc,d\n", "\t"),
        ("a.csv", "id;p\n1;0,5\n2;0,25\n", ";"),
        ("a.csv", "id\tlabel\n1\ta\n", "\t"),
        ("a.csv", "id;name, first;y\n1;Ann;0\n2;Bob;1\n", ";"),
        ("a.csv", "id\n1\n2\n", ","),
    ],
)
def test_the_delimiter_is_found(tmp_path: Path, name: str, text: str, delimiter: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_table(tmp_path / name).delimiter == delimiter


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"id,label\n1,a\n2\n3,c,d\n", "row 3 has 1 fields"),
        (b'id,label\n1,"a\n2,b\n', "quotation mark"),
        ("id,label\n1,é\n".encode("latin-1"), "row 2 is not UTF-8"),
        ("id,label\n1,a\n".encode("utf-16-le"), "UTF-16"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "binary file"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_rows_are_numbered_as_in_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,label\n\n1,"two\nlines"\n2,b\n')
    table = read_table(path)
    with path.open(newline="") as file:
        everything = list(csv.reader(file))
    assert [everything[number - 1] for number in table.numbers] == [list(row) for row in table.rows]


@pytest.mark.parametrize(("names", "free"), [(("u", "v"), True), (("u", "v", "u v"), False)])
def test_a_separator_that_a_class_holds_separates_no_labels(names: tuple[str, ...], free: bool) -> None:
    form = default_format(
        id_header="id", label_header="labels", ids=("a",), class_columns=(), class_names=names, separator=" "
    )
    assert decide_kind(form, names, "labels") == ("labels" if free else "indicators")
    if not free:
        with pytest.raises(SubmissionError, match="the class 'u v' holds it"):
            decide_kind(form, names, "labels", "labels")
