"""Cutting a small competition: imbalanced training images, the rest in the private test set, weighted scores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.competitions.small_competitions import COUNTS, TEST_SHARE, SmallCompetition, cut


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    for label, count in enumerate(COUNTS):
        class_dir = folder / f"class{label:02}"
        class_dir.mkdir()
        for number in range(math.ceil(count / (1.0 - TEST_SHARE)) + 1):
            Image.fromarray(np.full((4, 4, 3), (label * 19, number, 0), dtype=np.uint8)).save(
                class_dir / f"{number:04}.jpg"
            )
    return folder


@pytest.fixture(scope="module")
def competition(source: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallCompetition:
    return cut(source, tmp_path_factory.mktemp("competition"), seed=3)


def test_training_and_private_images_part_the_classes(competition: SmallCompetition) -> None:
    assert sorted(competition.counts, reverse=True) == sorted(COUNTS, reverse=True)
    on_disk = [len(list((competition.folder / "train" / name).iterdir())) for name in competition.class_names]
    assert on_disk == competition.counts.tolist()
    assert len(list((competition.folder / "test").iterdir())) == len(competition.test_ids) == len(competition.test_y)
    shares = np.bincount(competition.test_y) / (np.bincount(competition.test_y) + competition.counts)
    assert shares.min() >= TEST_SHARE


def test_the_private_score_counts_classes_as_the_training_images_have_them(competition: SmallCompetition) -> None:
    assert competition.private_score(competition.test_y) == pytest.approx(1.0)
    most = int(competition.counts.argmax())
    always = np.full(len(competition.test_y), most)
    assert competition.private_score(always) == pytest.approx(competition.counts[most] / competition.counts.sum())


def test_too_small_a_source_is_refused(source: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    (few / "only").mkdir(parents=True)
    with pytest.raises(ValueError, match="no further class of 189 images"):
        cut(few, tmp_path / "out", seed=0)
