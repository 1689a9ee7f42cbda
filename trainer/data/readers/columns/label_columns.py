"""Choose the column of labels, or the one-hot columns, of a training table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.ambiguous_labels import ambiguous, pair_or_column
from trainer.data.readers.columns.class_columns import described, marked_columns, odd_cells, one_hot, sum_to_one
from trainer.data.readers.columns.compare_columns import answers_otherwise, numbers_words, same_classes
from trainer.data.readers.columns.several_labels import SEPARATORS, parts_of
from trainer.data.readers.matching.id_spellings import composed
from trainer.formats.labels import SeveralLabels

LABEL_NAMES = (
    "label", "labels", "class", "class_name", "classname", "label_name", "class_label", "class_id", "label_id",
    "category", "category_id", "category_name", "target", "y", "species", "breed", "diagnosis", "dx",
)  # fmt: skip
"""Usual names of label columns, in order of preference."""
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "scientific_name")
"""Columns of a taxonomy. Beside others of them, ``class`` is a rank, such as Aves."""
NOT_LABELS = ("fold", "kfold", "split", "width", "height", "index")
"""Names of columns that say something else about an image."""
_ORDINALS = frozenset((
    "primary", "main", "first", "second", "secondary", "third", "fourth", "other", "others", "additional", "extra",
    "further", "more", "minor", "co", "next", "also", "a", "b", "c", "d", "e", "i", "ii", "iii", "iv",
))  # fmt: skip
"""Words that count the labels of an image."""
METADATA = frozenset((
    "patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "study", "study_id", "series",
    "series_id", "scan", "scan_id", "session", "session_id", "visit", "visit_id", "lesion_id", "person", "person_id",
    "user", "user_id", "owner", "uploader", "annotator", "annotator_id", "rater", "rater_id", "reader", "reader_id",
    "labeler", "labeller", "photographer", "author", "creator", "date", "time", "datetime", "timestamp", "day", "month",
    "year", "hour", "camera", "camera_id", "camera_model", "device", "device_id", "scanner", "machine", "microscope",
    "lens", "iso", "exposure", "location", "location_id", "place", "site", "site_id", "hospital", "clinic", "center",
    "centre", "country", "city", "lat", "latitude", "lon", "lng", "longitude", "gps", "plot", "plot_id", "field_id",
    "tree", "tree_id", "plant_id", "batch", "batch_id", "group", "group_id", "source", "data_source", "origin",
    "license", "licence", "copyright", "credit", "url", "link", "confidence", "certainty", "score", "quality_score",
    "md5", "sha1", "sha256", "hash", "checksum", "size", "bytes", "filesize", "file_size", "format", "mode",
    "extension", "channels", "depth", "dpi", "resolution", "aspect_ratio", "orientation", "rotation", "comment",
    "comments", "remark", "remarks", "note", "notes", "age", "weight", "seed", "version", "frame", "frame_id",
    "video", "video_id", "slide", "slide_id", "page",
))  # fmt: skip
"""Names of columns that say who, where, when or with what an image was made. They may be labels, but seldom are."""
_SAYS_LABELS = re.compile("label|annotat|target|class|truth|answer")
"""In the name of a table whose other column is the label, whatever that is called."""
_ODD_DELIMITERS = "\uff0c\u3001\uff1b\uff1a\uff5c:^~;|/#&"
"""Characters that separate columns in some tables, but for `read_table` in none, or not in every row."""
_ACROSS = re.compile(r"(?:b?box(?:es)?|rect|roi|crop|cent(?:er|re)|point|pos(?:ition)?|coord(?:inate)?s?)?[^a-z]*x")
"""Names of the column beside which ``y`` is a coordinate, such as NIH's ``Bbox [x``."""
_FEW_ROWS = 10  # up to this many rows, a column whose values all differ may hold labels


@dataclass(frozen=True, kw_only=True)
class SampleHints:
    """What a sample submission says about the training table.

    header: its column names; empty where it has none.
    values: the values of its only prediction column; empty where it has several columns, or the same single word
        everywhere.
    """

    header: tuple[str, ...] = ()
    values: frozenset[str] = frozenset()


