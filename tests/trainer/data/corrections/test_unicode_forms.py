"""Decisions, folds and options may have another Unicode form than the data: macOS decomposes file names."""

from __future__ import annotations

import unicodedata
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from tests.trainer.images import save
from trainer.data.corrections.apply import other_corrections_beside
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.corrections.merge_review import merge_review
from trainer.data.folds import read_folds_csv
from trainer.data.image_set import DataOptions
from trainer.data.read import read_images
from trainer.formats.delimited import write_table
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, ReviewRow, write_corrections

Form = Literal["NFC", "NFD"]


@pytest.mark.parametrize(("form", "other_form"), [("NFD", "NFC"), ("NFC", "NFD")])
@pytest.mark.parametrize("several", [False, True])
def test_texts_are_compared_in_one_form(tmp_path: Path, form: Form, other_form: Form, several: bool) -> None:
    own, other = partial(unicodedata.normalize, form), partial(unicodedata.normalize, other_form)
    tea, coffee, both = own("thé"), own("café"), own("café|thé")
    names = [own(f"été{number}.png") for number in range(6)]
    labels = [tea, coffee, tea, coffee, *([both, both] if several else [tea, coffee])]
    for number, name in enumerate(names):
        save(tmp_path / "images" / name, number)
    write_table(tmp_path / own("Übersicht.csv"), [("image", "label"), *zip(names, labels, strict=True)])
    options = DataOptions(table=other("Übersicht.csv"), several_labels="yes" if several else "auto")
    images = read_images(tmp_path, options, verify=False)
    assert images.train_ids == tuple(names) and images.several_labels == several

    source = other(images.label_source)
    earlier = Correction(id=other(names[1]), given=other(coffee), label=other(tea), fingerprint="", label_source=source)
    row = ReviewRow(
        id=other(names[0]),
        given=other(tea),
        proposed="",
        confidence="",
        decision=other(coffee),
        label_source=source,
    )
    merged = merge_review(images, [earlier], [row])
    decided = [(each.id, each.given, each.label) for each in merged.corrections]
    assert decided == [(names[1], coffee, tea), (names[0], tea, coffee)]

    write_corrections(tmp_path / CORRECTIONS_FILE, [earlier])
    corrected = read_images(tmp_path, options, verify=False)
    assert list(map(LabelCells.of(images).write, corrected.y)) == [tea, tea, *labels[2:]]
    assert corrected.warnings == images.warnings and not other_corrections_beside(corrected)

    folds = tmp_path / "folds.csv"
    write_table(folds, [("image_id", "fold"), *((other(name), str(i % 2)) for i, name in enumerate(names))])
    assert read_folds_csv(folds, images.train_ids).tolist() == [0, 1] * 3
