"""Columns of measured numbers, such as a price or a count: no classes, and a sign that another column is no label."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from itertools import pairwise

from trainer.common.errors import DataError, counted, listed
from trainer.data.readers.columns.image_column import is_counter
from trainer.data.readers.columns.label_names import METADATA, plain_name
from trainer.formats.labels import is_number

_OFTEN_PREDICTED = frozenset(("age", "weight", "score", "quality_score", "depth", "年齢", "年龄", "alter"))
"""Metadata that are also predicted from images, as numbers."""
SIDE_FACTS = frozenset((
    "sex", "gender", "male", "female", "is_male", "is_female", "ismale", "isfemale", "laterality", "side", "eye",
    "view", "projection", "ethnicity", "race", "skin_type", "weather", "season", "light", "lighting", "variety",
    "cultivar", "treatment", "region", "geschlecht", "sexe", "sexo", "sesso", "wetter", "sorte", "性別", "性别", "天気",
    "天气", "品種", "品种",
))  # fmt: skip
"""Names of columns of few values that are classes in some tables, and facts beside the label in others."""
_NAMES_ROWS = re.compile(r"(?:.+_)?(?:id|uuid|guid|no|nr|number|code|index|key|serial|barcode|time|duration)")
_FEW_NUMBERS = 10  # up to so many numbers may be classes, even with one image each


def measured(names: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]) -> list[int]:
    """The columns that hold another number in nearly every row, and neither count nor name the rows."""
    return [column for column in columns if _is_measured(names[column], [row[column].strip() for row in rows])]


def _is_measured(name: str, cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if is_number(cell)]
    plain = plain_name(name)
    if (
        is_counter(name)
        or plain in METADATA - _OFTEN_PREDICTED
        or _NAMES_ROWS.fullmatch(plain)
        or not _mostly_differ(filled)
    ):
        return False
    values = list(map(float, filled))
    counts = all(after - before == 1.0 for before, after in pairwise(values))
    return len(filled) * 2 > len(cells) and not counts


def _mostly_differ(numbers: Collection[str]) -> bool:
    """Whether there are more than a few different numbers, and most of them occur once."""
    return len(set(numbers)) > max(_FEW_NUMBERS, len(numbers) // 2)


def question(file: str, labels: Sequence[str], numbers: Sequence[str]) -> DataError:
    """The error for columns of facts that would be the labels beside columns of measured numbers."""
    held = "holds" if len(labels) == 1 else "hold"
    how = (
        f"If {listed(labels)} is the label, add --label-column {shlex.quote(labels[0])} (data.label_column)"
        if len(labels) == 1
        else f"If {listed(labels)} are the labels, remove {listed(numbers, 4)} from the table"
    )
    return DataError(
        f"{file}: only {listed(labels)} {held} classes, but {listed(numbers, 4)} {_numbers(numbers)}, which may be "
        f"wanted. Numbers are not predicted (regression is not supported). {how}; if {listed(numbers[:1])} is, "
        "write ranges of it, such as low and high, into a column named label"
    )


def doubt(name: str, numbers: Sequence[str]) -> list[str]:
    """A warning that a column without a usual name became the label beside columns of measured numbers, if any."""
    if not numbers:
        return []
    return [
        f"the labels are {name!r}, the only column of classes; {listed(numbers, 4)} {_numbers(numbers)} and "
        f"{'is' if len(numbers) == 1 else 'are'} not predicted, because regression is not supported"
    ]


def _numbers(names: Sequence[str]) -> str:
    return f"hold{'s' * (len(names) == 1)} another number in nearly every row"


def refuse_measured_labels(where: str, label: str, labels: Sequence[str]) -> None:
    """Refuse labels that are numbers, another one for each image.

    Args:
        where: the table.
        label: name of the column.

    Raises:
        DataError: they are, so no class has images to learn from and to validate with.
    """
    if len(set(labels)) < len(labels) or len(labels) <= _FEW_NUMBERS or not all(map(is_number, labels)):
        return
    raise DataError(
        f"{where}: {label!r} holds another number for each of {counted(len(labels), 'image')}, so no two images share "
        "a label. Numbers are not predicted (regression is not supported): write ranges, such as low and high, into a "
        "column, and choose that one with --label-column NAME (data.label_column)"
    )
