"""Choose the columns of a training table that hold ids, image names, labels, groups and parts (train, test)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.image_column import ID_NAMES, PROBED_ROWS, counts_rows, image_column
from trainer.data.readers.columns.label_columns import LabelChoice, SampleHints
from trainer.data.readers.columns.label_names import is_usual_label, plain_name
from trainer.data.readers.columns.part_columns import choose_part_column, unused_folds
from trainer.data.readers.columns.several.stated_labels import leave_statements
from trainer.data.readers.columns.several_labels import LabelLists
from trainer.data.readers.matching.id_spellings import composed, words_of
from trainer.data.readers.matching.match_images import ColumnMatch, ImageMatcher
from trainer.formats.delimited import Table
from trainer.formats.part_words import Part
from trainer.formats.shares import are_signed, share, signed_share

_PIXEL = re.compile(r"(?:pixel|px|p|x)?[ _]?\d+(?:x\d+)?", re.IGNORECASE)  # such as pixel0 and 1x1
_PIXEL_COLUMNS = 60  # columns from which a table that names no image may hold pixels


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Positions of the columns, from 0.

    Either ``label`` is the column of labels, or ``label`` is None and ``classes`` are one-hot or probability columns,
    one per class. ``image`` may equal ``id``. ``group`` and ``part`` are None without such a column.

    signed: whether the class columns hold 1 for yes and -1 for no.
    lists: how several labels of an image are written; None if each image has one.
    one_label: whether the user says that each image has one label.
    parts: the part (train, val or test) of each value of the column ``part``.
    notes: why a column was chosen where that is not obvious.
    warnings: which columns may be labels and are not read as such.
    """

    id: int
    image: int
    label: int | None
    classes: tuple[int, ...]
    group: int | None
    signed: bool = False
    lists: LabelLists | None = None
    one_label: bool = False
    part: int | None = None
    parts: Mapping[str, Part] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def shares(self, cells: Sequence[str]) -> list[float | None]:
        """The values, 0 to 1, of a row's class columns; None for a cell that holds none."""
        value_of = signed_share if self.signed else share
        return [value_of(cells[column]) for column in self.classes]


class NoSuchColumnError(DataError):
    """A table lacks a column that the user has named. Another table may have it."""


def choose_columns(
    table: Table,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    options: DataOptions,
    matcher: ImageMatcher,
    sample: SampleHints,
    joined: tuple[int, int] | None = None,
) -> Columns:
    """Choose the columns by the user's options, else the sample's header, else the cells, else usual column names.

    Args:
        table: the training table.
        names: its column names.
        rows: its rows below the header.
        options: column names that the user gave.
        matcher: finds training images.
        sample: what the sample submission says about the columns.
        joined: the columns of ids and of image names, if two tables were joined by the ids.

    Raises:
        DataError: two columns have the same name, an option names no column, or several columns fit equally well. The
            message lists the columns and names the option that decides.
    """
    file = table.name
    if len(set(names)) != len(names):
        raise DataError(f"{file} has two columns with the same name: {listed(names)}")
    probed = rows[:PROBED_ROWS]
    matches = [matcher.match(row[column] for row in probed) for column in range(len(names))]
    _refuse_pixels(file, names, matches)
    label = _named(file, names, options.label_column, "label_column")
    group = _named(file, names, options.group_column, "group_column")
    asked = _named(file, names, options.id_column, "id_column")
    notes: list[str] = []
    warnings: list[str] = []
    part, parts = choose_part_column(file, names, rows, {label, group, asked}, notes, warnings)
    sampled = list(names).index(sample.header[0]) if sample.header and sample.header[0] in names else None
    if joined is not None:
        image = joined[1]
    elif asked is not None and matches[asked].paths:
        image = asked
    else:
        free = [column for column in range(len(names)) if column not in {label, group, part, asked}]
        image = image_column(file, names, rows, free, matches, sampled, notes)
    id_position = _id_column(names, image, label, asked, sampled, joined, found=bool(matches[image].paths))
    image = image if matches[image].paths or joined is not None else id_position
    classes: tuple[int, ...] = ()
    if label is None:
        taken = {id_position, image, group, part, *(joined or ())}
        choice = LabelChoice(
            file=file,
            names=names,
            rows=rows,
            free=_may_be_labels(names, rows, image, taken, sample),
            sample=sample,
            folders=[PurePosixPath(matches[image].paths.get(row[image], "")).parent.name for row in probed],
            words=words_of(row[image] for row in rows),
            several=options.several_labels,
            image=image,
            named=bool(matches[image].paths) or joined is not None,
            row_name=lambda row: table.row_name(table.rows.index(tuple(row))),
            notes=notes,
            warnings=warnings,
        )
        label, classes = choice.choose()
    notes += unused_folds(names, {id_position, image, label, group, part, *classes})
    return Columns(
        id=id_position,
        image=image,
        label=label,
        classes=classes,
        group=group,
        signed=bool(classes) and are_signed([[row[column] for column in classes] for row in rows]),
        part=part,
        parts=parts,
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _named(file: str, names: Sequence[str], name: str | None, option: str) -> int | None:
    """The position of the column that the user has named; None without a name."""
    if name is None:
        return None
    if composed(name) not in names:
        flag = f"--{option.replace('_', '-')}"
        raise NoSuchColumnError(f"{file} has no column {name!r} ({flag}, data.{option}); it has {listed(names)}")
    return list(names).index(composed(name))


def _refuse_pixels(file: str, names: Sequence[str], matches: Sequence[ColumnMatch]) -> None:
    """Refuse a table with many columns of which none names an image.

    Args:
        matches: the images that the cells of each column name.
    """
    naming = (
        bool(match.paths) and not (_PIXEL.fullmatch(name) or is_usual_label(name))
        for name, match in zip(names, matches, strict=True)
    )
    if len(names) > _PIXEL_COLUMNS and not any(naming):
        raise DataError(
            f"{file}: none of its {len(names)} columns names an image. Tables of pixel values are not read: save each "
            "row as an image file, and name the files in a table of ids and labels"
        )


def _id_column(
    names: Sequence[str],
    image: int,
    label: int | None,
    asked: int | None,
    sampled: int | None,
    joined: tuple[int, int] | None,
    *,
    found: bool,
) -> int:
    """The column of the ids: that of the user, of the sample or of the joined tables; else the column of the images, if
    these are found; else one with a usual name, or the first that holds no labels.
    """
    for known in (asked, sampled, joined[0] if joined is not None else None, image if found else None):
        if known is not None:
            return known
    usual = (column for column, name in enumerate(names) if plain_name(name) in ID_NAMES and column != label)
    return next(usual, next(column for column in range(len(names)) if column != label or len(names) == 1))


def _may_be_labels(
    names: Sequence[str], rows: Sequence[Sequence[str]], image: int, taken: Collection[int | None], sample: SampleHints
) -> list[int]:
    """The columns that may hold labels: those that are not ``taken``, count no rows and state nothing else about an
    image, and those that the sample names.
    """
    free = [c for c in range(len(names)) if c not in taken and not counts_rows(names, rows, c)]
    of_sample = [c for c in free if names[c] in sample.header]
    return sorted({*leave_statements(names, rows, image, free), *of_sample})
