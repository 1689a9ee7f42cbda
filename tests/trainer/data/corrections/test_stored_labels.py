"""Corrections that are applied to the same data again, and those that stored labels imply."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.trainer.images import save
from trainer.data.corrections.apply import apply_again, apply_corrections, other_corrections_beside
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.corrections.stored_labels import corrections_between
from trainer.data.image_set import ImageSet
from trainer.data.images import ArrayImages
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, write_corrections

NAMES = ("ant", "bee", "fly")


@st.composite
def corrected(draw: st.DrawFn) -> tuple[ImageSet, ImageSet]:
    """A data set without and with corrections; ids may occur twice with two labels, or images have several labels."""
    several = draw(st.booleans())
    labels = st.lists(st.integers(0, 1), min_size=3, max_size=3) if several else st.integers(0, 2)
    y = np.array(draw(st.lists(labels, min_size=4, max_size=9)), np.int64)
    ids = [f"{i}" for i in range(len(y))]
    if not several and draw(st.booleans()) and y[0] != y[1]:
        ids[1] = ids[0]
    pixels = np.array([int(identifier) for identifier in ids], np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    images = ImageSet(
        root=Path("/nowhere"),
        reader="npz",
        class_names=NAMES,
        train_ids=tuple(ids),
        y=y,
        train_images=ArrayImages(label="a", array=pixels, rows=tuple(range(len(y)))),
        groups=None,
        test_ids=(),
        test_images=ArrayImages(label="a", array=pixels, rows=()),
        submission=None,
        label_source="labels",
    )
    cells = LabelCells.of(images)
    decisions = [
        Correction(
            id=identifier, given=cells.write(label), label=draw(st.none() | labels.map(cells.write)), fingerprint=""
        )
        for identifier, label in zip(ids, y, strict=True)
        if draw(st.booleans())
    ]
    found = apply_corrections(images, decisions)
    assume(not found.problems)
    return images, found.image_set


@given(corrected())
def test_decisions_do_again_what_they_did(sets: tuple[ImageSet, ImageSet]) -> None:
    images, now = sets
    assert now.corrections is not None
    renamed = dataclasses.replace(images, label_source="another name")
    again = apply_again(renamed, now.corrections.decisions)
    assert not again.problems and again.image_set.fingerprint == now.fingerprint
    assert (
        len(now.corrections.decisions)
        == now.corrections.corrected + now.corrections.dropped + now.corrections.dropped_rows
    )
    assert again.image_set.warnings == () and (again.image_set.corrections is None) == (not now.corrections.decisions)


@given(corrected())
def test_stored_labels_imply_the_corrections(sets: tuple[ImageSet, ImageSet]) -> None:
    images, now = sets
    changes = corrections_between(images, now.train_ids, now.y)
    assert changes is not None
    assert apply_again(images, changes).image_set.fingerprint == now.fingerprint
    assert corrections_between(images, [*now.train_ids, "new"], np.concatenate([now.y, now.y[:1]])) is None
    assert corrections_between(images, now.train_ids, now.y[:, None, None]) is None


def test_corrections_beside_the_data_are_compared_with_the_applied_ones(tmp_path: Path) -> None:
    from trainer.data.read import read_images

    for number in range(6):
        save(tmp_path / ("cat" if number < 3 else "dog") / f"{number}.png", number)
    plain = read_images(tmp_path)

    def beside(*decisions: tuple[str, str, str | None]) -> None:
        corrections = [Correction(id=i, given=old, label=new, fingerprint="") for i, old, new in decisions]
        write_corrections(tmp_path / CORRECTIONS_FILE, corrections)

    assert not other_corrections_beside(plain)
    beside(("cat/0.png", "cat", "dog"), ("dog/3.png", "dog", None), ("cat/1.png", "cat", "cat"), ("gone", "cat", "dog"))
    fixed = read_images(tmp_path)
    assert not other_corrections_beside(fixed) and other_corrections_beside(plain)
    beside(("cat/0.png", "cat", "dog"), ("dog/3.png", "dog", None), ("cat/1.png", "cat", "dog"))
    assert other_corrections_beside(fixed)
    (tmp_path / CORRECTIONS_FILE).write_text("broken")
    assert other_corrections_beside(fixed)
    (tmp_path / CORRECTIONS_FILE).unlink()
    assert other_corrections_beside(fixed) and not other_corrections_beside(plain)
