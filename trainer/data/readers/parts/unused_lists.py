"""Lists that name some images of a training table, and divide it in no way that is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.common.errors import listed
from trainer.data.names.words import words_in
from trainer.data.readers.parts.part_files import PartFile, is_holdout, part_of_stem

_DEVELOPMENT = frozenset(("dev", "development"))


@dataclass(frozen=True, kw_only=True)
class SortedLists:
    """The lists that divide a table, and the others.

    unused: the files of the others.
    warnings: what the others may mean.
    """

    dividing: Sequence[PartFile]
    unused: frozenset[Path]
    warnings: Sequence[str]


def sort_lists(lists: Sequence[PartFile], table: Path, labelled: Collection[str], undivided: str) -> SortedLists:
    """Sort the lists that name some of the ``labelled`` images of a table.

    Args:
        undivided: why a table of training images is not divided further, as the end of a sentence; empty: nothing says
            so.
    """
    lists = _development_trains(lists, labelled)
    unused, warnings = [], []
    kept = [one for one in lists if one.part != "val" or 2 * len(one.images) <= len(labelled)]
    for one in lists:
        if one not in kept:  # valid images rather than those for validation
            warnings.append(f"{_some_of(one, table, labelled)}; if the others are not to be used, remove their rows")
            unused.append(one)
    is_training = part_of_stem(table.stem) == "train"
    if is_training and all(one.part == "train" for one in kept):  # train_clean.csv beside train.csv
        versions = [one for one in kept if not set(one.images) >= set(labelled)]
        rows = f"remove the other rows of {table.name}"
        for one in versions:
            warnings.append(f"{_some_of(one, table, labelled)}; if only these are for training, {rows}")
        unused += versions
        kept = []
    why = ""
    if undivided and is_training and not any(is_holdout(one.path.stem) for one in kept):
        divide = "divides" if len(_files(kept)) == 1 else "divide"
        why = (
            f"which {divide} the rows of {table.name}, because {undivided}; all rows are trained on: remove those that "
            "are not for training"
        )
    for part in ("train", "val", "test"):
        if len({frozenset(one.images) for one in kept if one.part == part}) > 1:
            why = why or f"of which several list other {part} images, as folds do"
    if why and kept:
        warnings.append(f"not used: {names_of(kept)}, {why}")
        unused += kept
        kept = []
    return SortedLists(dividing=kept, unused=_files(unused), warnings=warnings)


def names_of(lists: Iterable[PartFile]) -> str:
    """The names of some lists, for messages."""
    return listed(dict.fromkeys(one.name for one in lists), 4)


def _development_trains(lists: Sequence[PartFile], labelled: Collection[str]) -> Sequence[PartFile]:
    """The lists, of which ``dev.txt`` beside ``test.txt`` names the training images if these two name all images."""
    named = {image for one in lists for image in one.images}
    if any(one.part == "train" for one in lists) or not named >= set(labelled):
        return lists
    return [
        dataclasses.replace(one, part="train") if not _DEVELOPMENT.isdisjoint(words_in(one.path.stem)) else one
        for one in lists
    ]


def _some_of(one: PartFile, table: Path, labelled: Collection[str]) -> str:
    count = len(set(one.images) & set(labelled))
    return f"not used: {one.name}, which names {count} of the {len(labelled)} images of {table.name}"


def _files(lists: Iterable[PartFile]) -> frozenset[Path]:
    return frozenset(one.path for one in lists)
