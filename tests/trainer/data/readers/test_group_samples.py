"""Sample submissions with a row for each patient, where the training table has a row for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

REFUSED = "Predictions are made for single images: move"


def patients(root: Path, images: int, sample: Sequence[str], *, listed: bool) -> Path:
    """Four patients for training and three for testing; ``listed``: a table names the test images of each."""
    rows = [("image_id", "patient_id", "label")]
    for patient in range(4):
        for i in range(images):
            save(root / "train" / f"p{patient}_{i}.png", 10 * patient + i, 8)
            rows.append((f"p{patient}_{i}", f"p{patient}", "ab"[patient % 2]))
    write_table(root / "train.csv", rows)
    tested = [("image_id", "patient_id")]
    for patient in range(7, 10):
        for i in range(images):
            save(root / "test" / f"p{patient}_{i}.png", 100 + 10 * patient + i, 8)
            tested.append((f"p{patient}_{i}", f"p{patient}"))
    if listed:
        write_table(root / "test.csv", tested)
    write_table(root / "sample_submission.csv", [sample, *((f"p{patient}", "a") for patient in range(7, 10))])
    return root


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("header", ["patient_id", "id", "Patient"])
def test_several_images_for_a_row_are_refused(tmp_path: Path, header: str, *, listed: bool) -> None:
    root = patients(tmp_path, 3, (header, "label"), listed=listed)
    message = problems_of(root)
    assert "asks for one prediction for each" in message and REFUSED in message
    assert "with 3 images" in message
    assert "asks for one prediction for each" in problems_of(root, DataOptions(skip_bad=True))
    (root / "sample_submission.csv").unlink()  # as the message says
    found = read_images(root, DataOptions(group_column="patient_id"), verify=False)
    assert (len(found.train_ids), len(found.test_ids)) == (12, 9)


@pytest.mark.parametrize("header", ["patient_id", "id"])
def test_one_image_for_each_row_is_read(tmp_path: Path, header: str) -> None:
    found = read_images(patients(tmp_path, 1, (header, "label"), listed=True), verify=False)
    assert found.test_ids == ("p7", "p8", "p9")
    assert [found.test_images.name(i).split(" ")[0] for i in range(3)] == [f"test/p{i}_0.png" for i in (7, 8, 9)]


def test_a_column_with_several_images_is_no_id(tmp_path: Path) -> None:
    root = patients(tmp_path, 2, ("patient_id", "label"), listed=True)
    (root / "sample_submission.csv").unlink()
    message = problems_of(root, DataOptions(id_column="patient_id"))
    assert "'patient_id' has the value 'p0' for 2 images" in message and "--group-column" in message
