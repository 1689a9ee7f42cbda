"""The images in a folder of the data."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainer.data.readers.matching.image_files import ImageFiles

NAMES = st.sampled_from(["cat", "cat2", "cat 2", "ca", "Cat", "dög", "x.y"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/".join([*parts[:-1], f"{parts[-1]}.png"]))


@given(paths=st.sets(PATHS, max_size=30), folder=st.lists(NAMES, max_size=3))
def test_the_images_in_a_folder_are_those_whose_paths_begin_with_it(paths: set[str], folder: list[str]) -> None:
    root = Path("data")
    files = ImageFiles(root, paths)
    inside = [path for path in files.paths if path.split("/")[:-1][: len(folder)] == folder]
    assert list(files.paths_in(root.joinpath(*folder))) == inside
    if folder:
        assert list(files.under("/".join(folder)).paths) == inside
