"""Class folders that are called after others, or hold copies of their images, are a question."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images


def classes(root: Path, *names: str, first: int = 0) -> Path:
    """Three images in each folder, whose names begin with the name of the folder."""
    for seed, name in enumerate(names):
        for number in range(3):
            save(root / name / f"{name}{number}.png", first + 10 * seed + number, 8)
    return root


def as_folders(root: Path) -> set[str]:
    return set(read_images(root, DataOptions(layout="folders"), verify=False).class_names)


@pytest.mark.parametrize("name", ["cat_test", "cat_val", "cats_test", "catTest", "cat test images", "cat_test1"])
def test_one_folder_with_the_name_of_a_class_and_the_word_of_a_part(tmp_path: Path, name: str) -> None:
    message = problems_of(classes(tmp_path, "cat", "dog", "fox", name))
    assert f"the folder {name!r} may hold test or validation images of 'cat' by its name" in message
    assert as_folders(tmp_path) == {"cat", "dog", "fox", name}
    (tmp_path / name).rename(tmp_path / "test")
    found = read_images(tmp_path, verify=False)
    assert (found.class_names, len(found.test_ids)) == (("cat", "dog", "fox"), 3)


@pytest.mark.parametrize("names", [("pregnancy test", "cat", "dog"), ("test tubes", "cat", "dog"), ("cat", "catest")])
def test_a_test_of_no_other_class_is_a_class(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = read_images(classes(tmp_path, *names), verify=False)
    assert set(found.class_names) == set(names)


@pytest.mark.parametrize("end", ["2", "_2", " (2)", "s", "-02"])
def test_folders_that_may_hold_further_images_of_others(tmp_path: Path, end: str) -> None:
    names = ("cat", "dog", "fox")
    twins = [f"{name}{end}" for name in names[:2]]
    message = problems_of(classes(tmp_path, *names, *twins))
    assert f"the folders {twins[0]!r}, {twins[1]!r} may hold further images of 'cat', 'dog' by their names" in message
    assert as_folders(tmp_path) == {*names, *twins}
    for name, twin in zip(names, twins, strict=False):
        for image in (tmp_path / twin).iterdir():
            image.rename(tmp_path / name / image.name)
        (tmp_path / twin).rmdir()
    assert labels_of(read_images(tmp_path, verify=False)) == ["cat"] * 6 + ["dog"] * 6 + ["fox"] * 3


@pytest.mark.parametrize(
    "names",
    [
        ("short", "shorts", "hat"),
        ("A", "A1", "B", "B1"),
        ("1", "11", "2", "21"),
        ("737-200", "737-300", "A320", "A321"),
        ("type 1", "type 2", "kind 1", "kind 2"),
    ],
)
def test_names_of_models_and_one_plural_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert set(read_images(classes(tmp_path, *names), verify=False).class_names) == set(names)


@pytest.mark.parametrize("name", ["thumbs", "Augmented", "Backup 2023", "Duplikate", "processed"])
def test_a_folder_of_copies_with_the_names_of_all_its_images_elsewhere(tmp_path: Path, name: str) -> None:
    classes(tmp_path, "cat", "dog", "fox")
    for seed, image in enumerate(("cat0", "dog1", "fox2")):
        save(tmp_path / name / f"{image}.jpg", 90 + seed, 8)
    assert f"{name!r} holds copies of the images in the class folders" in problems_of(tmp_path)
    assert as_folders(tmp_path) == {"cat", "dog", "fox", name}
    save(tmp_path / name / "another.jpg", 99, 8)
    found = read_images(tmp_path, verify=False)
    assert name in found.class_names and repr(name) in "\n".join(found.warnings)


def test_thumbnails_of_classes_that_number_their_images_are_copies(tmp_path: Path) -> None:
    """A folder that was only put aside may be one of these classes."""
    for seed, name in enumerate(("cat", "dog", "extra")):
        for number in range(3):
            save(tmp_path / name / f"{number}.png", 10 * seed + number, 8)
    assert len(read_images(tmp_path, verify=False).class_names) == 3
    (tmp_path / "extra").rename(tmp_path / "thumbs")
    assert "'thumbs' holds copies" in problems_of(tmp_path)


@pytest.mark.parametrize("form", ["{}", "{}_mask", "mask_{}"])
@pytest.mark.parametrize("before", ["", "v1.2.", "scan-"])
def test_masks_whose_images_have_a_longer_name(tmp_path: Path, form: str, before: str) -> None:
    number = 200
    for name in ("yes", "no", "maybe"):
        for _ in range(3):
            number += 1
            save(tmp_path / name / f"{before}IMG_{number}.png", number, 8)
            save(tmp_path / "masks" / f"{form.format(f'IMG_{number}')}.png", 1000 + number, 8)
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("maybe", "no", "yes") and len(found.y) == 9
    assert "not read: masks/, masks of other images by its name and theirs" in found.warnings


@pytest.mark.parametrize(
    "name", ["Testbilder", "Test-Bilder", "Prüfung", "予測用", "推論用画像", "テスト", "jeu de test", "imagenes_prueba"]
)
def test_a_folder_for_testing_in_another_language_beside_classes(tmp_path: Path, name: str) -> None:
    found = read_images(classes(tmp_path, "cat", "dog", name), verify=False)
    assert found.class_names == ("cat", "dog") and len(found.test_ids) == 3
    assert f"are read as test images by its name; if it is a class, rename it, such as to {name}_class" in "".join(
        found.warnings
    )
    (tmp_path / name).rename(tmp_path / f"{name}_class")
    assert len(read_images(tmp_path, verify=False).class_names) == 3


@pytest.mark.parametrize("name", ["test_stg1", "blind_test", "hidden test images"])
def test_a_folder_for_testing_with_further_words(tmp_path: Path, name: str) -> None:
    found = read_images(classes(tmp_path, "cat", "dog", name), verify=False)
    assert (found.class_names, len(found.test_ids), found.warnings) == (("cat", "dog"), 3, ())


@pytest.mark.parametrize("names", [("Prüfung", "Rechnung"), ("prova", "prueba", "vino"), ("test a", "cat", "dog")])
def test_a_word_for_testing_beside_one_class_is_a_class(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = read_images(classes(tmp_path, *names), verify=False)
    assert set(found.class_names) == set(names)
    assert f"the folder {names[0]!r} is read as a class" in "\n".join((*found.notes, *found.warnings))


def test_copies_of_images_make_no_masks_of_a_class(tmp_path: Path) -> None:
    root = classes(tmp_path, "masks", "gloves", "helmet")
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        save(root / "thumbs" / path.name, 50 + number, 8)
    assert problems_of(root).startswith("'thumbs' holds copies of the images in the class folders")
    assert as_folders(root) == {"masks", "gloves", "helmet", "thumbs"}


def test_thumbnails_of_classes_and_test_images_are_copies(tmp_path: Path) -> None:
    root = classes(tmp_path, "cat", "dog", "test")
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        save(root / "thumbs" / path.name, 50 + number, 8)
    assert problems_of(root).startswith("'thumbs' holds copies of the images in the class folders")
    assert as_folders(root) == {"cat", "dog", "thumbs"}
