"""Lists of the training and test images beside class folders, as in Food-101."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images

CLASSES = ("apple_pie", "pho", "waffles")


def food(root: Path, *, where: str = "images", line: str = "{name}/{i}", lists: str = "meta") -> Path:
    """Ten images of each of three classes; the last three of each are test images."""
    for seed, name in enumerate(CLASSES):
        for i in range(10):
            save(root / where / name / f"{i}.png", 10 * seed + i, 8)
    write(root / lists / "train.txt", [line.format(name=name, i=i) for name in CLASSES for i in range(7)])
    write(root / lists / "test.txt", [line.format(name=name, i=i) for name in CLASSES for i in range(7, 10)])
    write(root / lists / "classes.txt", CLASSES)
    return root


def write(path: Path, lines: object) -> None:
    assert isinstance(lines, (list, tuple))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("where", "lists"),
    [
        ("images", "meta"),
        ("images", "."),
        (".", "."),
        ("data/images", "meta"),
        ("data/images", "data"),
        ("train", "meta"),
    ],
)
@pytest.mark.parametrize(
    "line", ["{name}/{i}", "{name}/{i}.png", "./{name}/{i}.png", "{name}/{i}.png 0", "{name}\\{i}"]
)
def test_listed_test_images_are_not_trained_on(tmp_path: Path, where: str, line: str, lists: str) -> None:
    found = read_images(food(tmp_path, where=where, line=line, lists=lists), verify=False)
    assert found.train_ids == tuple(f"{name}/{i}.png" for name in CLASSES for i in range(7))
    assert labels_of(found) == [name for name in CLASSES for _ in range(7)]
    assert found.test_ids == tuple(f"{name}/{i}.png" for name in CLASSES for i in range(7, 10))
    for i, identifier in enumerate(found.test_ids):
        assert found.test_images.name(i).split(" ")[0].endswith(identifier)
    assert "21 train, 9 test" in "\n".join(found.notes)


def test_all_images_may_be_trained_on(tmp_path: Path) -> None:
    found = read_images(food(tmp_path), DataOptions(layout="folders"), verify=False)
    assert (len(found.y), found.test_ids) == (30, ())
    assert "not used, because --layout folders trains on the images of all parts" in "\n".join(found.notes)


def test_one_list_divides_as_well(tmp_path: Path) -> None:
    root = food(tmp_path)
    (root / "meta" / "train.txt").unlink()
    found = read_images(root, verify=False)
    assert (len(found.y), len(found.test_ids)) == (21, 9)
    food(root)
    (root / "meta" / "test.txt").unlink()
    found = read_images(root, verify=False)
    assert (len(found.y), len(found.test_ids)) == (21, 0)
    assert "not read: 9 images that no list of training images names, such as images/apple_pie/7.png" in found.warnings


def test_a_sample_submission_orders_the_listed_test_images(tmp_path: Path) -> None:
    root = food(tmp_path)
    ids = [f"{name}/{i}.png" for i in (9, 7, 8) for name in CLASSES]
    write(root / "sample_submission.csv", ["id,label", *(f"{identifier},pho" for identifier in ids)])
    found = read_images(root, verify=False)
    assert (len(found.y), found.test_ids) == (21, tuple(ids))


def test_a_test_folder_goes_before_the_list(tmp_path: Path) -> None:
    root = food(tmp_path)
    save(root / "test" / "t.png", 99, 8)
    found = read_images(root, verify=False)
    assert (len(found.y), found.test_ids) == (21, ("t.png",))
    assert (
        "not read: 9 images that meta/test.txt lists for testing, because test/ holds the test images" in found.warnings
    )


def test_validation_images_and_lines_without_an_image_are_named(tmp_path: Path) -> None:
    root = food(tmp_path)
    (root / "meta" / "test.txt").rename(root / "meta" / "val.txt")
    with (root / "meta" / "train.txt").open("a") as file:
        file.write("\npho/77")
    found = read_images(root, verify=False)
    assert (len(found.y), len(found.test_ids)) == (21, 0)
    warnings = "\n".join(found.warnings)
    assert "not read: 9 validation images by the lists" in warnings
    assert "meta/train.txt: 1 lines name no image of the classes, such as 'pho/77'" in warnings


def test_a_class_without_a_training_image_is_named(tmp_path: Path) -> None:
    root = food(tmp_path)
    write(root / "meta" / "train.txt", [f"{name}/{i}" for name in CLASSES[:2] for i in range(7)])
    found = read_images(root, verify=False)
    assert found.class_names == CLASSES[:2]
    assert "not trained: 'waffles', classes without a training image by the lists" in found.warnings


def test_an_image_in_two_lists_is_an_error(tmp_path: Path) -> None:
    root = food(tmp_path)
    with (root / "meta" / "test.txt").open("a") as file:
        file.write("\npho/0")
    assert "meta/test.txt lists images/pho/0.png as a test image, which is a train image by another" in problems_of(
        root
    )


def test_several_divisions_are_a_question(tmp_path: Path) -> None:
    root = food(tmp_path)
    write(root / "meta" / "test2.txt", [f"{name}/1" for name in CLASSES])
    message = problems_of(root)
    assert "each lists other test images" in message and "--layout folders" in message


def test_other_texts_beside_the_classes_do_not_divide(tmp_path: Path) -> None:
    root = food(tmp_path)
    write(root / "meta" / "train.txt", ["How the images were taken", "pho/1"])
    write(root / "meta" / "test.txt", ["nothing"])
    assert len(read_images(root, verify=False).y) == 30


def test_a_list_of_the_test_folder_may_repeat_names_of_training_images(tmp_path: Path) -> None:
    names = [f"{name}/{i}.png" for name in CLASSES for i in range(4)]
    for seed, name in enumerate(names):
        save(tmp_path / "train" / name, seed, 8)
        save(tmp_path / "test" / name, 50 + seed, 8)
    write(tmp_path / "test.txt", names)
    found = read_images(tmp_path, verify=False)
    assert set(found.train_ids) == set(names) == set(found.test_ids)
