"""Columns that may say which images belong together, by their names and by the labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


def table(root: Path, name: str, value: Callable[[int], str], images: int = 36, per_label: int = 3) -> Path:
    """A table of images whose labels change after ``per_label`` of them, with one column beside."""
    rows = [(f"{1000 + i}.png", "ab"[i // per_label % 2], value(i)) for i in range(images)]
    write_table(root / "labels.csv", [("image", "label", name), *rows])
    for seed, (image, *_) in enumerate(rows):
        save(root / "images" / image, seed, 8)
    return root


def advice(root: Path) -> list[str]:
    return [warning for warning in read_images(root, verify=False).warnings if "--group-column" in warning]


@pytest.mark.parametrize("name", ["MRN", "Case No", "StudyInstanceUID", "wsi", "cow_id", "xyz", "\u6df7"])
def test_names_that_share_labels_are_named_under_any_header(tmp_path: Path, name: str) -> None:
    root = table(tmp_path, name, lambda i: f"K{i // 3:02}x")
    (warning,) = advice(root)
    assert f"several images have the same {name!r}" in warning
    found = read_images(root, DataOptions(group_column=name), verify=False)  # as it says
    assert found.groups is not None and len(set(found.groups)) == 12
    assert not any("--group-column" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "name",
    [
        "pid", "slide", "exam_id", "Patientennummer", "no_patient", "id_patient", "ID_paciente", "\u60a3\u8005ID",
        "\u75c7\u4f8b\u756a\u53f7", "original_image", "subj", "VideoName", "parentId", "farm", "site_id", "plate",
    ],
)  # fmt: skip
def test_words_for_groups_need_no_labels(tmp_path: Path, name: str) -> None:
    assert len(advice(table(tmp_path, name, lambda i: f"K{i % 12:02}"))) == 1


def test_numbers_of_things_are_named(tmp_path: Path) -> None:
    assert len(advice(table(tmp_path, "number", lambda i: str(i // 3 * 7 % 12)))) == 1


def _random(seed: int, values: int) -> Callable[[int], str]:
    drawn = np.random.default_rng(seed).integers(0, values, 100)
    return lambda i: f"v{drawn[i]}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label_id", lambda i: str(i // 3 % 2)),
        ("kind", lambda i: ("tabby", "hound")[i // 3 % 2]),
        ("age", lambda i: str(40 + i % 9)),
        ("score", lambda i: str((i // 3 % 2) * 50 + i // 6)),
        ("sharpness", lambda i: f"{(i // 3) / 7:.2f}"),
        ("location", lambda i: ("leg", "arm", "back", "face", "hand", "foot")[i % 6]),
        ("plant", lambda i: ("rose", "tulip", "oak", "ash", "fern", "moss")[i // 3 % 6]),
        ("weight", lambda i: f"{i // 3} kg"),
        ("size", lambda i: f"{40 + i // 3}x{20 + i // 3}"),
        ("remark", lambda i: ("", "blurred", "dark")[i % 3]),
        ("probability", lambda i: f"0.{i // 3}"),
        ("checksum", lambda i: f"a{i}b"),
        ("code", _random(0, 12)),
        ("code", _random(1, 6)),
    ],
)
def test_other_columns_are_not(tmp_path: Path, name: str, value: Callable[[int], str]) -> None:
    assert advice(table(tmp_path, name, value)) == []


@pytest.mark.parametrize("extra", [(), ("age",)])
@pytest.mark.parametrize("name", ["patient", "Code"])
def test_a_table_of_groups_beside_the_labels_is_named(tmp_path: Path, name: str, extra: tuple[str, ...]) -> None:
    images = [f"{100 + i}.png" for i in range(36)]
    labels, groups = ["ab"[i // 3 % 2] for i in range(36)], [f"P{i // 3}" for i in range(36)]
    for seed, image in enumerate(images):
        save(tmp_path / "images" / image, seed, 8)
    write_table(tmp_path / "labels.csv", [("image", "label"), *zip(images, labels, strict=True)])
    beside = [(image, group, *("41" for _ in extra)) for image, group in zip(images, groups, strict=True)]
    write_table(tmp_path / "patients.csv", [("image", name, *extra), *beside])
    (warning,) = advice(tmp_path)
    assert f"patients.csv is not read, and several images have the same {name!r} there" in warning
    joined = zip(images, labels, groups, strict=True)
    write_table(tmp_path / "labels.csv", [("image", "label", name), *joined])  # as it says
    found = read_images(tmp_path, DataOptions(group_column=name), verify=False)
    assert found.groups == tuple(groups) and not any("--group-column" in warning for warning in found.warnings)


def test_a_table_of_other_facts_beside_the_labels_is_not_named(tmp_path: Path) -> None:
    images = [f"{100 + i}.png" for i in range(36)]
    for seed, image in enumerate(images):
        save(tmp_path / "images" / image, seed, 8)
    write_table(
        tmp_path / "labels.csv", [("image", "label"), *((image, "ab"[i % 2]) for i, image in enumerate(images))]
    )
    facts = [(image, str(40 + i % 9), ("leg", "arm", "face")[i % 3]) for i, image in enumerate(images)]
    write_table(tmp_path / "facts.csv", [("image", "age", "place"), *facts])
    assert advice(tmp_path) == []


@pytest.mark.parametrize("header", ["folder", "case_id"])
def test_folders_inside_the_chosen_groups_need_no_further_ones(tmp_path: Path, header: str) -> None:
    """The table that the tool advises to write for inner folders."""
    rows = [(f"P{i // 2}/visit{i}", "ab"[i // 2 % 2], f"P{i // 2}") for i in range(12)]
    for seed, (folder, *_) in enumerate(rows):
        for i in range(3):
            save(tmp_path / folder / f"{i}.png", 10 * seed + i, 8)
    write_table(tmp_path / "labels.csv", [(header, "label", "group"), *rows])
    found = read_images(tmp_path, DataOptions(group_column="group"), verify=False)
    assert found.groups is not None and len(set(found.groups)) == 6
    assert not any("--group-column" in warning for warning in found.warnings)


def test_a_column_across_the_chosen_groups_is_named(tmp_path: Path) -> None:
    root = table(tmp_path, "patient", lambda i: f"K{i % 7}x")
    (root / "labels.csv").write_text(
        "\n".join(
            f"{line},{'site' if not number else number // 3}"
            for number, line in enumerate((root / "labels.csv").read_text().splitlines())
        )
    )
    found = read_images(root, DataOptions(group_column="site"), verify=False)
    assert any("same 'patient'" in warning for warning in found.warnings)
