"""Import files of Google's AutoML and Vertex AI: a part, an address in a bucket and a label, without a header."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

CLASSES = ("cat", "dog")
NAMES = [(name, i) for i in range(8) for name in CLASSES]


def part(i: int) -> str:
    return "TRAIN" if i < 5 else "VALIDATION" if i < 6 else "TEST"


def imported(
    root: Path,
    place: str,
    *,
    spelled: Callable[[str], str] | None = str,
    label: Callable[[str, int], str] = lambda name, i: name,
    table: str = "all_data.csv",
    bucket: str = "gs://bucket/flowers/",
) -> Path:
    rows = []
    for seed, (name, i) in enumerate(NAMES):
        path = save(root / place.format(name=name, i=i), seed, 8).relative_to(root).as_posix()
        rows.append((*((spelled(part(i)),) if spelled else ()), f"{bucket}{path}", label(name, i)))
    write_table(root / table, rows)
    return root


@pytest.mark.parametrize("place", ["{name}/{i}.png", "images/{name}{i}.png", "{name}{i}.png", "photos/{name}/{i}.png"])
@pytest.mark.parametrize("spelled", [str.upper, str.lower, str.title])
@pytest.mark.parametrize("bucket", ["gs://bucket/flowers/", "s3://b/", "https://storage.googleapis.com/b/c/"])
def test_parts_and_labels(tmp_path: Path, place: str, spelled: Callable[[str], str], bucket: str) -> None:
    found = read_images(imported(tmp_path, place, spelled=spelled, bucket=bucket), verify=False)

    train = {place.format(name=name, i=i): name for name, i in NAMES if i < 5}
    assert dict(zip(found.train_images.paths, labels_of(found), strict=True)) == train
    assert sorted(found.test_images.paths) == sorted(place.format(name=name, i=i) for name, i in NAMES if i > 5)
    assert any("not read: 2 validation rows of all_data.csv" in warning for warning in found.warnings)


@pytest.mark.parametrize("place", ["{name}/{i}.png", "images/{name}{i}.png"])
@pytest.mark.parametrize("spelled", [None, lambda part: "UNASSIGNED", lambda part: ""])
def test_without_parts_all_images_are_for_training(
    tmp_path: Path, place: str, spelled: Callable[[str], str] | None
) -> None:
    found = read_images(imported(tmp_path, place, spelled=spelled), verify=False)

    assert (len(found.y), found.test_ids, found.class_names) == (16, (), CLASSES)


@pytest.mark.parametrize("spelled", [str, None])
def test_a_label_that_is_not_the_folder_is_an_error(tmp_path: Path, spelled: Callable[[str], str] | None) -> None:
    root = imported(
        tmp_path, "{name}/{i}.png", spelled=spelled, label=lambda name, i: CLASSES[(CLASSES.index(name) + (i == 0)) % 2]
    )

    assert "labels contradict the folders of their images" in problems_of(root)
    assert len(read_images(root, DataOptions(layout="folders"), verify=False).y) == 16
    chosen = read_images(root, DataOptions(layout="table"), verify=False)
    assert dict(zip(chosen.train_images.paths, labels_of(chosen), strict=True))["cat/0.png"] == "dog"


@pytest.mark.parametrize("spelled", [str, str.lower])
@pytest.mark.parametrize("header", [(), ("image", "split")])
def test_a_table_of_parts_alone_divides_class_folders(
    tmp_path: Path, spelled: Callable[[str], str], header: tuple[str, ...]
) -> None:
    for seed, (name, i) in enumerate(NAMES):
        save(tmp_path / name / f"{i}.png", seed, 8)
    rows = [(f"gs://bucket/{name}/{i}.png", spelled(part(i))) for name, i in NAMES]
    write_table(tmp_path / "split.csv", [*([header] if header else []), *rows])
    found = read_images(tmp_path, verify=False)

    assert sorted(found.train_ids) == sorted(f"{name}/{i}.png" for name, i in NAMES if i < 5)
    assert sorted(found.test_ids) == sorted(f"{name}/{i}.png" for name, i in NAMES if i > 5)
    assert not any("split.csv" in warning for warning in found.warnings)
    assert len(read_images(tmp_path, DataOptions(layout="folders"), verify=False).y) == 16


def test_a_table_called_after_testing_is_read_if_the_user_names_it(tmp_path: Path) -> None:
    root = imported(tmp_path, "{name}/{i}.png", table="test_dataset.csv")
    assert "--table test_dataset.csv" in problems_of(root)

    found = read_images(root, DataOptions(table="test_dataset.csv"), verify=False)
    assert (len(found.y), len(found.test_ids)) == (10, 4)
