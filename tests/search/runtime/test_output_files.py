"""Files at a path of the user's choice never replace a file of other origin."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from search.runtime.output_files import FileNotOurs, NoFolder, check_picture, creating, save_picture


@pytest.mark.parametrize("name", ["a.png", "a.pdf", "a.svg"])
def test_a_picture_of_ours_is_replaced(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_picture(Figure(figsize=(1, 1)), path)
    first = path.stat().st_ino
    save_picture(Figure(figsize=(2, 1)), path)
    assert path.stat().st_ino != first and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["photo", "plot of another program", "link", "dangling link", "folder", "text"])
def test_a_picture_of_other_origin_stays(tmp_path: Path, kind: str) -> None:
    path, elsewhere = tmp_path / "a.png", tmp_path / "elsewhere.png"
    if kind == "photo":
        Image.new("RGB", (4, 4)).save(path)
    elif kind == "plot of another program":
        Figure(figsize=(1, 1)).savefig(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("mine")
    else:
        if kind == "link":
            save_picture(Figure(figsize=(1, 1)), elsewhere)
        path.symlink_to(elsewhere)
    before = sorted((p.name, p.lstat().st_ino, p.lstat().st_mtime_ns) for p in tmp_path.iterdir())
    with pytest.raises(FileNotOurs, match="left alone"):
        check_picture(path)
    with pytest.raises(FileNotOurs, match="left alone"):
        save_picture(Figure(figsize=(1, 1)), path)
    assert sorted((p.name, p.lstat().st_ino, p.lstat().st_mtime_ns) for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("folder", "why"), [("nowhere", "there is no folder .*nowhere: create it"), ("file", "is a fi")]
)
def test_a_folder_that_cannot_hold_a_new_file_is_named(folder: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NoFolder, match=why), creating(tmp_path / folder / "folds.csv"):
        pytest.fail("there is no temporary file")


def test_a_new_file_replaces_the_same_content_alone(tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    for _ in range(2):
        with creating(path) as temporary:
            temporary.write_text("ours")
    path.write_text("edited")
    with pytest.raises(FileNotOurs, match="--output"), creating(path) as temporary:
        temporary.write_text("ours")
    assert path.read_text() == "edited" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", ["/proc/folds.csv", "{}/a\0b.csv", "{}/" + 300 * "x"])
def test_a_file_that_cannot_be_made_is_named(path: str, tmp_path: Path) -> None:
    """Also where the rights of the folder say that it can."""
    with pytest.raises(NoFolder, match="give another --output"), creating(Path(path.format(tmp_path))):
        pytest.fail("there is no temporary file")
