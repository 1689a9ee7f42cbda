"""Warnings about columns that may group images, such as those of a patient, and that no option names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence

from trainer.data.readers.columns.label_names import is_usual_label, plain_name
from trainer.data.readers.doubts.groups.group_evidence import are_names, follow_labels, labels_agree
from trainer.formats.part_words import without_accents

# fmt: off
_GROUPS = frozenset((
    "patient", "subject", "subj", "person", "participant", "individual", "proband",
    "artist", "author", "photographer", "lesion", "scene", "session", "video", "clip", "movie", "sequence", "seq",
    "burst", "specimen", "case", "slide", "wsi", "mrn", "pid", "study", "exam", "donor", "biopsy", "tumor", "tumour",
    "nodule", "eye", "cow", "mouse", "track", "original", "orig", "parent", "observation",
    "patienten", "patientin", "paciente", "pacientes", "sujeto", "caso", "aufnahme", "sub",
    "\u60a3\u8005", "\u75c7\u4f8b", "\u500b\u4f53", "\u88ab\u9a13\u8005", "\u75c5\u4eba",
))
"""Words in the names of such columns."""
_OFTEN_GROUPS = frozenset((
    "animal", "plant", "tree", "leaf", "dog", "cat", "farm", "field", "plot", "location", "site", "hospital", "clinic",
    "center", "centre", "well", "plate", "batch", "lot", "serial", "product", "item", "sample", "core", "section",
    "block", "series", "acquisition", "visit", "record", "user", "owner", "observer", "object", "part", "instance",
    "cluster", "family", "group", "camera", "device", "probe", "muestra", "standort", "ort",
))
"""Words that may also mean a kind or a place in the image: the values have to be names or numbers of things."""
_BESIDE = frozenset((
    "id", "ids", "no", "nr", "num", "nummer", "number", "numero", "name", "key", "code", "uid", "uuid", "instance",
    "image", "img", "source", "file", "the", "of", "de", "del", "anon", "\u756a\u53f7",
))
# fmt: on
_LEAST = 5
"""Different values from which a column is named: of fewer groups no folds can be cut."""
_FEW = 3
"""Values for each label from which any column may be one of groups: fewer may be kinds of the label."""


def possible_groups(
    where: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    taken: Collection[int | None],
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
) -> list[str]:
    """A warning for each column whose values recur, and that may group the images by its name or by the labels.

    A column whose values lie inside the groups, as the folders of a patient do, divides nothing.

    Args:
        where: name of the table.
        names: of its columns.
        rows: without the header.
        taken: columns that have another use.
        labels: of the rows.
        groups: of the rows, which stay in one fold.
    """
    return [
        f"{where}: several images have the same {name!r}, and may lie in different folds. If such images are "
        f"alike, scores are too high: --group-column {shlex.quote(name)} (data.group_column) keeps them in one fold"
        for column, name in enumerate(names)
        if column not in taken
        and may_group(name, [row[column].strip() for row in rows], labels)
        and not (groups and _lies_inside([row[column].strip() for row in rows], groups))
    ]


def _lies_inside(values: Sequence[str], groups: Sequence[str]) -> bool:
    """Whether all rows of one value have one group."""
    pairs = {(value, group.strip()) for value, group in zip(values, groups, strict=True) if value}
    return all(group for _, group in pairs) and len(pairs) == len({value for value, _ in pairs})


def may_group(name: str, values: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a column may say which images belong together.

    Args:
        name: of the column.
        values: of the images; empty ones group nothing.
        labels: of the images.
    """
    filled = [value for value in values if value]
    different = len(set(filled))
    if not _LEAST <= different < len(filled) or is_usual_label(name):
        return False
    words = _words(name)
    if words & _GROUPS and words <= _GROUPS | _OFTEN_GROUPS | _BESIDE:
        return True
    if follow_labels(values, labels) or 2 * different > len(filled) or not are_names(values, labels):
        return False
    if words & _OFTEN_GROUPS and words <= _OFTEN_GROUPS | _BESIDE:
        return True
    several = different >= _FEW * len({label for value, label in zip(values, labels, strict=True) if value})
    return several and labels_agree(values, labels)


def _words(name: str) -> set[str]:
    """The words of a column's name, without a plural or a word for numbers at the end: ``patients``, ``patientid``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    words = set()
    for word in re.split(r"[\W_]+", without_accents(plain_name(spaced))):
        short = re.sub(r"(?<=\w{3})(?:id|ids|uid|nummer|nr|no)$|(?<=[^\x00-\x7f])(?:id|\u756a\u53f7)$", "", word)
        known = (each for each in (short, short.removesuffix("s")) if each in _GROUPS | _OFTEN_GROUPS)
        words.add(next(known, word))
    return words - {""}
