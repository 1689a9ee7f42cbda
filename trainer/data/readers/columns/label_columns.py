"""Choose the column of labels, or the one-hot columns, of a training table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.several_labels import SEPARATORS, parts_of
from trainer.data.readers.matching.id_spellings import composed
from trainer.formats.labels import SeveralLabels, is_number
from trainer.formats.shares import are_shares, are_signed, share, signed_share

LABEL_NAMES = (
    "label", "labels", "class", "class_name", "classname", "label_name", "class_label", "class_id", "label_id",
    "category", "category_id", "category_name", "target", "y", "species", "breed", "diagnosis", "dx",
)  # fmt: skip
"""Usual names of label columns, in order of preference."""
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "scientific_name")
"""Columns of a taxonomy. Beside others of them, ``class`` is a rank, such as Aves."""
NOT_LABELS = ("fold", "kfold", "split", "width", "height", "index")
"""Names of columns that say something else about an image."""
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
_PROBED_ROWS = 200  # rows read to decide whether columns are one-hot
SUM_TOLERANCE = 0.01  # largest distance from 1 of the sum of a row's probabilities
_ACROSS = re.compile(r"(?:b?box(?:es)?|rect|roi|crop|cent(?:er|re)|point|pos(?:ition)?|coord(?:inate)?s?)?[^a-z]*x")
"""Names of the column beside which ``y`` is a coordinate, such as NIH's ``Bbox [x``."""
_SAME_QUESTION = 0.8  # share of equal cells from which two columns of two values answer the same question
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
    several: SeveralLabels = "auto",
) -> tuple[int | None, tuple[int, ...]]:
    """The label column, or None and the class columns, out of the columns ``free``.

    Args:
        sample: what the sample submission says about the columns.
        folders: name of the folder of the image of each of the first rows.
        words: the word in front of the number in each row's image name; empty where some name has another form.
        notes: a sentence is added where the choice is not obvious.
        several: whether the user says that an image may have several labels.

    Raises:
        NoLabelColumnError: no column can hold labels.
        DataError: several columns fit equally well.
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
    if len(free) > 1 and _are_shares(rows, free):
        return None, tuple(free)
    if (ranked := _holding_ranked(rows, sample.values, values)) is not None:
        notes.append(f"the sample submission lists values of {names[ranked]!r}, so these are the labels")
        return ranked, ()
    coordinates = _coordinates(names)
    free = [column for column in free if names[column] not in coordinates]
    usual = [column for name in LABEL_NAMES for column in free if plain_name(names[column]) == name]
    usual = [column for column in usual if len(values[column]) > 1] or usual
    ranks = [column for column in free if plain_name(names[column]) in _RANKS]
    if len(ranks) > 2:
        usual = [column for column in usual if plain_name(names[column]) != "class"]
        ranks = [column for column in ranks if _may_be_labels(names[column], rows, values[column])]
        if not usual and len(ranks) > 1:
            raise _ambiguous(file, [names[column] for column in ranks])
    if usual:
        other = [column for column in usual[1:] if not _same_classes(rows, usual[0], column)]
        named = [column for column in usual if other and _numbers_words(rows, column, words)]
        if named:  # the classes of Oxford's pets: Abyssinian_100 is of class 1
            usual = named
            notes.append(
                f"{names[named[0]]!r} agrees with the names of the images, such as {rows[0][named[0]].strip()!r} for "
                f"{words[0]!r}; --label-column NAME (data.label_column) chooses another column"
            )
        elif other:
            raise _ambiguous(file, [names[column] for column in (usual[0], *other)])
        # A label's name and its number: the sample shows which of them a submission takes.
        as_sample = [
            c for c in free if sample.values and sample.values <= values[c] and _same_classes(rows, usual[0], c)
        ]
        chosen = usual[0] if not as_sample or usual[0] in as_sample else as_sample[0]
        if not sample.values and (named := [c for c in usual if _equal_folders(rows, c, folders)]):
            chosen = named[0]  # not the number of a class whose name is that of its folder
        left = [
            names[c]
            for c in free
            if c not in usual and _may_be_labels(names[c], rows, values[c]) and not _same_classes(rows, chosen, c)
        ]
        if rivals := [names[c] for c in free if c not in usual and _answers_otherwise(rows, chosen, c)]:
            raise _ambiguous(
                file, [names[chosen], *rivals], why="They hold the same classes, but differ in some rows. "
            )
        if left:
            notes.append(
                f"the labels are {names[chosen]!r}, a usual name, but {listed(left)} could hold them, too: "
                "--label-column NAME (data.label_column) chooses another column"
            )
        return chosen, ()
    if several == "yes" and len(marked := _marked(free, values)) > 1:
        return None, tuple(marked)
    possible = [column for column in free if _may_be_labels(names[column], rows, values[column])]
    as_folders = [column for column in possible if _equal_folders(rows, column, folders)]
    if as_folders:
        notes.append(f"{names[as_folders[0]]!r} equals the folder of each image")
        return as_folders[0], ()
    hot = _one_hot(rows, free, values)
    if len(hot) > 2:
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
        left = [names[column] for column in free if column != possible[0]]
        if left:
            notes.append(f"{listed(left)} cannot be labels")
        return possible[0], ()
    if len(possible) > 1:
        attributes = len(possible) > 2 and all(len(values[column] - {""}) == 2 for column in possible)
        raise _ambiguous(file, [names[column] for column in possible], attributes=attributes)
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


def _marked(free: Sequence[int], values: Mapping[int, set[str]]) -> Sequence[int]:
    """The columns of 0 and 1, or of -1 and 1: those of the notation that more of them have."""
    return max(
        (
            [column for column in free if {value_of(v) for v in values[column]} == {0.0, 1.0}]
            for value_of in (share, signed_share)
        ),
        key=len,
    )


def _lists_classes(cells: set[str], wanted: Collection[str]) -> bool:
    """Whether the cells of a column are lists of the classes ``wanted``, with one separator."""
    return any(
        len(cells) > 1 and all(set(parts_of(cell, mark)) <= set(wanted) for cell in cells) for mark in SEPARATORS
    )


def _one_hot(rows: Sequence[Sequence[str]], free: Sequence[int], values: Mapping[int, set[str]]) -> Sequence[int]:
    """The columns of 0 and 1, or of -1 and 1, that are together one-hot. One column of them may be something else."""
    for value_of in (share, signed_share):
        hot = [column for column in free if {value_of(value) for value in values[column]} == {0.0, 1.0}]
        if _are_shares(rows, hot):
            return hot
        fitting = [others for left in hot if _are_shares(rows, others := [column for column in hot if column != left])]
        if len(fitting) == 1:
            return fitting[0]
    return []


def _holding_ranked(
    rows: Sequence[Sequence[str]], sampled: frozenset[str], values: Mapping[int, set[str]]
) -> int | None:
    """The only column of which the sample holds several values a row, divided by blanks; None without such a column."""
    words = {word for cell in sampled for word in cell.split()}
    if any(sampled <= known for known in values.values()) or all(len(cell.split()) < 2 for cell in sampled):
        return None
    holding = [column for column, known in values.items() if words <= known and 1 < len(known) < len(rows)]
    if not holding or any(not _same_classes(rows, holding[0], column) for column in holding[1:]):
        return None
    return holding[0]


def _answers_otherwise(rows: Sequence[Sequence[str]], labels: int, column: int) -> bool:
    """Whether a column gives some images another one of the same labels, such as ``corrected_label`` beside ``label``.

    It agrees in most rows, or is filled in few. Of yes and no, and of numbers, nearly all rows have to agree, because
    other questions have these answers, too.
    """
    pairs = [(row[labels].strip(), row[column].strip()) for row in rows if row[column].strip()]
    classes, answers = {row[labels].strip() for row in rows}, {answer for _, answer in pairs}
    differing = sum(label != answer for label, answer in pairs)
    if not differing or not answers <= classes:
        return False
    agreeing = 1 - differing / len(pairs)
    if len(classes) == 2 or any(map(is_number, classes)):
        return len(answers) > 1 and agreeing >= _SAME_QUESTION
    return agreeing >= 0.5 or len(pairs) * 2 <= len(rows)


def _ambiguous(file: str, columns: Sequence[str], *, attributes: bool = False, why: str = "") -> DataError:
    """The error for several possible columns of labels; ``attributes``: each holds two values, as yes and no."""
    why += (
        "Each has two values, but they are not one-hot: if an image may have several of these labels, add "
        "--several-labels yes (data.several_labels). "
    ) * attributes
    return DataError(
        f"{file}: the label column is ambiguous; it could be {listed(columns)}. {why}Choose one with --label-column "
        "NAME (data.label_column)"
    )


def _numbers_words(rows: Sequence[Sequence[str]], column: int, words: Sequence[str]) -> bool:
    """Whether each value of a column stands for one word of the image names, and each word for one value."""
    pairs = {(row[column].strip(), word) for row, word in zip(rows, words, strict=False)}
    values, named = {value for value, _ in pairs}, {word for _, word in pairs}
    return len(words) == len(rows) and 1 < len(pairs) == len(values) == len(named)


def _may_be_labels(name: str, rows: Sequence[Sequence[str]], values: set[str]) -> bool:
    """Whether a column has at least two values, and several rows with the same one."""
    if plain_name(name) in NOT_LABELS or len(values - {""}) < 2:
        return False
    return len(values) < len(rows) or len(rows) <= _FEW_ROWS


def _same_classes(rows: Sequence[Sequence[str]], one: int, other: int) -> bool:
    """Whether two columns divide the rows in the same way, such as a label's name and its number."""
    pairs = {(row[one].strip(), row[other].strip()) for row in rows}
    return len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs})


def _are_shares(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> bool:
    """Whether the columns are one-hot or probabilities in every probed row."""
    cells = [[row[column] for column in columns] for row in rows[:_PROBED_ROWS]]
    if are_signed(cells):
        return all(sum(signed_share(cell) or 0.0 for cell in row) == 1.0 for row in cells)
    return are_shares(cells, SUM_TOLERANCE)
