"""Folders beside the class folders whose names mention testing, validation or training beside another word."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.read import ImageSet, read_images


def flat(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        for number in range(3):
            save(root / name / f"{name}{number}.png", 10 * seed + number, 8)
    return root


def read(root: Path, *names: str) -> ImageSet:
    return read_images(flat(root, *names), verify=False)


CASES = ("Bengin cases", "Malignant cases", "Normal cases")


@pytest.mark.parametrize(
    "names",
    [
        (*CASES, "Test cases"),
        (*CASES, "testcases"),
        ("cat", "dog", "test_samples"),
        ("cat", "dog", "Test subjects"),
        ("cat", "dog", "testing_examples"),
        ("cat", "dog", "test_batch"),
        ("apple leaves", "pear leaves", "Test leaves"),
        ("A_cells", "B_cells", "test_cells"),
    ],
)
def test_test_images_beside_classes_with_a_warning(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = read(tmp_path, *names)
    assert set(found.class_names) == set(names[:-1]) and len(found.test_ids) == 3
    (warning,) = found.warnings
    assert "are read as test images by its name" in warning
    renamed = warning.rpartition(" to ")[2]
    (tmp_path / names[-1]).rename(tmp_path / renamed)
    assert set(read_images(tmp_path, verify=False).class_names) == {*names[:-1], renamed}, "the advice"


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("test_leaves", True),
        ("Test faces", True),
        ("tests", True),
        ("test_clean", True),
        ("Validation cases", False),
        ("val_samples", False),
        ("validation_leaves", False),
        ("Train cases", False),
        ("training_samples", False),
        ("holdout", False),
        ("hold_out", False),
        ("New folder", False),
        ("ignore", False),
        ("demo", False),
        ("validate", False),
        ("incoming", False),
        ("bad", False),
        ("check", False),
    ],
)
def test_a_folder_that_may_be_no_class_has_one_warning(tmp_path: Path, name: str, tests: bool) -> None:
    found = read(tmp_path, "cat", "dog", name)
    assert name in found.class_names and not found.test_ids
    (warning,) = found.warnings
    assert warning.startswith(f"the folder {name!r} is read as a class; if it is none, move it out of the data")
    assert ("rename it to test" in warning) == tests


@pytest.mark.parametrize(
    "names",
    [
        ("test tubes", "flasks", "pipettes"),
        ("test tubes", "inner tubes", "glass tubes"),
        ("Test Pilot", "Sailor", "Soldier"),
        ("training shoes", "running shoes", "tennis shoes"),
        ("steam train", "freight train", "bus"),
        ("test group", "control group", "placebo group"),
        ("test_samples", "control_samples", "placebo_samples"),
        ("good", "average", "bad"),
        ("test_positive", "test_negative", "invalid test paper"),
        ("test strips", "bandages", "syringes"),
    ],
)
def test_such_names_of_classes_need_no_warning(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = read(tmp_path, *names)
    assert set(found.class_names) == set(names) and not found.warnings and not found.test_ids


@pytest.mark.parametrize("name", ["test_leaves", "unseen", "Validation cases", "new"])
@pytest.mark.parametrize("above", ["", "train"])
def test_a_sample_of_images_in_another_folder_says_which_to_rename(tmp_path: Path, name: str, above: str) -> None:
    flat(tmp_path / above, "cat", "dog")
    for number in range(3):
        save(tmp_path / name / f"p{number}.png", 50 + number, 8)
    ids = [f"p{number}.png" for number in range(3)]
    (tmp_path / "sample_submission.csv").write_text("id,label\n" + "".join(f"{one},cat\n" for one in ids))
    message = problems_of(tmp_path)
    assert f"lists 3 images in {name}/, which is not read as the folder of test images" in message
    (tmp_path / name).rename(tmp_path / message.rpartition("rename it to ")[2])
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("cat", "dog") and found.test_ids == tuple(ids)


def test_a_sample_of_images_among_the_classes_says_so(tmp_path: Path) -> None:
    flat(tmp_path, "cat", "dog")
    ids = ("cat0.png", "dog1.png")
    (tmp_path / "sample_submission.csv").write_text("id,label\n" + "".join(f"{one},cat\n" for one in ids))
    assert "beside the training images, such as cat/cat0.png" in problems_of(tmp_path)
    for one in ids:
        (tmp_path / "test").mkdir(exist_ok=True)
        (tmp_path / one[:3] / one).rename(tmp_path / "test" / one)
    assert read_images(tmp_path, verify=False).test_ids == ids


@pytest.mark.parametrize("name", ["test_leaves", "Test faces", "tests"])
def test_advice_on_test_images_in_folders_for_the_classes(tmp_path: Path, name: str) -> None:
    flat(tmp_path, "cat", "dog")
    flat(tmp_path / name, "cat", "dog")
    message = problems_of(tmp_path)
    assert "as the data folder" not in message and f"If {name} holds the test images, rename it to test" in message
    (tmp_path / name).rename(tmp_path / "test")
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("cat", "dog") and (len(found.train_ids), len(found.test_ids)) == (6, 6)


@pytest.mark.parametrize(
    ("train", "name", "tests"),
    [
        ("", "Test cases", 6),
        ("", "test_samples", 6),
        ("train", "test_samples", 6),
        ("train cases", "Test cases", 6),
        ("train cases", "Validation cases", 0),
        ("", "val_samples", 0),
    ],
)
def test_parts_in_folders_for_the_classes(tmp_path: Path, train: str, name: str, tests: int) -> None:
    flat(tmp_path / train, "cat", "dog")
    flat(tmp_path / name, "cat", "dog")
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("cat", "dog") and (len(found.train_ids), len(found.test_ids)) == (6, tests)
    assert tests or f"not read: 6 images in {name}/" in "".join(found.warnings)


@pytest.mark.parametrize(
    ("plain", "further"),
    [
        (("trainingSet/trainingSet", "testSet"), "trainingSample/trainingSample"),
        (("train", "test"), "test_samples"),
        (("train", "test"), "train_examples"),
    ],
)
def test_an_excerpt_beside_the_parts_is_none_of_them(tmp_path: Path, plain: tuple[str, str], further: str) -> None:
    train, test = plain
    flat(tmp_path / train, "cat", "dog")
    for number, place in enumerate((test, further)):
        save(tmp_path / place / ("1.png" if further == "test_samples" else "cat/1.png"), 70 + number, 8)
    found = read_images(tmp_path, verify=False)
    assert len(found.test_ids) == 1 and set(found.class_names) - {further} == {"cat", "dog"}
    top = further.partition("/")[0]
    assert any(top in warning for warning in found.warnings)


@pytest.mark.parametrize("further", ["test_samples", "val"])
def test_advice_on_two_parts_beside_classes(tmp_path: Path, further: str) -> None:
    flat(tmp_path, "cat", "dog", "test", further)
    assert f"If 'cat', 'dog' alone are the classes, move {further!r} out of the data folder" in problems_of(tmp_path)
    shutil.rmtree(tmp_path / further)
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("cat", "dog") and len(found.test_ids) == 3


def test_advice_on_validation_images_in_folders_for_the_classes(tmp_path: Path) -> None:
    flat(tmp_path, "cat", "dog")
    flat(tmp_path / "val_leaves", "cat", "dog")
    assert "If val_leaves holds validation images, move it out of the data folder" in problems_of(tmp_path)
