"""Lists of the training and test images beside class folders, as in Food-101."""

from __future__ import annotations

import shutil
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
    "line",
    [
        "{name}/{i}",
        "{name}/{i}.png",
        "./{name}/{i}.png",
        "{name}/{i}.png 0",
        "{name}\\{i}",
        '{name}/{i}.png "no number"',
    ],
)
def test_listed_test_images_are_not_trained_on(tmp_path: Path, where: str, line: str, lists: str) -> None:
    found = read_images(food(tmp_path, where=where, line=line, lists=lists), verify=False)
    assert found.train_ids == tuple(f"{name}/{i}.png" for name in CLASSES for i in range(7))
    assert labels_of(found) == [name for name in CLASSES for _ in range(7)]
    assert found.test_ids == tuple(f"{name}/{i}.png" for name in CLASSES for i in range(7, 10))
    for i, identifier in enumerate(found.test_ids):
        assert found.test_images.name(i).split(" ")[0].endswith(identifier)
    assert "21 train, 9 test" in "\n".join(found.notes)


@pytest.mark.parametrize("suffix", [".txt", ".tsv", ".csv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_are_read_by_their_mark_of_the_encoding(tmp_path: Path, suffix: str, encoding: str) -> None:
    meta = food(tmp_path) / "meta"
    for part in ("train", "test"):
        (meta / f"{part}{suffix}").write_text((meta / f"{part}.txt").read_text(), encoding=encoding)
        if suffix != ".txt":
            (meta / f"{part}.txt").unlink()
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), len(found.test_ids)) == (21, 9)


@pytest.mark.parametrize("where", ["images", "."])
@pytest.mark.parametrize(
    ("train", "test"),
    [
        *((f"trainlist{ending}", f"testlist{ending}") for ending in (".txt", "01.txt")),
        ("TrainNames.txt", "TestNames.txt"),
        *((f"train{ending}", f"test{ending}") for ending in (".list", ".lst", ".dat", ".log", "")),
        ("tr.txt", "te.txt"),
        *((f"{place}/train.txt", f"{place}/test.txt") for place in ("splits/split1", "ImageSets/Main", "labels/v1")),
    ],
)  # fmt: skip
def test_lists_of_other_names_and_places_divide_the_images(tmp_path: Path, where: str, train: str, test: str) -> None:
    root = food(tmp_path, where=where)
    for old, new in (("train.txt", train), ("test.txt", test)):
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / "meta" / old).rename(root / new)
    found = read_images(root, verify=False)
    assert found.train_ids == tuple(f"{name}/{i}.png" for name in CLASSES for i in range(7))
    assert found.test_ids == tuple(f"{name}/{i}.png" for name in CLASSES for i in range(7, 10))


@pytest.mark.parametrize(
    "name",
    [
        *("test_ids.npy", "meta/split.mat", "test.yaml", "splits/split1/test.pkl"),
        *("split.rds", "test.RData", "split.ini"),
    ],
)
def test_lists_of_kinds_that_are_not_read_are_a_question(tmp_path: Path, name: str) -> None:
    root = food(tmp_path)
    shutil.rmtree(root / "meta")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("images: [pho/1.png, pho/2.png]")
    message = problems_of(root)
    assert f"{name} is not read, though it may divide the images" in message
    assert len(read_images(root, DataOptions(layout="folders")).y) == 30
    (root / name).unlink()
    (root / "data.yaml").write_text("train: images\nnames: [apple_pie, pho, waffles]")
    assert len(read_images(root).y) == 30, "settings that name no image"


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


@pytest.mark.parametrize("inner", ["", "dtd"])
def test_several_divisions_are_a_question_whose_answers_work(tmp_path: Path, inner: str) -> None:
    """As in the Describable Textures Dataset: train1.txt to train10.txt, and as many lists of the other parts."""
    root = tmp_path / inner
    for seed, name in enumerate(CLASSES):
        for i in range(10):
            save(root / "images" / name / f"{name}_{i}.png", 10 * seed + i, 8)
    for split in range(1, 11):
        order = [(split + i) % 10 for i in range(10)]
        for part, numbers in {"train": order[:4], "val": order[4:7], "test": order[7:]}.items():
            write(
                root / "labels" / f"{part}{split}.txt", [f"{name}/{name}_{i}.png" for name in CLASSES for i in numbers]
            )
    write(root / "labels" / "labels_joint_anno.txt", [f"{name}/{name}_0.png {name} pho" for name in CLASSES])

    message = problems_of(tmp_path)
    kept = ["labels/test1.txt", "labels/train1.txt", "labels/val1.txt"]
    assert all(name in message for name in kept) and "labels/test2.txt" not in message
    assert len(read_images(tmp_path, DataOptions(layout="folders"), verify=False).y) == 30

    for path in (root / "labels").glob("*[0-9].txt"):
        if f"labels/{path.name}" not in kept:
            path.unlink()
    found = read_images(tmp_path, verify=False)
    assert (len(found.y), len(found.test_ids)) == (12, 9)
    assert {path.name for path in (root / "labels").glob("train*")} == {"train1.txt"}


