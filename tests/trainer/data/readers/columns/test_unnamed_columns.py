"""Tables that pandas saved with its row numbers, once or several times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, save
from trainer.data.read import read_images
from trainer.formats.delimited import write_table


@pytest.mark.parametrize(
    "counters",
    [("", "Unnamed: 0"), ("Unnamed: 0.1", "Unnamed: 0"), ("", "Unnamed: 0.1", "Unnamed: 0"), ("Unnamed: 1", "")],
)
@pytest.mark.parametrize("ending", [".png", ""])
def test_row_numbers_of_several_saves_are_no_names_and_no_labels(
    tmp_path: Path, counters: tuple[str, ...], ending: str
) -> None:
    images = range(4, 16)
    for i in images:
        save(tmp_path / "train" / f"{i}.png", i, 8)
    rows = [(*(str((i + 3 * k) % 16) for k, _ in enumerate(counters)), f"{i}{ending}", "ab"[i % 2]) for i in images]
    write_table(tmp_path / "train.csv", [(*counters, "image", "level"), *rows])
    found = read_images(tmp_path, verify=False)
    assert found.train_ids == tuple(f"{i}{ending}" for i in images)
    assert labels_of(found) == ["ab"[i % 2] for i in images] and not found.warnings
