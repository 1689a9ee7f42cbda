"""Find tables in folders that may be classes, which label the images there: ``May/labels.csv`` beside ``June``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions
from trainer.data.names.masks import holds_masks
from trainer.data.names.parts import names_no_class
from trainer.data.names.put_aside import is_aside
from trainer.data.readers.class_folders import class_folders, class_root, holds_lists
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.find_tables import find_tables
from trainer.data.readers.tables.reading.table_files import read_table
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.inference.printable import printable

_OF_LABELS = re.compile(r"(?:^|[^a-z])(?:(?:un|non|not)[\W_]*)?(?:labell?ed|annotated|classified)(?:[^a-z]|$)")
_MOST = 20  # tables that are read


@dataclass(frozen=True, kw_only=True)
class InnerTables:
    """Tables in folders that may be classes, which give the images there two labels or more, none of them a class.

    folders: names of all folders that may be classes.
    claiming: the tables that say by their name or that of a column that they hold labels.
    others: those that say nothing about it.
    """

    root: Path
    folders: Sequence[str]
    claiming: Sequence[TrainingTable]
    others: Sequence[TrainingTable]

    def surely_label(self) -> bool:
        """Whether a single table labels images, and names say that its folder or all others are no classes."""
        if len(self.claiming) != 1:
            return False
        own = self.claiming[0].table.path.parent.name
        others = [name for name in self.folders if name != own]
        return not holds_masks(own) and (_says_no_class(own) or all(map(_says_no_class, others)))

    def refuse(self) -> None:
        """Refuse a single table that may give the labels instead of the folders, or several with labels in common.

        Raises:
            DataError: there are such tables.
        """
        if not self.claiming or (len(self.claiming) > 1 and not self._share_labels()):
            return
        places = [self._place_of(one) for one in self.claiming]
        choice = f"with paths such as {places[0].rpartition('/')[0]}/1.jpg"
        if len(places) > 1 or holds_masks(self.claiming[0].table.path.parent.name):
            advice = f"If so, write one table labels.csv in the data folder, {choice}"
        else:
            advice = (
                f"If it does, add --table {shlex.quote(places[0])} (data.table): the other folders are not read then"
            )
        labels = listed(sorted(set(self.claiming[0].labels.values())), 3)
        them = "it" if len(places) == 1 else "them"
        raise DataError(
            f"{listed(places, 4)} may give the labels of the images beside {them}, such as {labels}, instead of the "
            f"folders {listed(self.folders, 4)}. {advice}. If the folders are the classes, add --layout folders "
            "(data.layout)"
        )

    def warnings(self) -> list[str]:
        """A warning for each table that is not read beside the class folders."""
        return [
            f"not read: {printable(place)}, which says {listed(sorted(set(one.labels.values())), 3)} of the images "
            f"beside it, because the folders give the labels; if they do not, add --table {shlex.quote(place)} "
            "(data.table)"
            for one in (*self.claiming, *self.others)
            if (place := self._place_of(one))
        ]

    def _share_labels(self) -> bool:
        found = [set(one.labels.values()) for one in self.claiming]
        return any(one & other for index, one in enumerate(found) for other in found[:index])

    def _place_of(self, table: TrainingTable) -> str:
        return table.table.path.relative_to(self.root).as_posix()


def tables_in_classes(folder: Path, files: ImageFiles, options: DataOptions) -> InnerTables:
    """The tables directly in the folders that may be classes."""
    root = class_root(folder, files)
    places = [] if root is None else [path for path in class_folders(folder, root) if not holds_lists(path)]
    known = {composed(place.name).casefold() for place in places}
    found = []
    for path in [path for place in places for path in _tables_in(place, options)][:_MOST]:
        images = ImageFiles(files.root, files.paths_in(path.parent), escaping=files.escaping, may_be_masks=False)
        try:
            table = read_table(path, encoding=options.encoding)
            one = TrainingTable(table, options, ImageMatcher(images, "train"), SampleHints())
            rows = len(one.table.rows) - one.first
            labels = {} if one.unclear is not None else one.labels
        except DataError:  # no table
            continue
        values = {label.casefold() for label in labels.values()}
        if 2 * len(labels) >= rows and 1 < len(values) < len(labels) and not values & known:
            found.append(one)
    claiming = [one for one in found if one.claims_labels() or one.columns.classes]
    others = [one for one in found if one not in claiming]
    return InnerTables(root=folder, folders=[place.name for place in places], claiming=claiming, others=others)


def _tables_in(place: Path, options: DataOptions) -> Sequence[Path]:
    try:
        return find_tables(place, options.encoding).labels
    except DataError:  # several samples
        return ()


def _says_no_class(name: str) -> bool:
    return names_no_class(name) or is_aside(name) or _OF_LABELS.search(name.lower()) is not None
