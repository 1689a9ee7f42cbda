"""Tables with a column for each part: of the names of its images, or of marks beside a column of all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.data.readers.columns.label_names import plain_name
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.formats.part_words import Part
from trainer.formats.parts import TRUE, is_mark, part_of

_PROBED_ROWS = 200


def column_for_each_part(
    names: Sequence[str], rows: Sequence[Sequence[str]], matcher: ImageMatcher
) -> Mapping[str, Part] | None:
    """The part of each cell that names an image; None if the table has no column for each part.

    ``train,val,test`` over names of images is how CLAM (Lu et al. 2021) and other pathology repositories write splits.
    """
    parts = {column: part for column, name in enumerate(names) if (part := part_of(plain_name(name)))}
    if len(set(parts.values())) != len(parts) or "train" not in parts.values() or len(parts) < 2:
        return None
    if all(is_mark({row[column].strip().lower() for row in rows}) for column in parts):
        return _of_marks(names, rows, parts, matcher)
    cells = {column: [cell for row in rows if (cell := row[column].strip())] for column in parts}
    if all(_named(cells[column], matcher) for column in parts):
        found = {cell: part for column, part in parts.items() for cell in cells[column]}
        return found if len(found) == sum(map(len, cells.values())) else None
    return None


def _named(cells: Sequence[str], matcher: ImageMatcher) -> bool:
    """Whether most of the first cells name images."""
    probed = cells[:_PROBED_ROWS]
    return bool(probed) and 2 * len(matcher.match(probed).paths) > len(set(probed))


def _of_marks(
    names: Sequence[str], rows: Sequence[Sequence[str]], parts: Mapping[int, Part], matcher: ImageMatcher
) -> Mapping[str, Part] | None:
    """The part of each image by the column that marks its row; None without a column of images, or if a row has no
    mark or several.
    """
    others = [column for column in range(len(names)) if column not in parts]
    ids = next((column for column in others if _named([row[column] for row in rows], matcher)), None)
    if ids is None:
        return None
    found: dict[str, Part] = {}
    for row in rows:
        marked = [part for column, part in parts.items() if row[column].strip().lower() in TRUE]
        if len(marked) != 1:
            return None
        found[row[ids].strip()] = marked[0]
    return found
