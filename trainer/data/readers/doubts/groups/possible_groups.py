"""Warnings about columns that may group images, such as those of a patient, and that no option names."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trainer.data.readers.columns.label_names import plain_name

_GROUPS = frozenset((
    "patient", "subject", "person", "participant", "individual", "artist", "author", "photographer", "lesion", "scene",
    "session", "video", "sequence", "seq", "burst", "specimen",
))  # fmt: skip
"""First words of the names of such columns."""
_NUMBERS = frozenset(("id", "ids", "no", "nr", "num", "number", "name", "key", "code"))
_LEAST = 5
"""Different values from which a column is named: of fewer groups no folds can be cut."""


def possible_groups(
    where: str, names: Sequence[str], rows: Sequence[Sequence[str]], taken: Collection[int | None]
) -> list[str]:
    """A warning for each column that may group the images by its name, and whose values recur.

    Args:
        where: name of the table.
        names: of its columns.
        rows: without the header.
        taken: columns that have another use.
    """
    warnings = []
    for column, name in enumerate(names):
        first, *rest = plain_name(name).removesuffix("id").rstrip("_").split("_")
        if column in taken or first not in _GROUPS or not _NUMBERS.issuperset(rest):
            continue
        filled = [row[column].strip() for row in rows if row[column].strip()]
        if _LEAST <= len(set(filled)) < len(filled):
            warnings.append(
                f"{where}: several images have the same {name!r}, and may lie in different folds. If such images are "
                f"alike, scores are too high: --group-column {name} (data.group_column) keeps them in one fold"
            )
    return warnings
