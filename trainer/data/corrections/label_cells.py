"""The label of an image, or its labels, as one cell of a table of decisions, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trainer.common.errors import DataError, suggest
from trainer.data.image_set import ImageSet
from trainer.data.readers.columns.several_labels import NO_LABELS, SEPARATORS, parts_of
from trainer.evaluation.several_labels import label_names
from trainer.formats.labels import spelled_as_among
from trainer.inference.predictions import ESCAPE, SEPARATOR, joined_labels

_OTHER_MARKS = ("+", "/", "&")
"""What people write between labels besides `SEPARATORS`; messages name several labels with a plus sign."""


@dataclass(frozen=True, kw_only=True)
class LabelCells:
    """Writes and reads the labels of a data set.

    One label is its name. Several are their names in the order of the classes, with `SEPARATOR` between them:
    ``rust|scab``. `NO_LABELS` is an image without any. A backslash in front makes a separator, or another backslash, a
    part of a name. Cells that are read may have another Unicode form than the names of the classes.
    """

    class_names: tuple[str, ...]
    several: bool

    @classmethod
    def of(cls, images: ImageSet) -> LabelCells:
        """The cells of a data set."""
        return cls(class_names=images.class_names, several=images.several_labels)

    def write(self, label: Any) -> str:
        """The cell of a label.

        Args:
            label: a row of the labels ``y`` (`trainer.evaluation.several_labels`).
        """
        names = label_names(label, self.class_names)
        return self._joined(names) if self.several else names[0]

    def read(self, cell: str) -> Any:
        """The label that a cell gives, as a value for a row of ``y``: a class number, or int64 (C,) of 0 and 1.

        Raises:
            DataError: a name is no class. The message says which, and the nearest ones.
        """
        if not self.several:
            cell = self._spelled(cell)
            if cell not in self.class_names:
                raise DataError(f"{cell!r}, no class{suggest(cell, self.class_names)}")
            return self.class_names.index(cell)
        row = np.zeros(len(self.class_names), np.int64)
        for raw, name in _parts(cell):
            found = self._class(raw, name)
            if found is None:
                raise DataError(self._problem(cell, raw, name.strip()))
            row[found] = 1
        return row

    def canonical(self, cell: str) -> str:
        """The cell as `write` would have written it; as it is where it cannot be read."""
        if not self.several:
            return self._spelled(cell)
        found = [self._class(raw, name) for raw, name in _parts(cell)]
        known = {label for label in found if label is not None}
        return cell if None in found else self._joined([self.class_names[label] for label in sorted(known)])

    @cached_property
    def _spelled(self) -> Callable[[str], str]:
        """Writes the name of a class in the Unicode form of the data: a spreadsheet may have changed it."""
        return spelled_as_among(self.class_names)

    def _class(self, raw: str, name: str) -> int | None:
        """Index of one class in a list. Blanks around it and a forgotten backslash are forgiven."""
        for known in map(self._spelled, (name, raw, name.strip(), raw.strip())):
            if known in self.class_names:
                return self.class_names.index(known)
        return None

    def _problem(self, cell: str, raw: str, name: str) -> str:
        """Why a list with a name that is no class cannot be read, and what to write."""
        if not name:
            return f"{cell!r}, with an empty label in it; {NO_LABELS} stands for an image without labels"
        for mark in (*SEPARATORS, *_OTHER_MARKS):
            parts = set(map(self._spelled, parts_of(cell, mark)))
            if mark != SEPARATOR and len(parts) > 1 and parts <= set(self.class_names):
                right = self._joined([each for each in self.class_names if each in parts])
                return f"{cell!r}, but {SEPARATOR} separates labels: write {right}"
        what = "no class" if raw == cell else f"of which {name!r} is no class"
        return f"{cell!r}, {what}{suggest(name, self.class_names)}"

    @staticmethod
    def _joined(names: Sequence[str]) -> str:
        if not names:
            return NO_LABELS
        text = joined_labels(names)
        return ESCAPE + text if text.strip() == NO_LABELS else text


def _parts(cell: str) -> list[tuple[str, str]]:
    """The names in a list, each as it is written and without its escapes; none in `NO_LABELS`."""
    if cell.strip() == NO_LABELS:
        return []
    parts = [("", "")]
    characters = iter(cell)
    for character in characters:
        raw, name = parts[-1]
        if character == SEPARATOR:
            parts.append(("", ""))
        elif character == ESCAPE:
            following = next(characters, "")
            parts[-1] = (raw + character + following, name + (following or character))
        else:
            parts[-1] = (raw + character, name + character)
    return parts
