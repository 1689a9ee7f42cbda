"""Separators between labels that are also parts of names: ``rust+scab``, ``rust/scab``, ``rust & scab``.

They separate the labels of a cell only if these are labels in other cells, too: ``black/white`` stays one label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from trainer.common.errors import listed
from trainer.data.readers.columns.several_labels import NO_LABELS, LabelLists, likely_separator, parts_of
from trainer.formats.labels import is_missing

OTHER_MARKS = (
    "\uff5c", "\uff1b", "\uff0c", "\u3001", "\u30fb", "\u3000", "\u00b7", "\u2022", "+", "/", "\\", "&", "~", ":", "_",
    "-", " and ", " und ", " et ", " y ", " e ", " og ", " och ", " en ", " with ", " or ",
)  # fmt: skip
"""Between several labels in one cell, beside `SEPARATORS`."""
_ANY_MARK = re.compile(
    r"\s*(?:\\n|[^\w\s()\[\]{}'\"?!.%*]+|\u3000|(?<=\s)(?:and|und|et|y|e|og|och|en|with|or)(?=\s))+\s*", re.IGNORECASE
)
"""Marks of other kinds, and several kinds in one cell: ``cat#dog``, ``cat, dog and fox``."""
_DENIES = re.compile(r"(?:^|[\s|;,/+&])[-!~\u00ac]\w|[?!]")
"""A part that denies a label or doubts it: ``cat, -dog``, ``cat/dog?``."""
_USUAL = re.compile(r"[\s|;,]+")
_BETWEEN = "|"
_LEAST = 2  # lists in which a label has to recur that is no cell by itself


@dataclass(frozen=True, kw_only=True)
class UnifiedCells:
    """Cells with ``|`` between the labels of each.

    warnings: about cells with the same marks that are no lists.
    """

    cells: tuple[str, ...]
    lists: LabelLists
    warnings: tuple[str, ...]


def lists_by_marks(cells: Iterable[str], wanted: Collection[str] = ()) -> dict[str, tuple[str, list[str]]]:
    """The mark and the parts of each cell that lists labels of other cells.

    Each part is a whole cell, or a part of other lists; one at least is a whole cell.

    Args:
        wanted: names of the classes, if the sample submission has a column for each.
    """
    usable = {cell for cell in cells if not is_missing(cell) and cell != NO_LABELS and not _DENIES.search(cell)}
    different = sorted(usable)
    alone = {cell.casefold() for cell in (*different, *wanted)}
    found: dict[str, tuple[str, list[str]]] = {}
    for mark in OTHER_MARKS:
        lists = {cell: parts for cell in different if mark in cell and len(parts := parts_of(cell, mark)) > 1}
        recurring = Counter(part for parts in lists.values() for part in parts)
        for cell, parts in lists.items():
            known = [part.casefold() in alone or recurring[part] >= _LEAST for part in parts]
            if cell not in wanted and all(known) and any(part.casefold() in alone for part in parts):
                found.setdefault(cell, (mark, parts))
    for cell in sorted(usable - found.keys() - set(wanted)):
        marks = _ANY_MARK.findall(cell)
        parts = list(dict.fromkeys(filter(None, _ANY_MARK.split(cell))))
        other = next((mark for mark in marks if not _USUAL.fullmatch(mark)), None)
        if other is not None and len(parts) > 1 and all(part.casefold() in alone for part in parts):
            found[cell] = (other, parts)
    return found


def unify_marks(where: str, cells: Sequence[str], wanted: Collection[str] = ()) -> UnifiedCells | None:
    """The cells with ``|`` in place of other marks; None if no cell lists labels by such a mark.

    Args:
        where: name of the table.
        cells: of the column of labels, without blanks around them.
        wanted: as for `lists_by_marks`.
    """
    found = lists_by_marks(cells, wanted)
    if not found:
        return None
    rest = [cell for cell in sorted(set(cells) - found.keys()) if not is_missing(cell)]
    usual = likely_separator(rest, wanted, row_a_label=True)  # blanks are parts of names beside other marks
    found |= {cell: (usual, parts) for cell in rest if usual is not None and len(parts := parts_of(cell, usual)) > 1}
    marks: dict[str, str] = {}
    for cell, (mark, _) in found.items():
        marks.setdefault(mark, cell)
    whole = sorted(cell for cell in set(cells) - found.keys() if any(mark in cell for mark in marks))
    examples = ", ".join(f"{shown(mark)}, such as {cell!r}" for mark, cell in marks.items())
    warnings = [
        f"{where}: {listed(whole, 4)} {'stays one label' if len(whole) == 1 else 'stay one label each'}, because the "
        "parts are no labels of other images"
    ] * bool(whole)
    lists = LabelLists(
        separator=_BETWEEN,
        written=next(iter(marks)) if len(marks) == 1 and not whole else None,
        note=f"{where}: an image may have several labels, separated by {examples}",
    )

    def labels_in(cell: str) -> list[str]:
        """The labels in a cell, also where its parts are lists themselves."""
        return [name for part in found[cell][1] for name in labels_in(part)] if cell in found else [cell]

    unified = (_BETWEEN.join(dict.fromkeys(labels_in(cell))) for cell in cells)
    return UnifiedCells(cells=tuple(unified), lists=lists, warnings=tuple(warnings))


def shown(mark: str) -> str:
    """A mark as messages name it."""
    return {" ": "blanks", "\u3000": "wide blanks"}.get(mark, repr(mark.strip()))
