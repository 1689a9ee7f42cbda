"""Lists of images beside a table of labels: they divide its rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images


def write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def table(root: Path) -> Path:
    """Twelve images in one folder, with labels."""
    for i in range(12):
        save(root / "images" / f"a{i}.png", i, 8)
    write(root / "labels.csv", ["id,label", *(f"a{i},{'xy'[i % 2]}" for i in range(12))])
    return root


def ids(*numbers: int) -> list[str]:
    return [f"a{i}" for i in range(*numbers)]


@pytest.mark.parametrize("place", [".", "splits"])
@pytest.mark.parametrize("ending", ["", ".png", ".png 0"])
def test_listed_test_images_are_not_trained_on(tmp_path: Path, place: str, ending: str) -> None:
    table(tmp_path)
    for name, listed in (("train", ids(6)), ("val", ids(6, 8)), ("test", ids(8, 12))):
        write(tmp_path / place / f"{name}.txt", [f"{one}{ending}" for one in listed])
    found = read_images(tmp_path, verify=False)
    assert found.train_ids == tuple(ids(6)) and labels_of(found) == list("xyxyxy")
    assert found.test_ids == tuple(ids(8, 12))


def test_a_json_file_of_parts(tmp_path: Path) -> None:
    (table(tmp_path) / "split.json").write_text(json.dumps({"train": ids(9), "test": ids(9, 12)}))
    found = read_images(tmp_path, verify=False)
    assert (found.train_ids, found.test_ids) == (tuple(ids(9)), tuple(ids(9, 12)))


def test_the_rest_is_for_training(tmp_path: Path) -> None:
    write(table(tmp_path) / "test.txt", ids(9, 12))
    found = read_images(tmp_path, verify=False)
    assert (found.train_ids, found.test_ids) == (tuple(ids(9)), tuple(ids(9, 12)))


def test_rows_without_a_part_are_refused(tmp_path: Path) -> None:
    write(table(tmp_path) / "train.txt", ids(6))
    write(tmp_path / "test.txt", ids(9, 12))
    assert "names none for 3 of 12 rows of labels.csv, such as 'a6'" in problems_of(tmp_path)


def test_lists_of_folds_divide_nothing(tmp_path: Path) -> None:
    table(tmp_path)
    for fold in range(2):
        write(tmp_path / "folds" / f"train_{fold}.txt", [f"a{i}" for i in range(12) if i % 2 == fold])
    found = read_images(tmp_path, verify=False)
    assert len(found.y) == 12
    assert "of which several list other train images" in "\n".join(found.warnings)


def pets(root: Path) -> list[str]:
    """Four images of three breeds, after Oxford's pets: breed, species and number within the species; masks, too."""
    names = [f"{breed}_{i}" for breed in ("Abyssinian", "Bengal", "yorkshire_terrier") for i in (1, 10, 100, 2)]
    for seed, name in enumerate(names):
        save(root / "images" / f"{name}.jpg", seed, 8)
        save(root / "annotations" / "trimaps" / f"{name}.png", 90 + seed, 8)
    rows = [f"{name} {i // 4 + 1} {1 + i // 8} {i // 4 % 2 + 1}" for i, name in enumerate(names)]
    comments = ["#Image CLASS-ID SPECIES BREED ID", "#SPECIES: 1:Cat 2:Dog", "#First letter: upper case for cats"]
    write(root / "annotations" / "list.txt", [*comments, *rows])
    write(root / "annotations" / "trainval.txt", rows[::2])
    write(root / "annotations" / "test.txt", rows[1::2])
    return names


def test_oxford_pets(tmp_path: Path) -> None:
    names = pets(tmp_path)
    found = read_images(tmp_path, verify=False)
    assert found.train_ids == tuple(names[::2]) and labels_of(found) == list("112233")
    assert found.test_ids == tuple(names[1::2])
    assert "'CLASS-ID' agrees with the names of the images, such as '1' for 'Abyssinian'" in "\n".join(found.notes)
    assert labels_of(read_images(tmp_path, DataOptions(label_column="SPECIES"), verify=False)) == list("111122")


def test_oxford_pets_without_the_list_of_all(tmp_path: Path) -> None:
    names = pets(tmp_path)
    (tmp_path / "annotations" / "list.txt").unlink()
    assert "it could be '2', '3', '4'" in problems_of(tmp_path)
    found = read_images(tmp_path, DataOptions(label_column="2"), verify=False)
    assert found.train_ids == tuple(names[::2]) and labels_of(found) == list("112233")
    assert found.test_ids == tuple(names[1::2])


def test_names_of_patients_are_no_classes(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "images" / f"p{i // 4}_{i}.png", i, 8)
    rows = [f"p{i // 4}_{i},{i // 4},{i % 2}" for i in range(12)]
    write(tmp_path / "data.csv", ["image,class,label", *rows])
    assert "it could be 'label', 'class'" in problems_of(tmp_path)


@pytest.mark.parametrize("test", ["Testing_set.csv", "test.txt"])
@pytest.mark.parametrize("header", [True, False])
def test_a_list_of_the_test_folder_may_repeat_names_of_training_images(
    tmp_path: Path, test: str, *, header: bool
) -> None:
    for i in range(12):
        save(tmp_path / "train" / f"{i}.png", i, 8)
    for i in range(4):
        save(tmp_path / "test" / f"{i}.png", 50 + i, 8)
    write(tmp_path / "Training_set.csv", ["filename,label", *(f"{i}.png,{'xy'[i % 2]}" for i in range(12))])
    write(tmp_path / test, [*["filename"] * header, *(f"{i}.png" for i in range(4))])
    found = read_images(tmp_path, verify=False)
    assert found.train_ids == tuple(f"{i}.png" for i in range(12))
    assert [found.test_images.name(i).split(" ")[0] for i in range(4)] == [f"test/{i}.png" for i in range(4)]
