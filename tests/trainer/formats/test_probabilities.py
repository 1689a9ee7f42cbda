"""Tables of class probabilities: any order of rows and columns is read, every wrong row is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.common.errors import DataError
from trainer.formats import probabilities
from trainer.formats.delimited import write_table
from trainer.formats.probabilities import read_probabilities

IDS = ("a", "b", "c")
CLASSES = ("cat", "dog")
ROWS = [["id", "cat", "dog"], ["a", "0.25", "0.75"], ["b", "1", "0"], ["c", "0.5", "0.5"]]


def read(folder: Path, rows: list[list[str]], **more: object) -> probabilities.ProbabilityTable:
    write_table(folder / "oof.csv", rows)
    return read_probabilities(folder / "oof.csv", IDS, CLASSES, what="training image", **more)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(data=st.data())
def test_order_and_names_of_columns_do_not_matter(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same images, classes and seeds in any order of rows and columns are the same table."""
    seeds = data.draw(st.integers(1, 3))
    draws = np.random.default_rng(data.draw(st.integers(0, 999)))
    proba = draws.dirichlet(np.ones(2), (seeds, 3))
    folds = draws.integers(0, 2, (seeds, 3))
    prefix = data.draw(st.sampled_from(["", "p_"]))
    columns: dict[str, Callable[[int, int], str]] = {
        "image_id": lambda s, i: IDS[i],
        f"{prefix}cat": lambda s, i: repr(float(proba[s, i, 0])),
        f"{prefix}dog": lambda s, i: repr(float(proba[s, i, 1])),
        "fold": lambda s, i: f"part {folds[s, i]}",
        "seed": lambda s, i: str(s),
        "y_pred": lambda s, i: "cat",
    }
    names = data.draw(st.permutations(list(columns)))
    places = data.draw(st.permutations([(s, i) for s in range(seeds) for i in range(3)]))
    rows = [[columns[name](s, i) for name in names] for s, i in places]
    table = read(tmp_path_factory.mktemp("table"), [list(names), *rows])
    order = list(dict.fromkeys(s for s, _ in places))
    np.testing.assert_allclose(table.proba, proba[order], atol=1e-6)
    np.testing.assert_allclose(table.mean, proba.mean(axis=0), atol=1e-6)
    assert table.folds is not None
    for own, given_folds in zip(table.folds, folds[order], strict=True):
        assert [[x == y for x in own] for y in own] == [[x == y for x in given_folds] for y in given_folds]


def test_rounded_rows_are_normalised_and_a_class_may_be_called_as_a_column(tmp_path: Path) -> None:
    table = read(tmp_path, [*ROWS[:3], ["c", "0.333", "0.666"]])
    np.testing.assert_allclose(table.proba[0, 2], [1 / 3, 2 / 3], atol=1e-6)
    assert table.folds is None and table.proba.dtype == np.float32
    write_table(tmp_path / "odd.csv", [["image_id", "fold", "seed"], ["x", "0.25", "0.75"]])
    odd = read_probabilities(tmp_path / "odd.csv", ("x",), ("seed", "fold"), what="image")
    np.testing.assert_allclose(odd.proba, [[[0.75, 0.25]]])
    assert odd.folds is None


def changed(row: int, column: int, cell: str) -> list[list[str]]:
    return [[cell if (i, j) == (row, column) else old for j, old in enumerate(line)] for i, line in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(2, 1, "nan"), r"row 3: 'nan'"),
        (changed(2, 1, "inf"), r"row 3: 'inf'"),
        (changed(2, 1, "1_0"), r"row 3: '1_0'"),
        (changed(2, 1, "-0.1"), r"row 3: '-0.1'.*\n.*softmax"),
        (changed(2, 1, " "), r"row 3: no value"),
        (changed(2, 2, "0.5"), r"row 3: the probabilities of 'b' add up to 1.5, not to 1"),
        (
            [ROWS[0], ["a", "25", "75"], ["b", "99.9", "0"], ["c", "50", "50"]],
            r"add up to 99.9.*\n.*\n.*100",
        ),
        (changed(2, 0, "a"), r"row 3: 'a' .*row 2\n.*no row for 1 of 3 .*: 'b'"),
        (
            changed(2, 0, "z"),
            r"row 3: 'z' .*\n(.*\n)*.*'a', 'b', 'c'",
        ),
        (changed(0, 2, "wolf"), r"no column 'dog'\n.*'wolf'.*\n.*image_id.*'cat', 'dog'"),
        (changed(0, 2, "cat"), r"two columns .*'cat'"),
        (changed(0, 1, "p_cat"), r"no column 'p_dog'"),
        ([[*line, "" if i else "weight"] for i, line in enumerate(ROWS)], r"'weight'"),
        (ROWS[:1], r"nothing but a header"),
        (ROWS[1:], r"no column 'cat', 'dog'"),
        ([["image_id", "p_cat"], *(line[:2] for line in ROWS[1:])], r"no column 'p_dog'"),
    ],
)
def test_every_error_names_its_row(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, rows)


def test_every_seed_has_to_be_complete(tmp_path: Path) -> None:
    rows = [[*ROWS[0], "seed"], *([*line, seed] for seed in "01" for line in ROWS[1:])]
    assert read(tmp_path, rows).proba.shape == (2, 3, 2)
    with pytest.raises(DataError, match="no row for 1 of 3 training images with seed 1: 'c'"):
        read(tmp_path, rows[:-1])
    with pytest.raises(DataError, match=r"'b' .* second time with seed 1, .* row 6"):
        read(tmp_path, [*rows[:-1], [*ROWS[2], "1"]])


def test_labels_in_the_file_have_to_be_the_studys(tmp_path: Path) -> None:
    def with_labels(*labels: str) -> list[list[str]]:
        return [[*ROWS[0], "y_true"], *([*line, label] for line, label in zip(ROWS[1:], labels, strict=True))]

    read(tmp_path, with_labels("cat", "dog", "dog"), labels=("cat", "dog", "dog"))
    read(tmp_path, with_labels("0", "1", "1"), labels=("cat", "dog", "dog"))
    with pytest.raises(DataError, match=r"row 3: y_true of 'b' is 'cat'.*'dog'"):
        read(tmp_path, with_labels("cat", "cat", "dog"), labels=("cat", "dog", "dog"))


@pytest.mark.parametrize(("own", "other"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")])
@pytest.mark.parametrize("prefix", ["", "p_"])
def test_texts_may_have_another_unicode_form(tmp_path: Path, own: str, other: str, prefix: str) -> None:
    header = ["id", f"{prefix}{other}", f"{prefix}x", "y_true"]
    write_table(tmp_path / "t.csv", [header, ["x", "0", "1", "x"], [other, "1", "0", other]])
    table = read_probabilities(tmp_path / "t.csv", (own, "x"), (own, "x"), what="image", labels=(own, "x"))
    assert table.mean.tolist() == [[1, 0], [0, 1]]


def test_a_missing_file_and_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_probabilities(tmp_path / "none.csv", IDS, CLASSES, what="image")
    monkeypatch.setattr(probabilities, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="up to 10 are read"):
        read(tmp_path, ROWS)
