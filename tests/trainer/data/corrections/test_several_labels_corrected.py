"""Corrections of images with several labels: cells of lists, every layout, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.data.corrections.test_merge_review import decided, row
from tests.trainer.images import problems_of, save
from trainer.common.errors import DataError
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.corrections.merge_review import merge_review
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, read_corrections, write_corrections

Y = ((1, 0, 1), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1))
"""Labels a, b and c of eight images; the first loses a, the second loses all and the third is dropped."""
CORRECTED = ((0, 0, 1), (0, 0, 0), *Y[3:])
YES = DataOptions(several_labels="yes")
NAMES = st.one_of(
    st.sampled_from(["keep", "drop", "class:keep", "a|b", "a", "b", "[]", "\\", "a\\|b", "a\\", " led", "=1+1", "犬"]),
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=6),
)


def named(labels: tuple[int, ...]) -> list[str]:
    return [name for name, has in zip("abc", labels, strict=True) if has]


def table(root: Path, header: str, lines: list[str]) -> Path:
    for i in range(len(Y)):
        save(root / "train" / f"{i}.png", i, 8)
    (root / "train.csv").write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return root


def columns(root: Path) -> Path:
    return table(root, "image,a,b,c", [f"{i}.png,{','.join(map(str, own))}" for i, own in enumerate(Y)])


def lists(root: Path) -> Path:
    return table(root, "image,labels", [f"{i}.png,{' '.join(named(own))}" for i, own in enumerate(Y)])


def rows(root: Path) -> Path:
    return table(root, "image,label", [f"{i}.png,{name}" for i, own in enumerate(Y) for name in named(own)])


def arrays(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (len(Y), 8, 8, 3)).astype(np.uint8)
    np.savez(root / "a-train-imgs.npz", arr_0=pixels)
    np.savez(root / "a-train-labels.npz", arr_0=np.array(Y))
    np.savez(root / "a-test-imgs.npz", arr_0=pixels[:2])
    return root


def read(root: Path, *, corrections: bool = True) -> ImageSet:
    several = "auto" if (root / "a-train-imgs.npz").exists() else "yes"
    return read_images(root, DataOptions(several_labels=several, corrections=corrections), verify=False)


def write(root: Path, *decisions: tuple[str, str, str | None]) -> None:
    write_corrections(
        root / CORRECTIONS_FILE,
        [Correction(id=i, given=given, label=label, fingerprint="f") for i, given, label in decisions],
    )


@pytest.mark.parametrize("layout", [columns, lists, rows, arrays])
def test_every_layout_takes_a_review_and_is_read_with_the_decided_labels(
    layout: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = layout(tmp_path / "data")
    raw = read(root)
    cells = LabelCells.of(raw)
    assert raw.y.tolist() == [list(own) for own in Y] and cells.several
    first, second, third, fourth = (cells.write(raw.y[i]) for i in range(4))
    last = raw.class_names[2]
    review = [
        row(raw.train_ids[0], first, last),
        row(raw.train_ids[1], second, "[]"),
        row(raw.train_ids[2], third, "drop"),
        row(raw.train_ids[3], fourth, "keep"),
    ]
    merged = merge_review(raw, [], review)
    write_corrections(root / CORRECTIONS_FILE, merged.corrections)
    found = read(root)
    assert found.y.tolist() == [list(own) for own in CORRECTED]
    assert found.train_ids == tuple(i for n, i in enumerate(raw.train_ids) if n != 2)
    assert found.fingerprint != raw.fingerprint == read(root, corrections=False).fingerprint
    assert found.corrections is not None
    assert (found.corrections.corrected, found.corrections.dropped) == (2, 1)
    assert "the labels of 2 images corrected, 1 image dropped by the corrections in" in found.corrections.sentence
    again = merge_review(raw, read_corrections(root / CORRECTIONS_FILE), [row(raw.train_ids[0], last, "keep")])
    assert decided(again)[0] == (raw.train_ids[0], first, last), "a review of the corrected labels"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(names=st.lists(NAMES, min_size=2, max_size=5, unique=True), seed=st.integers(0, 255))
def test_lists_of_any_names_are_read_as_they_were_written(tmp_path: Path, names: list[str], seed: int) -> None:
    cells = LabelCells(class_names=tuple(names), several=True)
    label, other = ((np.random.default_rng(seed).random((2, len(names))) < 0.5).astype(np.int64)).tolist()
    assert cells.read(cells.write(label)).tolist() == label
    assert cells.canonical(cells.write(label)) == cells.write(label)
    path = tmp_path / "corrections.csv"
    write_corrections(path, [Correction(id="a", given=cells.write(label), label=cells.write(other), fingerprint="f")])
    (found,) = read_corrections(path)
    assert cells.read(found.given).tolist() == label
    assert found.label is not None and cells.read(found.label).tolist() == other


@pytest.mark.parametrize(
    ("decision", "labels"),
    [("c|a", "a|c"), (" a | b ", "a|b"), ("a|a", "a"), ("[]", "[]"), ("b", "b"), ("class:b|c", "b|c")],
)
def test_what_a_person_writes_is_read(tmp_path: Path, decision: str, labels: str) -> None:
    images = read(columns(tmp_path))
    assert decided(merge_review(images, [], [row("0.png", "c|a", decision)])) == [("0.png", "a|c", labels)]


@pytest.mark.parametrize(
    ("decision", "problem"),
    [
        ("a b", "'a b', but | separates labels: write a|b"),
        ("c; a", "'c; a', but | separates labels: write a|c"),
        ("c + a", "'c + a', but | separates labels: write a|c"),
        ("a|d", "'a|d', of which 'd' is no class; valid: a, b, c"),
        ("d", "the decision is 'd', no class; valid: a, b, c"),
        ("a|", "with an empty label in it; [] stands for an image without labels"),
        ("(none)", "no class"),
    ],
)
def test_what_is_no_list_of_classes_is_named(tmp_path: Path, decision: str, problem: str) -> None:
    images = read(columns(tmp_path))
    with pytest.raises(DataError) as caught:
        merge_review(images, [], [row("0.png", "a|c", decision), row("9.png", "a", "keep"), row("1.png", "a", "keep")])
    first, second, third = caught.value.problems
    assert problem in first and "no training image '9.png'" in second and "has the label 'b', not 'a'" in third
    assert "all labels of the image with | between them ([]: none)" in caught.value.advice


def test_two_decisions_about_a_list_in_another_order_are_named(tmp_path: Path) -> None:
    root = columns(tmp_path)
    write(root, ("0.png", "a|c", "b"), ("0.png", "c|a", None), ("1.png", "b", "b"))
    for attempt in (
        lambda: read(root),
        lambda: merge_review(read(root, corrections=False), read_corrections(root / CORRECTIONS_FILE), []),
    ):
        with pytest.raises(DataError) as caught:
            attempt()
        (problem,) = caught.value.problems
        assert problem.startswith(f"{CORRECTIONS_FILE} row 3: '0.png'") and "row 2 already" in problem


def test_decisions_that_do_not_fit_the_data_are_named(tmp_path: Path) -> None:
    """Also those that an earlier review made about one label each."""
    root = columns(tmp_path)
    write(root, ("0.png", "a", "b"), ("1.png", "b", "a|x"), ("8.png", "a", "b"), ("2.png", "c", "b|a"))
    message = problems_of(root, YES)
    assert "row 2: '0.png' had the label 'a' when it was decided, and has 'a|c' now" in message
    assert "row 3: '1.png' is to be 'a|x', of which 'x' is no class" in message
    assert "row 5" not in message, "the data have the decided labels by now"
    write(root, *((f"{i}.png", "|".join(named(own)), "a") for i, own in enumerate(Y) if own[1]))
    assert "leaves no image with the label 'b', of which the data have 4" in problems_of(root, YES)


def test_a_list_in_another_order_is_the_same_list(tmp_path: Path) -> None:
    root = columns(tmp_path)
    write(root, ("0.png", "c|a", "c|b"))
    assert read(root).y[0].tolist() == [0, 1, 1]
