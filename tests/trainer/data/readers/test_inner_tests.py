"""A folder of test images beside the class folders, in the folder that holds both, whatever lies around that one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images


def classes(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        for number in range(3):
            save(root / name / f"{name}{number}.png", 10 * seed + number, 8)
    return root


@pytest.mark.parametrize("around", ["images", "data", "project/data/raw", "train", "data/train"])
@pytest.mark.parametrize("tests", ["test", "test_images", "Testbilder", "blind_test"])
@pytest.mark.parametrize("beside", ["", "requirements.txt", "notes.csv", "README.md"])
def test_test_images_beside_classes(tmp_path: Path, around: str, tests: str, beside: str) -> None:
    classes(tmp_path / around, "cat", "dog", tests)
    if beside:
        (tmp_path / beside).write_text("day,sky\n1,sun\n2,rain\n")
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == ["cat"] * 3 + ["dog"] * 3
    assert found.test_ids == tuple(f"{tests}{number}.png" for number in range(3))
    warned = "are read as test images by its name; if it is a class, rename it" in "".join(found.warnings)
    assert warned == (around.endswith("train") or tests == "Testbilder")


@pytest.mark.parametrize("around", ["images", "train"])
@pytest.mark.parametrize("name", ["test tubes", "test tube", "testis", "contest", "latest"])
def test_a_class_that_only_mentions_a_test(tmp_path: Path, around: str, name: str) -> None:
    classes(tmp_path / around, "cat", "dog", name)
    (tmp_path / "notes.csv").write_text("day,sky\n1,sun\n2,rain\n")
    assert set(read_images(tmp_path, verify=False).class_names) == {"cat", "dog", name}


@pytest.mark.parametrize("other", ["test", "valid"])
def test_a_name_in_two_parts_is_a_class(tmp_path: Path, other: str) -> None:
    classes(tmp_path / "train", "control", "placebo", "test")
    classes(tmp_path / other, "control", "placebo", "test")
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("control", "placebo", "test") and len(found.test_ids) == 9 * (other == "test")


def test_a_test_beside_one_class_is_a_class(tmp_path: Path) -> None:
    classes(tmp_path / "train", "control", "test")
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("control", "test") and "'test'" in "".join(found.warnings)


def test_two_test_folders_are_a_question_whose_answers_work(tmp_path: Path) -> None:
    classes(tmp_path / "train", "cat", "dog", "test")
    save(tmp_path / "test" / "1.png", 90, 8)
    message = problems_of(tmp_path)
    assert "test, train/test: each could be the test folder" in message
    assert "if test is a class, rename it, such as to test_class" in message
    (tmp_path / "train" / "test").rename(tmp_path / "train" / "test_class")
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("cat", "dog", "test_class") and found.test_ids == ("1.png",)


def test_validation_images_are_asked_for_as_beside_the_data_folder_itself(tmp_path: Path) -> None:
    classes(tmp_path / "images", "cat", "dog", "test", "val")
    (tmp_path / "notes.csv").write_text("day,sky\n1,sun\n2,rain\n")
    assert "'val' holds a part of the images by its name" in problems_of(tmp_path)
    assert "'val' holds a part of the images by its name" in problems_of(tmp_path / "images")
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert found.class_names == ("cat", "dog", "val") and len(found.test_ids) == 3
    for image in (tmp_path / "images" / "val").iterdir():
        image.unlink()
    (tmp_path / "images" / "val").rmdir()
    assert read_images(tmp_path, verify=False).class_names == ("cat", "dog")


def test_a_list_of_test_images_above_their_folder(tmp_path: Path) -> None:
    classes(tmp_path / "images", "cat", "dog", "test")
    path = tmp_path / "split" / "test.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("test/test0.png\ntest/test1.png\ntest/test2.png\n")
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == ["cat"] * 3 + ["dog"] * 3 and len(found.test_ids) == 3
    path.write_text("cat/cat0.png\ndog/dog0.png\n")
    found = read_images(tmp_path, verify=False)
    assert len(found.y) == 4 and len(found.test_ids) == 3
    assert "2 images that split/test.txt lists for testing, because images/test/ holds" in "".join(found.warnings)
