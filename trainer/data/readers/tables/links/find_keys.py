"""Find the column of keys that two tables share: ids of images, or of patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trainer.data.readers.columns.image_column import ID_NAMES, is_counter, is_sequence, refers_to_images
from trainer.data.readers.columns.label_names import is_usual_label, plain_name
from trainer.data.readers.matching.id_spellings import unpadded
from trainer.data.readers.tables.links.keyed_table import KeyedTable, is_number, shortened

_FEW = 0.5  # share of the keys that both tables have, below which columns without a common name are no keys
_NEARLY_ALL = 0.9  # the same of numbers, which are equal by chance in many columns
_MOST_MARKS = 2  # values of a column of yes and no, which holds no keys
_UNNAMED = 2  # rank of columns whose names do not say that they hold the same
Spelling = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Key:
    """A column of keys that a table of image names shares with another table.

    listing, other: position of the column in the table of image names, and in the other one.
    sure: whether the columns have one name or usual names of ids, or their cells are no mere numbers.
    spelled: the form in which the keys are compared.
    files: the cells that name the images of each key.
    """

    listing: int
    other: int
    sure: bool
    spelled: Spelling
    files: Mapping[str, Sequence[str]]

    def repeats(self) -> bool:
        """Whether a key has several images, as that of a patient."""
        return any(len(images) > 1 for images in self.files.values())


def find_keys(listing: KeyedTable, other: KeyedTable, theirs: int | None = None) -> list[Key]:
    """The most probable pairs of columns of keys; several are equally probable, and none may be found.

    Columns of one name, or with usual names of ids, go before columns that only have the same cells.

    Args:
        theirs: the column of ``other`` that holds the keys; None: any may.
    """
    ranked: dict[int, list[Key]] = defaultdict(list)
    for column, name in enumerate(listing.names):
        if column == listing.image or is_usual_label(name):
            continue
        for candidate, their_name in enumerate(other.names):
            if is_usual_label(their_name) or theirs not in (None, candidate):
                continue
            rank = _rank(name, their_name)
            key = _key(listing, column, other, candidate, named=rank < _UNNAMED or theirs is not None)
            if key is not None:
                # A column with one image for each key says more than that of a site, which both tables may have.
                ranked[2 * rank + key.repeats()].append(key)
    return ranked[min(ranked)] if ranked else []


def rival_keys(listing: KeyedTable, other: KeyedTable, key: Key) -> list[Key]:
    """The other columns that may hold the keys of the same column, though their names say it less.

    The usual name of an id column may be that of annotations, which another column assigns to images.
    """
    rivals = []
    for column, name in enumerate(other.names):
        cells = other.cells(column)
        if column in (key.other, other.image) or is_usual_label(name) or is_counter(name) or is_sequence(cells):
            continue
        one_a_row = len(set(cells)) == len(cells)
        rivals.append(_key(listing, key.listing, other, column, named=one_a_row or refers_to_images(name)))
    return [rival for rival in rivals if rival is not None and not rival.repeats()]


def _rank(name: str, other: str) -> int:
    """How much the names of two columns say that both hold the same ids, 0 the most."""
    plain, plain_other = plain_name(name), plain_name(other)
    if plain in ID_NAMES and plain_other in ID_NAMES:
        return 0
    return 1 if plain == plain_other and not is_counter(name) else _UNNAMED


def _key(listing: KeyedTable, column: int, other: KeyedTable, theirs: int, *, named: bool) -> Key | None:
    """The two columns as keys; None if they share too few cells."""
    if not named and len(other.values(theirs)) <= _MOST_MARKS < len(other.rows):
        return None
    ours, spelled = listing.cells(column), _spelling(listing.values(column), other.values(theirs))
    keys, wanted = (set(map(spelled, cells)) for cells in (listing.values(column), other.values(theirs)))
    shared = keys & wanted
    if len(shared) < min(2, len(wanted)) or not shared:
        return None
    of_theirs, of_ours = len(shared) / len(wanted), len(shared) / len(keys)
    numbers = all(map(is_number, shared))
    if named:
        enough = max(of_theirs, of_ours) >= _FEW
    elif numbers:  # a few of the groups may have labels
        enough = (of_theirs if len(keys) < len(ours) else min(of_theirs, of_ours)) >= _NEARLY_ALL
    else:
        enough = of_theirs > _FEW
    if not enough:
        return None
    files: dict[str, dict[str, None]] = defaultdict(dict)
    for cell, image in zip(ours, listing.image_cells, strict=True):
        if cell:
            files[spelled(cell)][image] = None
    return Key(
        listing=column,
        other=theirs,
        sure=named or not numbers,
        spelled=spelled,
        files={key: tuple(images) for key, images in files.items()},
    )


def _spelling(ours: frozenset[str], theirs: frozenset[str]) -> Spelling:
    """How keys are compared: as they are, or without leading zeros and case where more of them are then equal."""
    best: Spelling = _as_it_is
    most = len(ours & theirs)
    for spelled in (unpadded, shortened):
        short, their_short = ({spelled(cell) for cell in cells} for cells in (ours, theirs))
        distinct = len(short) == len(ours) and len(their_short) == len(theirs)
        if distinct and len(short & their_short) > most:
            best, most = spelled, len(short & their_short)
    return best


def _as_it_is(cell: str) -> str:
    return cell
