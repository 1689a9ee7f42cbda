"""Corrections beside the data: applied when a folder of any layout is read, and refused where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import labels_of, save
from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, write_corrections

RAW = DataOptions(corrections=False)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Class folders with three cats and three dogs."""
    for number in range(6):
        save(tmp_path / "animals" / ("cat" if number < 3 else "dog") / f"{number}.png", number)
    return tmp_path / "animals"


def correct(folder: Path, *decisions: tuple[str, str, str | None]) -> None:
    source = read_images(folder, RAW).label_source
    write_corrections(
        folder / CORRECTIONS_FILE,
        [
            Correction(id=i, given=given, label=label, fingerprint="f", label_source=source)
            for i, given, label in decisions
        ],
    )


def by_id(images: ImageSet) -> dict[str, str]:
    return dict(zip(images.train_ids, labels_of(images), strict=True))


def problems(folder: Path) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        read_images(folder)
    assert "--no-corrections" in caught.value.advice
    return caught.value.problems


def test_labels_are_corrected_and_images_dropped(animals: Path) -> None:
    correct(animals, ("cat/0.png", "cat", "dog"), ("dog/4.png", "dog", None), ("cat/1.png", "cat", "cat"))
    found = read_images(animals)
    assert by_id(found) == {
        "cat/0.png": "dog",
        "cat/1.png": "cat",
        "cat/2.png": "cat",
        "dog/3.png": "dog",
        "dog/5.png": "dog",
    }
    assert found.class_names == ("cat", "dog")
    assert found.train_images.name(0) == "cat/0.png" and len(found.train_images) == 5
    assert found.corrections is not None
    assert (found.corrections.corrected, found.corrections.dropped) == (1, 1)
    assert f"1 label corrected, 1 image dropped by the corrections in {CORRECTIONS_FILE}" in found.notes
    assert found.inspected is not None and len(found.inspected.hashes) == 5


def test_the_table_is_no_data(animals: Path) -> None:
    before = read_images(animals)
    correct(animals, ("cat/1.png", "cat", "cat"))
    after = read_images(animals)
    assert (after.train_ids, after.warnings, after.notes) == (before.train_ids, before.warnings, before.notes)
    assert after.fingerprint == before.fingerprint, "nothing has changed"


def test_a_correction_changes_the_fingerprint_like_a_correction_of_the_table(kaggle: Callable[..., Path]) -> None:
    folder = kaggle()
    raw = read_images(folder)
    correct(folder, ("a0", "dog", "cat"))
    corrected = read_images(folder)
    assert by_id(corrected)["a0"] == "cat" and corrected.reader == "table"
    assert corrected.fingerprint != raw.fingerprint
    assert read_images(folder, RAW).fingerprint == raw.fingerprint
    table = folder / "train.csv"
    table.write_text(table.read_text().replace("a0,dog", "a0,cat"))
    by_hand = read_images(folder)
    assert by_hand.fingerprint == corrected.fingerprint, "there is nothing left to correct"
    assert by_hand.corrections is not None and not by_hand.corrections.changes


def test_arrays_are_corrected(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3)).astype(np.uint8)
    np.savez(tmp_path / "a-train-imgs.npz", arr_0=images)
    np.savez(tmp_path / "a-train-labels.npz", arr_0=np.array([0, 1, 0, 1, 0, 1]))
    np.savez(tmp_path / "a-test-imgs.npz", arr_0=images[:2])
    ids = read_images(tmp_path).train_ids
    correct(tmp_path, (ids[1], "1", "0"), (ids[4], "0", None))
    found = read_images(tmp_path)
    assert found.reader == "npz" and found.y.tolist() == [0, 0, 0, 1, 1]
    assert np.array_equal(found.train_images.read(4), images[5])


