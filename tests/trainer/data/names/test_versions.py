"""Altered versions of one image, which the names of files tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import save
from trainer.data.description import version_lines
from trainer.data.duplicates import find_duplicates
from trainer.data.folds import fold_groups
from trainer.data.names.versions import versions_among
from trainer.data.read import read_images

UUID = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5"
OPERATIONS = ("", "_flip", "_rot90", "_bright")

Name = Callable[[int, int], str]
VERSIONS: dict[str, Name] = {
    "Roboflow": lambda i, k: f"IMG_{i:04}_jpg.rf.{31 * i + k:032x}.jpg",
    "a counter": lambda i, k: f"{i}{f'_aug{k}' if k else ''}.jpg",
    "a counter apart": lambda i, k: f"{i}{f' (aug {k})' if k else ''}.jpg",
    "operations": lambda i, k: f"IMG_{i:04}{OPERATIONS[k]}.png",
    "operations in front": lambda i, k: f"{('', 'flip_', 'horizontal_flip_', 'rotated_90_')[k]}tabby{i}.png",
    "operations without the original": lambda i, k: f"photo{i}_{('noise', 'zoom', 'bright', 'left_flip')[k]}.png",
    "several operations": lambda i, k: f"{i}x{('', '_flip', '_flip_rot90', '_horizontal_flip_blur')[k]}.png",
    "a word for the original": lambda i, k: f"img{i}_{('original', 'flipped', 'rotated', 'aug')[k]}.jpg",
    "degrees": lambda i, k: f"{UUID}___Scab {i}{('', '_90deg', '_new30degFlipLR', '_flipTB')[k]}.JPG",
    "Keras": lambda i, k: f"aug_{i}_{1000 + 37 * k + i}.jpeg",
    "Augmentor": lambda i, k: f"cat_original_IMG_{i}.jpg_{UUID}{k}.jpg",
}


@pytest.mark.parametrize("how", VERSIONS)
def test_versions_of_one_image_are_joined(how: str) -> None:
    """Of each of two classes, which use the same names."""
    names = [f"{place}/{VERSIONS[how](i, k)}" for place in ("cat", "dog") for k in range(4) for i in range(5)]
    found = versions_among(names, [name.partition("/")[0] for name in names])
    assert len(set(found.keys)) == 10 and not found.unassigned
    assert [sorted(members) for members in found.members] == [
        [20 * place + 5 * k + i for k in range(4)] for place in range(2) for i in range(5)
    ]


@pytest.mark.parametrize(
    "form",
    [
        "IMG_{i:04}.jpg",
        "image_{i:04}.jpg",
        "cat_{i}.jpg",
        "{i}.png",
        "{i}_{k}.png",
        "P{i}_{side}.png",
        "IMG_2021{i:04}_{k:06}.jpg",
        "night_dark_{i:03}.jpg",
        "blurry{i}_{k}.jpg",
        "scan{i}_crop_{k}.png",
        "screw_rot_{i}.jpg",
        "dark_{i}.jpg",
        "n01440764_{i}.JPEG",
        "video{i}_frame{k}.jpg",
        "flip-flop_{i}_{k}.jpg",
    ],
)
def test_ordinary_names_are_no_versions(form: str) -> None:
    names = [form.format(i=i, k=k, side=("left", "right")[k]) for k in range(2) for i in range(30)]
    found = versions_among(list(dict.fromkeys(names)), [""] * len(set(names)))
    assert not any(found.keys) and not found.unassigned


@pytest.mark.parametrize("label", [lambda i, k: f"grade{i}", lambda i, k: ("sharp", "blur", "dark")[k % 3]])
@pytest.mark.parametrize("form", ["grade{i}_flip_{k}", "{i}_{word}"])
def test_versions_have_one_label_which_has_several_originals(form: str, label: Callable[[int, int], str]) -> None:
    cells = [(i, k) for i in range(4) for k in range(12)]
    names = [form.format(i=i, k=k, word=("sharp", "blur", "dark")[k % 3]) for i, k in cells]
    assert not any(versions_among(names, [label(i, k) for i, k in cells]).keys)


def test_too_many_versions_are_none() -> None:
    assert not any(versions_among([f"image_jpg.rf.{i:032x}.jpg" for i in range(60)], range(60)).keys)


def test_versions_stay_in_one_fold(tmp_path: Path) -> None:
    for seed, (place, i, operation) in enumerate((p, i, o) for p in "ab" for i in range(2) for o in ("", "_rot90")):
        save(tmp_path / place / f"IMG_{i}{operation}.png", seed)
    image_set = read_images(tmp_path)
    duplicates = find_duplicates(image_set)
    assert fold_groups(image_set, duplicates.groups).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert version_lines(image_set) == [
        "altered versions by their names: 8 images of 4 originals, such as a/IMG_0.png and a/IMG_0_rot90.png; those of "
        "one original stay in one fold"
    ]
    grouped = replace(image_set, groups=("x", "", "x", "", "", "", "", ""))
    assert version_lines(grouped) == []
    np.testing.assert_array_equal(fold_groups(grouped, duplicates.groups), [0, 1, 0, 2, 3, 4, 5, 6])
    assert grouped.fingerprint != image_set.fingerprint, "the names alone change no fingerprint"
    assert replace(image_set).fingerprint == image_set.fingerprint


@pytest.mark.parametrize("number", [0, 1])
def test_versions_of_unknown_images_are_warned_of(tmp_path: Path, number: int) -> None:
    """Keras numbers the images of a list, which were altered one by one if all numbers are 0."""
    for seed, (place, i) in enumerate((place, i) for place in ("cat", "dog") for i in range(4)):
        save(tmp_path / place / f"IMG_{i}.png", seed, 8)
        save(tmp_path / place / f"aug_{i * number}_{100 + i}.png", 10 + seed, 8)
    (warning,) = read_images(tmp_path, verify=False).warnings
    assert "8 images, such as cat/aug_0_100.png, are altered versions of others by the names" in warning
    for path in tmp_path.rglob("aug_*"):  # as it says
        path.unlink()
    assert read_images(tmp_path, verify=False).warnings == ()
