"""Whatever lies in a class folder is read, or counted and named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataError, DataOptions, read_images
from trainer.formats.delimited import write_table


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for seed in range(3):
        save(tmp_path / "data" / "cat" / f"{seed}.png", seed)
        save(tmp_path / "data" / "dog" / f"{seed}.png", 10 + seed)
    return tmp_path / "data"


def ids_and_labels(folder: Path) -> list[tuple[str, str]]:
    found = read_images(folder)
    return list(zip(found.train_ids, labels_of(found), strict=True))


def test_other_files_are_counted_by_kind(classes: Path) -> None:
    for name in ("a.psd", "b.PSD", "c.nef"):
        (classes / "dog" / name).write_bytes(b"8BPS")
    (classes / "cat" / "scan").write_bytes(bytes(128) + b"DICM")
    save(classes / "cat" / "x.png", 50).rename(classes / "cat" / "photo.jpg_large")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (classes / "dog" / name).write_bytes(b"x")
    found = read_images(classes)
    (warning,) = found.warnings
    assert "not read: 4 files" in warning and "2 .psd, 1 " in warning and "a DICOM file" in warning
    assert any("ignored: 4 hidden or system files" in note for note in found.notes)
    assert "cat/photo.jpg_large" in found.train_ids


def test_other_files_beside_the_images_of_a_table(kaggle: Callable[..., Path]) -> None:
    folder = kaggle()
    (folder / "train_images" / "b.psd").write_bytes(b"8BPS")
    (folder / "notes.psd").write_bytes(b"8BPS")
    (warning,) = read_images(folder).warnings
    assert "not read: 1 file that is no readable image (1 .psd), such as train_images/b.psd" in warning


def test_a_named_pipe_and_a_broken_link_are_called_so(classes: Path) -> None:
    os.mkfifo(classes / "cat" / "pipe")
    (classes / "cat" / "gone").symlink_to("nowhere")
    (warning,) = read_images(classes).warnings
    assert "1 broken link" in warning and "1 named pipe" in warning
    assert "convert" not in warning and "put the files in the place of broken links" in warning

    os.mkfifo(classes / "cat" / "pipe.png")
    assert "cat/pipe.png: this is a named pipe, not an image file: move it away" in problems_of(classes)

    (classes / "cat" / "pipe.png").unlink()
    assert len(read_images(classes).train_ids) == 6


def test_a_table_that_lists_a_file_which_is_not_read(kaggle: Callable[..., Path]) -> None:
    folder = kaggle()
    (folder / "train_images" / "a3.png").unlink()
    (folder / "train_images" / "a3.psd").write_bytes(b"8BPS")
    assert "train_images/a3.psd is there, but not read" in problems_of(folder)


def test_images_that_are_all_of_a_kind_that_is_not_read(kaggle: Callable[..., Path]) -> None:
    folder = kaggle()
    for path in [*folder.glob("train_images/*.png"), *folder.glob("test_images/*.png")]:
        path.write_bytes(b"8BPS")
        path.rename(path.with_suffix(".psd"))
    assert "There are 9 files that are no readable image (9 .psd)" in problems_of(folder)
    (folder / "train.csv").unlink()
    (folder / "sample_submission.csv").unlink()
    assert "9 .psd" in problems_of(folder)


def test_a_class_whose_files_are_not_read(classes: Path) -> None:
    (classes / "emu").mkdir()
    (classes / "emu" / "0.psd").write_bytes(b"8BPS")
    message = problems_of(classes)
    assert "the class folder emu holds no images" in message and "1 file that is no readable image" in message


def test_a_linked_folder_inside_the_data_is_read(classes: Path, tmp_path: Path) -> None:
    (classes.parent / "whole").mkdir()
    data = classes.rename(classes.parent / "whole" / "train").parent
    for seed in range(2):
        save(data / "pool" / "dogs" / f"{seed}.png", 30 + seed)
    (data / "train" / "dog" / "more").symlink_to("../../pool/dogs")
    (data / "train" / "dog" / "loop").symlink_to("..")
    found = read_images(data)
    assert [name for name in found.train_ids if "more" in name] == ["dog/more/0.png", "dog/more/1.png"]
    assert any("1 link to a folder above it" in warning for warning in found.warnings)


def test_a_linked_folder_outside_is_an_error(classes: Path, tmp_path: Path) -> None:
    save(tmp_path / "disk" / "0.png", 20)
    (classes / "dog" / "more").symlink_to(tmp_path / "disk")
    message = problems_of(classes)
    assert "dog/more is a link to a folder outside of the data: such links are not followed" in message
    assert "copy its images into dog itself" in message
    (classes / "dog" / "more").unlink()
    shutil.copytree(tmp_path / "disk", classes / "dog" / "more")
    assert "If dog is a class, move the images directly into it." in problems_of(classes)
    (classes / "dog" / "more" / "0.png").rename(classes / "dog" / "more0.png")
    (classes / "dog" / "more").rmdir()
    assert dict(ids_and_labels(classes))["dog/more0.png"] == "dog"


def test_an_image_that_a_link_puts_into_a_second_class_is_an_error(classes: Path) -> None:
    save(classes / "disk" / "0.png", 20)
    (classes / "dog" / "more").symlink_to("../disk")
    expected = "dog/more/0.png is disk/0.png through a link, so this image is in two classes"
    assert expected in problems_of(classes)
    (classes / "dog" / "more").unlink()
    (classes / "dog" / "one.png").symlink_to("../disk/0.png")
    assert "dog/one.png is disk/0.png through a link" in problems_of(classes)
    (classes / "dog" / "one.png").unlink()
    (classes / "disk" / "again.png").symlink_to("0.png")
    assert dict(ids_and_labels(classes))["disk/again.png"] == "disk", "one class may have an image twice"


@pytest.mark.parametrize("linked", [("dog",), ("cat", "dog")])
def test_linked_classes_are_named_where_no_other_classes_are_left(
    classes: Path, tmp_path: Path, linked: tuple[str, ...]
) -> None:
    for name in linked:
        (classes / name).rename(tmp_path / f"my_{name}")
        (classes / name).symlink_to(tmp_path / f"my_{name}")
    message = problems_of(classes)
    assert ("'dog' is a link to a folder" if linked == ("dog",) else "'cat', 'dog' are links to folders") in message
    assert "put a copy of the folder in its place, or remove the link" in message
    write_table(classes / "labels.json.csv.gz", [("image", "label")])
    assert "are links to folders" in (both := problems_of(classes)) or "is a link to a folder" in both
    assert "labels.json.csv.gz" in both, "each thing that may hide the labels is named"
    (classes / "labels.json.csv.gz").unlink()
    for name in linked:
        (classes / name).unlink()
        shutil.copytree(tmp_path / f"my_{name}", classes / name)
    assert set(read_images(classes).class_names) == {"cat", "dog"}


@pytest.mark.parametrize(
    ("name", "shown", "why"),
    [
        ("写真.png".encode("cp932"), r"cat/\x8eʐ^.png", "is not UTF-8"),
        (b"a\x1b[31m.png", r"cat/a\x1b[31m.png", "holds a control character"),
        (b"a\nb.png", r"cat/a\nb.png", "holds a control character"),
    ],
)
def test_names_that_cannot_be_ids(classes: Path, name: bytes, shown: str, why: str) -> None:
    (classes / "cat" / "2.png").rename(classes / "cat" / os.fsdecode(name))
    message = problems_of(classes)
    assert message.startswith(f"{shown}: the file name {why}") and "--skip-bad" in message
    found = read_images(classes, DataOptions(skip_bad=True))
    assert found.skipped == (shown,)
    assert len(found.train_ids) == 5 and found.fingerprint


def test_class_and_data_folders_that_are_not_utf_8(classes: Path) -> None:
    name = os.fsdecode("猫".encode("cp932"))
    (classes / "cat").rename(classes / name)
    assert r"the class folder \x94L: its name is not UTF-8" in problems_of(classes)
    assert "not UTF-8" in problems_of(classes.rename(classes.parent / name))


def test_a_test_image_whose_name_is_not_utf_8(classes: Path) -> None:
    save(classes / "test" / os.fsdecode(b"\x8e.png"), 40)
    assert r"test/\x8e.png: the file name is not UTF-8" in problems_of(classes)


@pytest.mark.parametrize("suffix", ["zip", "tar", "gztar"])
def test_images_that_are_still_packed(kaggle: Callable[..., Path], suffix: str, tmp_path: Path) -> None:
    folder = kaggle()
    archive = Path(shutil.make_archive(str(folder / "images"), suffix, folder / "train_images"))
    shutil.rmtree(folder / "train_images")
    assert f"The images may be in {archive.name}: unpack it first" in problems_of(folder)
    (folder / "train.csv").unlink()
    (folder / "sample_submission.csv").unlink()
    shutil.rmtree(folder / "test_images")
    assert "unpack it first" in problems_of(folder)


@pytest.mark.parametrize("name", ["{label}/1.nii.gz", "train-images-idx3-ubyte.gz"])
def test_arrays_are_not_to_be_unpacked(tmp_path: Path, name: str) -> None:
    for label in ("AD", "CN"):
        path = tmp_path / name.format(label=label)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x1f\x8b" + bytes(20))
    message = problems_of(tmp_path)
    assert "save each image as a PNG file" in message and "unpack" not in message


def test_a_folder_without_permission_is_named(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Path.iterdir

    def iterdir(self: Path) -> object:  # root may list every folder, so the refusal is simulated
        if self.name == "dog":
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    (classes.parent / "whole").mkdir()
    data = classes.rename(classes.parent / "whole" / "train").parent
    (data / "train" / "cat").rename(data / "train" / "dog" / "cat")
    monkeypatch.setattr(Path, "iterdir", iterdir)
    message = problems_of(data)
    assert "train/dog cannot be read: Permission denied" in message


def test_a_broken_table_and_images_without_labels_are_explained(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "photos" / f"cat.{i}.png", i, 8)
    message = problems_of(tmp_path)
    assert (
        "Nothing gives the labels of 6 images" in message and "labels.csv with the columns image and label" in message
    )
    (tmp_path / "styles.csv").write_text("id,kind\n" + "".join(f"cat.{i},a\n" for i in range(5)) + "cat.5,a,blue\n")
    message = problems_of(tmp_path)
    assert "styles.csv row 7 has 3 fields, the first row has 2" in message and "Nothing gives" not in message


def test_a_table_with_all_pixels_in_a_cell_is_named(tmp_path: Path) -> None:
    """As FER2013 is published."""
    pixels = " ".join(str(value) for value in range(100, 148))
    rows = [["emotion", "pixels", "Usage"], *([str(row % 3), pixels, "Training"] for row in range(12))]
    write_table(tmp_path / "fer2013.csv", rows)
    assert "fer2013.csv holds the pixels of its images, which are not read" in problems_of(tmp_path)
    write_table(tmp_path / "fer2013.csv", [row[::2] for row in rows])
    assert "holds the pixels" not in problems_of(tmp_path)


def test_a_table_of_file_names_in_another_encoding_names_the_locale(tmp_path: Path) -> None:
    """As under ``LC_ALL=C`` without UTF-8 mode, where Python decodes UTF-8 file names as ASCII with surrogates."""
    for number in range(6):
        save(tmp_path / "train" / f"画像{number}.png", number)
    rows = [("id", "label"), *((f"画像{number}.png", "ab"[number % 2]) for number in range(6))]
    write_table(tmp_path / "train.csv", rows)
    code = "import sys; from pathlib import Path; from trainer.data.read import read_images as r; r(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code]
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    failed = subprocess.run([*command, str(tmp_path)], env=ascii_only, capture_output=True, check=False)
    assert b"cannot be read, because the locale is not UTF-8: set LC_ALL=C.UTF-8" in failed.stderr
    assert b"Put the images into" not in failed.stderr
    subprocess.run([*command, str(tmp_path)], env={**ascii_only, "LC_ALL": "C.UTF-8"}, check=True)


@pytest.mark.parametrize("folder", ["train", "images"])
@pytest.mark.parametrize("unpacked", [1, 4])
def test_an_archive_is_named_where_few_images_are_unpacked(tmp_path: Path, folder: str, unpacked: int) -> None:
    table = "".join(f"{number},{'ab'[number % 2]}\n" for number in range(12))
    (tmp_path / "train.csv").write_text(f"id,label\n{table}", encoding="utf-8")
    (tmp_path / "train.zip").write_bytes(b"PK\x03\x04")
    for number in range(unpacked):
        save(tmp_path / folder / f"{number}.png", number)

    assert "train.zip" in problems_of(tmp_path).splitlines()[-1 if unpacked == 1 else -2]
    if unpacked > 1:
        found = read_images(tmp_path, DataOptions(skip_bad=True))
        assert any("train.zip" in warning and "unpack it" in warning for warning in found.warnings)
        assert len(found.train_ids) == unpacked
    else:
        with pytest.raises(DataError, match=r"train\.zip"):
            read_images(tmp_path, DataOptions(skip_bad=True))


@pytest.mark.parametrize("name", ["data.csv", "styles.tsv"])
def test_a_table_that_names_no_image_is_named_and_the_advice_works(tmp_path: Path, name: str) -> None:
    for i in range(8):
        save(tmp_path / "photos" / f"{i:03}.png", i, 8)
    delimiter = "\t" if name.endswith("tsv") else ","
    rows = [(f"shot-{i}-x.png", "ab"[i % 2]) for i in range(8)]
    write_table(tmp_path / name, [("filename", "kind"), *rows], delimiter=delimiter)
    message = problems_of(tmp_path)
    assert f"{name} names none of them, such as 'shot-0-x.png' in row 2" in message
    rows = [(f"{i:03}.png", kind) for i, (_, kind) in enumerate(rows)]
    write_table(tmp_path / name, [("filename", "kind"), *rows], delimiter=delimiter)
    assert labels_of(read_images(tmp_path, verify=False)) == list("abababab")


@pytest.mark.parametrize("name", ["labels.txt", "classes_of_images.txt", "labels.csv"])
def test_labels_without_names_of_images_are_explained_and_the_advice_works(tmp_path: Path, name: str) -> None:
    for i in range(8):
        save(tmp_path / "photos" / f"{i:03}.png", i, 8)
    (tmp_path / name).write_text("".join(f"{'ab'[i % 2]}\n" for i in range(8)))
    message = problems_of(tmp_path)
    assert f"{name} has one column of 8 rows" in message or f"{name} has only one column" in message
    (tmp_path / name).write_text("".join(f"{i:03}.png,{'ab'[i % 2]}\n" for i in range(8)))
    assert labels_of(read_images(tmp_path, verify=False)) == list("abababab")


def test_a_list_of_images_is_not_said_to_name_none(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path / "photos" / f"{i:03}.png", i, 8)
    (tmp_path / "images.txt").write_text("".join(f"{i:03}.png\n" for i in range(8)))
    (tmp_path / "README.txt").write_text("These are photos.\nBy me.\n")
    assert "names none" not in problems_of(tmp_path) and "has one column" not in problems_of(tmp_path)
