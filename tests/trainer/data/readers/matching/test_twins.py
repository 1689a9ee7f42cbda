from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.image_set import DataOptions
from trainer.data.read import read_images
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError
from trainer.data.readers.matching.match_images import ColumnMatch, ImageMatcher

NUMBERS = range(1, 13)
IDS = [f"{number}.jpg" for number in NUMBERS]


def match(cells: Sequence[str], *paths: str) -> ColumnMatch:
    return ImageMatcher(ImageFiles(Path("data"), paths), "train").match(cells)


def photos(folder: str, upper: int, suffix: str = "JPG") -> list[str]:
    """A photo for each id, the first ``upper`` of them with another extension than the ids have."""
    return [f"{folder}/{number}.{suffix if number <= upper else 'jpg'}" for number in NUMBERS]


def thumbnails(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number}.jpg" for number in NUMBERS if number <= count]


@pytest.mark.parametrize("suffix", ["JPG", "png", "jpeg"])
@pytest.mark.parametrize("upper", [1, 4, 10])
@pytest.mark.parametrize(
    "folders", [("train", "train/thumbs"), ("train", "train_small"), ("images", "images/thumbs"), ("a/b", "a/c")]
)
def test_exact_names_among_thumbnails_are_no_choice(folders: tuple[str, str], upper: int, suffix: str) -> None:
    home, small = folders

    found = match(IDS, *photos(home, upper, suffix), *thumbnails(small, upper))

    for number in NUMBERS:
        path = found.paths.get(f"{number}.jpg")
        assert path is None or path.startswith(f"{home}/{number}."), path
    for error in found.errors.values():
        assert isinstance(error, ImageAmbiguousError)
        assert {path.rpartition("/")[0] for path in error.paths} == {home, small}


@pytest.mark.parametrize(
    "folders",
    [("images", "thumbnails"), ("train/images", "train/thumbnails"), ("train", "train/thumbs"), ("photos", "preview")],
)
def test_photos_in_capitals_beside_thumbnails_are_ambiguous(folders: tuple[str, str]) -> None:
    home, small = folders

    found = match(IDS, *photos(home, len(IDS)), *thumbnails(small, len(IDS)))

    assert not found.paths
    assert set(map(type, found.errors.values())) == {ImageAmbiguousError}


@pytest.mark.parametrize(
    "others",
    [
        [f"train/depth/{number}.png" for number in NUMBERS],
        [f"train/depth/{number}.JPG" for number in NUMBERS],
        ["train/other/1.JPG", *(f"train/other/{number}.jpg" for number in range(20, 40))],
    ],
)
def test_a_folder_that_holds_the_images_of_the_ids_stays(others: list[str]) -> None:
    own = [f"train/rgb/{number}.jpg" for number in NUMBERS]
    further = [path.rpartition("/")[2] for path in others if path.endswith(".jpg")]

    found = match([*IDS, *further], *own, *others)

    assert [found.paths[identifier] for identifier in IDS] == own


def test_two_ids_that_differ_in_case_name_two_images() -> None:
    paths = ["train/a/1.jpg", "train/b/1.JPG", "train/b/2.JPG"]

    assert match(["1.jpg", "1.JPG", "2.JPG"], *paths).paths == dict(
        zip(["1.jpg", "1.JPG", "2.JPG"], paths, strict=True)
    )


def test_the_advice_about_a_thumbnail_works(tmp_path: Path) -> None:
    for number, path in enumerate([*photos("train", 2), *thumbnails("train/thumbs", 2)]):
        save(tmp_path / path, number)
    write_table(tmp_path, IDS)
    assert "row 2: '1.jpg' could be train/thumbs/1.jpg or train/1.JPG" in problems_of(tmp_path)

    write_table(tmp_path, ["train/1.JPG", "train/2.JPG", *IDS[2:]])

    paths = read_images(tmp_path, DataOptions()).train_images.paths
    assert [str(path) for path in paths] == photos("train", 2)


def write_table(folder: Path, identifiers: Sequence[str]) -> None:
    rows = [f"{identifier},{'ab'[number % 2]}" for number, identifier in enumerate(identifiers)]
    (folder / "train.csv").write_text("\n".join(["image,label", *rows]), encoding="utf-8")
