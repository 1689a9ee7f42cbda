"""A data set in memory, before it is written to a folder: images by number, tables whose rows name them by number."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from tests.trainer.images import sample_image


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a row for each image. The cell that names the image is made when the table is written."""

    images: tuple[int, ...]
    """Number of the image of every row."""
    columns: tuple[str, ...] = ()
    """Names of all columns; empty: the table has no header."""
    cells: tuple[tuple[str, ...], ...]
    """The other cells of every row."""
    id_at: int = 0
    """Place of the column that names the image."""
    spelling: str = "path"
    """What names an image: its ``path`` in the data folder, the ``name`` of its file, or the ``stem`` of that name."""
    front: str = ""
    """What is written before each path or name."""
    rewritten: Callable[[str], str] = str
    """How a program changed each path or name."""
    delimiter: str = ","
    encoding: str = "utf-8"
    newline: str = "\n"
    quoted: bool = False
    form: str = "rows"
    """``rows``: delimited text; ``lines``: a JSON object a line; ``records``: a JSON list of objects; ``mapping``: JSON
    with a value for each image."""

    def content(self, paths: Mapping[int, str]) -> bytes:
        """The file, of images that lie at these paths."""
        rows = []
        for number, others in zip(self.images, self.cells, strict=True):
            row = list(others)
            row.insert(self.id_at, self.rewritten(self.front + self.name_of(paths[number])))
            rows.append(row)
        return self._text(rows).replace("\n", self.newline).encode(self.encoding)

    def name_of(self, path: str) -> str:
        pure = PurePosixPath(path)
        return {"path": path, "name": pure.name, "stem": pure.stem}[self.spelling]

    def _text(self, rows: list[list[str]]) -> str:
        if self.form == "rows":
            text = io.StringIO()
            quoting: Any = csv.QUOTE_ALL if self.quoted else csv.QUOTE_MINIMAL
            writer = csv.writer(text, delimiter=self.delimiter, quoting=quoting, lineterminator="\n")
            writer.writerows([self.columns, *rows] if self.columns else rows)
            return text.getvalue()
        objects = [dict(zip(self.columns, row, strict=True)) for row in rows]
        if self.form == "records":
            return json.dumps(objects, ensure_ascii=False, indent=1)
        return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What a folder of data is to hold, and what has to be read from it."""

    labels: dict[int, str]
    """Class of every training image."""
    tests: frozenset[int]
    """The test images."""
    images: dict[int, str]
    """Path of every image in the data folder."""
    tables: dict[str, Table] = field(default_factory=dict)
    """Tables by their paths."""
    texts: dict[str, str] = field(default_factory=dict)
    """Other files by their paths."""
    wrapper: str = ""
    """Folders around all of it, each with a slash behind it."""
    beside: dict[str, bytes] = field(default_factory=dict)
    """Files of no use, by their paths from the folder that is read."""
    tables_beside: dict[str, Table] = field(default_factory=dict)
    """Tables of something else about the images, by their paths from the folder that is read."""
    copies: dict[str, int] = field(default_factory=dict)
    """Numbers of further image files, which are not to be read, by their paths in the data folder."""

    def write(self, folder: Path) -> None:
        """Write all files below ``folder``."""
        contents: dict[str, bytes] = dict(self.beside)
        for path, text in self.texts.items():
            contents[self.wrapper + path] = text.encode()
        for path, table in self.tables.items():
            contents[self.wrapper + path] = table.content(self.images)
        for path, table in self.tables_beside.items():
            contents[path] = table.content(self.images)
        for number, path in self.images.items():
            contents[self.wrapper + path] = image_content(number, PurePosixPath(path).suffix.lower())
        for path, number in self.copies.items():
            contents[self.wrapper + path] = image_content(number, PurePosixPath(path).suffix.lower())
        for path, content in contents.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


@functools.cache
def image_content(number: int, suffix: str) -> bytes:
    """A small image file, another one for each number."""
    file = io.BytesIO()
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP"}[suffix]
    Image.fromarray(sample_image(number, 8)).save(file, kind)
    return file.getvalue()


@functools.cache
def number_of(content: bytes) -> int:
    """The number of an image file of `image_content`."""
    return next(
        number
        for suffix in (".png", ".jpg", ".bmp", ".webp")
        for number in range(100)
        if image_content(number, suffix) == content
    )
