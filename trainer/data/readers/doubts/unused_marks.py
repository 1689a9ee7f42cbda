"""Warnings about columns that may say which images to leave out, such as ``exclude``, and that no reader uses."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trainer.common.errors import listed
from trainer.data.readers.columns.label_names import plain_name

_MARKS = frozenset((
    "exclude", "excluded", "exclusion", "ignore", "ignored", "skip", "skipped", "drop", "dropped", "discard",
    "discarded", "remove", "removed", "delete", "deleted", "reject", "rejected", "bad", "broken", "corrupt",
    "corrupted", "blurry", "unusable", "ungradable", "invalid", "duplicate", "duplicated", "outlier",
    "use", "usable", "keep", "include", "included", "good", "ok", "gradable", "approved", "accepted", "verified",
    "low_quality", "bad_quality", "poor_quality", "to_remove", "to_exclude", "to_delete", "do_not_use",
    "status", "review_status", "answer", "qc", "qc_passed", "passed", "quality", "image_quality", "label_ok", "correct",
    "wrong", "mislabeled", "mislabelled", "flagged", "confirmed", "checked", "used", "active", "consent",
    "unsure", "deleted_at", "removed_at", "verwenden", "ausschliessen", "ausschlie\u00dfen", "ausschluss",
    "g\u00fcltig", "\u9664\u5916", "\u6709\u52b9",
))  # fmt: skip
"""Names of such columns, without a beginning ``is_``."""
_MOST_VALUES = 3  # yes, no, and an empty cell


def unused_marks(
    where: str, names: Sequence[str], rows: Sequence[Sequence[str]], taken: Collection[int | None]
) -> list[str]:
    """A warning for each column that may mark images to leave out by its name, and whose values differ.

    Args:
        where: name of the table.
        names: of its columns.
        rows: without the header.
        taken: columns that have another use.
    """
    warnings = []
    for column, name in enumerate(names):
        if column in taken or plain_name(name).removeprefix("is_") not in _MARKS:
            continue
        values = {row[column].strip() for row in rows}
        is_moment = "" in values and plain_name(name).endswith("_at")
        if 1 < len(values) <= _MOST_VALUES or (is_moment and len(values) > 1):
            warnings.append(
                f"{where}: the column {name!r} ({listed(sorted(values), 4)}) is not used, and the images of all its "
                "rows are; if it says which images to leave out, remove their rows"
            )
    return warnings
