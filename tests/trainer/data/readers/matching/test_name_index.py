from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, save
from trainer.data.read import read_images
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError
from trainer.data.readers.matching.match_images import ColumnMatch, ImageMatcher

TREE = [f"224px/March {number % 2 + 1}/IMG_00{number}.JPG" for number in range(1, 7)]


def match(paths: Sequence[str], cells: Sequence[str]) -> ColumnMatch:
    return ImageMatcher(ImageFiles(Path(), paths), "train").match(cells)


@pytest.mark.parametrize("front", ["/kaggle/input/", "C:\\data\\", "../input/", "s3://bucket/x/", "old/"])
@pytest.mark.parametrize(
    "change",
    [
        str.lower,
        lambda path: path.replace(".JPG", ".jpeg"),
        lambda path: path.replace("_00", "_"),
        lambda path: path.lower().replace(".jpg", ".png"),
        lambda path: path.replace("_00", "_").replace(".JPG", ".png"),
    ],
)
def test_the_rest_of_a_path_of_another_machine_may_differ(front: str, change: Callable[[str], str]) -> None:
    cells = [front + change(path) for path in TREE]

    found = match(TREE, cells)

    assert found.paths == dict(zip(cells, TREE, strict=True))
    assert any("in case, extension or leading zeros" in note for note in found.notes)


def test_a_mask_is_no_substitute_under_a_path_of_another_machine() -> None:
    found = match(["a/1.jpg", "a/2.png"], ["/x/a/1.jpg", "/x/a/2.jpg"])

    assert found.paths == {"/x/a/1.jpg": "a/1.jpg"} and list(found.errors) == ["/x/a/2.jpg"]


def test_the_folder_decides_before_the_spelling_of_the_name() -> None:
    assert match(["a/1.JPG", "b/1.jpg"], ["/x/a/1.jpg"]).paths == {"/x/a/1.jpg": "a/1.JPG"}


def test_two_files_that_differ_in_case_are_a_question() -> None:
    (error,) = match(["a/x1.JPG", "a/X1.jpg"], ["/k/a/X1.JPG"]).errors.values()

    assert isinstance(error, ImageAmbiguousError)


def test_labels_by_paths_of_another_machine(tmp_path: Path) -> None:
    rows = []
    for number, path in enumerate(TREE):
        save(tmp_path / path, number)
        rows.append(f"/k/{path.replace('.JPG', '.jpeg')},{['ripe', 'raw'][number // 3]}")
    (tmp_path / "train.csv").write_text("\n".join(["filepath,label", *rows]), encoding="utf-8")

    found = read_images(tmp_path)

    expected = {path: ["ripe", "raw"][number // 3] for number, path in enumerate(TREE)}
    assert dict(zip(map(str, found.train_images.paths), labels_of(found), strict=True)) == expected