def test_a_folder_in_a_folder_is_read_as_before(tmp_path: Path, animals: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    animals.rename(outer / "animals")
    before = read_images(outer)
    correct(before.root, ("cat/0.png", "cat", "dog"))
    found = read_images(outer)
    assert (found.root, found.train_ids) == (before.root, before.train_ids) and by_id(found)["cat/0.png"] == "dog"
    assert read_images(outer, RAW).fingerprint == before.fingerprint


def test_corrections_of_a_table_in_a_folder_are_found_from_both(kaggle: Callable[..., Path], tmp_path: Path) -> None:
    inner = kaggle()
    outer = tmp_path / "outer"
    outer.mkdir()
    inner = inner.rename(outer / "competition")
    correct(read_images(outer).root, ("a0", "dog", "cat"))
    for folder in (outer, inner):
        assert by_id(read_images(folder))["a0"] == "cat"


@pytest.mark.parametrize(
    ("decision", "problem"),
    [
        (("cat/0.png", "cow", "dog"), "'cat/0.png' had the label 'cow' when it was decided, and has 'cat' now"),
        (("cat/0.png", "cow", None), "'cat/0.png' had the label 'cow'"),
        (("cat/0.png", "cat", "dgo"), "'cat/0.png' is to be 'dgo', no class; did you mean dog?"),
    ],
)
def test_decisions_that_do_not_fit_are_named(
    animals: Path, decision: tuple[str, str, str | None], problem: str
) -> None:
    correct(animals, ("dog/3.png", "dog", "dog"), decision)
    (found,) = problems(animals)
    assert found.startswith(f"{CORRECTIONS_FILE} row 3: ") and problem in found
    assert len(read_images(animals, RAW).y) == 6


def test_a_class_is_never_emptied(animals: Path) -> None:
    correct(animals, *((f"cat/{i}.png", "cat", None if i else "dog") for i in range(3)))
    assert problems(animals) == (f"{CORRECTIONS_FILE} leaves no image with the label 'cat', of which the data have 3",)


def test_decisions_that_the_data_have_overtaken_are_no_problem(animals: Path) -> None:
    """The image is gone, or has the decided label in the data by now."""
    correct(animals, ("cat/9.png", "cat", "dog"), ("dog/3.png", "cat", "dog"))
    found = read_images(animals)
    assert any("decides about 1 image that the data lack: 'cat/9.png'" in line for line in found.warnings)
    assert found.corrections is not None and not found.corrections.changes


@pytest.mark.parametrize("decision", [None, "dog"])
def test_one_of_two_labels_of_an_image_is_dropped(kaggle: Callable[..., Path], decision: str | None) -> None:
    """Also if it is to be the label that another row gives the image."""
    rows = (("a0", "cat"), ("a0", "dog"), ("a1", "cat"), ("a2", "dog"), ("a3", "dog"), ("a4", "cat"))
    folder = kaggle(rows)
    correct(folder, ("a0", "cat", decision))
    found = read_images(folder)
    assert found.train_ids.count("a0") == 1 and by_id(found)["a0"] == "dog"
    assert not any("rows are kept" in warning for warning in found.warnings)
    assert any("both rows are kept" in warning for warning in read_images(folder, RAW).warnings)
    applied = found.corrections
    assert applied is not None and (applied.corrected, applied.dropped, applied.dropped_rows) == (0, 0, 1)
    assert (
        "0 labels corrected, 0 images dropped, 1 row of images with several rows dropped by the corrections"
        in applied.sentence
    )


@pytest.mark.parametrize("decision", [None, "cat"])
def test_labels_of_an_image_are_not_exchanged(kaggle: Callable[..., Path], decision: str | None) -> None:
    rows = (("a0", "cat"), ("a0", "dog"), ("a1", "cat"), ("a2", "dog"), ("a3", "dog"), ("a4", "cat"))
    folder = kaggle(rows)
    correct(folder, ("a0", "cat", "dog"), ("a0", "dog", decision))
    found = problems(folder)
    assert found and all("decide which label it has" in problem for problem in found)


def test_a_link_to_nothing_is_an_error_and_not_no_corrections(animals: Path) -> None:
    (animals / CORRECTIONS_FILE).symlink_to(animals / "gone.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_images(animals)


@pytest.mark.parametrize("name", ["label_review.csv", "labels.csv", "mine.csv"])
@pytest.mark.parametrize(
    "header",
    [
        "id,given,proposed,confidence,label_source,decision",
        "id,given,proposed,confidence,decision",
        "id,given,decision,fingerprint,label_source",
        "id,given,decision,fingerprint",
    ],
)
def test_copies_of_the_tables_are_no_tables_of_labels(animals: Path, name: str, header: str) -> None:
    before = read_images(animals)
    rest = ",f" * (header.count(",") - 2)
    (animals / name).write_text(f"{header}\ncat/0.png,cat,dog{rest}\ncat/1.png,cat,dog{rest}\n")
    found = read_images(animals)
    assert (found.reader, by_id(found)) == ("folders", by_id(before))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Two columns of labels for the same six images, and a second table of other labels under the same name."""
    for number in range(6):
        save(tmp_path / "faces" / "images" / f"{number}.png", number)
    rows = [f"{number}.png,{'yes' if number % 2 else 'no'},{'yes' if number < 3 else 'no'}" for number in range(6)]
    (tmp_path / "faces" / "first.csv").write_text("\n".join(["image,Smiling,Young", *rows, ""]))
    rows = [f"{number}.png,{'yes' if number in (1, 2, 5) else 'no'}" for number in range(6)]
    (tmp_path / "faces" / "second.csv").write_text("\n".join(["image,Smiling", *rows, ""]))
    return tmp_path / "faces"


SMILING = DataOptions(table="first.csv", label_column="Smiling")


@pytest.mark.parametrize(
    ("other", "source"),
    [
        (DataOptions(table="first.csv", label_column="Young"), "first.csv: Young"),
        (DataOptions(table="second.csv"), "second.csv: Smiling"),
    ],
)
def test_decisions_about_other_labels_of_the_same_images_change_nothing(
    faces: Path, other: DataOptions, source: str
) -> None:
    """Image 1 smiles and is young: that it does not smile says nothing about its age."""
    before = read_images(faces, other)
    decision = Correction(id="1.png", given="yes", label="no", fingerprint="f", label_source="first.csv: Smiling")
    write_corrections(faces / CORRECTIONS_FILE, [decision])
    smiling, after = read_images(faces, SMILING), read_images(faces, other)
    assert smiling.label_source == "first.csv: Smiling" and by_id(smiling)["1.png"] == "no"
    assert after.label_source == source and after.fingerprint == before.fingerprint
    assert by_id(after)["1.png"] == "yes" and after.corrections is not None and not after.corrections.changes
    (warning,) = set(after.warnings) - set(before.warnings)
    assert "not applied: 1 decision in" in warning and "'first.csv: Smiling'" in warning and repr(source) in warning


def test_decisions_whose_labels_are_not_on_record_are_applied_and_named(faces: Path) -> None:
    (faces / CORRECTIONS_FILE).write_text("id,given,decision,fingerprint\n1.png,yes,no,f\n")
    found = read_images(faces, SMILING)
    assert by_id(found)["1.png"] == "no"
    assert any("1 decision without a label_source; applied to" in warning for warning in found.warnings)
