"""Folds: stratified, grouped, repeatable, importable."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.images import save
from trainer.data.duplicates import find_duplicates
from trainer.data.folds import fold_groups, fold_warnings, make_folds, read_folds_csv, write_folds_csv
from trainer.data.image_set import ImageSet
from trainer.data.names.versions import versions_among
from trainer.data.read import DataError, read_images

labels = st.lists(st.integers(0, 4), min_size=12, max_size=80).map(lambda y: np.array(y, np.int64))


@given(y=labels, n_folds=st.integers(2, 6), seed=st.integers(0, 1000))
@settings(max_examples=60)
def test_single_images_are_spread_evenly(y: np.ndarray, n_folds: int, seed: int) -> None:
    folds = make_folds(y, np.arange(len(y)), n_folds, seed)
    sizes = np.bincount(folds, minlength=n_folds)
    assert sizes.max() - sizes.min() <= 1
    for label in np.unique(y):
        counts = np.bincount(folds[y == label], minlength=n_folds)
        assert counts.max() - counts.min() <= 1


@given(data=st.data(), n_folds=st.integers(2, 4), seed=st.integers(0, 100))
@settings(max_examples=60)
def test_groups_are_never_cut(data: st.DataObject, n_folds: int, seed: int) -> None:
    y = data.draw(labels)
    groups = np.array(data.draw(st.lists(st.integers(0, 30), min_size=len(y), max_size=len(y))))
    try:
        folds = make_folds(y, groups, n_folds, seed)
    except DataError:
        assert len(np.unique(groups)) < 3 * n_folds  # only a handful of groups may be too few or too large
        return
    assert set(folds) == set(range(n_folds))
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    np.testing.assert_array_equal(folds, make_folds(y, groups, n_folds, seed))


def test_grouped_folds_stay_stratified() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 8, 150)
    groups = np.repeat(np.arange(150), sizes)
    y = np.repeat(rng.integers(0, 3, 150), sizes)
    folds = make_folds(y, groups, 5, 0)
    for label in range(3):
        shares = np.bincount(folds[y == label], minlength=5) / (y == label).sum()
        assert abs(shares - 0.2).max() < 0.03


def test_seeds_give_other_folds_and_stay_what_they_are() -> None:
    y = np.arange(40) % 4
    first = make_folds(y, np.arange(40), 5, 0)
    assert (make_folds(y, np.arange(40), 5, 1) != first).any()
    # Folds are stored and shared: a change of the algorithm would silently make old studies incomparable.
    assert "".join(map(str, first)) == "4003023124304143322023421001331404141122"


def test_impossible_folds() -> None:
    y = np.array([0, 1, 0, 1])
    with pytest.raises(DataError, match="at least 2"):
        make_folds(y, np.arange(4), 1, 0)
    with pytest.raises(DataError, match="4 images in 2 groups cannot be split into 3 folds"):
        make_folds(y, np.array([0, 0, 1, 1]), 3, 0)


def test_duplicates_and_the_group_column_join(tmp_path: Path) -> None:
    for name, seed in (("cat/a", 0), ("cat/b", 1), ("dog/c", 0), ("dog/d", 3), ("dog/e", 4)):
        save(tmp_path / f"{name}.png", seed)
    image_set = read_images(tmp_path)
    duplicates = find_duplicates(image_set)
    np.testing.assert_array_equal(fold_groups(image_set, duplicates.groups), [0, 1, 0, 2, 3])
    grouped = replace(image_set, groups=("", "p1", "p2", "", "p2"))
    np.testing.assert_array_equal(fold_groups(grouped, duplicates.groups), [0, 1, 0, 2, 0])


@given(data=st.data(), n=st.integers(0, 30))
@settings(max_examples=200)
def test_groups_are_the_connected_components_in_order_of_their_first_image(data: st.DataObject, n: int) -> None:
    """Against the definition: the closure of "one id, one duplicate group, or one value of the group column"."""

    def draw(values: st.SearchStrategy[Any]) -> list[Any]:
        drawn: list[Any] = data.draw(st.lists(values, min_size=n, max_size=n))
        return drawn

    # Digits among the ids and the column's values: neither may be taken for a number of a duplicate group.
    ids, duplicates = draw(st.sampled_from("0123456789abcdefghij")), draw(st.integers(0, 20))
    column = data.draw(st.none() | st.lists(st.sampled_from(["", "", "0", "1", "a", "b"]), min_size=n, max_size=n))
    alike = np.eye(n, dtype=bool)
    for i, j in itertools.product(range(n), repeat=2):
        same_value = column is not None and bool(column[i]) and column[i] == column[j]
        alike[i, j] |= ids[i] == ids[j] or duplicates[i] == duplicates[j] or same_value
    for _ in range(n):
        alike = alike @ alike
    first_of = [int(np.argmax(row)) for row in alike]
    expected = [sorted(set(first_of)).index(first) for first in first_of]
    image_set = SimpleNamespace(
        train_ids=tuple(ids),
        groups=None if column is None else tuple(column),
        versions=versions_among(ids, [""] * len(ids)),
    )
    of_test_images = data.draw(st.lists(st.integers(0, 20), max_size=5))
    groups = fold_groups(cast(ImageSet, image_set), np.array(duplicates + of_test_images, np.int64))
    assert groups.dtype == np.int64
    assert groups.tolist() == expected


def test_rare_classes_are_named() -> None:
    y = np.array([0] * 5 + [1] * 2 + [2] * 6)
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 8, 8])
    first, second = fold_warnings(y, groups, ["many", "rare", "alike"], 3)
    assert "'rare' has 2 images, fewer than the 3 folds" in first
    assert "'alike' has 6 images in 2 groups" in second


def test_many_rare_classes_share_a_sentence() -> None:
    names = [f"class_{c}" for c in range(500)]
    (sentence,) = fold_warnings(np.repeat(np.arange(500), 2), np.arange(1000), names, 5)
    assert sentence == (
        "500 classes have fewer images or groups than the 5 folds, such as 'class_0' (2), 'class_1' (2), 'class_2' "
        "(2): some folds are scored without them"
    )


def test_a_table_of_folds_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    ids = ["b", "a", 'c,"d']
    write_folds_csv(path, ids=ids, labels=["x", "y", "x"], groups=np.array([0, 1, 2]), folds=np.array([1, 0, 1]))
    assert path.read_text().splitlines()[:2] == ["image_id,label,group,fold", "b,x,0,1"]
    np.testing.assert_array_equal(read_folds_csv(path, ids), [1, 0, 1])
    np.testing.assert_array_equal(read_folds_csv(path, ids[::-1]), [1, 0, 1][::-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,fold\na,0\nb,1\na,1\n", "row 4: the id 'a' is given twice, in different folds"),
        ("image_id,fold\na,0\nz,1\n", "row 3: 'z' is not a training image"),
        ("image_id,fold\na,0\n", "no row for 1 training image: 'b'"),
        ("image_id,fold\na,0\nb,first\n", "row 3: the fold 'first'"),
        ("image_id,fold\na,0\nb,2\n", r"the folds are \[0, 2\]"),
        ("image_id,fold\na,0\nb,0\n", r"the folds are \[0\]"),
        ("id,fold\na,0\nb,1\n", "no column 'image_id'"),
    ],
)
def test_bad_tables_of_folds(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_folds_csv(path, ["a", "b"])