def plain_name(name: str) -> str:
    """A column name in lower case, with _ for blanks, hyphens and the borders of words in camel case."""
    return re.sub(r"[\s\-_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())).lower()


def _stem_of(name: str) -> str:
    """A column's name without a number or word that counts labels: ``label`` for ``secondary_labels``."""
    words = [re.sub(r"\d+$", "", word) for word in plain_name(name).split("_")]
    return "_".join(word.removesuffix("s") for word in words if word and word not in _ORDINALS)


def one_stem(names: Sequence[str]) -> bool:
    """Whether all names are one word, counted."""
    return len({_stem_of(name) for name in names}) == 1 and _stem_of(names[0]) != ""


def is_usual_label(name: str) -> bool:
    """Whether a column has a usual name of label columns."""
    return plain_name(name) in LABEL_NAMES


def any_usual_label(names: Sequence[str]) -> bool:
    """Whether one of a table's columns has a usual name of label columns. A ``y`` beside an ``x`` is a coordinate."""
    return any(is_usual_label(name) for name in names if name not in _coordinates(names))


def _coordinates(names: Sequence[str]) -> list[str]:
    """The columns of a point or a box, ``x`` and ``y``; empty without both."""
    across = [name for name in names if _ACROSS.fullmatch(plain_name(name))]
    down = [name for name in names if plain_name(name) == "y"]
    return [*across, *down] if across and down else []


class NoLabelColumnError(DataError):
    """A table none of whose columns can hold labels."""


def choose_labels(
    file: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    free: Sequence[int],
    sample: SampleHints,
    folders: Sequence[str],
    words: Sequence[str],
    notes: list[str],
    warnings: list[str],
    several: SeveralLabels,
    row_name: Callable[[Sequence[str]], str],
) -> tuple[int | None, tuple[int, ...]]:
    """The label column, or None and the class columns, out of the columns ``free``.

    Args:
        sample: what the sample submission says about the columns.
        folders: name of the folder of the image of each of the first rows.
        words: the word in front of the number in each row's image name; empty where some name has another form.
        notes: a sentence is added where the choice is not obvious.
        warnings: a sentence is added for each column that may be a label and is not read as one.
        several: whether the user says that an image may have several labels.
        row_name: the name of a row in messages.

    Raises:
        NoLabelColumnError: no column can hold labels.
        DataError: several columns fit equally well, or a cell in columns of 0 and 1 is neither.
    """
    predicted = sample.header[1:]
    by_name = {names[column]: column for column in free}
    if len(predicted) == 1 and predicted[0] in by_name:
        return by_name[predicted[0]], ()
    if len(predicted) > 1 and all(name in by_name for name in predicted):
        return None, tuple(sorted(by_name[name] for name in predicted))
    values = {column: {composed(row[column].strip()) for row in rows} for column in free}
    if len(predicted) > 1:
        # The sample has one column per class: the label column holds these class names.
        wanted = set(map(composed, predicted))
        holding = [column for column in free if len(values[column] - {""}) > 1 and values[column] - {""} <= wanted]
        holding = holding or [column for column in free if _lists_classes(values[column] - {""}, wanted)]
        if len(holding) == 1:
            return holding[0], ()
    if len(free) > 1 and sum_to_one(rows, free):
        return None, tuple(free)
    if (ranked := _holding_ranked(rows, sample.values, values)) is not None:
        notes.append(f"the sample submission lists values of {names[ranked]!r}, so these are the labels")
        return ranked, ()
    coordinates = _coordinates(names)
    free = [column for column in free if names[column] not in coordinates]
    marked = marked_columns(rows, [column for column in free if plain_name(names[column]) not in NOT_LABELS])
    usual = [column for name in LABEL_NAMES for column in free if plain_name(names[column]) == name]
    usual = [column for column in usual if len(values[column]) > 1] or usual
    ranks = [column for column in free if plain_name(names[column]) in _RANKS]
    if len(ranks) > 2:
        usual = [column for column in usual if plain_name(names[column]) != "class"]
        ranks = [column for column in ranks if _may_be_labels(names[column], rows, values[column])]
        if not usual and len(ranks) > 1:
            raise ambiguous(file, [names[column] for column in ranks])
    if usual:
        other = [column for column in usual[1:] if not same_classes(rows, usual[0], column)]
        named = [column for column in usual if other and numbers_words(rows, column, words)]
        if named:  # the classes of Oxford's pets: Abyssinian_100 is of class 1
            usual = named
            notes.append(
                f"{names[named[0]]!r} agrees with the names of the images, such as {rows[0][named[0]].strip()!r} for "
                f"{words[0]!r}; --label-column NAME (data.label_column) chooses another column"
            )
        elif other and not (several == "yes" and one_stem([names[column] for column in usual])):
            raise ambiguous(file, [names[column] for column in (usual[0], *other)])
        # A label's name and its number: the sample shows which of them a submission takes.
        as_sample = [
            c for c in free if sample.values and sample.values <= values[c] and same_classes(rows, usual[0], c)
        ]
        chosen = usual[0] if not as_sample or usual[0] in as_sample else as_sample[0]
        if not sample.values and (named := [c for c in usual if _equal_folders(rows, c, folders)]):
            chosen = named[0]  # not the number of a class whose name is that of its folder
        left = [
            names[c]
            for c in free
            if c not in usual and _may_be_labels(names[c], rows, values[c]) and not same_classes(rows, chosen, c)
        ]
        others = [names[c] for c in free if c not in usual and answers_otherwise(rows, chosen, c)]
        counted = [name for name in others if one_stem([names[chosen], name])]
        others = [name for name in others if several != "yes" or name not in counted]
        if others:
            why = "They hold the same classes, but differ in some rows. "
            raise ambiguous(file, [names[chosen], *others], why=why, counted=bool(counted) and several == "auto")
        if left:
            notes.append(
                f"the labels are {names[chosen]!r}, a usual name, but {listed(left)} could hold them, too: "
                "--label-column NAME (data.label_column) chooses another column"
            )
        if several == "yes" and len(unread := [names[c] for c in marked.columns if c not in usual]) > 1:
            warnings.append(
                f"{listed(unread, 4)} hold 0 and 1, and are not read as labels, because {names[chosen]!r} is a usual "
                f"name of labels; if they are the labels, remove {names[chosen]!r} from the table"
            )
        return chosen, ()
    if several == "yes" and len(marked.columns) > 1:
        if error := odd_cells(names, rows, marked, row_name):
            raise error
        for told, more in zip((notes, warnings), described(names, rows, free, marked), strict=True):
            told += more
        return None, marked.columns
    possible = [column for column in free if _may_be_labels(names[column], rows, values[column])]
    as_folders = [column for column in possible if _equal_folders(rows, column, folders)]
    if as_folders:
        notes.append(f"{names[as_folders[0]]!r} equals the folder of each image")
        return as_folders[0], ()
    hot = one_hot(rows, free, values)
    rivals = [column for column in possible if column not in hot]
    if len(hot) > 2 or (len(hot) == 2 and not rivals):
        if left := [names[column] for column in free if column not in hot]:
            notes.append(f"not among the one-hot columns: {listed(left)}")
        return None, tuple(hot)
    if len(possible) == 1:
        if plain_name(names[possible[0]]) in METADATA and not _SAYS_LABELS.search(file.lower()):
            raise NoLabelColumnError(
                f"{file}: the only column that could hold labels is {names[possible[0]]!r}, whose name says something "
                f"else about an image. If these are the labels, add --label-column {shlex.quote(names[possible[0]])} "
                "(data.label_column); else write the labels into a column of this table"
            )
        left = [names[c] for c in free if c != possible[0] and not one_stem([names[possible[0]], names[c]])]
        if left:
            notes.append(f"{listed(left)} cannot be labels")
        return possible[0], ()
    if len(possible) > 1:
        one_name = one_stem([names[column] for column in possible]) and not {*marked.columns}.issuperset(possible)
        if one_name and several == "yes":
            return possible[0], ()
        if len(hot) == 2:
            raise pair_or_column(file, [names[column] for column in hot], [names[column] for column in rivals])
        known = [names[column] for column in possible]
        only_marked = len(marked.columns) > 1 and {*marked.columns}.issuperset(possible)
        if (only_marked or len(marked.columns) > 2) and (odd := odd_cells(names, rows, marked, row_name)):
            raise DataError([f"{ambiguous(file, known)}, or correct these cells:", *odd.problems], odd.advice)
        attributes = only_marked or (len(possible) > 2 and all(len(values[column] - {""}) == 2 for column in possible))
        unread = sorted(set.union(*(values[column] for column in possible)))
        raise ambiguous(
            file,
            known,
            attributes=attributes and several != "no",
            counted=one_name and several == "auto",
            unread=unread if several == "yes" else (),
        )
    if len(names) == 1 and (mark := next((mark for mark in _ODD_DELIMITERS if mark in names[0]), None)):
        raise NoLabelColumnError(
            f"{file}: its delimiter was not recognised, so {names[0]!r} is read as the only column; if {mark!r} "
            "separates the columns, save the table with commas"
        )
    raise NoLabelColumnError(
        f"{file}: no column can hold the labels; the columns are {listed(names)}. A column of labels has at least two "
        "values, and several rows with the same one; --label-column NAME (data.label_column) names it"
    )


def _equal_folders(rows: Sequence[Sequence[str]], column: int, folders: Sequence[str]) -> bool:
    """Whether the cells of a column are the names of the images' folders."""
    return all(composed(row[column].strip()) == composed(folder) for row, folder in zip(rows, folders, strict=False))


def _lists_classes(cells: set[str], wanted: Collection[str]) -> bool:
    """Whether the cells of a column are lists of the classes ``wanted``, with one separator."""
    return any(
        len(cells) > 1 and all(set(parts_of(cell, mark)) <= set(wanted) for cell in cells) for mark in SEPARATORS
    )


def _holding_ranked(
    rows: Sequence[Sequence[str]], sampled: frozenset[str], values: Mapping[int, set[str]]
) -> int | None:
    """The only column of which the sample holds several values a row, divided by blanks; None without such a column."""
    words = {word for cell in sampled for word in cell.split()}
    if any(sampled <= known for known in values.values()) or all(len(cell.split()) < 2 for cell in sampled):
        return None
    holding = [column for column, known in values.items() if words <= known and 1 < len(known) < len(rows)]
    if not holding or any(not same_classes(rows, holding[0], column) for column in holding[1:]):
        return None
    return holding[0]


def _may_be_labels(name: str, rows: Sequence[Sequence[str]], values: set[str]) -> bool:
    """Whether a column has at least two values, and several rows with the same one."""
    if plain_name(name) in NOT_LABELS or len(values - {""}) < 2:
        return False
    return len(values) < len(rows) or len(rows) <= _FEW_ROWS
