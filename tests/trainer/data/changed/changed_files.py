"""Changes of the images of a data set that leave its labels and parts as they are: archives, cameras, other names."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from random import Random

from tests.trainer.data.changed.data_set import DataSet


def _paths(data: DataSet, change: Callable[[str], str]) -> DataSet:
    if data.texts:  # these may name paths
        return data
    images = {number: change(path) for number, path in data.images.items()}
    return replace(data, images=images, copies={change(path): number for path, number in data.copies.items()})


def _moved(path: str, folder: str) -> str:
    """A path whose file lies in one folder more."""
    return str(PurePosixPath(path).parent / folder / PurePosixPath(path).name)


def wrapped(data: DataSet, random: Random) -> DataSet:
    return replace(data, wrapper=f"{random.choice(['archive', 'data', 'dataset-v2', 'My images (1)'])}/{data.wrapper}")


def with_documents(data: DataSet, random: Random) -> DataSet:
    files = {"README.md": b"# Images\n", "LICENSE": b"MIT", "docs/paper.pdf": b"%PDF-1.4", ".DS_Store": b"\0"}
    return replace(data, beside=data.beside | files)


def with_a_list_beside(data: DataSet, random: Random) -> DataSet:
    """Keep a table or a list of something else around the data, as a project's folder does."""
    files = {"requirements.txt": b"torch\nnumpy>=2\n", "weather.csv": b"day,sky\n1,sun\n2,rain\n3,sun\n"}
    name = random.choice(sorted(files))
    return replace(data, beside=data.beside | {name: files[name]})


def with_leftovers(data: DataSet, random: Random) -> DataSet:
    path = next(iter(data.images.values()))
    pure = PurePosixPath(data.wrapper + path)
    files = {
        f"__MACOSX/{pure.parent}/._{pure.name}": b"\0\5\26\7",
        f"{pure.parent}/Thumbs.db": b"\0",
        f"{pure.parent}/desktop.ini": b"[.ShellClassInfo]\n",
        "~$labels.xlsx": b"\5Paul",
        ".~lock.labels.ods#": b",paul,pc;",
    }
    return replace(data, beside=data.beside | files)


def suffix_changed(data: DataSet, random: Random) -> DataSet:
    suffix = random.choice([".jpg", ".jpeg", ".bmp", ".webp", ".PNG", ".JPG"])
    return _paths(data, lambda path: str(PurePosixPath(path).with_suffix(suffix)))


def renumbered(data: DataSet, random: Random) -> DataSet:
    """Name the files by numbers in a random order, which no row number agrees with. A mask keeps its image's name."""
    order = [PurePosixPath(path).stem for path in data.images.values()]
    random.shuffle(order)
    new = {stem: f"{2 * place + 3:05}" for place, stem in enumerate(order)}

    def change(path: str) -> str:
        pure = PurePosixPath(path)
        own = max((stem for stem in new if pure.stem.startswith(stem)), key=len, default=None)
        return str(pure.with_stem("other" if own is None else new[own] + pure.stem.removeprefix(own)))

    return _paths(data, change)


def named_with_blanks(data: DataSet, random: Random) -> DataSet:
    return _paths(data, lambda path: str(PurePosixPath(path).with_stem(f"{PurePosixPath(path).stem} (copy)")))


def named_with_umlauts(data: DataSet, random: Random) -> DataSet:
    form = random.choice(["NFC", "NFD"])
    stem = unicodedata.normalize(form, "Gemälde_")
    return _paths(data, lambda path: str(PurePosixPath(path).with_stem(stem + PurePosixPath(path).stem)))


def named_with_dots(data: DataSet, random: Random) -> DataSet:
    return _paths(data, lambda path: str(PurePosixPath(path).with_stem(f"v1.2.{PurePosixPath(path).stem}")))


def folders_renamed(data: DataSet, random: Random) -> DataSet:
    name = random.choice(["img", "photos", "JPEGImages", "all", "dataset"])

    def change(path: str) -> str:
        first, _, rest = path.partition("/")
        return f"{name}/{rest}" if first == "images" else path

    return _paths(data, change)


def deeper(data: DataSet, random: Random) -> DataSet:
    """Put the files of each folder into folders of a hundred, as cameras do it."""
    if any("/" in table.name_of("a/b") for table in data.tables.values()) or not data.tables:
        return data
    number = itertools.count()
    return _paths(data, lambda path: _moved(path, f"10{next(number) % 3}CANON"))


def folder_doubled(data: DataSet, random: Random) -> DataSet:
    """Unpack ``images.zip`` into a folder of its own name: ``images/images``."""
    if data.texts or any(table.spelling == "path" for table in data.tables.values()):
        return data

    def change(path: str) -> str:
        first, _, rest = path.partition("/")
        return f"{first}/{first}/{rest}" if first in ("images", "train", "test") else path

    return _paths(data, change)


def with_thumbnails(data: DataSet, random: Random) -> DataSet:
    copies = {f"thumbs/{PurePosixPath(path).name}": number for number, path in data.images.items()}
    return replace(data, copies=data.copies | copies)


def with_masks(data: DataSet, random: Random) -> DataSet:
    name = random.choice(["masks", "segmentations"])
    if name in data.labels.values():  # that is a class
        return data
    copies = {f"{name}/{PurePosixPath(path).name}": number + 50 for number, path in data.images.items()}
    return replace(data, copies=data.copies | copies)


def with_masks_beside(data: DataSet, random: Random) -> DataSet:
    """Put a mask beside each image, with its name and a word for masks."""
    end = random.choice(["_mask", "_seg", "-heatmap"])
    pures = {PurePosixPath(path): number + 50 for path, number in zip(data.images.values(), data.images, strict=True)}
    copies = {str(pure.with_name(f"{pure.stem}{end}.png")): number for pure, number in pures.items()}
    return replace(data, copies=data.copies | copies)


def with_an_image_beside(data: DataSet, random: Random) -> DataSet:
    """Leave a figure, which is no image of the data set, in the data folder."""
    return replace(data, copies=data.copies | {random.choice(["overview.png", "figure1.png"]): 90})
