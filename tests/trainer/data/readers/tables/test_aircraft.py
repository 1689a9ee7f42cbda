"""FGVC-Aircraft: lists of images with labels of several words, for each part and each granularity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images

CLASSES = [
    {"variant": "Canadair CRJ-700", "manufacturer": "Canadair", "family": "CRJ-700"},
    {"variant": "737-400", "manufacturer": "Boeing", "family": "Boeing 737"},
    {"variant": "747-400", "manufacturer": "Boeing", "family": "Boeing 747"},
]
PARTS = {"train": range(9), "val": range(9, 15), "test": range(15, 24)}
IDS = {i: f"{34309 + 17 * i:07}" for i in range(24)}


def aircraft(root: Path, *granularities: str, trainval: bool = True) -> Path:
    for i, name in IDS.items():
        save(root / "images" / f"{name}.png", i, 8)
    parts = {**PARTS, **({"trainval": range(15)} if trainval else {})}
    for part, numbers in parts.items():
        for granularity in granularities:
            lines = [f"{IDS[i]} {CLASSES[i % 3][granularity]}" for i in numbers]
            (root / f"images_{granularity}_{part}.txt").write_text("\n".join(lines) + "\n")
        (root / f"images_{part}.txt").write_text("\n".join(IDS[i] for i in numbers))
    (root / "images_box.txt").write_text("\n".join(f"{name} 3 144 998 431" for name in IDS.values()))
    (root / "variants.txt").write_text("\n".join(entry["variant"] for entry in CLASSES))
    return root


@pytest.mark.parametrize("place", [".", "data", "fgvc-aircraft-2013b/data"])
@pytest.mark.parametrize("name", [lambda place, table: table, lambda place, table: f"{place}/{table}"])
@pytest.mark.parametrize("granularity", ["variant", "manufacturer", "family"])
def test_the_user_chooses_the_granularity(
    tmp_path: Path, place: str, name: Callable[[str, str], str], granularity: str
) -> None:
    aircraft(tmp_path / place, "variant", "manufacturer", "family")
    message = problems_of(tmp_path)
    assert "--table NAME" in message and "_train.txt" in message

    table = name(place, f"images_{granularity}_train.txt")
    found = read_images(tmp_path, DataOptions(table=table), verify=False)
    labels = {Path(path).stem: label for path, label in zip(found.train_images.paths, labels_of(found), strict=True)}
    assert labels == {IDS[i]: CLASSES[i % 3][granularity] for i in PARTS["train"]}
    assert found.test_ids == tuple(IDS[i] for i in PARTS["test"])
    assert any(f"images_{granularity}_test.txt" in note for note in found.notes)


def test_a_table_of_training_and_validation_images_stays_whole(tmp_path: Path) -> None:
    aircraft(tmp_path, "variant", "family")
    found = read_images(tmp_path, DataOptions(table="images_variant_trainval.txt"), verify=False)

    assert labels_of(found) == [CLASSES[i % 3]["variant"] for i in range(15)]
    assert found.test_ids == tuple(IDS[i] for i in PARTS["test"])


@pytest.mark.parametrize("place", [".", "fgvc-aircraft-2013b/data"])
@pytest.mark.parametrize("trainval", [True, False])
def test_one_granularity_is_read(tmp_path: Path, place: str, trainval: bool) -> None:
    aircraft(tmp_path / place, "variant", trainval=trainval)
    found = read_images(tmp_path, verify=False)

    assert labels_of(found) == [CLASSES[i % 3]["variant"] for i in PARTS["train"]]
    assert found.test_ids == tuple(IDS[i] for i in PARTS["test"])


def test_labels_that_may_be_two_columns_are_a_question(tmp_path: Path) -> None:
    names = ("Golden Retriever", "Labrador Retriever", "Golden Doodle")
    for i in range(12):
        save(tmp_path / "images" / f"{i:03}.png", i, 8)
    (tmp_path / "train.txt").write_text("\n".join(f"{i:03}.png {names[i % 3]}" for i in range(12)))
    assert "save the table with commas" in problems_of(tmp_path)

    (tmp_path / "train.txt").write_text("\n".join(f"{i:03}.png,{names[i % 3]}" for i in range(12)))
    assert labels_of(read_images(tmp_path, verify=False)) == [names[i % 3] for i in range(12)]