@pytest.mark.parametrize("lists", ["annotations", "splits", "meta", "labels"])
@pytest.mark.parametrize("where", [".", "archive", "data/archive"])
@pytest.mark.parametrize("counts", [True, False])
def test_a_folder_of_lists_beside_the_classes_is_no_class(tmp_path: Path, lists: str, where: str, counts: bool) -> None:
    food(tmp_path, where=where, lists=f"{where}/{lists}")
    if counts:
        write(tmp_path / "counts.csv", ["class,images", *(f"{name},10" for name in CLASSES)])

    found = read_images(tmp_path, verify=False)

    assert found.class_names == CLASSES
    assert (len(found.y), len(found.test_ids)) == (21, 9)


def test_an_empty_class_folder_is_still_an_error(tmp_path: Path) -> None:
    food(tmp_path, where=".", lists=".")
    write(tmp_path / "bird" / "notes.txt", ["a"])
    assert "bird holds no images" in problems_of(tmp_path)


@pytest.mark.parametrize("line", ["/home/me/{name}/{i}.png", "C:\\data\\{name}\\{i}.png 3", "data/{name}/{i}"])
def test_paths_of_another_machine(tmp_path: Path, line: str) -> None:
    found = read_images(food(tmp_path, line=line), verify=False)

    assert (len(found.y), len(found.test_ids)) == (21, 9)
    assert all(int(Path(path).stem) >= 7 for path in found.test_images.paths)


@pytest.mark.parametrize("lists", [".", "meta"])
def test_the_layout_of_folders_trains_on_all_in_spite_of_lists(tmp_path: Path, lists: str) -> None:
    found = read_images(food(tmp_path, lists=lists), DataOptions(layout="folders"), verify=False)
    assert (len(found.y), found.test_ids) == (30, ())


@pytest.mark.parametrize("table", [True, False])
def test_a_list_of_validation_images_with_a_folder_of_its_own(tmp_path: Path, table: bool) -> None:
    """Each folder numbers its images from 0."""
    for part in ("train", "val", "test"):
        for seed, name in enumerate(CLASSES):
            for i in range(4):
                save(
                    tmp_path / part / ("" if table else name) / f"{4 * seed + i}.png",
                    100 * ord(part[0]) + 4 * seed + i,
                    8,
                )
    names = [f"{i}" if table else f"{CLASSES[i // 4]}/{i}.png" for i in range(12)]
    for part in ("val", "test"):
        write(tmp_path / f"{part}.csv", ["image", *names])
    if table:
        write(tmp_path / "train.csv", ["image,label", *(f"{i},{CLASSES[i // 4]}" for i in range(12))])
    found = read_images(tmp_path, verify=False)

    assert all(path.startswith("train/") for path in found.train_images.paths)
    assert labels_of(found) == [CLASSES[i // 4] for i in range(12)]
    assert all(path.startswith("test/") for path in found.test_images.paths) and len(found.test_ids) == 12


@pytest.mark.parametrize("lists", [".", "meta"])
@pytest.mark.parametrize(
    "line",
    [
        "{name}/{i}.png {label}",
        "{name}/{i},{label}",
        "{name}/{i} {number}",
        "{label} {name}/{i}",
        '{name}/{i} "{label}"',
    ],
)
def test_labels_in_lists_have_to_be_the_folders(tmp_path: Path, lists: str, line: str) -> None:
    food(tmp_path, lists=lists)
    for wrong in (0, 1):
        for part, numbers in {"train": range(7), "test": range(7, 10)}.items():
            entries = [
                (name, i, CLASSES[(index + (i < wrong)) % 3]) for index, name in enumerate(CLASSES) for i in numbers
            ]
            lines = [line.format(name=n, i=i, label=label, number=CLASSES.index(label)) for n, i, label in entries]
            write(tmp_path / lists / f"{part}.txt", lines)
        if not wrong:
            found = read_images(tmp_path, verify=False)
            assert (len(found.y), len(found.test_ids), found.class_names) == (21, 9, CLASSES)
    message = problems_of(tmp_path)
    assert "train.txt" in message and "--layout folders" in message
    assert len(read_images(tmp_path, DataOptions(layout="folders"), verify=False).y) == 30
